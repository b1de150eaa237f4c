"""What can be done to a running cluster, to see whether a program survives it.

Owns the verbs of `local-cluster fault`; must not know how a daemon is started.
Read next: cluster.py, which does. Every verb returns once it has taken effect.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from localengines import processes
from localengines.daemons import READY_S
from localengines.failure import Failure
from localengines.faults import Verb, service_verbs
from localengines.packages import program
from localengines.processes import wait_for

from localcluster import members
from localcluster.clients import UP_NODE
from localcluster.cluster import Cluster

SERVICES: Mapping[str, str] = {
    "controller": "slurmctld",
    "munge": "munged",
    "dbd": "slurmdbd",
    "database": "mariadbd",
}


def _check(cluster: Cluster, service: str) -> None:
    if SERVICES[service] not in cluster.daemons:
        raise Failure(f"this cluster has no {service}: it was started with --accounting 0")


# ---- nodes -------------------------------------------------------------------------------


def _node(cluster: Cluster, node: str) -> str:
    if node not in cluster.settings.node_names:
        names = ", ".join(cluster.settings.node_names)
        raise Failure(f"there is no node {node!r}; the nodes are {names}")
    return node


def _steps(cluster: Cluster) -> list[members.Member]:
    places = cluster.places
    return [one for one in members.members(places.top, places.conf) if one.kind == "step"]


def _kill_node(cluster: Cluster, node: str) -> None:
    """Kill slurmd first, so that nothing new starts, then its step daemons."""
    found = cluster.recorded(_node(cluster, node))
    if found:
        processes.end([found], 0)
    processes.end([one.process for one in _steps(cluster) if one.node == node], 0)


def _start_node(cluster: Cluster, node: str) -> None:
    cluster.signal(_node(cluster, node), signal.SIGCONT)
    cluster.start(node, wait=False)
    wait_for(f"{node} up", lambda: _is_up(cluster, node), READY_S)


def _is_up(cluster: Cluster, node: str) -> bool:
    """Tell whether a node responds and takes jobs; ask for it where it is still called down."""
    state = cluster.slurm.node_states().get(node, "")
    if state.rstrip("*").startswith("down"):
        cluster.slurm.client("scontrol", "update", f"node={node}", "state=resume")
    return state in UP_NODE


def _freeze_node(cluster: Cluster, node: str) -> None:
    cluster.signal(_node(cluster, node), signal.SIGSTOP)
    steps = [one.process for one in _steps(cluster) if one.node == node]
    for one in steps:
        one.signal(signal.SIGSTOP)
    wait_for(
        f"{node} frozen",
        lambda: "running" not in {cluster.state(node), *(one.state for one in steps)},
        10,
    )


def _thaw_node(cluster: Cluster, node: str) -> None:
    cluster.signal(_node(cluster, node), signal.SIGCONT)
    for one in _steps(cluster):
        if one.node == node:
            one.process.signal(signal.SIGCONT)
    wait_for(f"{node} up", lambda: _is_up(cluster, node), READY_S)


def _set_node(state: str) -> Callable[[Cluster, str], None]:
    def set_state(cluster: Cluster, node: str) -> None:
        _node(cluster, node)
        cluster.slurm.ask("scontrol", "update", f"node={node}", f"state={state}", "reason=fault")

    return set_state


def _resume(cluster: Cluster, node: str) -> None:
    """Make a node take jobs again; one that does already is left as it is."""
    if cluster.state(_node(cluster, node)) == "gone":
        raise Failure(f"{node} does not run; start it first: local-cluster fault start-node {node}")
    done = cluster.slurm.client("scontrol", "update", f"node={node}", "state=resume")
    state = cluster.slurm.node_states().get(node, "")
    if done.returncode != 0 and state.startswith(("down", "drain")):
        raise Failure(done.stderr.strip())


HIDDEN = 'mount -t tmpfs -o size=64k,mode=755 none "$1" && shift && exec "$@"'
"""Lays an empty directory over one, and goes on as another program: in a mount namespace."""


def _hide(cluster: Cluster, what: str) -> None:
    """Start a node's slurmd anew where a directory is empty, as if it had not been mounted."""
    node, _, directory = what.partition(":")
    _node(cluster, node)
    if not directory.startswith("/") or not os.path.isdir(directory):
        raise Failure(f"what is to be hidden is NODE:DIRECTORY, not {what!r}")
    _kill_node(cluster, node)
    slurmd = cluster.daemons[node].argv
    hide = [program("unshare"), "--mount", "--", "/bin/sh", "-c", HIDDEN, "sh", directory]
    cluster.daemons[node].prepare()
    cluster.spawn(node, [*hide, program(slurmd[0]), *slurmd[1:]])
    wait_for(f"{node} up", lambda: _is_up(cluster, node), READY_S)


