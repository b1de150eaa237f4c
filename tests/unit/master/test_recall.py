"""Recalls: what becomes of packs that were told to hand back what they have not begun."""

from __future__ import annotations

from pathlib import Path

from batchsystems.interface import Accepted
from jobtree.core.packing import Measured
from jobtree.mailbox.results import Returned
from jobtree.master.recall import RECLAIM_S, recall
from tests.unit.master.world import HELLO, UNTIMED, world


def test_a_pack_whose_answer_is_found_when_its_time_is_up_may_be_recalled_again(
    tmp_path: Path,
) -> None:
    with world(tmp_path, *[UNTIMED] * 6, slots=1) as it:
        it.run.measured["Sort"] = Measured(0.001, 1000)
        (issue,) = it.turn()
        it.hears(issue, Accepted("1"))
        it.writes(issue, HELLO, it.start(2))
        issue.recall(2, it.clock.time)
        it.clock.time += RECLAIM_S + 1
        it.mailbox.written[issue.name] = [Returned([5, 6, 7])]
        recall(it.run, 2)
        assert (list(issue.open), issue.recalled_at) == ([2, 3, 4], None)
        it.clock.time += 100
        recall(it.run, 2)
        assert (issue.recalled_at, issue.recalls) == (it.clock.time, 2)
