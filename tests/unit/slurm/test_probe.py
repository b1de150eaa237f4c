"""What Slurm reveals of itself becomes a site file that is valid, true and explained."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchsystems.commandline.limits import Limits, Queue
from batchsystems.errors import Unobtainable
from batchsystems.interface import Resources
from batchsystems.site.draft import write_draft
from batchsystems.site.reading import Source, read_sites
from batchsystems.sitefiles import check_text, schema
from batchsystems.slurm.probe import SlurmProbe
from batchsystems.transport.local import CommandResult

TOLD = json.loads((Path(__file__).parents[2] / "data" / "slurm" / "probe.json").read_text())
ANSWERS = {name: CommandResult(0, text) for name, text in TOLD.items()}
FAILED = CommandResult(1, "", "error: no")


def text(**changed: CommandResult | tuple[str, str]) -> str:
    """Return the file that is written when some answers, or words of them, are others."""
    answers = dict(ANSWERS)
    for name, new in changed.items():
        if isinstance(new, tuple):
            assert new[0] in TOLD[name]
            answers[name] = replace(answers[name], stdout=TOLD[name].replace(*new))
        else:
            answers[name] = new
    written = write_draft(SlurmProbe().draft(answers), schema().keys, "/opt/python", "2026-11-25")
    assert check_text(written, "/site.toml") == []
    assert max(map(len, written.splitlines())) <= 99
    return written


def table(**changed: CommandResult | tuple[str, str]) -> dict[str, Any]:
    return tomllib.loads(text(**changed))


def test_the_questions_are_those_that_were_captured() -> None:
    assert SlurmProbe().questions("root").keys() == TOLD.keys()


def test_what_a_real_slurm_told() -> None:
    found = table()
    assert found["batch_system"] == "slurm"
    assert (found["slurm"]["memory"], found["slurm"]["accounting"]) == ("job", True)
    queues = {queue.pop("name"): queue for queue in found["slurm"]["queue"]}
    assert list(queues) == ["short", "long", "low", "lowkill", "high", "limited"]
    node = {"max_cpus": 8, "max_memory": "8GB", "max_gpus": 2}
    assert queues["short"] == node | {"max_time": "5m", "preferred": True}
    assert queues["long"] == queues["high"] == node | {"max_time": "1d"}
    assert queues["low"] == queues["lowkill"] == node | {"max_time": "1d", "preemptible": True}


def test_the_file_sends_jobs_where_slurm_would_take_them() -> None:
    site, _ = read_sites([Source("/site.toml", "", text())], schema())
    limits = Limits(queues=site.get("slurm.queue"))
    assert limits.choose(Resources(time_s=60)) == site.get("slurm.queue")[0]
    chosen = limits.choose(Resources(time_s=3600))
    assert isinstance(chosen, Queue)
    assert chosen.name == "long"
    assert limits.choose(Resources(cpus=9)) is None


def test_what_is_said_of_the_cluster_is_true_of_it() -> None:
    written = text()
    assert written.startswith("# The cluster local (Slurm 22.05.8)")
    for words in ("yours are local, root", "MaxArraySize", "CR_CORE_MEMORY", "Slurm's default"):
        assert words in written
    assert '# account = "root"\n' in written
    assert "limited has the limits of the QOS limited" in written
    assert "/opt/python" in written


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("config", ("associations,limits,qos", "none"), "accounts are not checked"),
        ("config", ("CR_CORE_MEMORY", "CR_CORE"), "memory is shared (CR_CORE)"),
        ("config", ("ConstrainRAMSpace       = yes", "ConstrainRAMSpace = no"), "not limited by"),
        ("config", ("task/cgroup", "task/affinity"), "not limited by cgroups"),
        ("partitions", ("AllowAccounts=ALL", "AllowAccounts=a,b"), "AllowAccounts=a,b"),
        ("shapes", ("gpu:2", "gpu:a100:2"), '"gpu:a100"'),
        ("shapes", ("gpu:2", "(null)"), "there are no gpus"),
        ("user", ("root|root", "root|lab"), "without the key it is lab"),
        (
            "shapes",
            ("\nlong|", "\nlong|1:00|16|1024|(null)|OFF|long|1|up|no|UNLIMITED\nlong|"),
            "2 kinds of nodes",
        ),
    ],
)
def test_what_is_different_is_said(name: str, change: tuple[str, str], words: str) -> None:
    assert words not in text()
    assert words in " ".join(text(**{name: change}).replace("\n# ", " ").split())


def test_whole_nodes_are_not_asked_for_memory() -> None:
    assert table(config=("cons_tres", "linear"))["slurm"]["memory"] == "none"
    exclusive = table(partitions=("OverSubscribe=NO", "OverSubscribe=EXCLUSIVE"))
    assert exclusive["slurm"]["memory"] == "none"


def test_a_partition_that_takes_no_jobs_is_a_comment() -> None:
    first = TOLD["partitions"].partition("\n")[0]
    changed = text(partitions=(first, first.replace("State=UP", "State=DRAIN")))
    assert '# [[slurm.queue]]\n# name = "short"' in changed
    assert "short takes no jobs now: state DRAIN" in changed
    assert tomllib.loads(changed)["slurm"]["queue"][0]["name"] == "long"


def test_a_partition_gives_no_more_than_it_allows() -> None:
    first = TOLD["partitions"].partition("\n")[0]
    less = first.replace("MaxCPUsPerNode=UNLIMITED", "MaxCPUsPerNode=4")
    less = less.replace("MaxMemPerNode=UNLIMITED", "MaxMemPerNode=1000")
    less = less.replace("MaxTime=00:05:00", "MaxTime=UNLIMITED")
    queue = table(partitions=(first, less))["slurm"]["queue"][0]
    assert queue == {
        "name": "short", "max_cpus": 4, "max_memory": "1000MB", "max_gpus": 2, "preferred": True,
    }  # fmt: skip


def test_no_more_jobs_are_out_than_may_be_submitted() -> None:
    assert "max_jobs" not in table().get("limits", {})
    own = table(associations=("local|root||||", "local|root|||200|"))
    assert own["limits"]["max_jobs"] == 200
    by_qos = table(
        associations=("local|root||||", "local|root||normal||"), qos=("normal|||", "normal|50||")
    )
    assert by_qos["limits"]["max_jobs"] == 50
    of_another = table(qos=("limited|10||", "limited|5||"))
    assert "max_jobs" not in of_another["limits"]


def test_without_accounting_the_queue_is_looked_at_before_it_forgets() -> None:
    off = CommandResult(1, "", "Slurm accounting storage is disabled\n")
    found = table(history=off, associations=FAILED, user=FAILED, qos=FAILED)
    assert found["slurm"]["accounting"] is False
    assert found["pacing"]["poll_interval"] == "10s"
    longer = table(history=off, config=("MinJobAge               = 30", "MinJobAge = 300"))
    assert "poll_interval" not in longer["pacing"]


@pytest.mark.parametrize(
    ("silent", "words"),
    [
        ({"partitions": FAILED}, "the partitions: scontrol did not tell them"),
        ({"history": FAILED}, "whether there is accounting"),
        ({"associations": FAILED}, "your accounts"),
        ({"qos": FAILED}, "how many jobs you may have submitted"),
        ({"shapes": FAILED}, "schema = 1"),
        ({"history": CommandResult(None, "", "", timed_out=True)}, "whether there is accounting"),
    ],
)
def test_what_is_not_told_is_said(silent: dict[str, CommandResult], words: str) -> None:
    written = text(**silent)
    assert words in written
    assert "accounting = " not in written or "history" not in silent


def test_a_cluster_without_sacct_has_no_accounting() -> None:
    assert (
        table(history=CommandResult(None, "", "sacct: no", started=False))["slurm"]["accounting"]
        is False
    )


def test_a_slurm_that_does_not_answer_is_not_described() -> None:
    words = "Unable to contact slurm controller (connect failure)"
    answers = dict.fromkeys(ANSWERS, CommandResult(1, "", words))
    with pytest.raises(Unobtainable, match="connect failure"):
        SlurmProbe().draft(answers)


@settings(deadline=None)
@given(st.data())
def test_no_answer_makes_a_file_that_is_wrong(data: st.DataObject) -> None:
    """Answers cut and altered anywhere: the file is valid, and nothing undeclared is raised."""
    changed: dict[str, CommandResult] = {}
    for name in data.draw(st.sets(st.sampled_from(sorted(set(TOLD) - {"config"})))):
        said = TOLD[name]
        at = data.draw(st.integers(0, len(said)))
        cut = data.draw(st.integers(0, 12))
        put = data.draw(st.text(max_size=6))
        changed[name] = CommandResult(0, said[:at] + put + said[at + cut :])
    draft = SlurmProbe().draft(ANSWERS | changed)
    written = write_draft(draft, schema().keys, "/opt/python", "2026-11-25")
    assert check_text(written, "/site.toml") == []
