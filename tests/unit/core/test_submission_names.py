"""Names of submissions: unique to a tree, and fit for every scheduler."""

from __future__ import annotations

import string
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline.jobs import part_name
from batchsystems.interface import NAME_PATTERN
from jobtree.core.submission_names import submission_name
from jobtree.store.store import Store
from tests.unit.master.runs import living

IDS = st.text(string.hexdigits[:16], min_size=12, max_size=12)


def test_a_name_is_readable() -> None:
    found = submission_name("MapReads", "hg38", "3f9a2c71d00d", 2, 117)
    assert found == "j-MapReads-hg38-3f9a2c71.2-117"
    assert submission_name("", "", "3f9a2c71d00d", 1, 1) == "j-3f9a2c71.1-1"


def test_trees_of_one_name_share_no_name_of_a_submission() -> None:
    ours, theirs = (submission_name("Sort", "tree", one * 6, 1, 1) for one in ("a1", "b2"))
    assert ours != theirs


def test_what_is_long_is_cut_where_that_harms_least() -> None:
    long = "x" * 100
    assert submission_name(long, "tree", "3f9a2c71d00d", 1, 1) == f"j-{'x' * 20}-tree-3f9a2c71.1-1"
    found = submission_name(long, long, "3f9a2c71d00d", 12345, 1234567)
    assert found == f"j-{'x' * 14}-{'x' * 14}-3f9a2c71.12345-1234567"


@given(st.text(), st.text(), IDS, st.integers(1, 10**5), st.integers(1, 10**8))
def test_every_name_and_the_names_of_its_parts_fit(
    label: str, tree: str, tree_id: str, epoch: int, number: int
) -> None:
    found = submission_name(label, tree, tree_id, epoch, number)
    assert NAME_PATTERN.fullmatch(part_name(found, 9_999_999))
    assert tree_id[:8] in found


def test_a_tree_of_the_version_before_gets_an_id_and_keeps_it(tmp_path: Path) -> None:
    with living(tmp_path) as run:
        assert run.store.query("select value from meta where key = 'id'") == [(run.tree_id,)]
        run.store.commit()
        run.tree_name = "tree"
        first, known = run.next_submission("Sort"), run.tree_id
    store = Store(f"{tmp_path}/tree.db")
    assert store.identity() == known
    store.close()
    assert first == f"j-Sort-tree-{known[:8]}.3-1"
