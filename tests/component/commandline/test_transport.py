"""Commands are run to their end or their time-out, and nothing of them is left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from batchsystems.commandline.pacing import Pace, TokenBucket
from batchsystems.errors import BatchSystemError
from batchsystems.transport.local import Command, Local

pytestmark = pytest.mark.usefixtures("no_stray_processes")


def sh(script: str, **more: object) -> Command:
    return Command("queue", ("sh", "-c", script), **more)  # type: ignore[arg-type]


def test_what_a_command_says_is_kept_apart():
    ran = Local().run(sh("cat; echo err >&2; exit 3", stdin="in é\n"), 30)
    assert (ran.status, ran.stdout, ran.stderr) == (3, "in é\n", "err\n")
    assert ran.whole
    assert ran.words() == "err"


def test_input_that_the_locale_has_no_letters_for_arrives():
    program = (
        "from batchsystems.transport.local import Command, Local\n"
        "said = Local().run(Command('queue', ('wc', '-c'), stdin='b\\xe4r \\u0142'), 30)\n"
        "print(said.stdout.strip())"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, env=kept | ascii_only, capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"


def test_input_that_nobody_reads_is_no_trouble():
    assert Local().run(sh("exit 0", stdin="x" * 10**7), 30).status == 0


def test_much_input_and_output_at_once():
    text = "0123456789\n" * 100_000
    assert Local().run(sh("cat", stdin=text), 60).stdout == text


def test_a_command_and_its_children_are_killed_at_the_time_out(tmp_path: Path):
    began = time.monotonic()
    ran = Local().run(sh(f"echo said; sleep 1000 & cd {tmp_path}; sleep 1000"), 0.5)
    assert time.monotonic() - began < 20
    assert (ran.status, ran.timed_out, ran.whole) == (None, True, False)
    assert ran.stdout == "said\n", "what it said until then may tell an id"
    assert "no answer in time" in ran.words()


def test_children_left_behind_by_a_command_that_ended_are_killed(tmp_path: Path):
    assert Local().run(sh(f"cd {tmp_path}; sleep 1000 >/dev/null 2>&1 & exit 4"), 30).status == 4


def test_output_is_capped():
    began = time.monotonic()
    ran = Local(cap_bytes=100_000).run(sh("yes"), 60)
    assert time.monotonic() - began < 30
    assert ran.cut
    assert not ran.whole
    assert len(ran.stdout) < 1_000_000


def test_a_command_killed_by_a_signal_says_so():
    assert Local().run(sh("kill -9 $$"), 30).status == -9


def test_a_command_that_is_not_there_never_ran():
    ran = Local().run(Command("submit", ("no-such-command-at-all",)), 5)
    assert not ran.started
    assert "no-such-command-at-all" in ran.words()
    assert Local().missing(["sh", "no-such-command-at-all"]) == ["no-such-command-at-all"]


def test_environment_and_directory(tmp_path: Path):
    ran = Local().run(sh("echo $A; pwd", env={"A": "b"}, cwd=str(tmp_path)), 30)
    assert ran.stdout == f"b\n{tmp_path}\n"


def test_a_command_can_be_cancelled_from_elsewhere():
    local = Local()
    threading.Timer(0.3, local.cancel).start()
    assert local.run(sh("sleep 1000"), 60).status == -9


def test_reading_a_file_from_its_end(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    local = Local()
    assert local.read(str(path), -4, 100) == b"6789"
    assert local.read(str(path), -100, 3) == b"012"
    assert local.read(str(path), 2, 3) == b"234"
    assert local.state(str(path)).size == 10
    with pytest.raises(FileNotFoundError):
        local.read(str(tmp_path / "none"), 0, 1)
    with pytest.raises(FileNotFoundError):
        local.state(str(tmp_path / "none"))


def test_a_bucket_lets_through_its_rate_and_a_burst():
    bucket = TokenBucket(rate=0.5, burst=3)
    taken = 0
    for now in range(60):
        while bucket.wait_s(float(now)) == 0:
            bucket.take()
            taken += 1
    assert taken in (32, 33)


@pytest.mark.parametrize("name", ["submits_per_s", "queries_per_minute", "commands_per_minute"])
def test_a_pace_of_nothing_is_refused(name: str):
    with pytest.raises(BatchSystemError, match=name):
        Pace(**{name: 0})


def test_what_lies_beside_a_file_is_found_where_the_file_really_lies(tmp_path: Path):
    local = Local()
    (tmp_path / "real").mkdir()
    for name in ("log", "log.1", "log-2", "other"):
        (tmp_path / "real" / name).write_text(name)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "log")
    found = local.beside(str(tmp_path / "link"))
    assert sorted((Path(each.path).name, each.size) for each in found) == [
        ("log-2", 5),
        ("log.1", 5),
    ]
    moved = tmp_path / "real" / "log.3"
    inode = local.state(str(tmp_path / "link")).inode
    (tmp_path / "real" / "log").rename(moved)
    assert local.state(str(moved)).inode == inode
