"""The master's side of the mailbox, as one object that a simulation can stand in for.

Owns which result files are being read; knows no colours. Read next: ../master/loop.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jobtree.core.job import Command, Pickle
from jobtree.errors import StoreError
from jobtree.mailbox import claims, control, layout, orders
from jobtree.mailbox.bundles import read_pickle
from jobtree.mailbox.doorbell import Doorbell
from jobtree.mailbox.files import (
    exists_after_listing,
    read_file,
    remove_file,
    remove_tree,
    sync_directory,
    sync_file,
)
from jobtree.mailbox.keepalive import KeepAlive, keep_alive_during, nothing
from jobtree.mailbox.results import Done, Hello, ResultLine, ResultReader, Start, read_children

TAIL_BYTES = 4096

WRITTEN_BY_MASTERS = (
    layout.ENVIRONMENT,
    layout.SETUP_ENVIRONMENT,
    layout.MARKER,
    layout.STATUS,
    "bell",
)
"""Files of which a master that was killed may have left a draft."""

TIDIED_AT_ONCE = 1000

PIECE_BYTES = 64 * 2**20


class Mailbox:
    """Orders out, results in."""

    keep_alive: KeepAlive = staticmethod(nothing)
    """Called between the pieces of whatever may take long, to renew the lease; it may raise."""

    def __init__(self, tree: str, bell_host: str | None, here: bool = False) -> None:
        """Open the mailbox of a tree.

        here: all workers run on this machine. If it crashes they are gone too, so their orders
        need not survive it; their jobs are then issued again, under new names.
        """
        self._tree, self._here = tree, here
        self._readers: dict[str, ResultReader] = {}
        self._tidied: set[str] = set()
        self.bell = Doorbell(bell_host)
        control.write_bell(tree, self.bell.address)

    def post(self, terms: orders.Terms, packs: list[list[orders.Assignment]]) -> None:
        """Write the order of a submission. Raises StoreError JT316 if it cannot be written."""
        try:
            orders.write_order(self._tree, terms, packs, sync=not self._here)
        except OSError as error:
            raise StoreError(
                f"an order cannot be written: {error.strerror}",
                code="JT316",
                where=layout.order_path(self._tree, terms.submission),
                why="all that was committed is safe",
                fix="free some space (or quota), then restart the tree",
            ) from error

    def is_of_another(self, submission: str, program: str) -> bool:
        """Tell whether a submission was made for workers of another program, an older jobTree."""
        return orders.is_of_another(layout.order_path(self._tree, submission), program)

    def read(self, issue: str, final: bool = False) -> list[ResultLine]:
        """Return the new lines of an issue that are known to be on disk; with `final`, all.

        final: makes durable first what the worker had no time for. A step whose children cannot be
        read back whole is not believed, nor is anything after it.
        """
        reader = self._reader(issue)
        if not final:
            return reader.read()
        if not reader.ended:
            self._prepare_last_read(issue)
        lines = reader.read(final=True)
        for at in range(len(lines) - reader.doubtful, len(lines)):
            line = lines[at]
            if isinstance(line, Done) and not all(map(self._holds, self._pickles(issue, line))):
                reader.damage = f"what job {line.job} bore never reached {reader.path}'s bundle"
                return lines[:at]
        return lines

    def running(self, issue: str) -> Start | None:
        """Return the step that an issue's worker is seen to have begun and not ended."""
        return self._reader(issue).running

    def hello(self, issue: str) -> Hello | None:
        """Return who runs an issue, if its results have begun."""
        return self._reader(issue).hello

    def damage(self, issue: str) -> str:
        """Return why the rest of an issue's results is not believed; "" if it is."""
        return self._reader(issue).damage

    def children(self, issue: str, offset: int, job: int, count: int) -> Iterator[Command]:
        """Yield children that were too many for the line of their step."""
        return read_children(layout.result_path(self._tree, issue), offset, job, count)

    def beat(self, issue: str) -> int | None:
        """Return the heartbeats of an issue's worker; None if none has claimed it."""
        claim = claims.read_claim(self._tree, issue)
        return None if claim is None else claim.beat

    def fence(self, issue: str, word: str) -> None:
        """Tell an issue's worker to stop or to hand back."""
        claims.write_fence(self._tree, issue, word)

    def tidy(self, submission: str, issues: Iterable[str]) -> None:
        """Remove all files of a submission that can no longer start and whose results are read.

        The order goes first: a copy that starts late runs nothing without it.
        """
        names = set(issues)
        remove_file(layout.order_path(self._tree, submission))
        for issue in names:
            self.keep_alive()
            claims.remove_claim(self._tree, issue)
            self._readers.pop(issue, None)
            remove_file(layout.result_path(self._tree, issue))
            remove_file(layout.fence_path(self._tree, issue))
            _remove_if_empty(layout.log_path(self._tree, issue))
        _remove_if_empty(layout.output_path(self._tree, submission))
        self._tidied |= names
        if len(self._tidied) >= TIDIED_AT_ONCE:
            self._remove_notes()

    def _remove_notes(self) -> None:
        """Remove the notes of lost claims, of many issues at once: it takes a listing."""
        if self._tidied:
            claims.remove_claims(self._tree, self._tidied)
            self._tidied.clear()

    def forget_bundles(self, names: Iterable[str]) -> None:
        """Remove bundles no living job needs."""
        for name in names:
            self.keep_alive()
            remove_file(layout.bundle_path(self._tree, name))

    def sweep(
        self, submissions: set[str], bundles: set[str], is_live: Callable[[int], bool]
    ) -> None:
        """Remove what an earlier master should have removed.

        submissions, bundles: those still needed; is_live: whether a job is unfinished.
        Orders go first, as in tidy().
        """
        for folder in (layout.ORDERS, layout.CLAIMS, layout.FENCES, layout.RESULTS):
            for name in os.listdir(f"{self._tree}/{folder}"):
                self.keep_alive()
                issue = name.partition("~")[0]
                submission = issue if folder == layout.ORDERS else issue.rpartition(".")[0]
                if submission not in submissions:
                    remove_file(f"{self._tree}/{folder}/{name}")
        self._sweep_drafts()
        for name in os.listdir(f"{self._tree}/{layout.BUNDLES}"):
            self.keep_alive()
            if name not in bundles and name.rpartition(".")[0] not in submissions:
                remove_file(f"{self._tree}/{layout.BUNDLES}/{name}")
        for group in os.listdir(f"{self._tree}/{layout.DIRECTORIES}"):
            for job in os.listdir(f"{self._tree}/{layout.DIRECTORIES}/{group}"):
                if not is_live(int(job)):
                    remove_tree(f"{self._tree}/{layout.DIRECTORIES}/{group}/{job}", self.keep_alive)

    def _sweep_drafts(self) -> None:
        """Remove what a master was writing when it was killed."""
        for folder in (self._tree, f"{self._tree}/{layout.CONTROL}"):
            for name in os.listdir(folder):
                whole, draft, _ = name.partition("~")
                if draft and (whole in WRITTEN_BY_MASTERS or whole.endswith(".answer")):
                    remove_file(f"{folder}/{name}")

    def remove_job_directory(self, job: int) -> None:
        """Remove what a finished job had on the shared file system."""
        remove_tree(layout.job_directory(self._tree, job), self.keep_alive)

    def move(self, source: str, destination: str) -> None:
        """Move a published output into place."""
        move(source, destination, self.keep_alive)

    def remove_local(self, hello: Hello) -> None:
        """Remove the local temp dir of a dead worker, if it ran on this host."""
        here = os.uname().nodename == hello.host
        if here and os.path.basename(hello.local).startswith("jobtree-"):
            try:
                ours = os.lstat(hello.local).st_uid == os.geteuid()
            except OSError:
                return
            if ours:
                remove_tree(hello.local, self.keep_alive)

    def rung(self) -> set[str]:
        """Return the issues whose workers have rung."""
        return self.bell.answer()

    def requests(self) -> list[control.ControlRequest]:
        """Return what other commands ask."""
        return control.waiting_requests(self._tree)

    def answer(self, request: control.ControlRequest, said: dict[str, Any]) -> None:
        """Answer one of them."""
        control.answer(self._tree, request, said)

    def failure_tail(self, job: int, step: int, attempt: int) -> str:
        """Return the end of what a failed step printed."""
        return _tail(layout.failed_log_path(self._tree, job, step, attempt))

    def worker_tail(self, issue: str) -> str:
        """Return the end of a worker's log."""
        return _tail(layout.log_path(self._tree, issue))

    def launch_tail(self, submission: str) -> str:
        """Return the end of what a submission's tasks printed before their workers took over."""
        return _tail(layout.output_path(self._tree, submission))

    def close(self) -> None:
        """Stop listening, and leave nothing that is over."""
        self.bell.close()
        self._remove_notes()

    def _prepare_last_read(self, issue: str) -> None:
        exists_after_listing(layout.result_path(self._tree, issue))
        sync_file(layout.bundle_path(self._tree, issue))

    def _holds(self, where: Pickle) -> bool:
        try:
            return bool(read_pickle(self._tree, where))
        except (OSError, StoreError):
            return False

    def _pickles(self, issue: str, line: Done) -> Iterator[Pickle]:
        """Yield where the children and the follow-on of a step lie."""
        yield from (c.pickle for c in line.children if c.pickle is not None)
        if line.follow_on is not None and line.follow_on.pickle is not None:
            yield line.follow_on.pickle
        if line.children_at >= 0:
            children = self.children(issue, line.children_at, line.job, line.child_count)
            yield from (c.pickle for c in children if c.pickle is not None)

    def _reader(self, issue: str) -> ResultReader:
        reader = self._readers.get(issue)
        if reader is None:
            reader = self._readers[issue] = ResultReader(layout.result_path(self._tree, issue))
        return reader


