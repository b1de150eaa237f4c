"""Whole runs that a site file describes: on a fake Slurm, and on this machine."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from tests.integration.flows import Workflow
from tests.unit.sge import fake
from tests.unit.slurm.fake import FakeSlurm, use

pytestmark = pytest.mark.usefixtures("no_stray_processes")

QUICK = """
[pacing]
submits_per_second = 100
queries_per_minute = 6000
poll_interval = 0.5
"""

TREE = """
class Root(Target):
    def run(self):
        for number in range(3):
            self.addChildTarget(Leaf(number))
class Leaf(Target):
    def __init__(self, number):
        super().__init__(memory=2**28, time=5)
        self.number = number
    def run(self):
        note("ran", str(self.number))
        note("temp", self.getLocalTempDir())
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return use(monkeypatch, tmp_path / "fake")


def site(flow: Workflow, text: str, name: str = "site.toml") -> str:
    path = flow.home / name
    path.write_text(f"schema = 1\n{text}")
    return str(path)


def test_a_run_on_slurm_as_the_site_describes_it(flow: Workflow, slurm: FakeSlurm) -> None:
    scratch, python = flow.home / "scratch", flow.home / "python"
    scratch.mkdir()
    python.write_text(
        f'#!/bin/sh\necho "$GREETING" >> {flow.home}/greeted\nexec {sys.executable} "$@"\n'
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    named = site(
        flow,
        f"""
batch_system = "slurm"
[worker]
setup = ["export GREETING=hello"]
python = "{python}"
scratch = "{scratch}"
[slurm]
account = "lab"
directives = ["--licenses=x:1"]
[[slurm.queue]]
name = "spare"
max_time = "1h"
[[slurm.queue]]
name = "fake"
max_time = "30d"
{QUICK}""",
    )
    flow.write(TREE)
    flow.run("--site", named, "--defaultTime", "1m", "--jobTime", "0")
    assert sorted(flow.lines("ran")) == ["0", "1", "2"]
    assert all(path.startswith(f"{scratch}/") for path in flow.lines("temp"))
    assert set(flow.lines("greeted")) == {"hello"}
    submitted = slurm.calls("sbatch")
    assert submitted
    for call in submitted:
        assert {"--account=lab", "--partition=spare", "--licenses=x:1"} <= set(call)
    assert slurm.calls("sinfo") == []
    said = json.loads(flow.command("status", str(flow.tree), "--json"))
    assert (said["batch_system"], said["site"]["files"]) == ("slurm", [named])
    assert len(said["site"]["digest"]) == 64
    assert f"site  {named}" in flow.command("status", str(flow.tree))


SETUP = """
[worker]
setup = [
  "tool() { export PATH=$FLOW_HOME/tools:$PATH; }",
  "if true",
  "then tool",
  "fi",
  "export CHANGED=by-setup ADDED=$FROM_MASTER",
  "unset GONE",
  "nosuch load this || true",
]
"""

SHOWS = """
class Root(Target):
    def run(self):
        for name in ("CHANGED", "ADDED", "GONE", "FROM_MASTER", "MY_TOKEN"):
            note("python", name + "=" + os.environ.get(name, "-"))
        note("python", "PATH=" + os.environ["PATH"].partition(":")[0])
        self.addChildCommand(
            'echo "CHANGED=$CHANGED ADDED=$ADDED GONE=${GONE--} FROM_MASTER=$FROM_MASTER'
            ' MY_TOKEN=$MY_TOKEN PATH=${PATH%%:*}" >> shell'
        )
"""


@pytest.fixture(params=["singleMachine", "slurm", "sge"])
def system(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a batch system that can be used."""
    name: str = request.param
    if name != "singleMachine":
        {"slurm": use, "sge": fake.use}[name](monkeypatch, tmp_path / "fake")
    return name


def test_what_a_setup_exports_reaches_the_steps(
    flow: Workflow, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHANGED", "GONE", "FROM_MASTER", "MY_TOKEN"):
        monkeypatch.setenv(name, "the-master's")
    monkeypatch.setenv("FLOW_HOME", str(flow.home))
    flow.write(SHOWS)
    flow.run("--site", site(flow, QUICK + SETUP), "--batchSystem", system, "--defaultTime", "1m")
    kept = "the-master's"
    expected = {"CHANGED=by-setup", f"ADDED={kept}", "GONE=-", f"FROM_MASTER={kept}"}
    expected |= {f"MY_TOKEN={kept}", f"PATH={flow.home}/tools"}
    assert set(flow.lines("python")) == expected
    assert set(flow.lines("shell")) == expected


def test_a_setup_with_a_line_that_fails_is_told_and_charged_to_no_step(
    flow: Workflow, system: str
) -> None:
    text = "[worker]\nsetup = ['export A=1', 'nosuch load python']\n[retry]\nrescue_count = 1\n"
    flow.write(SHOWS)
    named = site(flow, QUICK + text)
    said = flow.run("--site", named, "--batchSystem", system, "--defaultTime", "1m", code=1)
    why = "worker.setup, line 2, ended with status 127: nosuch load python"
    assert said.count("its worker ended before it began (launch failed, exit status 126 on ") >= 2
    assert why in said
    assert "not found" in said
    assert "given up: no rescues left" in said
    assert not flow.lines("python")
    logs = flow.command("logs", str(flow.tree), "1")
    assert why in logs
    assert "not found" in logs


def test_a_job_too_long_for_one_queue_goes_to_another(flow: Workflow, slurm: FakeSlurm) -> None:
    queues = "[[slurm.queue]]\nname = 'spare'\nmax_time = '20m'\n[[slurm.queue]]\nname = 'fake'\n"
    named = site(flow, f"[jobs]\ntime_margin = 1\n{QUICK}{queues}")
    flow.write(TREE.replace("time=5", "time=3600"))
    flow.run("--site", named, "--batchSystem", "slurm", "--defaultTime", "1m", "--jobTime", "0")
    asked = [
        {w for w in c if w.startswith(("--partition", "--time"))} for c in slurm.calls("sbatch")
    ]
    assert asked[0] == {"--partition=spare", "--time=10"}
    assert {"--partition=fake", "--time=60"} in asked


def test_a_restart_reads_the_site_afresh_and_options_win(flow: Workflow) -> None:
    named = site(flow, "[retry]\nretry_count = 1\n")
    flow.write("""
class Root(Target):
    def run(self):
        note("ran", "x")
        sys.exit(3)
""")
    flow.run("--site", named, code=1)
    assert len(flow.lines("ran")) == 2
    site(flow, "[retry]\nretry_count = 2\n")
    flow.restart(code=1)
    assert len(flow.lines("ran")) == 2 + 3
    flow.restart("--retryCount", "0", code=1)
    assert len(flow.lines("ran")) == 2 + 3 + 1
    (flow.home / "site.toml").unlink()
    assert "error[JT120]" in flow.restart(code=3)
    assert "error[JT120]" in flow.command("kill", str(flow.tree), code=3)
    flow.command("kill", str(flow.tree), "--site", "")
    flow.restart("--site", "", code=1)
    assert len(flow.lines("ran")) == 2 + 3 + 1 + 1


def test_setup_lines_and_limits_on_this_machine(flow: Workflow) -> None:
    named = site(
        flow,
        "[singleMachine]\nmax_cpus = 1\n"
        f"[worker]\nsetup = '''\necho up >> {flow.home}/setup\n'''\n",
    )
    flow.write(TREE)
    flow.run("--site", named)
    assert len(flow.lines("ran")) == 3
    assert set(flow.lines("setup")) == {"up"}


def test_a_site_that_is_wrong_starts_nothing_and_tells_all(flow: Workflow) -> None:
    named = site(flow, "[slurm]\npartiton = 'x'\nmemory = 'some'\n")
    flow.write(TREE)
    said = flow.run("--site", named, code=3)
    assert said.count("error[JT12") == 2
    assert "did you mean 'partition'?" in said
    assert "Traceback" not in said
    assert not flow.tree.exists()


def test_an_option_against_a_lock_is_refused(
    flow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    locking = site(flow, "[locked]\nkeys = ['limits']\n[limits]\nmax_jobs = 5\n")
    monkeypatch.setenv("JOBTREE_SITE", locking)
    flow.write(TREE)
    said = flow.run("--maxJobs", "6", code=3)
    assert "error[JT124]: --maxJobs" in said
    assert f"{locking}:3" in said
    assert not flow.tree.exists()
    flow.run("--maxJobs", "5")


def test_a_run_without_a_site_loads_no_schema(flow: Workflow) -> None:
    flow.write(
        TREE,
        """
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    Stack(Root()).startJobTree(parser.parse_args())
    print("loaded:", "batchsystems.site.schema" in sys.modules)
""",
    )
    assert "loaded: False" in flow.run()
