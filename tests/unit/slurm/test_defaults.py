"""Which defaults of users and sites count for Slurm, and that each is on its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchsystems.commandline.dialect import Request
from batchsystems.commandline.environment import for_answers, job_environment
from batchsystems.commandline.limits import Limits
from batchsystems.common.default_files import Defaults
from batchsystems.errors import BatchSystemError
from batchsystems.interface import Resources
from batchsystems.slurm import defaults as slurm_defaults
from batchsystems.slurm.defaults import defaults_of, require_harmless, wishes, with_wishes
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from tests.unit.slurm.captured import STEERING

PAGE = Path(__file__).parents[3] / "docs" / "defaults.md"
ALL = {
    *slurm_defaults.WISHES,
    *slurm_defaults.OVERRULED,
    *(name for names in STEERING.values() for name in names),
    *(name for names in slurm_defaults.SETTINGS.values() for name in names),
}


def test_every_variable_and_line_is_on_the_page():
    text = PAGE.read_text()
    lines = {*slurm_defaults.UNDONE, *slurm_defaults.NOT_UNDONE}
    assert not [name for name in {*ALL, *lines} if f"`{name}`" not in text]


@pytest.mark.parametrize("name", sorted(ALL))
def test_commands_get_of_a_user_s_variables_his_wishes_and_no_others(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(name, "x")
    dialect = SlurmDialect()
    env, given = job_environment(dialect, None)
    assert (name in env) == (name in slurm_defaults.WISHES)
    assert not given
    assert for_answers(dialect).get(name, "absent") in (
        "x" if name in slurm_defaults.WISHES else "absent",
        slurm_defaults.FIXED.get(name),
    )


def test_wishes_count_where_the_site_file_leaves_them_open():
    env = {"SBATCH_ACCOUNT": "lab", "SBATCH_PARTITION": "long", "SBATCH_QOS": "", "PATH": "/bin"}
    own = with_wishes(SlurmSettings(account="site"), env)
    assert (own.account, own.partition, own.qos) == ("site", "long", "")
    followed, others = wishes(own, env | {"SBATCH_TIMELIMIT": "5", "SBATCH_WCKEY": "w"})
    assert followed == ["SBATCH_PARTITION=long", "SBATCH_WCKEY=w"]
    assert others == ["SBATCH_ACCOUNT", "SBATCH_TIMELIMIT"]


@pytest.mark.parametrize(("value", "cluster"), [("far", "far"), ("far,near", ""), ("", "")])
def test_one_cluster_is_followed_and_several_are_not(value: str, cluster: str):
    env = {"SLURM_CLUSTERS": value}
    own = with_wishes(SlurmSettings(), env)
    assert own.cluster == cluster
    assert ("SLURM_CLUSTERS=far" in wishes(own, env)[0]) == bool(cluster)


def test_a_file_of_defaults_is_read_as_its_plugin_reads_it():
    text = "# no\n\nwait=\n sbatch:*:hold = x\nsalloc:quiet=\n*:array=0-3\nsrun:*:begin=now\nbad\n"
    found = defaults_of([Defaults("f", text)])
    assert found == {"wait": "", "hold": "x", "array": "0-3", "bad": ""}
    with pytest.raises(BatchSystemError, match="hold") as caught:
        require_harmless(found)
    assert caught.value.code == "JT250"


def test_what_a_file_of_defaults_says_is_undone():
    defaults = {"wait": "", "array": "0-3", "error": "/x", "begin": "later"}
    asked = Request("n", ("true",), Resources(), None, 0, "/", {"A": "b"}, output="/out%")
    command = SlurmDialect(None, defaults).submit(asked, Limits())
    assert {"--array=", "--begin=now", "--error=/out%%"} <= set(command.argv)
    assert command.env == {"A": "b", "SBATCH_WAIT": "0"}
    array = Request("n", ("true",), Resources(), 3, 0, "/", {})
    words = SlurmDialect(None, defaults).submit(array, Limits()).argv
    assert [word for word in words if word.startswith("--array")] == ["--array=0-2"]
    assert "--array=" not in SlurmDialect().submit(asked, Limits()).argv
