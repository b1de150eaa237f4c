"""Defaults of user and site against a real Slurm: every variable and file that its commands obey.

Each is set to what would do most harm; then the adapter's own commands are given, and what they do
must be what they do without. Read next: batchsystems/slurm/defaults.py, the table; homes.py.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import time
from collections.abc import Iterator

import pytest

from batchsystems.commandline.answers import Observation, Submitted
from batchsystems.commandline.dialect import Request
from batchsystems.commandline.environment import for_answers, job_environment
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.limits import Limits
from batchsystems.conformance import Watcher, end_all, sh
from batchsystems.interface import Resources
from batchsystems.slurm import defaults as slurm_defaults
from batchsystems.slurm.dialect import SlurmDialect
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.transport.local import Command, CommandResult, Local
from tests.live.engines import open_directory
from tests.live.homes import require_namespaces, run_at_home
from tests.live.slurm.lab import Lab
from tests.live.slurm.test_adapter import BRIEF, QUICK
from tests.live.waiting import LIMIT_S, eventually
from tests.unit.slurm.captured import STEERING

NASTY = {
    "SQUEUE_ACCOUNT": "nobody",
    "SQUEUE_FORMAT": "%i",
    "SQUEUE_FORMAT2": "JobID",
    "SQUEUE_LICENSES": "matlab",
    "SQUEUE_NAMES": "other",
    "SQUEUE_PARTITION": "high",
    "SQUEUE_QOS": "high",
    "SQUEUE_SORT": "-i",
    "SQUEUE_STATES": "COMPLETED",
    "SQUEUE_USERS": "nobody",
    "SACCT_FORMAT": "jobid",
    "SCANCEL_ACCOUNT": "nobody",
    "SCANCEL_NAME": "other",
    "SCANCEL_PARTITION": "high",
    "SCANCEL_QOS": "high",
    "SCANCEL_STATE": "SUSPENDED",
    "SCANCEL_USER": "nobody",
    "SCANCEL_WCKEY": "none",
    "SINFO_FORMAT": "%P",
    "SINFO_PARTITION": "high",
    "SINFO_SORT": "-P",
    "SLURM_BITSTR_LEN": "3",
    "SLURM_CLUSTERS": "nosuch,another",
    "SLURM_CONF_OUT": "/nonexistent/slurm.conf",
    "SLURM_DEBUG_FLAGS": "Protocol",
    "SLURM_EXIT_ERROR": "0",
    "SLURM_HINT": "multithread",
    "SLURM_TIME_FORMAT": "relative",
    "SLURM_TOPO_LEN": "1",
    "SLURM_UMASK": "777",
    "SBATCH_ARRAY_INX": "0-3",
    "SBATCH_BATCH": "nosuch",
    "SBATCH_CONTAINER": "/nonexistent",
    "SBATCH_CONTAINER_ID": "nosuch",
    "SBATCH_CPUS_PER_GPU": "4",
    "SBATCH_ERROR": "/nonexistent/err",
    "SBATCH_EXPORT": "NONE",
    "SBATCH_GPUS": "8",
    "SBATCH_GPUS_PER_NODE": "8",
    "SBATCH_GPUS_PER_SOCKET": "8",
    "SBATCH_GPUS_PER_TASK": "8",
    "SBATCH_GRES": "gpu:8",
    "SBATCH_INPUT": "/nonexistent/in",
    "SBATCH_JOB_NAME": "other",
    "SBATCH_MEM_PER_CPU": "7",
    "SBATCH_MEM_PER_GPU": "7",
    "SBATCH_MEM_PER_NODE": "7",
    "SBATCH_OPEN_MODE": "truncate",
    "SBATCH_OUTPUT": "/nonexistent/out",
    "SBATCH_SIGNAL": "B:KILL@60",
    "SBATCH_TIMELIMIT": "1",
    "SBATCH_TRES_PER_TASK": "cpu=8",
}
"""A value that would do harm; of all others it is 1, which is yes."""

EVERY = sorted({*slurm_defaults.OVERRULED, *(n for each in STEERING.values() for n in each)})

OWN = re.compile(
    r"(JobId|SubmitTime|EligibleTime|AccrueTime|StartTime|EndTime|Deadline|LastSched\w*)="
)


def ask(dialect: SlurmDialect, command: Command) -> CommandResult:
    """Run one of the adapter's commands as its thread does."""
    env = for_answers(dialect) if command.env is None else command.env
    return Local().run(
        Command(command.verb, command.argv, command.stdin, env, command.cwd), LIMIT_S
    )


