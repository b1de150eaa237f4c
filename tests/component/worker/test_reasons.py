"""What is told of a Target that raised: the type and the whole message, on one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.component.worker.worker_targets import Call
from tests.component.worker.workers import Tree

pytestmark = pytest.mark.usefixtures("no_stray_processes")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("why\nx", "ValueError: why x"),
        ("\n\n  why\n", "ValueError: why"),
        ("", "ValueError"),
        ("a" * 2000, "ValueError: " + "a" * 988),
    ],
)
def test_a_message_of_several_lines_is_told_whole(tmp_path: Path, message: str, why: str) -> None:
    tree = Tree(tmp_path)
    tree.run([Call("fail", message)])
    assert tree.failed()[0].why == why


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1 +", "SyntaxError: invalid syntax"),
        ("error = KeyError('k'); error.add_note('a note'); raise error", "KeyError: 'k'"),
        (
            "raise ExceptionGroup('several', [ValueError('a\\nb'), TypeError('c')])",
            "ExceptionGroup: several (2 sub-exceptions)",
        ),
    ],
)
def test_what_python_says_beside_the_message_is_left_to_the_log(
    tmp_path: Path, source: str, why: str
) -> None:
    tree = Tree(tmp_path)
    tree.run([Call("execute", source)])
    assert tree.failed()[0].why == why
    assert why.partition(":")[0] in tree.failed()[0].detail
