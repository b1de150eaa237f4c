"""Results: every line comes back, damage is found, a torn tail is none, only the synced count."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtree.core.job import Command, CommandKind, Pickle, Requirements
from jobtree.mailbox.results import (
    CHUNK_BYTES,
    Children,
    Done,
    End,
    Failed,
    Hello,
    LogRange,
    ResultLine,
    ResultReader,
    Returned,
    Start,
    Synced,
    Usage,
    decode_line,
    encode_line,
    read_children,
)

USAGE = Usage(1.5, 0.25, None)
COMMAND = Command(
    CommandKind.TARGET, "C", "", Requirements(1, None, 2, 3.5), Pickle("b", 0, 9, "d")
)
SHELL = Command(CommandKind.SHELL, "sh", "echo 'ü\n'", Requirements())
DONE = Done(
    1,
    2,
    3,
    USAGE,
    2,
    [COMMAND, SHELL],
    -1,
    SHELL,
    True,
    ["m"],
    [["/a", "/b"]],
    LogRange(0, 9),
    True,
    "s",
)
LINES: list[ResultLine] = [
    Hello("host", 1, "n", 2.5, "/l"),
    Start(1, 2, 3, 0.5),
    DONE,
    Start(4, 2, 0, 0.75),
    Failed(4, 2, 0, USAGE, 3, None, "why", "detail\n", False, [], True, False),
    Returned([7, 8]),
    End(9.5),
]


@pytest.mark.parametrize("line", [*LINES, Synced(5), Children(1, [COMMAND])])
def test_every_line_comes_back(line: ResultLine) -> None:
    assert decode_line(encode_line(line)) == line


def synced(lines: list[ResultLine]) -> bytes:
    content = b"".join(encode_line(line) for line in lines)
    return content + encode_line(Synced(len(content)))


def test_only_what_is_synced_is_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "r"
    reader = ResultReader(str(path))
    assert reader.read() == []
    path.write_bytes(encode_line(LINES[0]) + encode_line(LINES[1]))
    assert reader.read() == []
    assert reader.running == LINES[1]
    assert reader.hello == LINES[0]
    path.write_bytes(synced(LINES[:2]) + encode_line(DONE))
    assert reader.read() == LINES[:2]
    assert reader.read() == []
    assert reader.read(final=True) == [DONE]
    assert reader.running is None
    assert not reader.ended


def test_a_file_cut_at_every_byte_loses_the_last_line_only(tmp_path: Path) -> None:
    path = tmp_path / "r"
    whole = synced(LINES)
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        reader = ResultReader(str(path))
        assert reader.read() == (LINES if cut == len(whole) else [])
        path.write_bytes(whole[:cut])
        reader = ResultReader(str(path))
        count = sum(end <= cut for end in ends)
        assert reader.read(final=True) == LINES[:count]
        assert not reader.damage


def test_growing_byte_by_byte_hands_out_every_line_once(tmp_path: Path) -> None:
    path = tmp_path / "r"
    whole = synced(LINES[:3]) + encode_line(LINES[3]) + encode_line(LINES[4])
    whole += encode_line(Synced(len(whole)))
    reader, got = ResultReader(str(path)), []
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        got += reader.read()
    assert got == LINES[:5]


def test_damage_in_the_middle_stops_belief_there(tmp_path: Path) -> None:
    path = tmp_path / "r"
    whole = synced(LINES)
    second = len(encode_line(LINES[0]))
    for at in range(second, second + len(encode_line(LINES[1])) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 0x15
        path.write_bytes(damaged)
        reader = ResultReader(str(path))
        assert reader.read(final=True) == LINES[:1]
        assert "damaged at byte" in reader.damage
        assert not reader.ended


@given(st.binary(max_size=100))
def test_any_bytes_are_a_line_or_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_line(raw + b"\n")


def test_a_line_longer_than_a_chunk_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r"
    long = SHELL._replace(text="x" * 3 * CHUNK_BYTES)
    done = DONE._replace(children=[long])
    path.write_bytes(synced([LINES[0], done, LINES[1]]))
    assert ResultReader(str(path)).read() == [LINES[0], done, LINES[1]]


def test_many_children_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "r"
    before = encode_line(LINES[0])
    lines: list[ResultLine] = [
        Children(1, [COMMAND] * 3),
        Synced(5),
        Children(2, [SHELL]),
        Children(1, [SHELL]),
    ]
    path.write_bytes(before + b"".join(encode_line(line) for line in lines))
    found = list(read_children(str(path), len(before), 1, 4))
    assert found == [COMMAND, COMMAND, COMMAND, SHELL]
    with pytest.raises(ValueError, match="missing"):
        list(read_children(str(path), len(before), 1, 5))