def submitted(lab: Lab, dialect: SlurmDialect) -> dict[str, str]:
    """Submit a job that may not start yet by the adapter's command; return what Slurm has of it."""
    env, given = job_environment(dialect, None)
    asked = Resources(memory_bytes=50 << 20, time_s=600)
    request = Request("mine", ("sleep", "1000"), asked, None, 0, "/", env, given=given)
    taken = dialect.parse_submit(ask(dialect, dialect.submit(request, Limits())))
    assert isinstance(taken, Submitted), taken
    told = lab.run("scontrol", "--oneliner", "show", "job", taken.native).stdout
    words = [word for word in told.split() if not OWN.match(word)]
    return {"JobId": taken.native} | dict(word.split("=", 1) for word in words if "=" in word)


def row(dialect: SlurmDialect, native: str) -> Observation:
    """Return what the adapter's listing shows of a job."""
    ran = ask(dialect, dialect.queue())
    listing = dialect.parse_queue(ran)
    assert listing.complete, ran
    (found,) = (each for each in listing.observations if each.native == native)
    return found


@pytest.fixture(scope="module")
def lab(slurm_session: Lab) -> Iterator[Lab]:
    """Give the module's tests a cluster, one ended job in it, and no node for others."""
    slurm_session.calm()
    yield slurm_session
    slurm_session.calm()


