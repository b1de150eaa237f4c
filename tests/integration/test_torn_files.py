"""Small files emptied or torn, as by a loss of power: mended at once, or told at once.

Owns every file by which a start can be spoilt, and the ways it can be torn; results are torn in
tests/crash/test_torn_tails.py, leases' rules in tests/component/store/test_lease.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchsystems.interface import JobRecord
from batchsystems.singlemachine import adoption, records
from batchsystems.singlemachine.processes import Identity
from jobtree.mailbox import claims, control
from jobtree.mailbox.claims import Claim, Fence
from tests.integration.flows import FAILS_UNLESS, ROOT, Workflow, no_traceback
from tests.integration.namespaces import bent

pytestmark = pytest.mark.usefixtures("no_stray_processes")

Tear = Callable[[bytes], bytes]

TEARS: dict[str, Tear] = {
    "empty": lambda _: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all but two bytes": lambda content: content[:-2],
    "zeros": lambda content: bytes(len(content)),
    "zeros after a while": lambda content: content[:50] + bytes(len(content[50:])),
}


@pytest.fixture(params=[name for name in TEARS if name != "zeros after a while"])
def tear(request: pytest.FixtureRequest) -> Tear:
    return TEARS[request.param]


@pytest.fixture(params=TEARS)
def tear_of_much(request: pytest.FixtureRequest) -> Tear:
    return TEARS[request.param]


def torn(path: Path, tear: Tear) -> None:
    path.write_bytes(tear(path.read_bytes()))


@pytest.fixture
def flow(tmp_path: Path) -> Workflow:
    """A tree of which one job is done, and one has failed for want of a file that is there now."""
    flow = Workflow(tmp_path)
    flow.write(FAILS_UNLESS)
    flow.run(code=1)
    (tmp_path / "mended").touch()
    return flow


def quick(flow: Workflow, *words: str, code: int) -> str:
    """Run a command that watches a lease for less than a minute."""
    return flow._run(bent(*words), code)


@pytest.mark.parametrize("name", ["jobtree.json", "status.json", "control/bell"])
def test_what_is_only_told_is_told_anew(flow: Workflow, tear: Tear, name: str) -> None:
    torn(flow.tree / name, tear)
    assert "failed 1" in flow.command("status", str(flow.tree))
    torn(flow.tree / name, tear)
    assert "JT301" in flow.command(
        "run", "--command", "true # JOB_FILE", "--jobTree", str(flow.tree), code=5
    )
    assert "all done" in flow.restart()
    assert flow.lines("good") == ["x"]


def test_a_lease_is_watched(flow: Workflow, tear_of_much: Tear) -> None:
    tear = tear_of_much
    (lease,) = (flow.tree / "leases").iterdir()
    torn(lease, tear)
    said = quick(flow, "status", str(flow.tree), code=0)
    assert "failed 1" in said
    torn(lease, tear)
    said = quick(flow, "restart", str(flow.tree), code=0)
    assert "its lease" in said
    assert "cannot be read" in said
    assert flow.lines("good") == ["x"]


def test_a_tree_with_a_torn_lease_is_cleaned(flow: Workflow) -> None:
    (lease,) = (flow.tree / "leases").iterdir()
    torn(lease, TEARS["empty"])
    assert "deleted" in quick(flow, "clean", "--yes", str(flow.tree), code=0)


def test_an_environment_is_refused_at_once_and_written_anew_by_its_script(
    flow: Workflow, tear_of_much: Tear
) -> None:
    torn(flow.tree / "environment.json", tear_of_much)
    said = flow.restart(code=5)
    assert "JT332" in said
    assert "start the workflow's script again" in said
    assert no_traceback(said)
    assert "failed 1" in flow.command("status", str(flow.tree))
    assert "all done" in flow.run()
    assert flow.lines("good") == ["x"]


def test_an_environment_that_is_gone_is_refused(flow: Workflow) -> None:
    (flow.tree / "environment.json").unlink()
    assert "it is not there" in flow.restart(code=5)
    assert "all done" in flow.run()


def test_the_environment_for_a_setup_is_written_anew(flow: Workflow, tear_of_much: Tear) -> None:
    lines = flow.tree / "environment.sh"
    before = lines.read_bytes()
    torn(lines, tear_of_much)
    assert "all done" in flow.restart()
    assert lines.read_bytes() == before


def test_commands_go_on_in_the_environment_of_the_restart(tmp_path: Path, tear: Tear) -> None:
    flow = Workflow(tmp_path)
    command = "test -e mended # JOB_FILE"
    flow.command("run", "--command", command, "--jobTree", str(flow.tree), code=1)
    (tmp_path / "mended").touch()
    torn(flow.tree / "environment.json", tear)
    said = flow.restart()
    assert "environment.json is damaged: from now on" in said
    assert "all done" in said
    assert "damaged" not in flow.restart()


def test_an_environment_torn_under_a_master_ends_it_at_the_first_failed_launch(
    tmp_path: Path,
) -> None:
    """Twenty rescues, ever longer after one another, would find the same."""
    flow = Workflow(tmp_path)
    flow.write(
        """
