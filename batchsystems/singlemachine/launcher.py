"""The small process around one job: starts it, limits it, kills its whole tree, records its end.

Runs alone (`python -I -S launcher.py KEY=VALUE ... -- ARGV`), outlives whoever started it, and
must import only the standard library. Read next: adapter.py, which starts launchers.

What the order means: job (name.index), state (the directory of records), time (limit, s),
grace (s between SIGTERM and SIGKILL), cwd, output, oom (the kernel's file that counts
out-of-memory kills), kill_after_s (after which the tree is killed, for AcidTest). cpus, memory and
gpus stand there for adopt(), which reads a living launcher's order.

Exit status: 0 the end is recorded; 70 nothing was started, as its end could not have been
recorded; 71 the end could not be recorded.
"""

from __future__ import annotations

import _ctypes  # ctypes itself costs more than all else that is imported here
import os
import resource
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # signal without its enums: their import costs 5 ms of 20

MARKER = "BATCHSYSTEMS_JOB"
"""Environment variable of every process of a job: finds survivors of a killed launcher."""

WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""Blocked from before the launcher's first instruction, taken by sigtimedwait."""

_NAMES = {int(getattr(signal, name)): name for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")}
NOTHING_STARTED, NOT_RECORDED = 70, 71
RECORD_BYTES = 4096
NEVER = float("inf")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_PRCTL = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]  # None: C


class ProcessStat:
    """One line of the process table, from /proc/PID/stat."""

    __slots__ = ("group", "parent", "pid", "rss_bytes", "session", "start", "state")

    def __init__(self, pid: int, stat: bytes) -> None:
        fields = stat[stat.rindex(b")") + 2 :].split()
        self.pid, self.state = pid, fields[0].decode()
        self.parent, self.group, self.session = int(fields[1]), int(fields[2]), int(fields[3])
        self.start = int(fields[19])
        self.rss_bytes = int(fields[21]) * resource.getpagesize()


def own_peak_kb() -> int:
    """Return the peak of this process's own memory: what a child's ru_maxrss begins with.

    Our own ru_maxrss would not do: it began with the peak of whoever started us.
    """
    try:
        with open("/proc/self/status", "rb") as file:
            return int(file.read().partition(b"VmHWM:")[2].split(None, 1)[0])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def read_process(pid: int | str) -> ProcessStat | None:
    """Return the process, None if there is none (any more)."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        try:
            return ProcessStat(int(pid), os.read(fd, 2048))
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return None


def read_table() -> list[ProcessStat]:
    """Return all processes that /proc shows."""
    found = [read_process(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [process for process in found if process is not None]


def descendants(table: list[ProcessStat], roots: list[int]) -> dict[int, list[ProcessStat]]:
    """Return for each root its living descendants, the root itself left out."""
    children: dict[int, list[ProcessStat]] = {}
    for process in table:
        children.setdefault(process.parent, []).append(process)
    trees = {}
    for root in roots:
        tree = list(children.get(root, ()))
        for process in tree:  # grows while it is walked
            tree += children.get(process.pid, ())
        trees[root] = [process for process in tree if process.state not in "ZX"]
    return trees


def count_oom_kills(path: str) -> int:
    """Return the kernel's count of out-of-memory kills, 0 where it keeps none."""
    try:
        with open(path, encoding="ascii") as lines:
            return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    except (OSError, ValueError, IndexError):
        return 0


