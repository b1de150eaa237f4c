"""A cluster that its DRMAA library cannot reach, and is told of when it is back: over the fake one.

Read next: tests/fakebin/drmaa, the fake; tests/live/sge/test_outages.py, a real one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems import Accepted, Unobtainable
from batchsystems.conformance import Watcher, gated
from tests.unit.commandline.commandfaults import kinds
from tests.unit.drmaa.fake import SLOW, FakeDrmaa

pytestmark = pytest.mark.usefixtures("no_stray_processes")

HELD_BACK = "holds back the ends"


def break_off(fake: FakeDrmaa, call: str) -> None:
    """Let a call find no master from now on."""
    words = "code 2: unable to contact qmaster"
    fake.fault(call, "raise", times=-1, kind="DrmCommunicationException", words=words)


def await_outage(watcher: Watcher) -> None:
    watcher.until(lambda: not watcher.obtainable(), "the outage")


def see_it_end(fake: FakeDrmaa, watcher: Watcher) -> None:
    """Wait for the outage's end, and for three looks more."""
    watcher.until(watcher.obtainable, "the end of the outage")
    looks = len(fake.calls("wait"))
    watcher.until(lambda: len(fake.calls("wait")) >= looks + 3, "three looks")


def test_an_outage_says_nothing_of_jobs(fake: FakeDrmaa, watcher: Watcher, tmp_path: Path):
    job = watcher.batch.issueJob(gated(tmp_path / "go", 5))
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
    break_off(fake, "jobStatus")
    await_outage(watcher)
    with pytest.raises(Unobtainable, match="unable to contact"):
        watcher.batch.getIssuedJobIDs()
    assert kinds(watcher, job) == [Accepted]
    fake.heal()
    (tmp_path / "go").touch()
    assert watcher.end(job).exit_status == 5


@pytest.mark.parametrize(("drms", "told"), [("SGE 8.1.9", 1), ("PBS Professional", 0)])
@pytest.mark.parametrize("process", ["lives on", "is another", "is another after its return"])
def test_that_grid_engine_holds_ends_back_after_an_outage_is_said_once(
    fake: FakeDrmaa,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    process: str,
    drms: str,
    told: int,
):
    """Whichever process of the library sees it end: one may hang on a master that just returns."""
    fake.configure(drms=drms)
    watcher = Watcher(fake.quick(timeouts=SLOW))
    job = watcher.batch.issueJob(gated(tmp_path / "go", 5))
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
    break_off(fake, "initialize" if process == "is another" else "jobStatus")
    if process == "is another":
        fake.fault("wait", "die")
    await_outage(watcher)
    assert HELD_BACK not in caplog.text
    fake.heal()
    if process == "is another after its return":
        fake.fault("wait", "hang")
    see_it_end(fake, watcher)
    assert caplog.text.count(HELD_BACK) == told
    (tmp_path / "go").touch()
    assert watcher.end(job).exit_status == 5
    watcher.batch.close()


def test_a_library_that_hung_on_a_frozen_master_says_so_too(
    fake: FakeDrmaa, watcher: Watcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """It may have been restarted before anything but the silence was seen."""
    job = watcher.batch.issueJob(gated(tmp_path / "go", 5))
    watcher.until(lambda: job in watcher.batch.getRunningJobIDs(), "running")
    fake.fault("wait", "hang")
    watcher.until(lambda: HELD_BACK in caplog.text, "the word")
    see_it_end(fake, watcher)
    assert caplog.text.count(HELD_BACK) == 1
    (tmp_path / "go").touch()
    assert watcher.end(job).exit_status == 5
