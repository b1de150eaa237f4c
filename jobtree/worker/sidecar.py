"""The worker's sidecar: a tiny process that beats, syncs, and tidies up when the worker dies.

Owns the promises that must hold while the worker's own process is busy in C code, or dead;
must not import what it does not need, nor outlive the worker. Read next: main.py.

It is not a child of the worker, so that a Target's os.wait() never sees it. The worker sends it
words through a pipe: b"s" there are lines to sync, b"w" the same but they can wait a little,
b"g123;" a step runs as process group 123 (0: no longer), b"l99;" a step begins, whose output is
the log from byte 99 on, b"e" all is published.
"""

import os
from contextlib import suppress
from select import POLLIN, poll
from time import monotonic, sleep
from typing import TYPE_CHECKING, NamedTuple

from jobtree.mailbox.claims import write_beat
from jobtree.mailbox.descriptors import identity, leads_to, move_high
from jobtree.mailbox.doorbell import ring
from jobtree.mailbox.files import sync_file
from jobtree.mailbox.layout import bundle_path, log_path, result_path
from jobtree.mailbox.orders import Terms
from jobtree.mailbox.results import Synced, append_line
from jobtree.worker.log_limit import OutputLimit

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the same calls, without an enum made of each answer

SYNC_EVERY_S = 0.2
KILL_ROUNDS, KILL_ROUND_S = 50, 0.05
"""Processes end a moment after they are killed, and may have started others."""

WORKER_MARK = "JOBTREE_WORKER"
"""The variable that tells which worker a process was started by."""

LOG_EVERY_S, FLOOD_EVERY_S = 1.0, 0.1
"""How often to look at the size of a running step's output; and while it prints much."""

LOOK_EVERY_S = 0.5
"""How often to look whether the worker lives, if the kernel has no pidfd."""


class SidecarConfig(NamedTuple):
    """What a sidecar looks after."""

    tree: str
    issue: str
    terms: Terms
    claim_fd: int  # on the claim, which is the heartbeat too
    local: str  # the worker's local temp dir
    log: str  # where steps print
    mark: str  # WORKER_MARK in the environment of all processes that steps start


class Sidecar:
    """The worker's end of the pipe."""

    def __init__(self, config: SidecarConfig) -> None:
        """Start the sidecar process."""
        reader, writer = os.pipe()
        self._pipe = move_high(writer)
        self._identity = identity(self._pipe)
        os.set_blocking(self._pipe, False)
        self._due = b"w"
        worker, watch = os.getpid(), _pidfd(os.getpid())
        middle = os.fork()
        if middle == 0:
            try:
                os.setsid()
                if os.fork() == 0:
                    _keep_only((config.claim_fd, reader, watch))
                    _Watch(config, reader, worker, watch).keep()
            finally:
                os._exit(0)
        os.waitpid(middle, 0)
        os.close(reader)
        if watch >= 0:
            os.close(watch)

    def sync(self) -> None:
        """Have what was written so far synced soon; sent with the next word."""
        self._due = b"s"

    def begins_step(self, log_offset: int) -> None:
        """Tell where a step's output begins; have its start synced within SYNC_EVERY_S."""
        due, self._due = self._due, b"w"
        self._tell(b"%bl%d;" % (due, log_offset))

    def runs_group(self, group: int) -> None:
        """Have this process group killed if the worker dies; 0: none."""
        self._tell(b"g%d;" % group)

    def repair(self) -> bool:
        """Write no more to a descriptor that is not the pipe any more; tell whether it still is.

        A sidecar that hears nothing looks by itself.
        """
        if self._pipe < 0 or leads_to(self._pipe, self._identity):
            return self._pipe >= 0
        self._pipe = -1
        return False

    def end(self) -> None:
        """Tell that all is published and synced."""
        self._tell(b"e")

    def _tell(self, what: bytes) -> None:
        try:  # noqa: SIM105 - suppress() takes as long as the write
            os.write(self._pipe, what)
        except OSError:  # full: it will look anyway; closed: it looks by itself
            pass


