"""What can be done to a running cell, to see whether a program survives it.

Owns the verbs of `local-cell fault`; must not know how a daemon is started.
Read next: cell.py, which does. Every verb returns once it has taken effect.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

from localengines import processes
from localengines.daemons import READY_S
from localengines.failure import Failure
from localengines.faults import Verb, service_verbs
from localengines.files import write
from localengines.processes import wait_for

from localcell import configuration
from localcell.cell import MASTER, RECONNECT_S, Cell
from localcell.members import Member
from localcell.settings import QUEUE

DELETED_S = 5.0
"""After this it is insisted on that jobs are deleted."""

# ---- what heal has to undo ---------------------------------------------------------------


def _note(cell: Cell, fault: str, host: str = "") -> None:
    """Remember a fault that nothing else would tell of."""
    (cell.places / "faults" / f"{fault}@{host}").touch()


def _noted(cell: Cell, fault: str) -> list[str]:
    """Return the hosts that have had this fault, [""] for one without a host."""
    return [path.name.partition("@")[2] for path in (cell.places / "faults").glob(f"{fault}@*")]


def _forget(cell: Cell, fault: str, host: str = "") -> None:
    (cell.places / "faults" / f"{fault}@{host}").unlink(missing_ok=True)


# ---- hosts -------------------------------------------------------------------------------


def _host(cell: Cell, host: str) -> str:
    if host not in cell.settings.host_names:
        names = ", ".join(cell.settings.host_names)
        raise Failure(f"there is no host {host!r}; the hosts are {names}")
    return host


def _machine(cell: Cell, host: str) -> str:
    """Return a host that is a machine of its own."""
    if not cell.settings.namespaces:
        raise Failure("this needs hosts that are machines of their own: up --namespaces 1")
    return _host(cell, host)


def _kill_host(cell: Cell, host: str) -> None:
    """Cut the power: nothing on the host says goodbye to the master."""
    _host(cell, host)
    if not cell.settings.namespaces:
        _kill(cell, host, "execd")
        _kill(cell, host, "shepherd", "job")
    elif cell.machines.is_on(host):
        cell.machines.cut(host)
        cell.machines.end(host)
        for fault in ("cut", "unmounted"):  # they go with it
            _forget(cell, fault, host)


def _kill_execd(cell: Cell, host: str) -> None:
    _kill(cell, _host(cell, host), "execd")


def _kill(cell: Cell, host: str, *kinds: str) -> None:
    processes.end([one.process for one in cell.members(host) if one.kind in kinds], 0)


def _start_host(cell: Cell, host: str) -> None:
    _signal(cell, _host(cell, host), signal.SIGCONT)
    cell.start_hosts([host])


def _freeze_host(cell: Cell, host: str) -> None:
    _signal(cell, _host(cell, host), signal.SIGSTOP)
    wait_for(f"{host} frozen", lambda: cell.execd_state(host) != "running", 10)


def _thaw_host(cell: Cell, host: str) -> None:
    _signal(cell, _host(cell, host), signal.SIGCONT)
    wait_for(f"{host} up", lambda: cell.all_up([host]), RECONNECT_S)


def _signal(cell: Cell, host: str, number: signal.Signals) -> None:
    for one in cell.members(host):
        if one.kind != "boot":
            one.process.signal(number)


def _cut_host(cell: Cell, host: str) -> None:
    _note(cell, "cut", _machine(cell, host))
    cell.machines.cut(host)


def _heal_host(cell: Cell, host: str) -> None:
    cell.machines.reconnect(_machine(cell, host))
    _forget(cell, "cut", host)
    wait_for(f"{host} up", lambda: cell.all_up([host]), RECONNECT_S)


# ---- what jobs need on a host ------------------------------------------------------------


def _unmount(cell: Cell, target: str) -> None:
    host, directory = _host_and_directory(cell, target)
    mount = ["mount", "-t", "tmpfs", "-o", "mode=755", "jobtree-unmounted", directory]
    _note(cell, "unmounted", host)
    cell.machines.run(host, mount)


def _remount(cell: Cell, target: str) -> None:
    host, directory = _host_and_directory(cell, target)
    cell.machines.run(host, ["umount", "--lazy", directory])


def _host_and_directory(cell: Cell, target: str) -> tuple[str, str]:
    host, colon, directory = target.partition(":")
    if not colon or not directory.startswith("/"):
        raise Failure(f"{target!r} is not HOST:DIR, such as sge1:/home")
    return _machine(cell, host), directory


def _remount_all(cell: Cell, host: str) -> None:
    for line in cell.machines.run(host, ["cat", "/proc/self/mountinfo"]).splitlines():
        if " - tmpfs jobtree-unmounted " in line:
            cell.machines.run(host, ["umount", "--lazy", line.split()[4]])
    _forget(cell, "unmounted", host)


def _fail_prolog(cell: Cell, host: str) -> None:
    """Let the next job that starts on a host put its queue there into error state."""
    place = f"{QUEUE}@{_host(cell, host)}"
    _note(cell, "prolog", host)
    cell.sge.ask("qconf", "-mattr", "queue", "prolog", "/bin/false", place)


def _mend_prolog(cell: Cell, host: str) -> None:
    place = f"{QUEUE}@{_host(cell, host)}"
    cell.sge.client("qconf", "-purge", "queue", "prolog", place)
    cell.sge.client("qmod", "-cq", place)  # it complains where there was no error
    _forget(cell, "prolog", host)


# ---- jobs --------------------------------------------------------------------------------


def _kill_shepherd(cell: Cell, job: str) -> None:
    """Kill the shepherd of a job, or of one task of an array; its own processes live on."""
    doomed = [one.process for one in cell.members() if _minds(one, job)]
    if not doomed:
        raise Failure(f"no shepherd of job {job} runs here")
    processes.end(doomed, 0)


def _minds(one: Member, job: str) -> bool:
    return one.kind == "shepherd" and job in (one.job, one.job.partition(".")[0])


def _rerun(cell: Cell, job: str) -> None:
    cell.sge.ask("qmod", "-rj", job)


# ---- the master's view -------------------------------------------------------------------


def _configure(cell: Cell, line: str) -> None:
    """Set a line of the global configuration, which `heal` takes back."""
    key, equals, value = line.partition("=")
    if not equals:
        raise Failure(f"{line!r} is not KEY=VALUE, such as reschedule_unknown=00:00:05")
    text = cell.sge.ask("qconf", "-sconf")
    _note(cell, "configuration")
    _set_configuration(cell, configuration.changed(text, key, value))


def _set_configuration(cell: Cell, text: str) -> None:
    path = cell.places / "etc" / "global"  # qconf tells by the file's name which one it is
    write(path, text.encode(), 0o644)
    cell.sge.ask("qconf", "-Mconf", str(path))


# ---- everything --------------------------------------------------------------------------


def heal(cell: Cell) -> None:
    """Undo every fault: thaw, connect, start what is gone, and make every queue take jobs."""
    cell.signal(MASTER, signal.SIGCONT)
    cell.show_accounting()
    for one in cell.members():
        one.process.signal(signal.SIGCONT)
    for host in _noted(cell, "cut"):
        cell.machines.reconnect(host)
        _forget(cell, "cut", host)
    for host in _noted(cell, "unmounted"):
        _remount_all(cell, host)
    cell.start(MASTER)
    wait_for("an answer of the master", cell.sge.answers, READY_S)
    for host in cell.lost_hosts():  # it would look for a restarted master only twice a minute
        _kill_execd(cell, host)
    cell.start_missing()
    for _ in _noted(cell, "configuration"):
        _set_configuration(cell, cell.global_configuration())
        _forget(cell, "configuration")
    for host in _noted(cell, "prolog"):
        _mend_prolog(cell, host)
    if not cell.sge.is_well():
        for option in ("-e", "-c"):
            cell.sge.client("qmod", option, "*")  # it complains where there was nothing to do
        wait_for("all queues well", cell.sge.is_well, READY_S)


def clear(cell: Cell) -> None:
    """Delete every job, wait until all are gone, and kill what they left behind.

    What was on its way to a host when that was lost is deleted only a minute after it is back.
    """
    try:
        wait_for("the end of all jobs", lambda: _deleted(cell), DELETED_S)
    except Failure:
        wait_for("the end of all jobs", lambda: _deleted(cell, "-f"), RECONNECT_S)
    wait_for("the end of what jobs left", lambda: cell.kill_leftovers() == 0, READY_S)


def _deleted(cell: Cell, *options: str) -> bool:
    """Delete every job and tell whether all are gone; False too if nobody could say."""
    try:
        if not cell.sge.jobs():
            return True
        cell.sge.client("qdel", *options, "*")
        return not cell.sge.jobs()
    except Failure:
        return False


def reset(cell: Cell) -> None:
    """Leave a cell as new: undo every fault, then delete every job."""
    heal(cell)
    clear(cell)


# ---- the table ---------------------------------------------------------------------------


def _on_all(do: Callable[[Cell], None]) -> Callable[[Cell, str], None]:
    return lambda cell, _: do(cell)


VERBS: Mapping[str, Verb[Cell]] = {
    **service_verbs({"master": MASTER}),
    "kill-host": Verb("HOST", "cut its power: daemons, shepherds and jobs are gone", _kill_host),
    "start-host": Verb("HOST", "start it again, and its sge_execd", _start_host),
    "kill-execd": Verb("HOST", "kill sge_execd; shepherds and jobs live on", _kill_execd),
    "start-execd": Verb("HOST", "start sge_execd again", _start_host),
    "freeze-host": Verb("HOST", "let all that runs there hang", _freeze_host),
    "thaw-host": Verb("HOST", "let it go on", _thaw_host),
    "cut-host": Verb("HOST", "cut its network; what runs there goes on", _cut_host),
    "heal-host": Verb("HOST", "connect it again", _heal_host),
    "unmount": Verb("HOST:DIR", "let a directory be empty on one host", _unmount),
    "remount": Verb("HOST:DIR", "let it be there again", _remount),
    "fail-prolog": Verb("HOST", f"let {QUEUE}'s prolog fail there: the queue errs", _fail_prolog),
    "mend-prolog": Verb("HOST", "take that back, and clear the error", _mend_prolog),
    "kill-shepherd": Verb("JOBID", "kill a job's shepherd; the job lives on", _kill_shepherd),
    "rerun": Verb("JOBID", "have the master run it again", _rerun),
    "hide-accounting": Verb(
        "", "let clients find no accounting file", _on_all(Cell.hide_accounting)
    ),
    "show-accounting": Verb("", "let them find it again", _on_all(Cell.show_accounting)),
    "configure": Verb("KEY=VALUE", "set a line of the global configuration", _configure),
    "heal": Verb("", "undo every fault", _on_all(heal)),
    "clear": Verb("", "delete every job, and kill what is left of them", _on_all(clear)),
    "reset": Verb("", "heal, then clear", _on_all(reset)),
}
