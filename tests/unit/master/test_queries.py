"""Queries: what the holder of a tree says to other commands."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobtree.core.job import Colour, Command, CommandKind, Requirements
from jobtree.core.job_states import Budgets, first_job
from jobtree.core.node_health import KEPT_AS, Excluded, to_json
from jobtree.master.queries import MOST_FAILURES, answer_request
from jobtree.store.rows import HistoryEntry
from jobtree.store.store import Store

BUDGETS = Budgets(0, 0)


def command(label: str) -> Command:
    return Command(CommandKind.SHELL, label, label, Requirements())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    root = first_job(1, 0, command("root"), BUDGETS)
    made = Store.create(f"{tmp_path}/tree.db", root, {"started": 100.0, "options": "{}"})
    yield made
    made.close()


def paint(store: Store, job_id: int, colour: Colour) -> None:
    job = store.get(job_id)
    assert job is not None
    store.put(job, job._replace(colour=colour))
    store.commit()


def tell(store: Store, event: str, job: int = 1, attempt: int = 1, **known: Any) -> None:
    fields: dict[str, Any] = {"at": 1000.0, "step": 0, "label": "root", "issue": "s1.0"}
    store.record(HistoryEntry(event=event, job=job, attempt=attempt, **(fields | known)))
    store.commit()


class Master:
    def __init__(self) -> None:
        self.left = False
        self.taken_back: list[str] = []

    def kill_everything(self, why: str) -> list[str]:
        return ["s1.0"]

    def leave(self) -> None:
        self.left = True

    def readmit_nodes(self, nodes: Sequence[str]) -> list[str]:
        self.taken_back += nodes
        return list(nodes)


def test_status_of_a_tree_nobody_runs(store: Store):
    said = answer_request(store, "/t", "status", {})
    assert (said["state"], said["done"], said["remaining"]) == ("interrupted", 0, 1)
    assert said["colours"] == {"white": 1, "grey": 0, "blue": 0, "black": 0, "red": 0}
    assert said["started"] == 100.0


@pytest.mark.parametrize(
    ("colour", "state"),
    [
        (Colour.GREY, "interrupted"),
        (Colour.BLACK, "interrupted"),
        (Colour.RED, "failed"),
        (Colour.DEAD, "done"),
    ],
)
def test_the_state_follows_from_the_colours(store: Store, colour: Colour, state: str):
    paint(store, 1, colour)
    assert answer_request(store, "/t", "status", {})["state"] == state


def test_status_names_the_failed_with_their_last_reason(store: Store):
    tell(store, "failed", why="exit status 1")
    tell(store, "failed", why="exit status 2", attempt=2)
    paint(store, 1, Colour.RED)
    (entry,) = answer_request(store, "/t", "status", {})["failures"]
    assert (entry["job"], entry["class"], entry["why"]) == (1, "root", "exit status 2")


def test_status_lists_a_bounded_number_of_failures_the_youngest_first(store: Store):
    ids = store.new_ids(2 * MOST_FAILURES)
    store.add(first_job(i, 1, command("leaf"), BUDGETS)._replace(colour=Colour.RED) for i in ids)
    store.commit()
    listed = [entry["job"] for entry in answer_request(store, "/t", "status", {})["failures"]]
    assert listed == list(reversed(ids))[:MOST_FAILURES]


def test_logs_of_a_done_step_are_a_range_of_its_worker_s(store: Store):
    tell(store, "done", log_offset=7, log_length=5, wall_s=1.0)
    (entry,) = answer_request(store, "/t", "log", {"job": 1})["entries"]
    assert (entry["log"], entry["range"]) == ("/t/logs/s1.0", [7, 5])


def test_logs_of_a_failed_attempt_are_files_of_their_own(store: Store):
    tell(store, "failed", attempt=3_000_002, why="exit status 3")
    said = answer_request(store, "/t", "log", {"job": 1, "attempt": 2})
    (entry,) = said["entries"]
    assert entry["log"] == "/t/logs/failed/1.0.3000002"
    assert (entry["worker_log"], entry["output"]) == ("/t/logs/s1.0", "/t/logs/s1.out")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"job": 9}, "never had a job 9"),
        ({"job": 1, "attempt": 7}, "no finished attempt 7; it has 1"),
        ({"job": "x"}, "numbers"),
        ({}, "numbers"),
    ],
)
def test_what_is_not_there_is_said(store: Store, arguments: dict[str, Any], expected: str):
    tell(store, "failed")
    assert expected in answer_request(store, "/t", "log", arguments)["error"]


def test_a_job_that_is_done_keeps_its_history(store: Store):
    tell(store, "done", log_offset=0, log_length=0)
    paint(store, 1, Colour.DEAD)
    said = answer_request(store, "/t", "log", {"job": 1})
    assert said["colour"] == "done"
    assert "log" not in said["entries"][0]


def test_kill_goes_to_the_master_which_leaves(store: Store):
    master = Master()
    said = answer_request(store, "/t", "kill", {}, master)
    assert said == {"killed": True, "unconfirmed": ["s1.0"]}
    assert master.left
    assert "error" in answer_request(store, "/t", "kill", {})


def leave_out(store: Store, *names: str) -> None:
    """Leave nodes out for a minute, and another whose time is over."""
    now = time.time()
    left = [Excluded(name, now + 60.0, "3 of 3 failed") for name in names]
    store.put_meta(KEPT_AS, to_json([*left, Excluded("gone", now - 1.0, "long ago")]))
    store.commit()


def left_out(store: Store) -> list[str]:
    return [each["node"] for each in answer_request(store, "/t", "nodes", {})["left_out"]]


def test_nodes_left_out_are_told_until_their_time_is_over(store: Store):
    assert left_out(store) == []
    leave_out(store, "n1", "n2")
    assert left_out(store) == ["n1", "n2"]
    (first, _) = answer_request(store, "/t", "status", {})["nodes_left_out"]
    assert (first["node"], first["why"]) == ("n1", "3 of 3 failed")


def test_nodes_are_taken_back_where_no_master_lives(store: Store):
    leave_out(store, "n1", "n2")
    said = answer_request(store, "/t", "nodes", {"clear": ["n1.cluster.edu"]})
    assert said["cleared"] == ["n1"]
    assert left_out(store) == ["n2"]
    assert answer_request(store, "/t", "nodes", {"clear": []})["cleared"] == ["n2"]
    assert left_out(store) == []


def test_a_living_master_takes_nodes_back_itself(store: Store):
    leave_out(store, "n1", "n2")
    master = Master()
    answer_request(store, "/t", "nodes", {"clear": []}, master)
    assert master.taken_back == ["n1", "n2"]


def test_a_node_that_is_not_left_out_is_not_taken_back(store: Store):
    leave_out(store, "n1", "n2")
    said = answer_request(store, "/t", "nodes", {"clear": ["n1", "n3"]})
    assert said == {"error": "n3 is not left out of submissions; left out: n1, n2"}
    assert left_out(store) == ["n1", "n2"]


def test_an_unknown_request_is_no_disaster(store: Store):
    assert "another version" in answer_request(store, "/t", "dance", {})["error"]


def test_stats(store: Store):
    tell(store, "done", wall_s=2.0, cpu_s=1.0)
    assert answer_request(store, "/t", "stats", {})["classes"]["root"]["count"] == 1
