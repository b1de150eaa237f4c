"""Answers about a tree as text for a terminal: its status, its nodes, a job's logs.

Owns how they look and how long they may be; whatever comes from jobs is made harmless.
Read next: ../report/plain.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from shlex import quote
from typing import Any

from jobtree.mailbox.files import read_file
from jobtree.report.plain import clock_time, iso_time, one_line, plural, printable
from jobtree.report.snapshot import counts_of
from jobtree.units import format_time

MOST_BYTES = 128 * 1024
"""Of each output; longer ones lose their middle."""

WORKER_TAIL_BYTES = 8 * 1024
CLASSES_SHOWN = 30


# ---- status ------------------------------------------------------------------------------


def status(said: dict[str, Any]) -> str:
    """Return a status as text."""
    lines = [f"{printable(said['tree'])}: {said['state']}{_by_whom(said)}", _counts(said)]
    if said.get("site", {}).get("files"):
        lines.append(f"  site  {printable(', '.join(said['site']['files']))}")
    classes = sorted(said["classes"].items(), key=lambda item: -item[1]["done"])
    if classes:
        lines.append(f"  {'class':<30}{'done':>9}{'mean':>9}")
    for label, known in classes[:CLASSES_SHOWN]:
        mean = format_time(known["mean_s"])
        lines.append(f"  {one_line(label, 29):<30}{known['done']:>9}{mean:>9}")
    if len(classes) > CLASSES_SHOWN:
        lines.append(f"  and {plural(len(classes) - CLASSES_SHOWN, 'more class')}: --json has all")
    for entry in said.get("nodes_left_out", ()):
        lines.append(f"  node {one_line(entry['node'], 40)} is left out: {one_line(entry['why'])}")
    return "\n".join([*lines, *_troubles(said), *_failures(said), *_advice(said)])


def _by_whom(said: dict[str, Any]) -> str:
    if said["state"] != "running":
        return ""
    return f", by process {said['pid']} on {said['host']}; as of {iso_time(said['updated'])}"


def _counts(said: dict[str, Any]) -> str:
    always = ("done", "running", "failed")
    counts = counts_of(said).items()
    return "  " + "  ".join(f"{name} {n}" for name, n in counts if n or name in always)


def _troubles(said: dict[str, Any]) -> Iterator[str]:
    for entry in said.get("troubles", ()):
        system, since = one_line(entry["batch_system"], 40), clock_time(entry["since"])
        yield f"  {system}, since {since}: {one_line(entry['what'])}"


def _failures(said: dict[str, Any]) -> Iterator[str]:
    found = said["failures"]
    for entry in found:
        yield (
            f"  failed: job {entry['job']} {one_line(entry['class'], 40)} "
            f"(attempt {entry['attempt']}): {one_line(entry['why'])}"
        )
    more = said["colours"]["red"] - len(found)
    if more > 0:
        yield f"  and {more} more failed"


def _advice(said: dict[str, Any]) -> Iterator[str]:
    tree = quote(said["tree"])
    if said["failures"]:
        yield f"  see its log:   jobtree logs {said['failures'][0]['job']} {tree}"
    if said["state"] in ("failed", "interrupted"):
        yield f"  go on:         jobtree restart {tree}"
        if said["colours"]["grey"]:
            yield "  issued jobs may be running still; a restart takes them over"


# ---- nodes -------------------------------------------------------------------------------


def nodes(said: dict[str, Any], tree: str) -> str:
    """Return as text which nodes are left out, and which are taken back."""
    lines = [f"node {one_line(name, 40)} may be used again" for name in said["cleared"]]
    for entry in said["left_out"]:
        name, until = one_line(entry["node"], 40), iso_time(entry["until"])
        lines.append(f"node {name} is left out until {until}: {one_line(entry['why'])}")
    if said["left_out"]:
        lines.append(f"  take them back:  jobtree nodes {quote(tree)} --clear")
    return "\n".join(lines or ["no node is left out"])


# ---- logs --------------------------------------------------------------------------------


def logs(said: dict[str, Any]) -> Iterator[str]:
    """Yield a job's history as text, entry by entry, each with what was printed."""
    yield f"job {said['job']} {one_line(said['class'], 60)}".rstrip() + f": {_stands(said)}"
    if said["left_out"]:
        yield f"({said['left_out']} earlier entries are left out)"
    for entry in said["entries"]:
        yield _header(entry)
        yield from _output(entry)
    if not said["entries"]:
        yield "(no attempt has ended yet)"


def _stands(said: dict[str, Any]) -> str:
    words = {
        "white": "ready",
        "grey": "issued",
        "blue": "waits for its children",
        "black": "its outputs are being moved",
        "red": "failed for good",
    }
    colour: str = said["colour"]
    return words.get(colour, colour)


def _header(entry: dict[str, Any]) -> str:
    ended = f"{entry['event']}: {one_line(entry['why'])}" if entry["why"] else entry["event"]
    took = "" if entry["wall_s"] is None else f", {format_time(max(0.0, entry['wall_s']))}"
    return (
        f"--- step {entry['step']} {one_line(entry['class'], 40)}, attempt {entry['attempt']}: "
        f"{ended} ({iso_time(entry['at'])}{took})"
    )


def _output(entry: dict[str, Any]) -> Iterator[str]:
    if entry["event"] == "done":
        if "log" in entry:
            yield _read(entry["log"], *entry["range"]) or "(its output is no longer kept)"
        return
    kept = _read(entry["log"], 0, None)
    if kept:
        yield kept
    detail = printable(entry["detail"] or "").rstrip("\n")
    if detail and detail not in kept:
        yield detail
    for name, what in (("worker_log", "its worker's log"), ("output", "its batch job's output")):
        tail = "" if kept or name not in entry else _tail(entry[name])
        if tail:
            yield f"... the end of {what}, {printable(entry[name])}:"
            yield tail


def _read(path: str, offset: int, length: int | None) -> str:
    """Return a range of a file, harmless and bounded; "" if it is gone or empty."""
    try:
        if length is None:
            length = os.path.getsize(path) - offset
        if length <= MOST_BYTES:
            return _text(read_file(path, offset, max(0, length)))
        half = MOST_BYTES // 2
        head = _text(read_file(path, offset, half))
        tail = _text(read_file(path, offset + length - half, half))
        return f"{head}\n[... {length - 2 * half} bytes left out: {printable(path)} ...]\n{tail}"
    except OSError:
        return ""


def _tail(path: str) -> str:
    try:
        size = os.path.getsize(path)
        return _text(read_file(path, max(0, size - WORKER_TAIL_BYTES), WORKER_TAIL_BYTES))
    except OSError:
        return ""


def _text(raw: bytes) -> str:
    return printable(raw.decode(errors="backslashreplace")).rstrip("\n")
