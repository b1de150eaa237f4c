"""Which defaults of users and sites count for Grid Engine, and that each is on its page."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline.dialect import Request
from batchsystems.commandline.environment import for_answers
from batchsystems.commandline.limits import Limits
from batchsystems.common import default_files
from batchsystems.common.default_files import Defaults
from batchsystems.errors import BatchSystemError
from batchsystems.interface import Resources
from batchsystems.sge import defaults
from batchsystems.sge.defaults import read_requests, require_harmless
from batchsystems.sge.dialect import SgeDialect

PAGE = Path(__file__).parents[3] / "docs" / "defaults.md"
OPTIONS = {
    *defaults.FOLLOWED,
    *defaults.NOT_FOLLOWED,
    *defaults.FOLLOWED_ANYHOW,
    *defaults.HARMFUL_LISTINGS,
    *defaults.HARMLESS_LISTINGS,
    *defaults.HARMFUL_TO_DRMAA,
}


def test_every_variable_and_option_is_on_the_page():
    text = PAGE.read_text()
    names = {*defaults.SCRUBBED, *defaults.LOCATION, *defaults.WISHES, *OPTIONS}
    assert not [name for name in names if f"`{name}`" not in text]


@pytest.mark.parametrize("name", sorted(defaults.SCRUBBED))
def test_no_command_gets_a_variable_that_changes_it(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "1")
    assert name not in for_answers(SgeDialect())


def wishes(*texts: str) -> defaults.Requests:
    return read_requests(Defaults(f"file{number}", text) for number, text in enumerate(texts))


def test_of_requests_the_wishes_are_given_again_and_all_else_is_dropped():
    found = wishes(
        "# the cell's\n-P lab -l h_rt=1:0:0 -w e\n-jsv /x -binding env linear:1\n",
        "-t 1-5 -h -N mine -q 'long.q,all.q'\n-sync n -pe smp 4\n",
    )
    assert found.options == (
        *("-P", "lab", "-l", "h_rt=1:0:0", "-binding", "env", "linear:1", "-q", "long.q,all.q"),
    )
    assert "-P lab (file0)" in found.followed
    assert [each.partition(" (")[0] for each in found.others] == [
        *("-w e", "-t 1-5", "-h", "-N mine", "-sync n", "-pe smp 4")
    ]
    asked = Request("n", ("true",), Resources(), None, 0, "/here", {})
    command = SgeDialect(None, found.options).submit(asked, Limits())
    assert command.argv[:4] == ("qsub", "-clear", "-P", "lab")
    assert command.cwd == "/", "where no file of requests is"


def test_a_file_that_clears_what_came_before_is_heard():
    assert wishes("-P lab -A x", "-clear -A y").options == ("-A", "y")


def test_what_is_wished_if_possible_makes_no_request_of_a_job_so():
    assert wishes("-soft -l arch=x").options == ("-soft", "-l", "arch=x", "-hard")
    assert wishes("-soft -q a -hard").options == ("-soft", "-q", "a", "-hard")


@pytest.mark.parametrize(
    "line", ["-l arch=x", "-q a", "-g c", "-j", "-U x", "-bogus", "-u x -qs d"]
)
def test_a_listing_that_would_not_show_all_is_refused(line: str):
    with pytest.raises(BatchSystemError, match="no option undoes") as caught:
        require_harmless((), [Defaults("~/.sge_qstat", f"# mine\n{line}\n")])
    assert caught.value.code == "JT250"
    assert "~/.sge_qstat" in caught.value.where


def test_waiting_for_each_job_is_refused_where_qsub_reads_it():
    text = "-P lab\n-sync yes\n"
    with pytest.raises(BatchSystemError, match="no option undoes"):
        require_harmless([Defaults("~/.sge_request", text)], ())
    require_harmless([Defaults(".sge_request", text), Defaults("~/.sge_request", "-sync n")], ())


@given(st.text(st.sampled_from("-lqPtNh =\n#'\"ab1,"), max_size=60))
def test_any_file_can_be_read(text: str):
    read_requests([Defaults("f", text)])
    for each in (False, True):
        with suppress(BatchSystemError):
            require_harmless([Defaults("f", text)], [Defaults("g", text)], each)


def test_files_are_read_in_their_order_and_may_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".sge_request").write_text("-P here")
    (tmp_path / "sge_request").write_text("-P cell")
    found = default_files.read(defaults.paths(str(tmp_path), defaults.REQUESTS))
    assert [file.text for file in found if file.name[0] != "~"] == ["-P cell", "-P here"]
