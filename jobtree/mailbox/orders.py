"""Orders: what the workers of one submission are to do, one file for all of them.

Owns the order's form; knows no colours. Read next: claims.py.

The first line is a JSON object with what all tasks share and the offset of each task's own
line; so a task of an array reads a few kilobytes, however large the array.
"""

import json
import os
from typing import Any, NamedTuple

from jobtree.core.job import Command, Requirements, command_from_wire
from jobtree.mailbox import PROTOCOL
from jobtree.mailbox.files import read_private_range, write_file
from jobtree.mailbox.layout import order_path

STACK_SENT = 32
"""A worker gets this many commands of a job's stack; below them it hands the job back."""

HEADER_GUESS = 64 * 1024


class Assignment(NamedTuple):
    """One job of a pack."""

    job: int
    attempt: int
    step: int
    depth: int  # of stack[0]
    isolate: bool  # run the first step in a process of its own
    stack: tuple[Command, ...]  # the top of the job's stack; the last one runs next


class Terms(NamedTuple):
    """What all tasks of a submission share."""

    submission: str
    epoch: int
    granted: Requirements  # what each task was given; time_s is its limit
    defaults: Requirements  # for what a step does not ask for
    doorbell: tuple[str, int, str] | None  # host, port and token of the master
    heartbeat_s: float  # between two beats
    max_log_bytes: int  # kept of each step's output
    log_level: str
    job_time_s: float
    scratch: str  # where local temp dirs are made
    environment: str = ""  # digests of environment.json on record, separated by spaces
    local_logs: bool = False  # a running step prints into scratch
    program: str = ""  # what workers are started with: the Python and the file


def write_order(tree: str, terms: Terms, packs: list[list[Assignment]], sync: bool = True) -> None:
    """Write the order of a submission; packs[i] is the work of its task i.

    sync: make it durable, for workers that may outlive this machine.
    """
    encode = json.JSONEncoder(separators=(",", ":")).encode
    lines = [encode(pack).encode() + b"\n" for pack in packs]
    offsets, at = [], 0
    for line in lines:
        offsets.append((at, len(line)))
        at += len(line)
    header = encode({"protocol": PROTOCOL, "terms": terms, "offsets": offsets}).encode()
    content = header + b"\n" + b"".join(lines)
    write_file(order_path(tree, terms.submission), content, sync)


def read_order(path: str, index: int) -> tuple[Terms, list[Assignment]]:
    """Return the terms and the pack of one task.

    Raises FileNotFoundError when the order was withdrawn, ValueError when it is of another
    protocol or has no such task, StoreError when the file is not this user's own.
    """
    head = _read_head(path)
    header, _, _ = head.partition(b"\n")
    said: dict[str, Any] = json.loads(header)
    if said["protocol"] != PROTOCOL:
        raise ValueError(f"{path} speaks protocol {said['protocol']}, this worker {PROTOCOL}")
    if not 0 <= index < len(said["offsets"]):
        raise ValueError(f"{path} has {len(said['offsets'])} tasks, none of index {index}")
    offset, length = said["offsets"][index]
    start = len(header) + 1 + offset
    line = head[start : start + length]
    if len(line) < length:
        line = read_private_range(path, start, length)
    return _terms(said["terms"]), [_assignment(entry) for entry in json.loads(line)]


def is_of_another(path: str, program: str) -> bool:
    """Tell whether an order was written for workers of another program; False if it is not there.

    Raises StoreError.
    """
    try:
        said = json.loads(_read_head(path).partition(b"\n")[0])
        return bool(said["protocol"] != PROTOCOL or _terms(said["terms"]).program != program)
    except OSError:
        return False
    except (ValueError, KeyError, TypeError):
        return True


def _read_head(path: str) -> bytes:
    """Return the beginning of an order, its whole first line at least."""
    head = read_private_range(path, 0, HEADER_GUESS)
    while b"\n" not in head:
        if len(head) == os.path.getsize(path):
            raise ValueError(f"{path} is cut short")
        head = read_private_range(path, 0, 4 * len(head))
    return head


def _terms(wire: list[Any]) -> Terms:
    submission, epoch, granted, defaults, doorbell, *rest = wire
    bell = None if doorbell is None else (doorbell[0], doorbell[1], doorbell[2])
    return Terms(submission, epoch, Requirements(*granted), Requirements(*defaults), bell, *rest)


def _assignment(wire: list[Any]) -> Assignment:
    job, attempt, step, depth, isolate, stack = wire
    commands = tuple(command_from_wire(command) for command in stack)
    return Assignment(job, attempt, step, depth, isolate, commands)