class Supervisor:
    """One command and everything it starts."""

    def __init__(self, order: dict[str, str], argv: list[str], env: dict[str, str]) -> None:
        me = read_process("self") or read_process(os.getpid())
        self.key = f"{order['job']}.{os.getpid()}-{me.start if me else 0}"
        self.order, self.argv, self.env = order, argv, {**env, MARKER: self.key}
        self.grace_s = float(order.get("grace", "5"))
        self.main = 0
        self.status: int | None = None
        self.reason, self.evidence = "", list[str]()
        self.started = self.ended = time.monotonic()
        self.time_limit_at = self.planned_kill_at = self.kill_at = NEVER
        self.left_behind = 0
        self.killed_as_planned = False
        self.asked = set[tuple[int, int]]()

    def run(self) -> int:
        """Run the command to the end of its last descendant; return the exit status."""
        path = os.path.join(self.order["state"], self.key)
        try:
            record = os.open(f"{path}.live", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            words = "\n".join(["order", *(f"{word}={self.order[word]}" for word in self.order), ""])
            os.write(record, words.encode(errors="surrogateescape").ljust(RECORD_BYTES))
        except OSError:
            return NOTHING_STARTED
        oom_kills = count_oom_kills(self.order.get("oom", ""))
        own_rss = own_peak_kb()
        self._start()
        self._supervise()
        try:
            os.pwrite(record, self._describe(oom_kills, own_rss), 0)
            os.ftruncate(record, RECORD_BYTES)
            os.close(record)
            os.rename(f"{path}.live", f"{path}.end")
        except OSError:
            return NOT_RECORDED
        return 0

    def _start(self) -> None:
        reader, writer = os.pipe()
        launcher = os.getpid()
        self.started = time.monotonic()
        try:
            self.main = os.fork()
            if self.main == 0:
                self._become_command(writer, launcher)
        except OSError as error:
            os.write(writer, f"cannot make a process for it: {error.strerror}".encode())
        os.close(writer)
        with open(reader, "rb") as pipe:  # closed by a successful exec
            failure = pipe.read().decode(errors="replace")
        if failure:
            self.reason, self.evidence = "LAUNCH_FAILED", [failure]
        if "time" in self.order:
            self.time_limit_at = self.started + float(self.order["time"])
        if "kill_after_s" in self.order:
            self.planned_kill_at = self.started + float(self.order["kill_after_s"])

    def _become_command(self, failures: int, launcher: int) -> None:
        """Turn this forked child into the command; on failure say why and exit."""
        doing = "cannot prepare its process"
        try:
            _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
            if os.getppid() != launcher:
                os._exit(127)
            os.setpgid(0, 0)
            doing = f"cannot enter its directory {self.order.get('cwd', '.')}"
            os.chdir(self.order.get("cwd", "."))
            doing = f"cannot open its output file {self.order.get('output', os.devnull)}"
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            output = os.open(self.order.get("output", os.devnull), flags, 0o666)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            doing = f"cannot start {self.argv[0]}"
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execvpe(self.argv[0], self.argv, self.env)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            os.write(failures, f"{doing}: {why}".encode(errors="replace"))
        finally:
            os._exit(127)

    def _supervise(self) -> None:
        """Wait for the command and for all it started; carry out limits and requests."""
        pause_s = 0.001
        while not self._reap():
            now = time.monotonic()
            if self.status is not None and self.kill_at == NEVER:
                self.kill_at, self.left_behind = now, self.left_behind or -1
            if now >= self.kill_at:
                if not self._kill_all():
                    return
                signal.sigtimedwait((signal.SIGCHLD,), pause_s)
                pause_s = min(2 * pause_s, 0.1)
                continue
            if now >= self.planned_kill_at:
                self.kill_at, self.killed_as_planned = now, True
                self.evidence.append(f"AcidTest killed it after {now - self.started:.3f} s")
                continue
            if now >= self.time_limit_at:
                self.time_limit_at = NEVER
                self._request_end("TIME_LIMIT", f"it ran longer than {self.order['time']} s")
            wait_s = min(self.kill_at, self.time_limit_at, self.planned_kill_at) - time.monotonic()
            news = signal.sigtimedwait(WATCHED, min(max(wait_s, 0.0), 3600.0))
            if news is not None and news.si_signo == signal.SIGCHLD and self.asked:
                self._ask_all()
            if news is None or news.si_signo == signal.SIGCHLD or self._reap():
                continue
            sender = f"{_NAMES[news.si_signo]} from process {news.si_pid}"
            if news.si_signo == signal.SIGUSR1:
                self._request_end("OUT_OF_MEMORY", f"{sender}: memory limit", at_once=True)
            else:
                self._request_end("CANCELLED", sender)

    def _reap(self) -> bool:
        """Collect what has ended; True once nothing of the job is left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return False
                if pid == self.main:
                    self.status, self.ended = status, time.monotonic()
        except ChildProcessError:
            return True

    def _request_end(self, reason: str, evidence: str, at_once: bool = False) -> None:
        """Ask the tree to end, SIGKILL after the grace; the first request names the reason."""
        if self.status is None and not self.reason:
            self.reason = reason
            self.evidence.append(evidence)
        now = time.monotonic()
        if at_once:
            self.kill_at = now
        elif self.kill_at == NEVER:
            self.kill_at = now + self.grace_s
            self._ask_all()

    def _ask_all(self) -> None:
        """Send SIGTERM to every descendant once, also to those forked meanwhile.

        Parents first: the command is to die of the signal, not to see its children die of it.
        """
        me = os.getpid()
        while True:
            tree = descendants(read_table(), [me])[me]
            new = [process for process in tree if (process.pid, process.start) not in self.asked]
            if not new:
                return
            for process in new:
                self.asked.add((process.pid, process.start))
                _send(process.pid, signal.SIGTERM)
                _send(process.pid, signal.SIGCONT)  # a stopped process hears nothing

    def _kill_all(self) -> bool:
        """Send SIGKILL to every descendant; False if none of them can be reached.

        Whole groups first: the kernel signals a group in one go, so that a group that forks
        cannot outrun it. Parents before their children, as when they are asked.
        """
        me = os.getpid()
        tree = descendants(read_table(), [me])[me]
        if self.left_behind == -1:
            self.left_behind = len(tree)
        for group in dict.fromkeys(process.group for process in tree):
            if group not in (me, 0, 1):
                _send(-group, signal.SIGKILL)
        reached = [_send(process.pid, signal.SIGKILL) for process in tree]
        if tree and not any(reached):
            self.evidence.append(f"{len(tree)} of its processes cannot be signalled by this user")
            return False
        return True

    def _describe(self, oom_kills: int, own_rss: int) -> bytes:
        """Return the end record: lines `word value`, the last one `complete`."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = os.waitstatus_to_exitcode(self.status) if self.status is not None else None
        reason = self.reason or ("OK" if code == 0 else "FAILED")
        if (
            not self.reason
            and code in (-signal.SIGKILL, 128 + signal.SIGKILL)
            and not self.killed_as_planned
        ):
            kills = count_oom_kills(self.order.get("oom", "")) - oom_kills
            if kills > 0:
                reason = "OUT_OF_MEMORY"
                self.evidence.append(f"the kernel counted {kills} out-of-memory kills meanwhile")
        if self.left_behind > 0:
            self.evidence.append(f"{self.left_behind} processes it left behind were killed")
        lines = [f"reason {reason}", f"wall_s {self.ended - self.started:.6f}"]
        lines += [f"cpu_s {usage.ru_utime + usage.ru_stime:.6f}"]
        if code is not None and reason != "LAUNCH_FAILED":
            lines += [f"exit_status {code}" if code >= 0 else f"signal {-code}"]
        if usage.ru_maxrss > own_rss:  # else it may be the launcher's own, before exec
            lines += [f"memory_bytes {usage.ru_maxrss * 1024}"]
        for evidence in self.evidence[:4]:
            lines += [f"evidence {' '.join(evidence.split())[:400]}"]
        record = "\n".join([*lines, "complete", ""]).encode(errors="replace")
        return record.ljust(RECORD_BYTES)[:RECORD_BYTES]


def _prctl(option: int, value: int) -> None:
    _ctypes.call_function(_PRCTL, (option, value, 0, 0, 0))


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def main(words: list[str], env: dict[str, str]) -> int:
    """Run the order given as command-line words; return the exit status."""
    signal.pthread_sigmask(signal.SIG_SETMASK, WATCHED)
    os.closerange(3, 1 << 20)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    end = words.index("--")
    order = dict(word.split("=", 1) for word in words[:end])
    return Supervisor(order, words[end + 1 :], env).run()


if __name__ == "__main__":
    os._exit(main(sys.argv[1:], dict(os.environ)))
