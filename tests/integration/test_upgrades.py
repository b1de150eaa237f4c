"""jobTree is replaced under a tree whose batch jobs run and wait in the queue.

Owns what becomes of those; what a tree itself is read by is test_kept_trees.py's.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from batchsystems.conformance import wait_for
from tests.integration.flows import ROOT, Workflow
from tests.integration.killing import environment

pytestmark = pytest.mark.usefixtures("no_stray_processes")

BODY = """
def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.01)
class Step(Target):
    def __init__(self, isolate=False):
        super().__init__(time=600, memory="64M", isolate=isolate)
class Root(Step):
    def run(self):
        for kind in (Plain, ThenCommand, ThenIsolated, Opener):
            self.addChildTarget(kind())
class Opener(Step):
    def run(self):
        for name in ("Plain", "ThenCommand", "ThenIsolated"):
            wait_for(f"{name}.began")
        open("hold", "w").close()
        for number in range(3):
            self.addChildTarget(Late())
class Long(Step):
    def run(self):
        open(f"{type(self).__name__}.began", "w").close()
        wait_for("go")
        self.then()
        note("ran", type(self).__name__)
class Plain(Long):
    def then(self):
        pass
class ThenCommand(Long):
    def then(self):
        self.addChildCommand("echo command >>ran", memory="64M")
class ThenIsolated(Plain):
    def run(self):
        self.addChildTarget(Late(isolate=True))
        super().run()
class Late(Step):
    def run(self):
        note("ran", "Late")
"""

ALL = ["Late"] * 4 + ["Plain", "ThenCommand", "ThenIsolated", "command"]


UNAWARE = {
    "targets.py": ("if _lacks_a_part(error):", "if False:"),
    "main.py": ("except (ImportError, SyntaxError):", "except ZeroDivisionError:"),
}
"""What makes workers those of a version that does not know that it may be replaced."""


class Upgrade:
    """A tree whose master was killed: three workers run, three batch jobs wait in the queue.

    worker: what is another in the workers' code, by file: this text in the place of that.
    """

    def __init__(self, flow: Workflow, worker: Mapping[str, tuple[str, str]] | None = None) -> None:
        self.flow, self.code = flow, flow.home / "before"
        for name in ("jobtree", "batchsystems"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.code / name, ignore=ignored)
        for name, (text, other) in (worker or {}).items():
            path = self.code / "jobtree" / "worker" / name
            before = path.read_text()
            path.write_text(before.replace(text, other))
            assert path.read_text() != before
        flow.write(BODY)
        hold, held = flow.home / "hold", flow.home / "held"
        setup = f"if [ -e {hold} ]; then : >{held}.$$; while [ -e {hold} ]; do sleep 0.05; done; fi"
        site = flow.home / "site.toml"
        site.write_text(f'schema = 1\n[worker]\nsetup = ["{setup}"]\n')
        self.said = flow.home / "said"
        options = ("--jobTime", "0", "--maxCpus", "6", "--retryCount", "0")
        master = self._start(flow.script, "--jobTree", flow.tree, "--site", site, *options)
        try:
            wait_for(lambda: len(list(flow.home.glob("held.*"))) == 3)
        finally:
            master.send_signal(signal.SIGKILL)
            master.wait()

    def go_on(self, *options: str) -> str:
        """Restart the tree, and let go on what runs or waits; return what the master said."""
        before = self.said.stat().st_size
        master = self._start("-m", "jobtree", "restart", self.flow.tree, *options)
        wait_for(lambda: "info adopted" in self.said.read_text()[before:])
        (self.flow.home / "go").touch()
        (self.flow.home / "hold").unlink()
        status = master.wait(120)
        said = self.said.read_text()[before:]
        assert status == 0, said
        assert "adopted 6 of 6 batch jobs" in said
        assert sorted(self.flow.lines("ran")) == ALL
        return said

    def _start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        with self.said.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, *words],
                stdout=out,
                stderr=out,
                cwd=self.flow.home,
                env=environment() | {"PYTHONPATH": str(self.code)},
            )


def test_jobtree_is_replaced_by_one_that_stands_elsewhere(flow: Workflow) -> None:
    """What waits finds no worker; who runs finds no part of itself that it has not yet loaded."""
    upgrade = Upgrade(flow)
    upgrade.code = upgrade.code.rename(flow.home / "after")
    said = upgrade.go_on()
    assert said.count("was submitted by another jobTree or Python, which does not start") == 1
    assert "can't open file" in said
    assert said.count("lost job=") == 2
    assert "jobTree was replaced while it ran: No module named 'jobtree." in said
    assert "could not go on on" in said
    assert ": No module named 'jobtree.worker." in said
    assert "failed job=" not in said


def test_workers_that_know_nothing_of_being_replaced_cost_no_retry_either(flow: Workflow) -> None:
    upgrade = Upgrade(flow, UNAWARE)
    upgrade.code.rename(flow.home / "after")
    upgrade.code = ROOT
    said = upgrade.go_on()
    assert said.count("lost job=") == 2
    assert "jobTree was replaced while it ran: ModuleNotFoundError: No module named" in said
    assert "its worker gave up on " in said
    assert "failed job=" not in said


def test_orders_of_another_protocol_are_refused_and_nobody_is_charged(flow: Workflow) -> None:
    upgrade = Upgrade(flow)
    (order,) = (flow.tree / "orders").glob("j-Late-*")
    order.write_bytes(order.read_bytes().replace(b'{"protocol":1,', b'{"protocol":0,', 1))
    said = upgrade.go_on("--rescueCount", "0")
    assert said.count("was submitted by another jobTree or Python, which does not start") == 1
    assert "speaks protocol 0, this worker 1" in said
    assert "lost job=" not in said
    assert "failed job=" not in said
