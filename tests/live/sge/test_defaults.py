"""Defaults of user and site against a real Grid Engine: each variable and file its commands obey.

Each is set to what would do most harm; then the adapter's own commands are given, and what they do
must be what they do without. Read next: batchsystems/sge/defaults.py, the tables; homes.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchsystems.sge import defaults
from tests.live.engines import open_directory
from tests.live.homes import require_namespaces, run_at_home
from tests.live.sge.lab import Lab

REQUESTS = (
    "-t 1-5",
    "-h",
    "-hold_jid waited_for",
    "-hold_jid_ad waited_for",
    "-N other",
    "-o /nonexistent/o -j n -e /nonexistent/e",
    "-i /nonexistent/i",
    "-b y",
    "-C %%",
    "-V",
    "-v SGE_TASK_ID=7,PATH=/nonexistent",
    "-verify",
    "-help",
    "-now y",
    "-a 203001010000",
    "-pe smp 4",
    "-r y",
    "-m beas -M nobody",
    "-S /nonexistent/sh",
    "-shell n",
    "-cwd",
    "-wd /nonexistent",
    "-w v",
    "-notify",
    "-ckpt nosuch -c m",
    "-dl 203001010000",
    "-terse",
    "-display x:0 -pty y",
    "-l h_vmem=1M,h_rt=1",
)
"""Lines of requests that must not count."""

FOLLOWED = {
    "-A guests": ("account", "guests"),
    "-p -7": ("priority", "-7"),
    "-q all.q": ("hard_queue_list", "all.q"),
    "-l arch=lx*": ("hard resource_list", "arch=lx*,h_rt=600,h_vmem=50M"),
    "-soft -l arch=lx*": ("soft resource_list", "arch=lx*"),
    "-soft -q all.q": ("soft_queue_list", "all.q"),
    "-ac key=value": ("context", "key=value"),
    "-R y": ("reserve", "y"),
    "-js 3": ("jobshare", "3"),
}
"""Lines of requests that count, and what is seen of them."""

REFUSED = ("-sync y",)

LISTINGS = (
    *("-u nobody", "-s z", "-s hu", "-g d", "-g t", "-ext", "-f", "-F", "-r", "-t", "-urg"),
    *("-pri", "-ne", "-ncb", "-explain E"),
)
"""Lines of listings that must not count."""

REFUSED_LISTINGS = (
    *("-l arch=none", "-q none.q", "-pe none", "-U nobody", "-qs d", "-j", "-g c", "-help", "-xml"),
    "-bogus",
)

SCRIPT = """
import json, os, pathlib, time
from batchsystems.commandline.answers import Submitted
from batchsystems.commandline.dialect import Request
from batchsystems.commandline.limits import Limits
from batchsystems.commandline.environment import for_answers, job_environment
from batchsystems.errors import ReportableError
from batchsystems.interface import Resources
from batchsystems.commandline.factory import AdapterOf
from batchsystems.sge.dialect import SgeDialect
from batchsystems.transport.local import Command, Local

def ask(dialect, command):
    env = for_answers(dialect) if command.env is None else command.env
    return Local().run(Command(command.verb, command.argv, command.stdin, env, command.cwd), 60)

def tried():
    try:
        batch = AdapterOf(SgeDialect)()
    except ReportableError as error:
        return {"error": error.code}
    dialect = batch._dialect
    env, given = job_environment(dialect, None)
    asked = Resources(memory_bytes=50 << 20, time_s=600)
    request = Request("mine", ("sleep", "1000"), asked, None, 0, "/tmp", env, given=given)
    ran = ask(dialect, dialect.submit(request, Limits()))
    taken = dialect.parse_submit(ran)
    if not isinstance(taken, Submitted):
        return {"submission": repr(ran)}
    command = Command("queue", ("qstat", "-j", taken.native))
    lines = [line.split(":", 1) for line in ask(dialect, command).stdout.splitlines()]
    told = {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}
    seen = {}
    for _ in range(600):  # until it runs, or for long enough
        listing = dialect.parse_queue(ask(dialect, dialect.queue()))
        rows = [each for each in listing.observations if each.native == taken.native]
        seen = {
            "complete": listing.complete, "why": listing.why,
            "rows": [[each.name, each.phase.value, each.node != ""] for each in rows],
        }
        if not listing.complete or not rows or rows[0].phase.value != "waiting":
            break
        time.sleep(0.1)
    ended = dialect.parse_kill(ask(dialect, dialect.kill([taken.native])))
    batch.close()
    return {"told": told, "seen": seen, "kill": ended}

for name, value, file, line in json.loads(os.environ["CASES"]):
    if name:
        os.environ[name] = value
    if file:
        pathlib.Path(file).write_text(line + chr(10))
    print(json.dumps([name, file, line, tried()]), flush=True)
    if name:
        del os.environ[name]
    if file:
        pathlib.Path(file).unlink()
