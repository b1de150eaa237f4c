"""The store: nothing committed is lost, memory is bounded, errors say what to do."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from jobtree.core import job_states
from jobtree.core.job import Colour, Command, CommandKind, Job, Pickle, Requirements
from jobtree.errors import StoreError
from jobtree.store import store as store_module
from jobtree.store.database import copy_database
from jobtree.store.rows import HistoryEntry, StoredIssue
from jobtree.store.store import Store

BUDGETS = job_states.Budgets(1, 2)


def command(bundle: str = "root") -> Command:
    return Command(
        CommandKind.TARGET,
        "Count",
        "",
        Requirements(2**30, 2, 0, 1.5),
        Pickle(bundle, 3, 4, "ab"),
        True,
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    made = str(tmp_path / "tree.db")
    Store.create(made, job_states.first_job(1, 0, command(), BUDGETS), {"options": "{}"}).close()
    return made


def child(number: int, parent: int = 1, bundle: str = "b1") -> Job:
    return job_states.first_job(number, parent, command(bundle), BUDGETS)


def test_a_job_comes_back_as_it_was_put(path: str) -> None:
    store = Store(path)
    root = store.get(1)
    assert root is not None
    changed = root._replace(colour=Colour.GREY, attempt=1000001, memory_bytes=5, time_s=2.5)
    store.put(root, changed)
    store.commit()
    store.close()
    assert Store(path).get(1) == changed


def test_what_was_not_committed_is_gone(path: str) -> None:
    store = Store(path)
    root = store.get(1)
    assert root is not None
    store.put(root, root._replace(colour=Colour.GREY))
    store.add([child(number) for number in store.new_ids(3)])
    store.close()
    again = Store(path)
    assert again.get(1) == root
    assert again.counts[Colour.WHITE] == 1


def test_ids_are_never_used_again(path: str) -> None:
    store = Store(path)
    (number,) = store.new_ids(1)
    store.add([child(number)])
    store.commit()
    born = store.get(number)
    assert born is not None
    store.put(born, born._replace(colour=Colour.DEAD))
    store.commit()
    store.close()
    assert Store(path).new_ids(1)[0] > number


def test_more_births_than_fit_in_memory_go_straight_to_disk(path: str) -> None:
    store = Store(path)
    count = store_module.BIRTHS_IN_MEMORY * 3
    first = store.add(child(number) for number in store.new_ids(count))
    assert len(first) == store_module.BIRTHS_IN_MEMORY
    store.commit()
    assert store.counts[Colour.WHITE] == count + 1
    assert len(store.white_jobs(0, count + 10)) == count + 1


def test_a_finished_job_is_removed_and_counted(path: str) -> None:
    store = Store(path)
    root = store.get(1)
    assert root is not None
    store.put(root, root._replace(colour=Colour.DEAD, stack=()))
    store.commit()
    assert store.get(1) is None
    assert (store.done, sum(store.counts.values())) == (1, 0)
    store.close()
    assert Store(path).done == 1


def test_a_bundle_is_unused_when_the_last_command_from_it_is_gone(path: str) -> None:
    store = Store(path)
    jobs = [child(number) for number in store.new_ids(2)]
    store.add(jobs)
    store.commit()
    store.put(jobs[0], jobs[0]._replace(colour=Colour.DEAD, stack=()))
    store.commit()
    assert store.unused_bundles == []
    pushed = jobs[1]._replace(stack=(command("b2"),))
    store.put(jobs[1], pushed)
    store.commit()
    assert store.unused_bundles == ["b1"]


def test_text_that_is_no_text_is_kept_readable(path: str) -> None:
    """A file's name may be any bytes; an exception that quotes it must not end the master."""
    store = Store(path)
    why = "no such file: caf\udce9"
    store.record(HistoryEntry(1.0, 1, 0, 1, "C\udcff", "failed", why=why, detail=f"{why} ü"))
    store.commit()
    store.close()
    (kept,) = Store(path).history(1)
    assert (kept.label, kept.why) == ("C\\udcff", "no such file: caf\\udce9")
    assert kept.detail == "no such file: caf\\udce9 ü"


def test_issues_moves_meta_and_history_are_kept(path: str) -> None:
    store = Store(path)
    issue = StoredIssue("j-x.1-1", 0, 2, "77:1:boot", "singleMachine", 5.0,
                        Requirements(1, 2, 0, 3.0), ((1, 1000001, 0),), "")  # fmt: skip
    store.put_issues([issue])
    store.put_move(1, 1000001, "j-x.1-1.0", "line")
    store.put_meta("options", "{1}")
    store.record(HistoryEntry(1.0, 1, 0, 1000001, "Count", "done", wall_s=0.5))
    store.commit()
    store.close()
    again = Store(path)
    assert again.issues() == [issue]
    assert again.moves() == [(1, 1000001, "j-x.1-1.0", "line")]
    assert again.meta("options") == "{1}"
    assert [record.wall_s for record in again.history(1)] == [0.5]
    again.remove_issue("j-x.1-1", 0)
    again.remove_move(1)
    again.commit()
    assert (again.issues(), again.moves()) == ([], [])


def test_refill_revives_failed_jobs_and_refills_all(path: str) -> None:
    store = Store(path)
    root = store.get(1)
    assert root is not None
    store.put(root, root._replace(colour=Colour.RED, retries=0, rescues=0))
    store.commit()
    store.refill(5, 6)
    found = store.get(1)
    assert found is not None
    assert (found.colour, found.retries, found.rescues) == (Colour.WHITE, 5, 6)
    assert store.counts[Colour.RED] == 0


def test_memory_of_looked_at_jobs_is_bounded(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "JOBS_IN_MEMORY", 10)
    store = Store(path)
    store.add([child(number) for number in store.new_ids(100)])
    store.commit()
    assert len(store._cache) <= 10
    assert store.get(50) is not None


def test_a_kill_between_two_commits_loses_only_the_second(path: str) -> None:
    script = f"""
import os, signal
from jobtree.store.store import Store
from jobtree.core.job import Colour
store = Store({path!r})
root = store.get(1)
store.put(root, root._replace(colour=Colour.GREY)); store.commit()
store.put_meta("later", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    store = Store(path)
    root = store.get(1)
    assert root is not None
    assert root.colour == Colour.GREY
    assert store.meta("later") is None


def test_a_damaged_database_is_refused_and_left_alone(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8000))
    before = Path(path).read_bytes()
    with pytest.raises(StoreError, match="damaged") as caught:
        Store(path)
    assert caught.value.code == "JT310"
    assert Path(path).read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tree.db"
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(StoreError) as caught:
        Store(str(path))
    assert caught.value.code == "JT310"


def test_a_tree_of_a_newer_version_is_refused(path: str) -> None:
    db = sqlite3.connect(path)
    db.execute("pragma user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer") as caught:
        Store(path)
    assert caught.value.code == "JT311"


def test_a_copy_for_a_new_epoch_has_all_that_was_committed(path: str, tmp_path: Path) -> None:
    lost = Store(path)  # a master that no longer answers, and never closed it
    lost.put_meta("committed", 1)
    lost.commit()
    copy = str(tmp_path / "tree.2.db")
    copy_database(path, copy)
    lost.put_meta("late", 1)
    lost.commit()
    taken = Store(copy)
    assert taken.meta("committed") == 1
    assert taken.meta("late") is None


def test_creation_is_whole_or_not_at_all(tmp_path: Path) -> None:
    missing = tmp_path / "absent" / "tree.db"
    with pytest.raises(StoreError):
        Store.create(str(missing), job_states.first_job(1, 0, command(), BUDGETS), {})
    assert not missing.exists()
