"""The verbs of local-cluster: up, down, status, env, install, fault.

Owns what each does and prints; must not talk to Slurm. Read next: options.py for the options,
cluster.py for what a cluster is.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from localcluster import packages, processes
from localcluster.cluster import Cluster, locked, user_name
from localcluster.failure import Failure
from localcluster.faults import VERBS
from localcluster.options import NOT_UP, TOLD, parser
from localcluster.place import block_of_ports, make_directory, new_settings
from localcluster.settings import Places, Settings


def main() -> int:
    """Do what the command line says; return the exit status."""
    os.umask(0o022)
    options = parser().parse_args()
    try:
        return DO[options.verb](options)
    except Failure as failure:
        print(f"local-cluster: error: {failure}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"local-cluster: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("local-cluster: interrupted", file=sys.stderr)
        return 130


# ---- the verbs ---------------------------------------------------------------------------


def _up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    missing = packages.missing(packages.CORE)
    if missing:
        raise Failure(
            f"not installed: {', '.join(missing)}. On Debian, as root: local-cluster install"
        )
    top = _directory(options)
    make_directory(top)
    with locked(top):
        cluster = Cluster.load(top)
        if cluster is None:
            cluster = _create(top, options)
        else:
            _agree(cluster.settings, options)
            started = cluster.start_missing()
            print(f"was there already; started {', '.join(started) or 'nothing'}")
        if options.while_pid is not None:
            _guard(cluster, options.while_pid)
    took = time.monotonic() - began
    print(f"a Slurm of {cluster.settings.nodes} nodes is up in {top} ({took:.1f} s)")
    print(f'to use it: eval "$({_myself(top)} env)"')
    return 0


def _create(top: Path, options: argparse.Namespace) -> Cluster:
    """Make a cluster and start it; leave its logs, but no process, if that fails."""
    with block_of_ports(options) as port:
        cluster = Cluster(top, new_settings(options, port))
        try:
            cluster.create()
            cluster.start_missing()
        except BaseException:
            cluster.stop_all()
            cluster.places.settings.unlink(missing_ok=True)
            print(f"local-cluster: its logs are in {top}/log", file=sys.stderr)
            raise
    return cluster


def _down(options: argparse.Namespace) -> int:
    top = _directory(options)
    cluster = _load(top)
    if cluster is not None:
        with locked(top):
            cluster.stop_all()
            cluster.remove()
        print(f"the Slurm in {top} is gone")
    elif (top / "lock").exists():
        shutil.rmtree(top)
        print(f"what was left of a failed start in {top} is gone")
    else:
        print(f"no cluster in {top}: nothing to stop")
    return 0


def _status(options: argparse.Namespace) -> int:
    top = _directory(options)
    cluster = Cluster.load(top) if top.is_dir() else None
    if cluster is None:
        print("{}" if options.json else f"no cluster in {top}")
        return NOT_UP
    states = {name: cluster.state(name) for name in cluster.daemons}
    nodes = cluster.slurm.node_states() if states["slurmctld"] == "running" else {}
    if options.json:
        told = json.loads(cluster.settings.to_json())
        told |= {"daemons": states, "nodes": {n: nodes.get(n) for n in cluster.settings.node_names}}
        print(json.dumps(told, indent=2))
    else:
        _print_status(cluster, states, nodes)
    well = set(states.values()) == {"running"} and set(cluster.settings.node_names) <= set(nodes)
    return 0 if well else NOT_UP


def _print_status(cluster: Cluster, states: dict[str, str], nodes: dict[str, str]) -> None:
    settings = cluster.settings
    print(
        f"{cluster.places.top}: {settings.nodes} nodes of {settings.cpus} cpus, "
        f"{settings.memory_mib} MiB; ports from {settings.port}"
    )
    print(
        f"runs as {settings.user}; memory is limited by "
        f"{'cgroups' if settings.cgroup else 'sampling'}; "
        f"{'with' if settings.accounting else 'without'} accounting"
    )
    for name, state in states.items():
        found = cluster.recorded(name)
        pid = f"pid {found.pid}" if found and state != "gone" else ""
        print(f"  {name:10} {state:8} {pid:12} {nodes.get(name, '')}".rstrip())


def _env(options: argparse.Namespace) -> int:
    top = _directory(options)
    if Cluster.load(top) is None:
        raise Failure(f"no cluster in {top}; start one: {_myself(top)} up")
    print(f"export SLURM_CONF={shlex.quote(str(Places(top).conf))}")
    print(f"export {TOLD}={shlex.quote(str(top))}")
    return 0


def _install(options: argparse.Namespace) -> int:
    began = time.monotonic()
    installed = packages.install()
    if installed:
        print(f"== Slurm and MariaDB installed ({time.monotonic() - began:.0f} s)")
    elif not options.quiet:
        print("everything is installed")
    return 0


def _fault(options: argparse.Namespace) -> int:
    verb = VERBS[options.fault]
    if bool(verb.takes) != bool(options.target):
        wanted = f"needs a {verb.takes}" if verb.takes else "takes no argument"
        raise Failure(f"{options.fault} {wanted}")
    top = _directory(options)
    cluster = _load(top)
    if cluster is None:
        raise Failure(f"no cluster in {top}; start one: {_myself(top)} up")
    _check_same_user(cluster)
    with locked(top):
        verb.do(cluster, options.target)
    return 0


def _watch(options: argparse.Namespace) -> int:
    """Wait until a process has ended, then take the cluster down. Runs in the background."""
    watched = processes.Process(options.pid, options.start)
    while watched.state != "gone":
        time.sleep(0.5)
    return _down(options)


# ---- directory, ports, settings ----------------------------------------------------------


def _directory(options: argparse.Namespace) -> Path:
    """Return the cluster's directory: as told, else one for each user."""
    told = options.dir or os.environ.get(TOLD)
    if told:
        return Path(told).resolve()
    temporary = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - a directory of ours in it
    return Path(temporary).resolve() / f"jobtree-slurm-{user_name()}"


