"""`jobtree site doctor` as an administrator types it: the table, the remedy, the exit status.

Whatever ends it, no batch job and no file of it stays.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchsystems.conformance import wait_for
from jobtree.doctor.canary import ORDER
from jobtree.workflow import ended_by_signals
from tests.integration.flows import ROOT
from tests.unit.slurm.fake import FakeSlurm, use

pytestmark = pytest.mark.usefixtures("no_stray_processes")

QUICK = """
[pacing]
submits_per_second = 100
queries_per_minute = 6000
poll_interval = 0.5
"""
LONGEST_S = 240


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return use(monkeypatch, tmp_path / "fake")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return a directory for canaries, as empty afterwards as before."""
    made = tmp_path / "shared"
    made.mkdir()
    return made


def site(home: Path, text: str) -> str:
    path = home / "site.toml"
    path.write_text(f"schema = 1\n{text}")
    return str(path)


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name != "JOBTREE_SITE"}
    return clean | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": "/proc/nowhere"} | more


def argv(*words: str) -> list[str]:
    return [sys.executable, "-m", "jobtree", "site", "doctor", *words]


def doctor(shared: Path, *words: str, status: int = 0, **more: str) -> tuple[str, str]:
    done = subprocess.run(
        argv("--directory", str(shared), *words),
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert list(shared.iterdir()) == [], "no file is left"
    return done.stdout, done.stderr


def test_this_machine_passes_and_is_told_so(shared: Path) -> None:
    out, err = doctor(shared, "--batchSystem", "local", "--quick")
    rows = {line[:16].strip(): line[17:].split()[0] for line in out.splitlines()[: len(ORDER)]}
    assert list(rows) == list(ORDER)
    assert {name for name, grade in rows.items() if grade != "passed"} == {"time limit"}
    assert "\x1b" not in out + err
    assert "all passed, of 14 checks, 1 skipped" in out
    assert "word of a job's end after" in out
    assert "Ctrl-C ends them" in err


def test_as_json(shared: Path) -> None:
    out, _ = doctor(shared, "--batchSystem", "local", "--quick", "--json")
    found = json.loads(out)
    assert (found["passed"], found["batch_system"]) == (True, "singleMachine")
    assert [check["check"] for check in found["checks"]] == list(ORDER)
    assert found["checks"][3]["result"] == "skipped"
    assert found["measured_s"]["a file to the node and its answer back"] > 0


def test_a_terminal_gets_a_table(shared: Path) -> None:
    leader, follower = pty.openpty()
    words = argv("--directory", str(shared), "--batchSystem", "local", "--quick")
    env = environment(TERM="xterm", COLUMNS="100")
    with subprocess.Popen(
        words, env=env, stdin=follower, stdout=follower, stderr=subprocess.STDOUT
    ) as child:
        os.close(follower)
        said = b""
        try:
            while part := os.read(leader, 65536):
                said += part
        except OSError:  # how Linux tells the end
            pass
    os.close(leader)
    assert child.returncode == 0
    text = said.decode()
    assert "\x1b[32mpassed" in text
    assert "waiting for " in text
    assert "all passed, of 14 checks" in text


def test_what_is_wrong_is_told_with_the_key_and_the_file(
    tmp_path: Path, shared: Path, slurm: FakeSlurm
) -> None:
    named = site(tmp_path, f"batch_system = 'slurm'\n[slurm]\npartition = 'nope'\n{QUICK}")
    out, _ = doctor(shared, "--site", named, status=3)
    assert "Invalid partition name specified" in out
    assert f'change slurm.partition = "nope" ({named}:4)' in " ".join(out.split())
    assert f"in {named}: slurm.partition" in out
    assert "1 failed, of 14 checks, 13 skipped" in out


def test_a_site_file_that_is_wrong_runs_nothing(
    tmp_path: Path, shared: Path, slurm: FakeSlurm
) -> None:
    named = site(tmp_path, "batch_system = 'slurm'\n[slurm]\npartiton = 'nope'\n")
    _, err = doctor(shared, "--site", named, status=3)
    assert "did you mean 'partition'?" in err
    assert slurm.calls() == []


def test_a_batch_system_that_is_not_here(shared: Path) -> None:
    _, err = doctor(shared, "--batchSystem", "slurm", status=4, PATH="/proc/nowhere")
    assert "there is no sbatch" in err


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        argv("--directory", str(tmp_path / "no"), "--batchSystem", "local"),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "error[JT127]" in done.stderr


@pytest.mark.parametrize(
    ("number", "begun"),
    [
        (signal.SIGINT, "--ignore-signal=INT"),  # as in the background of a shell
        (signal.SIGINT, "--default-signal=INT"),
        (signal.SIGTERM, "--default-signal=TERM"),
        (signal.SIGHUP, "--default-signal=HUP"),
    ],
)
def test_interrupted_it_leaves_nothing(
    tmp_path: Path, shared: Path, slurm: FakeSlurm, number: signal.Signals, begun: str
) -> None:
    slurm.configure(slots=0)
    named = site(tmp_path, f"batch_system = 'slurm'\n{QUICK}")
    with subprocess.Popen(
        ["env", begun, *argv("--site", named, "--directory", str(shared))],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        wait_for(slurm.submissions, "a canary in the queue")
        assert len(list(shared.iterdir())) == 1
        child.send_signal(number)
        _, err = child.communicate(timeout=LONGEST_S)
    assert child.returncode == 130
    assert "no canary and no file of it is left" in err
    assert list(shared.iterdir()) == []
    states = [task["state"] for job in slurm.submissions() for task in job["tasks"]]
    assert set(states) == {"CANCELLED"}


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals(lambda number: None):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_its_site_file_is_the_one_that_init_wrote(
    tmp_path: Path, shared: Path, slurm: FakeSlurm
) -> None:
    run: Callable[..., bytes] = subprocess.check_output
    words = [sys.executable, "-m", "jobtree", "site"]
    target = str(tmp_path / "made.toml")
    run([*words, "init", "--output", target], env=environment())
    run([*words, "check", target], env=environment())
    Path(target).write_text(Path(target).read_text().replace("[pacing]", QUICK.strip()))
    out, _ = doctor(shared, "--site", target, "--quick")
    assert "all passed" in out
    assert "--partition=fake" in slurm.calls("sbatch")[0]
