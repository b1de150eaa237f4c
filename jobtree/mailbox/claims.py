"""Claims and fences: only one of several copies of an issue runs, and it can be told to stop.

Owns the hard-link protocol; knows no colours. Read next: results.py.

A worker writes a file of its own and links it to the claim's name; it holds the claim if its
own file then has two links. The result of link() itself does not count: over NFS the reply can be
lost after success. The claim file is also the heartbeat: its first line is overwritten.
"""

import json
import os
import re
from typing import Any, NamedTuple

from jobtree.mailbox.files import (
    exists_after_listing,
    read_file,
    remove_file,
    sync_directory,
    write_all,
    write_file,
)
from jobtree.mailbox.layout import claim_path, fence_path

BEAT_BYTES = 17
"""A beat is a decimal count in 16 columns and a newline, rewritten in place."""


class Claim(NamedTuple):
    """Who runs an issue."""

    host: str
    pid: int
    nonce: str
    started: float  # epoch seconds, by that host's clock
    beat: int  # heartbeats so far


def take_claim(tree: str, issue: str, claim: Claim) -> int | None:
    """Try to claim an issue; return the descriptor of the claim file, None if it is taken.

    The loser leaves a note beside the claim, so that a requeued copy of a dead first run is
    recognised. Raises OSError if the claim can be neither taken nor found taken.
    """
    path = claim_path(tree, issue)
    own = f"{path}~{claim.host}.{claim.pid}.{claim.nonce}"
    who = {"host": claim.host, "pid": claim.pid, "nonce": claim.nonce, "started": claim.started}
    fd = os.open(own, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        write_all(fd, b"%16d\n" % 0 + json.dumps(who).encode() + b"\n")
        os.fsync(fd)
        link_error = None
        try:
            os.link(own, path)
        except OSError as error:
            link_error = error
        if os.fstat(fd).st_nlink == 2:
            remove_file(own)
            sync_directory(os.path.dirname(path))
            return fd
        if not os.path.lexists(path) and link_error is not None:
            remove_file(own)
            raise link_error
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    os.rename(own, _note_path(tree, issue, claim.nonce))
    return None


def remove_note(tree: str, issue: str, nonce: str) -> None:
    """Remove the note that take_claim() left, for an issue that nobody cares for any more."""
    remove_file(_note_path(tree, issue, nonce))


def _note_path(tree: str, issue: str, nonce: str) -> str:
    return f"{claim_path(tree, issue)}~lost.{nonce}"


def write_beat(fd: int, beat: int) -> None:
    """Renew the heartbeat of a claim held by descriptor `fd`."""
    os.pwrite(fd, b"%16d\n" % beat, 0)


def read_claim(tree: str, issue: str) -> Claim | None:
    """Return who holds an issue and its heartbeats; None if nobody is seen to.

    A claim that is empty or torn, as after a crash of its node, has an unknown holder.
    """
    try:
        content = read_file(claim_path(tree, issue))
    except FileNotFoundError:
        return None
    try:
        who: dict[str, Any] = json.loads(content[BEAT_BYTES:])
        beat = int(content[:BEAT_BYTES])
        return Claim(who["host"], who["pid"], who["nonce"], who["started"], beat)
    except (ValueError, KeyError, TypeError):
        return Claim("", 0, "", 0.0, 0)


def remove_claim(tree: str, issue: str) -> None:
    """Remove the claim of an issue; what losers left beside it stays for remove_claims()."""
    remove_file(claim_path(tree, issue))


def remove_claims(tree: str, issues: set[str]) -> None:
    """Remove the claims of these issues, the losers' notes, and unfinished drafts."""
    folder = os.path.dirname(claim_path(tree, "x"))
    for name in os.listdir(folder):
        if name.partition("~")[0] in issues:
            remove_file(f"{folder}/{name}")


class Fence:
    """What a fence says to the worker behind it."""

    STOP = "stop"
    """Your work is void: run no further step."""
    RECALL = "recall"
    """End the present step and hand back what was not started: all, or as recall() says."""

    @staticmethod
    def recall(parts: int, serial: int) -> str:
        """Return the word that recalls all but 1/`parts` of the jobs not started (0: all).

        serial: makes two recalls of the same size different, so that each counts.
        """
        return f"{Fence.RECALL} {parts} {serial}"

    @staticmethod
    def kept(word: str | None, waiting: int) -> int:
        """Return how many of `waiting` jobs not started a worker keeps that is told `word`."""
        first, *more = (word or "").split() or [""]
        if first != Fence.RECALL:
            return waiting
        return count_kept(int(more[0]), waiting) if more else 0


def count_kept(parts: int, waiting: int) -> int:
    """Return how many of `waiting` jobs are one of `parts` parts, rounded up; 0 parts: none."""
    return -(-waiting // parts) if parts else 0


def write_fence(tree: str, issue: str, word: str) -> None:
    """Raise a fence before the worker of an issue, or change what it says."""
    write_file(fence_path(tree, issue), word.encode())


def read_fence(tree: str, issue: str) -> str | None:
    """Return what the fence of an issue says; None if there is none.

    An empty or torn one means STOP: that is never wrong, it only costs more.
    """
    try:
        said = read_file(fence_path(tree, issue))
    except FileNotFoundError:
        return None
    whole = re.fullmatch(rb"recall( \d+ \d+)?", said)
    return said.decode() if whole else Fence.STOP


def check_fence(tree: str, issue: str) -> str | None:
    """Return what the holder of a claim is told.

    A missing claim means STOP: the issue is over and all its files were removed, the fence too.
    So a worker whose node was given up for dead stops when it wakes up. Raises StoreError (JT354)
    if this node does not see the tree at all.
    """
    if not exists_after_listing(claim_path(tree, issue)):
        from jobtree.mailbox.visibility import require_tree

        require_tree(tree)
        return Fence.STOP
    return read_fence(tree, issue)
