"""Stats: the figures are right, never negative, and bounded in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobtree import stats
from jobtree.core.job import Command, CommandKind, Requirements
from jobtree.core.job_states import Budgets, first_job
from jobtree.store.rows import HistoryEntry
from jobtree.store.store import Store

SORT = Command(CommandKind.SHELL, "Sort", "sort", Requirements())
ROOT_JOB = first_job(1, 0, SORT, Budgets(0, 0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(f"{tmp_path}/tree.db", ROOT_JOB, {"started": 100.0, "options": "{}"})
    yield made
    made.close()


def tell(store: Store, event: str = "done", **known: Any) -> None:
    fields: dict[str, Any] = {"at": 1000.0, "job": 1, "step": 0, "attempt": 1, "label": "Sort"}
    store.record(HistoryEntry(event=event, **(fields | known)))
    store.commit()


def negatives(figures: Any, where: str = "") -> list[str]:
    if isinstance(figures, dict):
        return [bad for key, value in figures.items() for bad in negatives(value, f"{where}/{key}")]
    return [where] if isinstance(figures, int | float) and figures < 0 else []


def test_a_tree_that_did_nothing_has_empty_figures(store: Store):
    figures = stats.collect(store)
    assert figures["run"]["count"] == 0
    assert figures["classes"] == {}
    assert "0 steps" in stats.render(figures)


def test_figures_of_a_class(store: Store):
    for wall, cpu, memory in ((1.0, 0.5, 100), (3.0, 1.0, None), (2.0, 2.0, 300)):
        tell(store, wall_s=wall, cpu_s=cpu, memory_bytes=memory, issue="a.0", estimate_s=10.0)
    entry = stats.collect(store)["classes"]["Sort"]
    assert entry["count"] == 3
    assert entry["time"] == {"total": 6.0, "min": 1.0, "median": 2.0, "mean": 2.0, "max": 3.0}
    assert entry["clock"]["total"] == 3.5
    assert entry["wait"]["total"] == 2.5
    assert entry["memory"]["max"] == 300
    assert entry["memory"]["mean"] == 200  # the unknown one is not taken for 0
    assert entry["queued"] is None


def test_failed_and_lost_attempts_stand_apart(store: Store):
    tell(store, wall_s=1.0, cpu_s=1.0)
    tell(store, "failed", wall_s=50.0, cpu_s=50.0)
    tell(store, "lost")
    tell(store, "failed", label="Never", wall_s=2.0)
    figures = stats.collect(store)
    assert figures["run"]["time"]["total"] == 1.0
    assert (figures["run"]["failed"], figures["run"]["lost"]) == (2, 1)
    assert figures["classes"]["Sort"]["failed"] == {"count": 1, "time": 50.0}
    assert figures["classes"]["Never"]["count"] == 0
    assert "Never" in stats.render(figures)


def test_steps_spread_over_workers_and_jobs(store: Store):
    for job, issue in ((1, "a.0"), (2, "a.0"), (3, "a.1"), (3, "a.1"), (3, "a.2")):
        tell(store, job=job, issue=issue, wall_s=1.0, cpu_s=0.5)
    figures = stats.collect(store)
    assert figures["workers"]["count"] == 3
    assert figures["workers"]["steps"]["max"] == 2
    assert figures["jobs"]["count"] == 3
    assert figures["jobs"]["time"]["max"] == 3.0


def test_no_duration_is_ever_negative(store: Store):
    tell(store, wall_s=1.0, cpu_s=1.5, waited_s=-0.1)  # two processors; clocks that disagree
    tell(store, wall_s=-8e-5, cpu_s=-1e-9, at=10.0)
    tell(store, "failed", wall_s=-1.0, at=5.0)
    assert negatives(stats.collect(store)) == []


def test_what_commands_said_is_listed_up_to_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stats, "MOST_SAID", 2)
    for number in range(4):
        tell(store, detail=f"<stats n='{number}'/>", wall_s=0.0)
    figures = stats.collect(store)
    assert len(figures["said"]) == 2
    assert figures["said_count"] == 4


def test_a_long_history_is_read_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stats, "ROWS_AT_ONCE", 3)
    for number in range(10):
        tell(store, job=number, wall_s=1.0)
    assert stats.collect(store)["run"]["count"] == 10


def test_the_text_is_at_most_120_columns_and_harmless(store: Store):
    tell(store, label="\x1b[2J" + "L" * 100, wall_s=123456.789, cpu_s=1e6, memory_bytes=2**50)
    text = stats.render(stats.collect(store))
    assert max(map(len, text.splitlines())) <= 120
    assert "\x1b" not in text
