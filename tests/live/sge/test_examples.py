"""The examples, run on a real Grid Engine by root and by an ordinary user.

Read next: ../examples.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pwd import struct_passwd

import pytest

from tests.live.examples import assert_examples_are_right
from tests.live.sge.trees import Tree


@pytest.mark.parametrize("who", ["root", "an ordinary user"])
def test_the_examples_finish_with_the_right_result(
    plant: Callable[..., Tree],
    who: str,
    system: str,
    ordinary_user: struct_passwd,
    open_tmp_path: Path,
) -> None:
    user = None if who == "root" else ordinary_user
    also = ["drmaa"] if system == "drmaa" else []
    assert_examples_are_right(plant, user, open_tmp_path, *also)