def _load(top: Path) -> Cluster | None:
    """Return the cluster in a directory, None if there is none; Failure if it is another's."""
    cluster = Cluster.load(top) if top.is_dir() else None
    if cluster is not None and os.geteuid() != 0:
        _check_same_user(cluster)
    return cluster


def _check_same_user(cluster: Cluster) -> None:
    """Refuse to start daemons for a cluster as somebody else than who runs it."""
    if cluster.settings.user != user_name():
        user = cluster.settings.user
        raise Failure(f"the cluster in {cluster.places.top} belongs to {user}: do it as {user}")


def _agree(settings: Settings, options: argparse.Namespace) -> None:
    """Refuse to start a cluster again with other settings than it has; defaults agree."""
    defaults = parser().parse_args(["up"])
    found = {
        "nodes": settings.nodes,
        "cpus": settings.cpus,
        "memory": settings.memory_mib,
        "port": settings.port,
        "cgroup": str(int(settings.cgroup)),
        "accounting": str(int(settings.accounting)),
        "partitions": list(settings.partitions),
        "conf": list(settings.conf),
    }
    for name, value in found.items():
        told = getattr(options, name)
        if told not in (value, getattr(defaults, name)):
            raise Failure(
                f"there is a cluster with --{name} {value} already; take it down first, "
                "or give another --dir"
            )


def _guard(cluster: Cluster, pid: int) -> None:
    """Start the process that takes the cluster down when `pid` has ended."""
    watched = processes.process(pid)
    if watched is None:
        raise Failure(f"--while-pid: there is no process {pid}")
    if cluster.state("guard") == "gone":
        argv = [sys.executable, str(_program()), "watch", "--dir", str(cluster.places.top)]
        cluster.spawn("guard", [*argv, str(watched.pid), str(watched.start)])


def _program() -> Path:
    return Path(sys.argv[0]).resolve()


def _myself(top: Path) -> str:
    """Return how to call this program for this cluster."""
    return shlex.join([str(_program()), "--dir", str(top)])


DO: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "up": _up,
    "down": _down,
    "status": _status,
    "env": _env,
    "install": _install,
    "fault": _fault,
    "watch": _watch,
}