class _Watch:
    """The sidecar's own life."""

    def __init__(self, config: SidecarConfig, reader: int, worker: int, watch: int) -> None:
        self._config, self._reader, self._worker, self._watch = config, reader, worker, watch
        self._born = _start_time(worker)
        self._results = -1
        self._group = self._beats = self._size = 0
        self._ended = self._deaf = self._failed = False
        self._pending = False
        self._synced_at = 0.0
        self._log = OutputLimit(config.log, config.terms.max_log_bytes)

    def keep(self) -> None:
        """Watch until the worker is gone, then tidy up."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        try:
            self._watch_worker()
        finally:
            self._tidy()

    def _watch_worker(self) -> None:
        next_beat = monotonic() + self._config.terms.heartbeat_s
        next_look = monotonic() + LOG_EVERY_S
        while True:
            now = monotonic()
            if now >= next_look:
                next_look = now + (FLOOD_EVERY_S if self._log.hold() else LOG_EVERY_S)
            if now >= next_beat:
                next_beat = now + self._config.terms.heartbeat_s
                self._beat()
            self._pending = self._pending or (self._deaf and self._grown())
            if self._pending and now >= self._synced_at + SYNC_EVERY_S:
                self._sync()
            until = min(next_beat, next_look)
            if self._pending or self._deaf:
                until = min(until, self._synced_at + SYNC_EVERY_S, now + SYNC_EVERY_S)
            if not self._lives(until - now):
                return

    def _lives(self, wait_s: float) -> bool:
        """Wait for news; tell whether the worker is still there."""
        waiting = poll()
        if self._watch >= 0:
            waiting.register(self._watch, POLLIN)
        else:
            wait_s = min(wait_s, LOOK_EVERY_S)
        if not self._pending and not self._deaf:  # else the news can wait until the sync
            waiting.register(self._reader, POLLIN)
        ready = {fd for fd, _ in waiting.poll(max(0, int(wait_s * 1000) + 1))}
        if self._watch in ready:
            return False
        if self._reader in ready or self._pending:
            self._listen()
        return self._watch >= 0 or _start_time(self._worker) == self._born

    def _listen(self) -> None:
        """Read what the worker has sent."""
        os.set_blocking(self._reader, False)
        try:
            told = os.read(self._reader, 65536)
        except BlockingIOError:
            return
        self._deaf = self._deaf or not told
        self._ended = self._ended or b"e" in told
        if b"w" in told and b"s" not in told and not self._pending:
            self._synced_at = monotonic()
        self._pending = self._pending or b"s" in told or b"w" in told
        self._group = _last_number(told, b"g", self._group)
        began = _last_number(told, b"l", -1)
        if began >= 0:
            self._log.begin(began)

    def _beat(self) -> None:
        self._beats += 1
        try:
            write_beat(self._config.claim_fd, self._beats)
            os.fsync(self._config.claim_fd)
        except OSError:
            pass

    def _grown(self) -> bool:
        self._open_results()
        return self._results >= 0 and os.fstat(self._results).st_size != self._size

    def _open_results(self) -> None:
        if self._results < 0:
            path = result_path(self._config.tree, self._config.issue)
            # an open file of its own: an error of fsync is told once per open file
            self._results = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)

    def _sync(self, dead: bool = False) -> None:
        """Sync what is there, and say so, unless the worker is dead: its last line may be torn."""
        self._pending, self._synced_at = False, monotonic()
        if self._failed:
            return
        try:
            self._open_results()
            size = os.fstat(self._results).st_size
            sync_file(bundle_path(self._config.tree, self._config.issue))
            os.fsync(self._results)
            if not dead and size and os.pread(self._results, 1, size - 1) == b"\n":
                append_line(self._results, Synced(size))
            self._size = os.fstat(self._results).st_size
        except OSError:
            self._failed = True  # the worker's own fsync will tell the same
            return
        bell = self._config.terms.doorbell
        if bell is not None:
            ring(bell, self._config.issue)

    def _tidy(self) -> None:
        """Do what the worker can no longer do."""
        self._listen()
        if not self._ended:
            if self._group > 1:
                with suppress(OSError):
                    os.killpg(self._group, signal.SIGKILL)
            _kill_marked(f"{WORKER_MARK}={self._config.mark}".encode())
            self._keep_output()
            self._sync(dead=True)
        if os.path.lexists(self._config.local):
            from jobtree.mailbox.files import remove_tree

            remove_tree(self._config.local)

    def _keep_output(self) -> None:
        """Shorten the output of the last step, and put it where it is looked for."""
        said, kept_log = self._log.shorten(), log_path(self._config.tree, self._config.issue)
        if said and self._config.log != kept_log:
            from jobtree.worker.steplog import append

            with suppress(OSError):
                append(kept_log, said)


def _last_number(told: bytes, letter: bytes, otherwise: int) -> int:
    """Return the number after the last such letter in what was sent."""
    _, found, rest = told.rpartition(letter)
    return int(rest.partition(b";")[0]) if found and b";" in rest else otherwise


def _keep_only(kept: tuple[int, ...]) -> None:
    """Close every descriptor but these: a pipe that this process held open would never end."""
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    low = 3
    for fd in (*sorted(fd for fd in kept if fd > 2), 65536):
        os.closerange(low, fd)
        low = fd + 1


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _start_time(pid: int) -> bytes:
    """Return when a process started, in the kernel's own unit; b"" if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return b""
    return b"" if fields[0] in (b"Z", b"X") else fields[19]


def _kill_marked(mark: bytes) -> None:
    """Kill all processes whose environment has this entry, and those they start meanwhile.

    A worker that was killed may have started a command and not have said so yet.
    """
    for _ in range(KILL_ROUNDS):
        found = False
        for pid in (name for name in os.listdir("/proc") if name.isdecimal()):
            with suppress(OSError):  # another user's, or gone
                with open(f"/proc/{pid}/environ", "rb") as file:
                    marked = mark in file.read().split(b"\0")
                if marked:
                    os.kill(int(pid), signal.SIGKILL)
                    found = True
        if not found:
            return
        sleep(KILL_ROUND_S)