class Root(Target):
    def run(self):
        open("tree/environment.json", "w").close()
        self.addChildTarget(Next())
        self.addChildTarget(Next())
class Next(Target):
    def run(self):
        note("ran", "x")
"""
    )
    said = flow.run(code=5)
    assert "JT332" in said
    assert "it is empty" in said
    assert said.count("lost job") < 3
    assert "all done" in flow.run()
    assert flow.lines("ran") == ["x", "x"]


def test_a_database_is_refused(flow: Workflow, tear_of_much: Tear) -> None:
    torn(flow.tree / "tree.db", tear_of_much)
    (flow.tree / "tree.db-wal").unlink(missing_ok=True)
    for said in (flow.restart(code=5), flow.run(code=5)):
        assert "JT310" in said
        assert no_traceback(said)
    (flow.tree / "status.json").unlink()
    assert "JT310" in flow.command("status", str(flow.tree), code=5)
    assert "deleted" in flow.command("clean", "--yes", str(flow.tree))


def test_a_log_of_the_database_ends_where_it_is_torn(flow: Workflow, tear: Tear) -> None:
    log = flow.tree / "tree.db-wal"
    log.write_bytes(tear(os.urandom(40_000)))
    log.chmod(0o600)
    assert "all done" in flow.restart()
    assert flow.lines("good") == ["x"]


def test_a_request_is_dropped_and_an_answer_asked_for_again(tmp_path: Path, tear: Tear) -> None:
    (tmp_path / "control").mkdir()
    request = json.dumps({"verb": "log", "arguments": {"job": 1}}).encode()
    path = tmp_path / "control" / "1-a.ask"
    path.write_bytes(tear(request))
    assert control.waiting_requests(str(tmp_path)) == []
    assert not path.exists()
    for odd in (b'{"verb": "log", "arguments": null}', b'{"verb": "log"}', b"[]", b"3"):
        path.write_bytes(odd)
        assert control.waiting_requests(str(tmp_path)) == []
    path.write_bytes(request)
    assert [found.verb for found in control.waiting_requests(str(tmp_path))] == ["log"]
    path.write_bytes(tear(b'{"left_out": [], "cleared": ["many nodes", "and more of them"]}'))
    assert control._take_answer(str(path)) is None
    assert not path.exists()


def test_an_order_makes_its_worker_give_up_and_say_why(tmp_path: Path, tear: Tear) -> None:
    flow = Workflow(tmp_path)
    flow.write(
        """
class Root(Target):
    def run(self):
        with open("/proc/self/cmdline") as file:
            order = next(word for word in file.read().split("\\0") if "/orders/" in word)
        note("order", order)
        with open(order, "rb") as file, open("copy", "wb") as copy:
            copy.write(file.read())
"""
    )
    flow.run()
    (order,) = flow.lines("order")
    Path(order).write_bytes(tear((tmp_path / "copy").read_bytes()))
    Path(order).chmod(0o600)
    start = ROOT / "jobtree" / "worker" / "start.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(start), order, "0"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 70, done.stderr
    assert "the order cannot be read" in done.stderr
    assert no_traceback(done.stderr)


def test_a_claim_is_held_by_somebody_unknown(tmp_path: Path, tear: Tear) -> None:
    (tmp_path / "claims").mkdir()
    fd = claims.take_claim(str(tmp_path), "j.0", Claim("node7", 7, "ab" * 8, 1.0, 0))
    assert fd is not None
    os.close(fd)
    torn(tmp_path / "claims" / "j.0", tear)
    found = claims.read_claim(str(tmp_path), "j.0")
    assert found is not None
    assert found.beat == 0


def test_a_fence_stops(tmp_path: Path) -> None:
    (tmp_path / "fences").mkdir()
    claims.write_fence(str(tmp_path), "j.0", Fence.RECALL)
    assert claims.read_fence(str(tmp_path), "j.0") == Fence.RECALL
    for said in (b"", b"s", b"rec", bytes(6), Fence.STOP.encode()):
        (tmp_path / "fences" / "j.0").write_bytes(said)
        assert claims.read_fence(str(tmp_path), "j.0") == Fence.STOP


def test_the_records_of_jobs_here_are_read_as_far_as_they_go(tmp_path: Path, tear: Tear) -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    order = b"order\njob=j.0\ncpus=2\nmemory=1000000\ntime=60.5\ngpus=\n"
    (tmp_path / f"{records.key_of('j.0', me)}.live").write_bytes(tear(order))
    (found,) = adoption.find(str(tmp_path), [JobRecord("j", 0, me.native, 0.0)])
    assert found is not None
    assert found.end is None
    assert found.resources.cpus in (1, 2)
    end = b"reason OK\nexit_status 0\nmemory_bytes 1000\nwall_s 1.5\ncomplete\n"
    (tmp_path / f"{records.key_of('j.0', me)}.end").write_bytes(tear(end))
    (found,) = adoption.find(str(tmp_path), [JobRecord("j", 0, me.native, 0.0)])
    assert found is not None
    assert found.end is None
