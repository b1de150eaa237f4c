"""What is given to Slurm: options, scripts, and the settings that shape them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from batchsystems.commandline.dialect import Request
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.limits import Limits, Queue
from batchsystems.commandline.output import is_doubtful, reread
from batchsystems.errors import BatchSystemError
from batchsystems.interface import INDEX, JobEnd, Reason, Resources
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.slurm.tables import NEVER

GIB = 2**30


def request(**more) -> Request:
    given: dict[str, Any] = {
        "resources": Resources(),
        "size": None,
        "first": 0,
        "cwd": "/",
        "env": {},
    }
    return Request("name", ("true",), **(given | more))


def submit(settings: SlurmSettings | None = None, limits: Limits | None = None, **more):
    return SlurmDialect(settings).submit(request(**more), limits or Limits())


def test_resources_become_options():
    asked = Resources(cpus=4, memory_bytes=GIB + 1, gpus=2, time_s=61)
    argv = submit(resources=asked).argv
    assert {"--cpus-per-task=4", "--mem=1025M", "--gres=gpu:2", "--time=2"} <= set(argv)
    assert "--no-requeue" in argv


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (SlurmSettings(memory="cpu"), "--mem-per-cpu=256M"),
        (SlurmSettings(gres="gpu:a100"), "--gres=gpu:a100:1"),
        (SlurmSettings(partition="p"), "--partition=p"),
        (SlurmSettings(account="a"), "--account=a"),
        (SlurmSettings(qos="q"), "--qos=q"),
        (SlurmSettings(constraint="a&b"), "--constraint=a&b"),
        (SlurmSettings(reservation="r"), "--reservation=r"),
        (SlurmSettings(cluster="far"), "--clusters=far"),
        (SlurmSettings(directives=("--licenses=x:1",)), "--licenses=x:1"),
    ],
)
def test_settings_become_options(settings: SlurmSettings, expected: str):
    asked = Resources(cpus=4, memory_bytes=GIB, gpus=1)
    assert expected in submit(settings, resources=asked).argv


def test_a_site_that_gives_nodes_whole_is_not_asked_for_memory():
    argv = submit(SlurmSettings(memory="none"), resources=Resources(memory_bytes=GIB)).argv
    assert not any(word.startswith("--mem") for word in argv)


def test_another_partition_is_named_only_where_the_default_cannot_hold_the_job():
    limits = Limits(queues=(Queue("short", time_s=300, preferred=True), Queue("long")))
    chosen = [
        [
            word
            for word in submit(limits=limits, resources=Resources(time_s=t)).argv
            if "part" in word
        ]
        for t in (200, 400)
    ]
    assert chosen == [[], ["--partition=long"]]


def test_arrays_count_from_0_and_add_their_offset_in_the_script():
    command = submit(size=10, first=2000)
    assert "--array=0-9" in command.argv
    assert "--array" not in " ".join(submit(first=7).argv)


def run(script: str, **env: str) -> str:
    return subprocess.run(
        ["/bin/sh"], input=script, env=env, capture_output=True, text=True, check=True
    ).stdout


def test_words_reach_the_command_as_they_are(tmp_path: Path):
    words = ("printf", "%s|", "a b", "c'd", '"', "$HOME", "`x`", "\\", "e\nf", "", "*", INDEX)
    script = SlurmDialect().submit(
        Request("n", words, Resources(), 5, 1000, str(tmp_path), {}), Limits()
    )
    said = run(script.stdin, SLURM_ARRAY_TASK_ID="3", HOME="/home")
    assert said == "a b|c'd|\"|$HOME|`x`|\\|e\nf||*|1003|"


def test_set_up_lines_come_before_the_job(tmp_path: Path):
    settings = SlurmSettings(setup=("GREETING=hello", "export GREETING"))
    script = SlurmDialect(settings).submit(
        Request("n", ("sh", "-c", "echo $GREETING; pwd"), Resources(), None, 0, str(tmp_path), {}),
        Limits(),
    )
    assert run(script.stdin, PATH="/usr/bin:/bin") == f"hello\n{tmp_path}\n"


def test_a_missing_directory_fails_the_job_and_not_elsewhere():
    script = submit(cwd="/proc/nowhere").stdin
    done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 126
    assert "/proc/nowhere" in done.stderr


def test_signs_that_sbatch_would_replace_in_a_path_are_kept():
    assert "--output=/a/100%%/x" in submit(output="/a/100%/x").argv
    assert "--output=/dev/null" in submit().argv


@pytest.mark.parametrize(
    "given",
    [
        {"partition": "a\nb"},
        {"directives": ("--licenses=x\n--wrap=evil",)},
        {"setup": ("a\r",)},
        {"memory": "node"},
        {"directives": ("--array=1-5",)},
        {"directives": ("-J", "--job-name=x")},
        {"directives": ("licenses",)},
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict):
    with pytest.raises(BatchSystemError, match="JT203") as caught:
        SlurmSettings(**given)
    assert caught.value.fix


def test_without_slurm_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BatchSystemError, match="no sbatch, no squeue, no scancel"):
        AdapterOf(SlurmDialect)()


def test_ids_are_split_and_joined():
    dialect = SlurmDialect()
    assert dialect.ids.split("12") == ("12", None)
    assert dialect.ids.split("12_3") == ("12", 3)
    assert dialect.ids.join("12", 3) == "12_3"
    assert [dialect.ids.split(other) for other in ("", "x", "12_", "12.batch", "12;far")] == [
        None
    ] * 5


@pytest.mark.parametrize(
    ("why", "part"),
    [
        ("PartitionTimeLimit", "lower its time"),
        ("ReqNodeNotAvail, UnavailableNodes:node2", "down, drained"),
        (
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
            "partitions",
            "down, drained",
        ),
        ("NeverHeardOf", ""),
    ],
)
def test_reasons_for_waiting_have_a_remedy(why: str, part: str):
    remedy = SlurmDialect().remedy(why)
    assert part in remedy
    assert bool(part) == bool(remedy)


def test_whatever_is_hopeless_has_a_remedy():
    assert all(text for _, text in NEVER)
    assert SlurmDialect().remedy("QOSMaxMemoryPerJob")


def test_a_job_killed_for_its_memory_without_cgroups_is_recognised_by_its_output():
    dialect = SlurmDialect()
    end = JobEnd(Reason.FAILED, signal=9)
    assert is_doubtful(dialect, end)
    said = "slurmstepd-node1: error: StepId=42.batch exceeded memory limit (225030144 > 104857600)"
    found = reread(dialect, end, "42", f"before\n{said}, being killed\nafter\n")
    assert found.reason is Reason.OUT_OF_MEMORY
    assert "exceeded memory limit" in found.evidence[-1]
    assert reread(dialect, end, "4", said) == end, "another job's"
    assert reread(dialect, end, "42_1", said) == end