"""

Case = tuple[str, str, str]
Look = Callable[[Case], dict[str, Any]]

NAMES = [(name, "", "") for name in sorted(defaults.SCRUBBED | defaults.WISHES)]
HOME, CELL, HERE = ".sge_request", "CELL/sge_request", "work/.sge_request"
LINES = [("", HOME, line) for line in REQUESTS]
LINES += [("", place, "-t 1-5 -h -N other -pe smp 4") for place in (CELL, HERE)]
LINES += [("", file, line) for file in (".sge_qstat",) for line in LISTINGS]
LINES += [("", "CELL/sge_qstat", "-u nobody -s z -ext"), ("", ".sge_aliases", "/tmp * * /none")]
LINES += [("", HERE, "-sync y"), ("", ".qtask", "mine -h")]
WISHED = [
    ("", place, line)
    for line in FOLLOWED
    for place in ((CELL, HOME, HERE) if line[1] == "A" else (HOME,))
]
WRONG = [("", place, line) for line in REFUSED for place in (HOME, CELL)]
WRONG += [("", ".sge_qstat", line) for line in REFUSED_LISTINGS]
WRONG += [("", "CELL/sge_qstat", "-l arch=none")]


@pytest.fixture(scope="module")
def look(sge_session: Lab) -> Look:
    """Return what tells how the adapter's commands went with a default."""
    require_namespaces()
    lab = sge_session
    common = Path(lab.env["SGE_ROOT"]) / lab.env.get("SGE_CELL", "default") / "common"
    cases = [("", "", ""), *NAMES, *LINES, *WISHED, *WRONG]
    asked = [
        (name, "x" if name == "SGE_DEBUG_TARGET" else "1", file.replace("CELL", str(common)), line)
        for name, file, line in cases
    ]
    waited_for = lab.submit("-N", "waited_for", "/bin/sleep", "1000")
    with open_directory() as home:
        (home / "work").mkdir()
        script = "import os; os.chdir('work')\n" + SCRIPT.replace(
            "pathlib.Path(file)", "pathlib.Path('..', file)"
        )
        said = run_at_home(home, script, {**lab.env, "CASES": json.dumps(asked)}, 580)
    lab.delete(waited_for)
    found = [json.loads(line)[3] for line in said.splitlines()]
    return dict(zip(cases, found, strict=True)).__getitem__


@pytest.mark.parametrize("case", [*NAMES, *LINES], ids=lambda case: " ".join(filter(None, case)))
def test_no_default_changes_what_is_submitted_listed_or_ended(look: Look, case: Case):
    usual, found = look(("", "", "")), look(case)
    own = ("job_number", "exec_file", "submission_time", "usage", "binding", "scheduling info")
    kept = {k: v for k, v in found["told"].items() if not k.startswith(own)}
    assert kept == {k: v for k, v in usual["told"].items() if not k.startswith(own)}
    assert found["seen"] == usual["seen"]
    assert usual["seen"]["rows"] == [["mine", "running", True]]
    assert found["kill"] is None


@pytest.mark.parametrize("case", WISHED, ids=" ".join)
def test_who_pays_and_where_is_the_user_s_to_say(look: Look, case: Case):
    found = look(case)
    field, value = FOLLOWED[case[2]]
    assert found["told"].get(field, "").rstrip(",") == value
    assert found["seen"]["rows"][0][0] == "mine"


@pytest.mark.parametrize("case", WRONG, ids=" ".join)
def test_what_nothing_undoes_is_refused(look: Look, case: Case):
    assert look(case) == {"error": "JT250"}


# ---- through a DRMAA library ------------------------------------------------------------------

DRMAA = """
import json, os, pathlib, subprocess
from batchsystems.drmaa.adapter import Drmaa
from batchsystems.errors import ReportableError
from batchsystems.sge.settings import SgeSettings
from batchsystems.conformance import Watcher, sh
from tests.live.sge.test_adapter import BRIEF, QUICK

for name, line in json.loads(os.environ["CASES"]):
    pathlib.Path(".sge_request").write_text(line)
    if name:
        os.environ[name] = "1"
    try:
        watcher = Watcher(Drmaa(None, SgeSettings(), None, QUICK, BRIEF, os.getcwd()))
    except ReportableError as error:
        print(json.dumps([error.code, ""]), flush=True)
    else:
        native = watcher.accepted(job := watcher.batch.issueJob(sh("exit 3", "mine")))
        qstat = subprocess.run(["qstat", "-j", native], capture_output=True, text=True).stdout
        print(json.dumps([watcher.end(job).exit_status, qstat]), flush=True)
        watcher.batch.close()
    os.environ.pop(name, None)
"""


def test_a_library_follows_wishes_and_what_nothing_undoes_is_refused(sge_session: Lab):
    require_namespaces()
    harmless = "-t 1-5 -N other -sync y -o /nonexistent/o -now y -verify -r y -cwd -A guests"
    cases = [("", harmless), ("SGE_DELAY_AFTER_SUBMIT", ""), ("SGE_JAPI_EDTIME", "")]
    refused = [("", line) for line in ("-h", "-hold_jid x", "-pe smp 4", "-a 203001010000")]
    with open_directory() as home:
        env = {**sge_session.env, "CASES": json.dumps([*cases, *refused])}
        found = [json.loads(line) for line in run_at_home(home, DRMAA, env).splitlines()]
    assert [ended for ended, _ in found] == [3] * len(cases) + ["JT250"] * len(refused)
    assert "guests" in found[0][1]
