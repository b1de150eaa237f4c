"""AcidTest kills as promised, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems import AcidTest, JobSpec, Reason
from batchsystems.conformance import Watcher, end_all, sh

pytestmark = pytest.mark.usefixtures("no_stray_processes")


def test_a_certain_death_is_a_signal_9(tmp_path: Path):
    acid = AcidTest(str(tmp_path), max_cpus=4, kill_probability=1.0, max_delay_s=0.1)
    watcher = Watcher(acid)
    script = "trap '' TERM; setsid sleep 1000 & sleep 1000; sleep 1000"
    for end in watcher.ends(acid.issueJobs([sh(script, index=i) for i in range(4)])).values():
        assert (end.reason, end.signal, end.exit_status) == (Reason.FAILED, 9, None)
        assert "AcidTest killed it" in end.evidence[0]
    end_all(acid)


def test_a_job_is_spared_with_probability_0(tmp_path: Path):
    acid = AcidTest(str(tmp_path), kill_probability=0.0)
    assert Watcher(acid).end(acid.issueJob(sh("sleep 0.1"))).reason is Reason.OK
    end_all(acid)


def test_half_of_the_jobs_are_doomed_within_a_second_and_a_seed_repeats_it(tmp_path: Path):
    def kill_times(seed: int) -> list[object]:
        acid = AcidTest(str(tmp_path), seed=seed)
        orders = [acid._order(JobSpec("x", ("x",)), ()) for _ in range(1000)]
        acid.close()
        return [order.get("kill_after_s") for order in orders]

    first = kill_times(1)
    struck = [float(str(kill_after_s)) for kill_after_s in first if kill_after_s is not None]
    assert 400 < len(struck) < 600
    assert 0 <= min(struck) < max(struck) <= 1
    assert first == kill_times(1) != kill_times(2)
