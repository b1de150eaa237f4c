"""What the doctor's runner makes of a batch system that falls silent, or says odd things."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from batchsystems.errors import Unobtainable
from batchsystems.interface import (
    Accepted,
    BatchSystem,
    Capacity,
    JobEnd,
    JobSpec,
    Reason,
    Refused,
    Update,
)
from jobtree.doctor import canary as jobs
from jobtree.doctor.model import Canary, ExaminationOptions
from jobtree.doctor.runner import CanaryRunner, own_directory


class Silent(BatchSystem):
    """Takes jobs, and never says a word of them again."""

    name = "silent"

    def __init__(self) -> None:
        self.issued: set[int] = set()
        self.killed: set[int] = set()

    def issueJob(self, spec: JobSpec) -> int:
        self.issued.add(len(self.issued) + 1)
        return len(self.issued)

    def getIssuedJobIDs(self) -> frozenset[int]:
        raise Unobtainable("nothing is known", why="the line is dead")

    def getUpdatedJobs(self) -> dict[int, Update]:
        return {}

    def killJobs(self, ids: Iterable[int]) -> None:
        self.killed |= set(ids)

    def capacity(self) -> Capacity:
        return Capacity()


class Mute(Silent):
    """Accepts jobs before it falls silent."""

    def getUpdatedJobs(self) -> dict[int, Update]:
        fresh, self.told = self.issued - getattr(self, "told", set()), set(self.issued)
        return {handle: Accepted(f"native-{handle}") for handle in fresh}


@pytest.mark.parametrize(
    ("system", "options", "words"),
    [
        (Silent(), ExaminationOptions(accept_s=0.2, kill_s=0.2), "took no job"),
        (Mute(), ExaminationOptions(queue_s=0.2, kill_s=0.2), "no longer tells"),
    ],
)
def test_what_cannot_be_confirmed_is_named(
    tmp_path: Path, system: Silent, options: ExaminationOptions, words: str
) -> None:
    with own_directory(str(tmp_path)) as (own, token):
        made = CanaryRunner(system, own, token, options, lambda text: None)
        with pytest.raises(Unobtainable, match=words) as caught:
            made.run([jobs.first_canary()])
        assert "the line is dead" in caught.value.why
        (left,) = made.kill_rest()
    assert left.startswith(f"doctor-runs.{token}")
    assert system.killed == system.issued
    assert list(tmp_path.iterdir()) == []


class Odd(Silent):
    """Tells what a script says, once per call."""

    def __init__(self, *script: dict[int, Update]) -> None:
        super().__init__()
        self.script = list(script)

    def getUpdatedJobs(self) -> dict[int, Update]:
        return self.script.pop(0) if self.script else {}


def test_news_of_strangers_and_refused_tasks_do_no_harm(tmp_path: Path) -> None:
    end = JobEnd(Reason.OK, 0)
    tasks = Canary("tasks", ("true",), size=2)
    system = Odd({77: end}, {1: Accepted("a")}, {1: end, 2: Refused("no more")}, {2: end})
    with own_directory(str(tmp_path)) as (own, token):
        made = CanaryRunner(system, own, token, ExaminationOptions(kill_s=0.1), lambda text: None)
        made.run([tasks])
        assert made.cases["tasks"].refused == Refused("no more")
        assert made.cases["tasks"].ends == [end]
        assert made.kill_rest() == []
