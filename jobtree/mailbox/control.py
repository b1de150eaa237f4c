"""Control: how other commands ask the master of a tree, and how it answers.

Owns `control/`; knows no verb's meaning. Read next: master_side.py.

A request is one JSON file, its answer another; the asker rings the doorbell and waits.
"""

import json
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from jobtree.mailbox.files import random_name, read_file, remove_file, write_file
from jobtree.mailbox.layout import CONTROL

BELL = "control"
POLL_S = 0.02
LOOK_S = 0.5


class ControlRequest(NamedTuple):
    """One question to the master."""

    name: str  # of its file
    verb: str
    arguments: dict[str, Any]  # as the verb wants them


def write_bell(tree: str, address: tuple[str, int, str] | None) -> None:
    """Write where the doorbell of the master is."""
    write_file(f"{tree}/{CONTROL}/bell", json.dumps(address).encode(), sync=False)


def ask(
    tree: str,
    verb: str,
    arguments: dict[str, Any],
    timeout_s: float,
    is_over: Callable[[], bool],
) -> dict[str, Any] | None:
    """Ask the master; return its answer, or None if none came in time.

    is_over: whether the master has ended meanwhile, asked every LOOK_S: it may still have
    answered, but need not be waited for.
    """
    from jobtree.mailbox.doorbell import ring

    name = f"{time.time_ns()}-{random_name(4)}"
    request = f"{tree}/{CONTROL}/{name}.ask"
    answer = f"{tree}/{CONTROL}/{name}.answer"
    write_file(request, json.dumps({"verb": verb, "arguments": arguments}).encode())
    if bell := _bell(tree):
        ring(bell, BELL)
    end = time.monotonic() + timeout_s
    look, over = time.monotonic() + LOOK_S, False
    while True:
        if os.path.exists(answer):
            return _take_answer(answer)
        now = time.monotonic()
        if over or now > end:
            remove_file(request)
            return None
        if now > look:
            look, over = now + LOOK_S, is_over()
        else:
            time.sleep(POLL_S)


def _bell(tree: str) -> tuple[str, int, str] | None:
    """Return where the master's doorbell is; without one it looks for requests by itself."""
    try:
        host, port, key = json.loads(read_file(f"{tree}/{CONTROL}/bell"))
    except (OSError, ValueError, TypeError):
        return None
    return (host, port, key) if isinstance(host, str) and isinstance(port, int) else None


def _take_answer(path: str) -> dict[str, Any] | None:
    """Return an answer and remove it; None if it is damaged: the request can be made again."""
    try:
        said = json.loads(read_file(path))
    except ValueError:
        said = None
    remove_file(path)
    return said if isinstance(said, dict) else None


def waiting_requests(tree: str) -> list[ControlRequest]:
    """Return the questions not yet answered, oldest first; unreadable ones are dropped."""
    folder = f"{tree}/{CONTROL}"
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".ask"):
            try:
                said = json.loads(read_file(f"{folder}/{name}"))
                found.append(ControlRequest(name, str(said["verb"]), dict(said["arguments"])))
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                remove_file(f"{folder}/{name}")
    return found


def answer(tree: str, request: ControlRequest, said: dict[str, Any]) -> None:
    """Answer a request."""
    path = f"{tree}/{CONTROL}/{request.name}"
    write_file(f"{path.removesuffix('.ask')}.answer", json.dumps(said).encode(), sync=False)
    remove_file(path)
