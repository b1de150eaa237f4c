"""What a running step may ask for, and what it leaves behind besides its output.

Owns the step's directories, messages and files to publish; must not run anything.
Read next: ../worker/chain.py, which makes one for each step. A StepContext is never pickled.
"""

from __future__ import annotations

import os

from jobtree.core.job import Requirements
from jobtree.errors import JobTreeError
from jobtree.mailbox.layout import attempt_directory, global_directory, job_directory

MOST_MESSAGE_BYTES = 64 * 1024
"""What one step may tell the master in all; the rest is dropped, saying so."""


class ThisProcess:
    """What kind of process this is."""

    in_worker = False
    """It is a worker, where no workflow may be started."""
    used = False
    """A Target has run in it, and may have left anything."""


def scratch_on_node(wanted: str) -> str:
    """Return where local directories are made on this node; `wanted` may contain $VARIABLES."""
    found = os.path.expandvars(wanted) if wanted else ""
    if not found or "$" in found:
        found = os.environ.get("TMPDIR") or os.environ.get("TMP") or "/tmp"  # noqa: S108 - a private one is made in it
    return os.path.abspath(found)


class LocalDirectory:
    """A worker's private directory on the node, made when it is first asked for.

    Each step that asks gets an empty directory of its own in it.
    """

    def __init__(self, path: str, steps: int = 0) -> None:
        self.path = path
        self.steps = steps  # how many steps were before
        self._now = ""  # the present step's directory, "" if it has none

    def look_again(self) -> None:
        """Look for the present step's directory: another process that ran it may have made it."""
        if os.path.isdir(f"{self.path}/{self.steps}"):
            self._now = f"{self.path}/{self.steps}"

    def ask(self) -> str:
        """Return the directory of the present step; make it if there is none yet."""
        if not self._now:
            self._now = f"{self.path}/{self.steps}"
        if not os.path.isdir(self._now):
            make_private(self.path)
            make_private(self._now)
        return self._now

    def claim(self) -> str:
        """Make the directory itself, for files that all steps share, and return it."""
        make_private(self.path)
        return self.path

    def holds(self, path: str) -> bool:
        """Tell whether `path` lies in this directory."""
        return os.path.realpath(path).startswith(os.path.realpath(self.path) + "/")

    def next_step(self) -> None:
        """Remove the present step's directory; the next step gets another."""
        if self._now:
            remove_directory(self._now)
        self._now = ""
        self.steps += 1

    def remove(self) -> None:
        """Remove everything."""
        remove_directory(self.path)


class StepContext:
    """One attempt at one step, seen from inside."""

    def __init__(
        self,
        tree: str,
        job: int,
        attempt: int,
        step: int,
        depth: int,
        granted: Requirements,
        local: LocalDirectory,
    ) -> None:
        self.tree, self.job, self.attempt, self.step = tree, job, attempt, step
        self.depth, self.granted, self.local = depth, granted, local
        self.messages: list[str] = []
        self.publish: list[list[str]] = []
        self.has_directory = False
        self._message_bytes = 0

    def say(self, message: str) -> None:
        """Keep a message for the master's log."""
        self._message_bytes += len(message)
        if self._message_bytes <= MOST_MESSAGE_BYTES:
            self.messages.append(message)
        elif self.messages[-1:] != [_DROPPED]:
            self.messages.append(_DROPPED)

    def global_directory(self) -> str:
        """Return the directory that this step shares with its follow-on; make it if need be."""
        return self._own(global_directory(self.tree, self.job, self.depth))

    def attempt_directory(self) -> str:
        """Return the directory that only this attempt at the job sees; make it if need be."""
        return self._own(attempt_directory(self.tree, self.job, self.attempt))

    def drop_deeper_directory(self) -> None:
        """Remove the directory of the steps one level down: they are over when this one runs."""
        if self.step:
            remove_directory(global_directory(self.tree, self.job, self.depth + 1))

    def add_move(self, source: str | os.PathLike[str], destination: str | os.PathLike[str]) -> None:
        """Have the master move `source` to `destination` when it adopts this step.

        Raises TypeError if one of them is no path, JobTreeError (JT421) if it cannot be moved.
        """
        source, destination = os.fsdecode(source), os.fsdecode(destination)
        fault = self._fault_of_move(source, destination)
        if fault:
            raise JobTreeError(
                f"publish({source!r}, {destination!r}): {fault}",
                code="JT421",
                fix="write the file in getAttemptDir(), and give its final, absolute path",
            )
        self.publish.append([source, destination])

    def _fault_of_move(self, source: str, destination: str) -> str:
        if "\0" in source + destination:
            return "no path has a NUL in it"
        if not os.path.isabs(source) or not os.path.isabs(destination):
            return "both paths must be absolute"
        if not os.path.lexists(source):
            return "the source does not exist"
        if self.local.holds(source):
            return "the source is in the local temp dir, which vanishes with this worker"
        if not os.path.isdir(os.path.dirname(destination)):
            return "the destination's directory does not exist"
        if os.path.isdir(destination):
            return "the destination is a directory"
        if any(destination == to or source == move for move, to in self.publish):
            return "the source or the destination was published before"
        return ""

    def _own(self, path: str) -> str:
        if not os.path.isdir(path):
            parent = job_directory(self.tree, self.job)
            make_private(os.path.dirname(parent))
            make_private(parent)
            make_private(path)
        self.has_directory = True
        return path


_DROPPED = f"(more messages were dropped: a step may send {MOST_MESSAGE_BYTES // 1024} KB)"


def make_private(path: str) -> None:
    """Make a directory for this user alone; an existing one must be this user's own."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if found.st_uid != os.geteuid() or not os.path.isdir(path) or os.path.islink(path):
            raise JobTreeError(
                f"{path} is not a directory of your own", code="JT420", fix="remove it"
            ) from None


def remove_directory(path: str) -> None:
    """Remove a directory and all in it; fast if it is empty or gone."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        from jobtree.mailbox.files import remove_tree

        remove_tree(path)
