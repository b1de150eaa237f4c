"""The doctor at work: on this machine, a fake Slurm, a four-method adapter, and one that fails.

Whatever happens, it ends in bounded time, and no batch job and no file stays.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchsystems import registry
from batchsystems.errors import SiteError, Unobtainable
from batchsystems.interface import (
    BatchSystem,
    JobSpec,
    Update,
)
from batchsystems.singlemachine.adapter import SingleMachine
from batchsystems.site import Site
from batchsystems.sitefiles import Place, site_at
from jobtree.doctor import canary as jobs
from jobtree.doctor.examination import Report, examine
from jobtree.doctor.model import Canary, ExaminationOptions, Grade
from jobtree.doctor.runner import CanaryRunner, own_directory
from jobtree.options import settings_in_force
from tests.unit.sge import fake
from tests.unit.slurm.fake import FakeSlurm, use

pytestmark = pytest.mark.usefixtures("no_stray_processes")

FAST = ExaminationOptions(time_limit_s=0.5, overrun_s=20, hold_memory_s=5, files_s=2)
FAST_QUICK = FAST._replace(quick=True)
QUICK = """
[pacing]
submits_per_second = 100
queries_per_minute = 6000
poll_interval = 0.5
"""


def site(home: Path, text: str) -> Site:
    path = home / "site.toml"
    path.write_text(f"schema = 1\n{text}")
    return site_at([Place(str(path), "--site", True)])


def report(home: Path, found: Site, options: ExaminationOptions = FAST) -> Report:
    directory = home / "shared"
    directory.mkdir(exist_ok=True)
    complaints: list[str] = []
    settings = settings_in_force({}, None, found)[0]
    options = options._replace(directory=str(directory))
    try:
        return examine(found, settings, options, lambda text: None, complaints.append)
    finally:
        assert list(directory.iterdir()) == [], "no file is left"
        assert complaints == []


def grades(found: Report) -> dict[str, Grade]:
    return {v.check: v.grade for v in found.results if v.grade is not Grade.PASSED}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return use(monkeypatch, tmp_path / "fake")


@contextmanager
def offered(monkeypatch: pytest.MonkeyPatch, kind: type[BatchSystem]) -> Iterator[None]:
    """Offer a batch system as an installed package would."""
    known = registry._known()
    monkeypatch.setattr(registry, "_known", lambda: known | {"mine": f"{__name__}:x"})
    monkeypatch.setattr(registry, "_class_of", lambda name: kind)
    yield


# ---- all is well -----------------------------------------------------------------------------


def test_this_machine_passes(tmp_path: Path) -> None:
    found = report(tmp_path, site(tmp_path, "batch_system = 'local'\n"))
    assert grades(found) == {}
    assert [each.check for each in found.results] == list(jobs.ORDER)
    measured = found.measures
    assert 0 <= measured["submission accepted after"] < 30
    assert abs(measured["the node's clock is ahead by"]) <= measured["known to within"] + 0.01
    assert measured["word of a job's end after"] < 30


class FourMethods(BatchSystem):
    """What a third party may offer: nothing but what is abstract."""

    def __init__(self) -> None:
        self._machine = SingleMachine()

    def issueJob(self, spec: JobSpec) -> int:
        return self._machine.issueJob(spec)

    def getIssuedJobIDs(self) -> frozenset[int]:
        return self._machine.getIssuedJobIDs()

    def getUpdatedJobs(self) -> dict[int, Update]:
        return self._machine.getUpdatedJobs()

    def killJobs(self, ids: Iterable[int]) -> None:
        self._machine.killJobs(ids)

    def close(self) -> None:
        self._machine.close()


def test_four_methods_pass_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with offered(monkeypatch, FourMethods):
        found = report(tmp_path, site(tmp_path, "batch_system = 'mine'\n"), FAST_QUICK)
    assert grades(found) == {jobs.TIME: Grade.SKIPPED}


def test_a_fake_slurm_passes_but_for_its_memory(tmp_path: Path, slurm: FakeSlurm) -> None:
    options = FAST_QUICK._replace(hold_memory_s=0.5)
    described = site(tmp_path, f"batch_system = 'slurm'\n{QUICK}")
    found = report(tmp_path, described, options)
    assert grades(found) == {jobs.TIME: Grade.SKIPPED, jobs.MEMORY: Grade.WARNING}
    names = [job["name"] for job in slurm.submissions()]
    assert len(names) == len({*names}) == 10
    assert all(name.startswith("doctor-") for name in names)
    assert [job["size"] for job in slurm.submissions() if "array" in job["name"]] == [10]


def test_a_fake_grid_engine_passes_but_for_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.use(monkeypatch, tmp_path / "cell")
    options = FAST_QUICK._replace(hold_memory_s=0.5)
    described = site(tmp_path, f"batch_system = 'sge'\n{QUICK}[grace]\nabsence = 0.5\n")
    found = report(tmp_path, described, options)
    assert grades(found) == {jobs.TIME: Grade.SKIPPED, jobs.MEMORY: Grade.WARNING}


def test_memory_that_is_not_asked_for_is_not_tried(tmp_path: Path, slurm: FakeSlurm) -> None:
    found = report(
        tmp_path,
        site(tmp_path, f"batch_system = 'slurm'\n[slurm]\nmemory = 'none'\n{QUICK}"),
        FAST_QUICK,
    )
    assert grades(found) == {jobs.TIME: Grade.SKIPPED, jobs.MEMORY: Grade.SKIPPED}
    assert not any("memory" in job["name"] for job in slurm.submissions())


# ---- what is wrong with a site ---------------------------------------------------------------


def python(home: Path, text: str) -> Path:
    made = home / f"python{len(list(home.iterdir()))}"
    made.write_text(f"#!/bin/sh\n{text}\n")
    made.chmod(0o755)
    return made


def verdict(found: Report, check: str) -> tuple[Grade, str, tuple[str, ...]]:
    each = next(v for v in found.results if v.check == check)
    return each.grade, each.seen, each.keys


def test_a_python_that_is_missing_old_or_broken(tmp_path: Path) -> None:
    for made, said in (
        ("/proc/nowhere/python3", "there is no /proc/nowhere/python3"),
        (python(tmp_path, f"exit {jobs.OLD_PYTHON}"), "is older than 3.11"),
        (python(tmp_path, "exit 1"), "does not start"),
    ):
        found = report(tmp_path, site(tmp_path, f"[worker]\npython = '{made}'\n"), FAST_QUICK)
        grade, seen, keys = verdict(found, jobs.PYTHON)
        assert (grade, keys[0]) == (Grade.FAILED, "worker.python")
        assert said in seen
        left = {name for name, grade in grades(found).items() if grade is Grade.FAILED}
        assert left == {jobs.PYTHON}


def test_a_python_without_jobtree_in_sight(tmp_path: Path) -> None:
    """A node that has Python, but not the file system that jobTree is installed on."""
    made = python(
        tmp_path,
        f'for word; do case "$word" in *worker/start.py) echo "cannot open $word" >&2; exit 2;; '
        f'esac; done\nexec {sys.executable} "$@"',
    )
    found = report(tmp_path, site(tmp_path, f"[worker]\npython = '{made}'\n"), FAST_QUICK)
    grade, seen, _ = verdict(found, jobs.WORKER)
    assert grade is Grade.FAILED
    assert "cannot open" in seen


def test_a_scratch_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = report(tmp_path, site(tmp_path, "[worker]\nscratch = '/proc/nowhere'\n"), FAST_QUICK)
    assert verdict(found, jobs.SCRATCH)[0] is Grade.FAILED
    monkeypatch.delenv("NOBODY_SETS_THIS", raising=False)
    text = "[worker]\nscratch = '$NOBODY_SETS_THIS/x'\n"
    found = report(tmp_path, site(tmp_path, text), FAST_QUICK)
    assert verdict(found, jobs.SCRATCH)[0] is Grade.WARNING


def test_a_setup_that_spoils_jobs(tmp_path: Path) -> None:
    found = report(tmp_path, site(tmp_path, "[worker]\nsetup = ['exit 0']\n"), FAST_QUICK)
    grade, seen, keys = verdict(found, jobs.RUNS)
    assert (grade, keys) == (Grade.FAILED, ("worker.setup",))
    assert "worker.setup, line 1, ended with status 0: exit 0" in seen


def test_a_setup_with_a_line_that_fails(tmp_path: Path) -> None:
    lines = "setup = ['export A=1', 'nosuch load python']"
    found = report(tmp_path, site(tmp_path, f"[worker]\n{lines}\n"), FAST_QUICK)
    grade, seen, keys = verdict(found, jobs.RUNS)
    assert (grade, keys) == (Grade.FAILED, ("worker.setup",))
    assert "worker.setup, line 2, ended with status 127: nosuch load python" in seen
    assert "not found" in seen


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    found = site(tmp_path, "")
    options = ExaminationOptions(str(tmp_path / "nowhere"))
    with pytest.raises(SiteError, match="--directory") as caught:
        examine(found, settings_in_force({}, None, found)[0], options, print, print)
    assert caught.value.code == "JT127"


def test_a_refusal_ends_it_and_names_the_key(tmp_path: Path, slurm: FakeSlurm) -> None:
    text = f"batch_system = 'slurm'\n[slurm]\npartition = 'nope'\n{QUICK}"
    found = report(tmp_path, site(tmp_path, text))
    grade, seen, keys = verdict(found, jobs.RUNS)
    assert (grade, keys) == (Grade.FAILED, ("slurm.partition",))
    assert "Invalid partition name specified" in seen
    assert set(grades(found).values()) == {Grade.FAILED, Grade.SKIPPED}
    assert slurm.submissions() == []


# ---- timeouts --------------------------------------------------------------------------------


def test_a_queue_that_does_not_move_is_explained(tmp_path: Path, slurm: FakeSlurm) -> None:
    slurm.configure(slots=0)
    options = FAST._replace(queue_s=1.0, files_s=15.0)
    found = report(tmp_path, site(tmp_path, f"batch_system = 'slurm'\n{QUICK}"), options)
    grade, seen, _ = verdict(found, jobs.RUNS)
    assert grade is Grade.FAILED
    assert "still waits" in seen
    assert "slurm says" in seen
    assert {task["state"] for job in slurm.submissions() for task in job["tasks"]} == {"CANCELLED"}


def test_a_scheduler_that_does_not_answer_is_said_to_be_out_of_reach(
    tmp_path: Path, slurm: FakeSlurm
) -> None:
    words = "sbatch: error: Unable to contact slurm controller (connect failure)"
    slurm.fault("sbatch", "error", times=99, stderr=words)
    text = f"batch_system = 'slurm'\n{QUICK}"
    with pytest.raises(Unobtainable, match="took no job within") as caught:
        report(tmp_path, site(tmp_path, text), FAST._replace(accept_s=5.0, files_s=15.0))
    assert "connect failure" in caught.value.why
    assert slurm.submissions() == []


def test_jobs_that_outlast_their_limits_are_ended(tmp_path: Path) -> None:
    system = SingleMachine()
    with own_directory(str(tmp_path)) as (own, token):
        made = CanaryRunner(system, own, token, ExaminationOptions(end_s=0.5), lambda text: None)
        lasting = Canary("lasting", ("/bin/sh", "-c", "exec sleep 60"), run_s=0.1)
        made.run([lasting])
        assert made.cases["lasting"].delay.value == "ran"
        assert made.kill_rest() == []
    assert system.getIssuedJobIDs() == frozenset()
    system.close()


def test_what_is_waited_for_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    system = SingleMachine(max_cpus=1)
    with own_directory(str(tmp_path)) as (own, token):
        made = CanaryRunner(system, own, token, ExaminationOptions(), told.append)
        first = Canary("first", ("/bin/sh", "-c", "exec sleep 1.5"))
        made.run([first, Canary("second", ("true",))])
        made.kill_rest()
    system.close()
    assert any("first (runs)" in line and "second (is next" in line for line in told)


def test_an_answer_of_another_round_is_none(tmp_path: Path) -> None:
    from jobtree.doctor import node_script

    (tmp_path / node_script.PING).write_text("another")
    assert node_script.visit(str(tmp_path), "token", "") == node_script.UNANSWERED
    assert node_script.visit(str(tmp_path / "nowhere"), "token", "") == node_script.UNWRITABLE


def test_a_node_s_half_of_the_exchange(tmp_path: Path) -> None:
    from jobtree.doctor import node_script

    results: list[int] = []
    node = threading.Thread(
        target=lambda: results.append(node_script.visit(str(tmp_path), "token", str(tmp_path)))
    )
    node.start()
    wait_until((tmp_path / node_script.HELLO).exists)
    os.rename(written(tmp_path / "draft", "token"), tmp_path / node_script.PING)
    node.join()
    assert results == [0]
    assert (tmp_path / node_script.PONG).exists()


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("waited in vain")