@pytest.fixture
def dialect(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> SlurmDialect:
    """Return what gives commands to the cluster."""
    monkeypatch.setenv("SLURM_CONF", lab.env["SLURM_CONF"])
    return SlurmDialect(SlurmSettings(partition="short"))


@pytest.fixture(scope="module")
def usual(lab: Lab) -> dict[str, str]:
    """Return what Slurm has of such a job where nobody has a default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", lab.env["SLURM_CONF"])
        found = submitted(lab, SlurmDialect(SlurmSettings(partition="short")))
    lab.run("scancel", found["JobId"])
    return found


@pytest.fixture(scope="module")
def ended(lab: Lab) -> tuple[str, float]:
    """Return a job that accounting knows the end of, and a time before it."""
    before = time.time() - 3600
    job = lab.submit("--wrap=exit 3", "--job-name=over", "--array=1,3,5,7")
    if lab.accounting:
        eventually("it is known", lambda: len(lab.accounted(job, "State")) == 4)
        lab.wait_accounted(f"{job}_7")
    return job, before


@pytest.mark.parametrize("name", EVERY)
def test_no_variable_changes_what_is_submitted_listed_accounted_or_ended(
    lab: Lab,
    dialect: SlurmDialect,
    usual: dict[str, str],
    ended: tuple[str, float],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
):
    partitions = ask(dialect, dialect.cluster.discover(Limits(), 1)[0]).stdout
    config = ask(
        dialect, Command("discover", ("scontrol", "--oneliner", "show", "partition"))
    ).stdout
    monkeypatch.setenv(name, NASTY.get(name, "1"))
    assert ask(dialect, dialect.cluster.discover(Limits(), 1)[0]).stdout == partitions
    told = ask(dialect, Command("discover", ("scontrol", "--oneliner", "show", "partition"))).stdout
    assert told == config
    found = submitted(lab, dialect)
    native = found.pop("JobId")
    moving = {"JobState", "Reason", "RunTime", "NodeList", "BatchHost", "NumNodes", "Priority"}
    moving |= {"Scheduler", "PreemptEligibleTime", "PreemptTime", "TRES", "AllocNode:Sid", "Nodes"}
    moving |= {"CPU_IDs", "Mem", "NumCPUs", "JOB_GRES", "GRES"}
    assert {k: v for k, v in found.items() if k not in moving} == {
        k: v for k, v in usual.items() if k not in moving | {"JobId"}
    }
    seen = row(dialect, native)
    assert (seen.name, bool(seen.submitted)) == ("mine", True)
    history = dialect.history([ended[0]], [], ended[1])
    if lab.accounting and history is not None:
        listing = dialect.parse_history(ask(dialect, history), Limits())
        assert listing.complete
        assert {s.native for s in listing.observations} == {f"{ended[0]}_{i}" for i in (1, 3, 5, 7)}
    assert dialect.parse_kill(ask(dialect, dialect.kill([native]))) is None
    eventually("it is ended", lambda: row(dialect, native).end, limit_s=LIMIT_S)


# ---- what users may say -----------------------------------------------------------------------


@pytest.fixture
def account(lab: Lab) -> str:
    """Return another account that this user may charge, where there is accounting."""
    if not lab.accounting:
        pytest.skip("there are no accounts without accounting")
    user = lab.run("id", "-un").stdout.strip()
    lab.run("sacctmgr", "-i", "add", "account", "guests", "Description=x", check=False)
    lab.run("sacctmgr", "-i", "add", "user", user, "account=guests", check=False)
    return "guests"


WISHES = [
    ("SBATCH_ACCOUNT", "guests", "Account", "guests"),
    ("SBATCH_PARTITION", "long", "Partition", "long"),
    ("SBATCH_QOS", "normal", "QOS", "normal"),
    ("SBATCH_DELAY_BOOT", "1", "DelayBoot", "00:01:00"),
    ("SBATCH_EXCLUSIVE", "user", "OverSubscribe", "USER"),
    ("SBATCH_CLUSTERS", "", "Partition", "short"),
]


def of_a_job(lab: Lab, settings: SlurmSettings) -> dict[str, str]:
    """Return what Slurm has of a job that an adapter submits."""
    watcher = Watcher(AdapterOf(SlurmDialect)(settings, QUICK, BRIEF))
    native = watcher.accepted(watcher.batch.issueJob(sh("sleep 1000")))
    told = lab.run("scontrol", "--oneliner", "show", "job", native).stdout
    end_all(watcher.batch)
    watcher.batch.close()
    return dict(word.split("=", 1) for word in told.split() if "=" in word)


@pytest.mark.parametrize(("name", "value", "field", "shown"), WISHES)
def test_a_user_s_wish_who_pays_and_where_is_followed_and_said(
    lab: Lab,
    account: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    value: str,
    field: str,
    shown: str,
):
    monkeypatch.setenv("SLURM_CONF", lab.env["SLURM_CONF"])
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    caplog.set_level("INFO", "jobtree.batchsystems")
    if name == "SBATCH_CLUSTERS":
        config = lab.run("scontrol", "show", "config").stdout
        (value,) = re.findall(r"^ClusterName\s*=\s*(\S+)", config, re.M)
    monkeypatch.setenv(name, value)
    assert of_a_job(lab, SlurmSettings())[field] == shown
    assert f"jobs are submitted as you wish: {name}={value}" in caplog.text
    assert "SBATCH_TIMELIMIT" in caplog.text, "and what does not count"


@pytest.mark.parametrize(
    ("name", "value", "site", "field"),
    [
        ("SBATCH_ACCOUNT", "guests", {"account": "root"}, "Account"),
        ("SBATCH_PARTITION", "long", {"partition": "low"}, "Partition"),
    ],
)
def test_what_the_site_file_says_counts_before_a_user_s_wish(
    lab: Lab,
    account: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    value: str,
    site: dict[str, str],
    field: str,
):
    monkeypatch.setenv("SLURM_CONF", lab.env["SLURM_CONF"])
    monkeypatch.setenv(name, value)
    (expected,) = site.values()
    assert of_a_job(lab, SlurmSettings(**site))[field] == expected  # type: ignore[arg-type]
    assert "are not followed" in caplog.text
    assert name in caplog.text


def test_jobs_of_a_hidden_partition_are_listed_all_the_same(
    lab: Lab, dialect: SlurmDialect, ordinary_user: pwd.struct_passwd
):
    user = ordinary_user.pw_name
    job = lab.submit("--partition=long", "--wrap=sleep 1000", "--chdir=/tmp", user=user)
    lab.run("scontrol", "update", "partition=long", "hidden=yes")
    try:
        own, his = (f"--user={uid}" for uid in (os.getuid(), ordinary_user.pw_uid))
        argv = [his if word == own else word for word in dialect.queue().argv]
        shown = lab.run(*argv, user=user).stdout
        listing = dialect.parse_queue(CommandResult(0, shown))
        assert job in {each.native for each in listing.observations}
    finally:
        lab.run("scontrol", "update", "partition=long", "hidden=no")
        lab.run("scancel", job)


# ---- the file of defaults in a user's home ----------------------------------------------------

FILE = {
    "array=0-3": "ArrayTaskId",
    "begin=now+1hour": "",
    "dependency=singleton": "",
    "error=/nonexistent/err": "",
    "input=/nonexistent/in": "",
    "job-name=other": "",
    "output=/nonexistent/out": "",
    "parsable=no": "",
    "requeue=": "",
    "time=1": "",
    "mem=7": "",
    "nodes=2": "",
    "ntasks=2": "",
    "cpus-per-task=2": "",
    "export=NONE": "",
    "chdir=/nonexistent": "",
    "wait=": "",
    "signal=B:KILL@60": "",
    "verbose=3": "",
    "quiet=": "JT250",
    "mail-type=ALL": "",
    "*:*:hold=": "JT250",
    "sbatch:*:test-only=": "JT250",
    "mem-per-cpu=100": "JT250",
    "account=guests": "guests",
    "partition=long": "long",
}
"""Lines of it, and what comes of each where that is not simply nothing."""

FIELDS = (
    *("JobName", "Requeue", "TimeLimit", "MinMemoryNode", "NumCPUs", "NumNodes", "WorkDir"),
    *("StdErr", "StdOut", "StdIn", "Account", "Partition", "Dependency", "CPUs/Task"),
)

SCRIPT = """
import json, os, pathlib, subprocess
from batchsystems.errors import ReportableError
from batchsystems import load
from batchsystems.interface import Resources
from batchsystems.conformance import Watcher, sh
from tests.live.slurm.test_adapter import BRIEF, QUICK

file = pathlib.Path(".slurm/defaults")
file.parent.mkdir()
for line in json.loads(os.environ["LINES"]):
    file.write_text(line + chr(10))
    try:
        watcher = Watcher(load("slurm", pace=QUICK, timeouts=BRIEF))
    except ReportableError as error:
        print(json.dumps([line, error.code, {}]))
        continue
    asked = Resources(memory_bytes=50 << 20, time_s=60)
    out = os.path.abspath("out")
    job = watcher.batch.issueJob(sh("exit 3", "mine", resources=asked, output=out))
    native = watcher.accepted(job)
    argv = ["scontrol", "--oneliner", "show", "job", native]
    told = subprocess.run(argv, capture_output=True, text=True).stdout
    ended = watcher.end(job).exit_status
    words = dict(word.split("=", 1) for word in told.split() if "=" in word)
    told = {field: words.get(field) for field in json.loads(os.environ["FIELDS"])}
    print(json.dumps([line, ended, told]))
    watcher.batch.close()
"""


@pytest.fixture(scope="module")
def defaults(lab: Lab) -> dict[str, tuple[object, dict[str, str]]]:
    """Return what became of a job for each line in the user's file of defaults."""
    require_namespaces()
    if lab.accounting:
        user = lab.run("id", "-un").stdout.strip()
        lab.run("sacctmgr", "-i", "add", "account", "guests", "Description=x", check=False)
        lab.run("sacctmgr", "-i", "add", "user", user, "account=guests", check=False)
    with lab.configured(CliFilterPlugins="cli_filter/user_defaults"), open_directory() as home:
        env = {**lab.env, "LINES": json.dumps(["", *FILE]), "FIELDS": json.dumps(FIELDS)}
        said = run_at_home(home, SCRIPT, env)
    return {line: (code, told) for line, code, told in map(json.loads, said.splitlines())}


@pytest.mark.parametrize("line", FILE)
def test_no_line_of_a_file_of_defaults_breaks_a_job(
    defaults: dict[str, tuple[object, dict[str, str]]], line: str
):
    usual_end, usual = defaults[""]
    ended, told = defaults[line]
    assert usual_end == 3
    if FILE[line] == "JT250":
        assert ended == "JT250", "nothing undoes it: it is refused"
        return
    assert ended == 3
    wished = {"account=guests": "Account", "partition=long": "Partition"}.get(line)
    for field in FIELDS:
        if field == wished:
            assert told[field] == FILE[line], "who pays and where is the user's to say"
        elif not (field == "NumNodes" and told[field] in ("1", "1-1")):
            assert told.get(field) == usual.get(field), field