def _sees_all(cluster: Cluster, node: str) -> bool:
    """Tell whether a node's slurmd sees what this process does; True if it does not run."""
    found = cluster.recorded(node)
    try:
        theirs = os.readlink(f"/proc/{found.pid if found else 'self'}/ns/mnt")
    except OSError:
        return True
    return theirs == os.readlink("/proc/self/ns/mnt")


# ---- jobs --------------------------------------------------------------------------------


def _kill_stepd(cluster: Cluster, job: str) -> None:
    """Kill the step daemons of a job, or of one task of an array; its own processes live on."""
    number = cluster.slurm.ask("squeue", "-h", "-j", job, "-o", "%A").strip()
    doomed = [one.process for one in _steps(cluster) if f"[{number}." in one.title]
    if not doomed:
        raise Failure(f"no step of job {job} runs here")
    processes.end(doomed, 0)


def _requeue(cluster: Cluster, job: str) -> None:
    cluster.slurm.ask("scontrol", "requeue", job)


def _time_out(cluster: Cluster, job: str) -> None:
    cluster.slurm.ask("scontrol", "update", f"job={job}", "endtime=now+2")


# ---- everything --------------------------------------------------------------------------


def heal(cluster: Cluster) -> None:
    """Undo every fault: thaw, start what is gone, and make every node take jobs."""
    for name in cluster.daemons:
        cluster.signal(name, signal.SIGCONT)
    for one in _steps(cluster):
        one.process.signal(signal.SIGCONT)
    services = [name for name in cluster.daemons if name not in cluster.settings.node_names]
    for name in services:
        cluster.start(name)
    wait_for("an answer of the controller", cluster.slurm.answers, READY_S)
    for node in cluster.settings.node_names:
        if not _sees_all(cluster, node):
            _kill_node(cluster, node)
        cluster.start(node, wait=False)
    for node in cluster.settings.node_names:
        wait_for(f"{node} up", lambda node=node: _is_up(cluster, node), READY_S)  # type: ignore[misc]
        if cluster.slurm.node_states().get(node, "").startswith("drain"):
            _resume(cluster, node)


def clear(cluster: Cluster) -> None:
    """Cancel every job, wait until all are gone, and kill what they left behind."""
    wait_for("the end of all jobs", lambda: _cancelled(cluster), READY_S)
    wait_for("the end of what jobs left", lambda: cluster.kill_leftovers() == 0, READY_S)


def _cancelled(cluster: Cluster) -> bool:
    """Cancel every job and tell whether all are gone; False too if nobody could say."""
    try:
        cluster.cancel_all()
        return not cluster.slurm.queue()
    except Failure:
        return False


def reset(cluster: Cluster) -> None:
    """Leave a cluster as new: undo every fault, then cancel every job."""
    heal(cluster)
    clear(cluster)


# ---- the table ---------------------------------------------------------------------------

VERBS: Mapping[str, Verb[Cluster]] = {
    **service_verbs(SERVICES, _check),
    "kill-node": Verb(
        "NODE", "kill slurmd and its step daemons; what jobs run lives on as orphans", _kill_node
    ),
    "start-node": Verb("NODE", "start a killed node again", _start_node),
    "freeze-node": Verb("NODE", "let slurmd and its step daemons hang", _freeze_node),
    "thaw-node": Verb("NODE", "let them go on", _thaw_node),
    "hide": Verb("NODE:DIR", "start it anew where this directory is empty, until healed", _hide),
    "down-node": Verb("NODE", "have the controller call it down now", _set_node("down")),
    "drain": Verb("NODE", "let it take no further jobs", _set_node("drain")),
    "resume": Verb("NODE", "let it take jobs again", _resume),
    "kill-stepd": Verb("JOBID", "kill a job's step daemons; the job lives on", _kill_stepd),
    "requeue": Verb("JOBID", "have the controller run it again", _requeue),
    "time-out": Verb("JOBID", "let its time limit pass two seconds from now", _time_out),
    "heal": Verb("", "undo every fault", lambda cluster, _: heal(cluster)),
    "clear": Verb("", "cancel every job, and kill what is left of them", lambda c, _: clear(c)),
    "reset": Verb("", "heal, then clear", lambda cluster, _: reset(cluster)),
}