def move(source: str, destination: str, keep_alive: KeepAlive = nothing) -> None:
    """Move a file or directory into place, durably; done before is done.

    Across file systems it is copied beside the destination first, so that the destination
    appears whole. keep_alive: called between pieces of the work. Raises OSError if it cannot be.
    """
    if not os.path.lexists(source):
        if os.path.lexists(destination):
            return
        raise FileNotFoundError(f"published {source} is gone, and {destination} is not there")
    try:
        _sync_contents(source, keep_alive)
        os.rename(source, destination)
    except OSError as error:
        if error.errno != 18:  # EXDEV: another file system
            raise
        draft = f"{destination}~publishing"
        remove_tree(draft, keep_alive) if os.path.isdir(draft) else remove_file(draft)

        def copy(one: str, other: str) -> None:
            _copy(one, other, keep_alive)

        if os.path.isdir(source) and not os.path.islink(source):
            shutil.copytree(source, draft, symlinks=True, copy_function=copy)
        else:
            copy(source, draft)
        _sync_contents(draft, keep_alive)
        os.rename(draft, destination)
        remove_tree(source, keep_alive) if os.path.isdir(source) else remove_file(source)
    sync_directory(os.path.dirname(os.path.abspath(destination)))


def _copy(source: str, target: str, keep_alive: KeepAlive) -> None:
    """Copy a file with its times and mode, in pieces that are written out one by one."""
    if os.path.islink(source) or os.path.getsize(source) <= PIECE_BYTES:
        keep_alive()
        shutil.copy2(source, target, follow_symlinks=False)
        return
    with open(source, "rb", buffering=0) as one, open(target, "wb", buffering=0) as other:
        while os.sendfile(other.fileno(), one.fileno(), None, PIECE_BYTES):
            os.fsync(other.fileno())
            keep_alive()
    shutil.copystat(source, target)


def _sync_contents(path: str, keep_alive: KeepAlive) -> None:
    """Make a file, or all files of a directory, durable: what is adopted must not be lost."""
    if os.path.isfile(path) and not os.path.islink(path):
        _sync(path, keep_alive)
    for folder, _, names in os.walk(path):
        for name in names:
            if os.path.isfile(f"{folder}/{name}") and not os.path.islink(f"{folder}/{name}"):
                _sync(f"{folder}/{name}", keep_alive)
        sync_directory(folder)


def _sync(path: str, keep_alive: KeepAlive) -> None:
    """Make a file durable. That of a large one is one call, and may take minutes: meanwhile, too.

    Raises OSError.
    """
    keep_alive()
    if os.path.getsize(path) <= PIECE_BYTES:
        sync_file(path)
        return
    keep_alive_during(lambda: sync_file(path), keep_alive)


def _remove_if_empty(path: str) -> None:
    try:
        if os.path.getsize(path) == 0:
            remove_file(path)
    except OSError:
        pass


def _tail(path: str) -> str:
    try:
        size = os.path.getsize(path)
        return read_file(path, max(0, size - TAIL_BYTES)).decode(errors="backslashreplace")
    except OSError:
        return ""
