"""Site files: what they set, what is wrong in them, who wins, who locks, and what holds without."""

from __future__ import annotations

import pickle

import pytest

from batchsystems import registry
from batchsystems.commandline.limits import Queue
from batchsystems.commandline.pacing import Pace
from batchsystems.errors import SiteError
from batchsystems.site import Site
from batchsystems.site.problems import Problem, refuse
from batchsystems.site.reading import Source, read_sites
from batchsystems.site.schema import Schema
from batchsystems.slurm.settings import SlurmSettings
from batchsystems.units import read_size
from jobtree.core.rescue import Policy
from jobtree.options import BY_NAME, OPTIONS, UNLIMITED, default_options, settings_in_force

SCHEMA = Schema(*registry.declaring())


def read(*texts: str, schema: str = "schema = 1\n") -> tuple[Site, list[Problem]]:
    sources = [Source(f"/{n}.toml", f"file {n}", schema + text) for n, text in enumerate(texts)]
    return read_sites(sources, SCHEMA, lambda name: name == "myCluster")


def site(*texts: str) -> Site:
    found, problems = read(*texts)
    assert problems == []
    return found


def problem(*texts: str) -> Problem:
    _, problems = read(*texts)
    assert len(problems) == 1, problems
    return problems[0]


# ---- what is set -----------------------------------------------------------------------------


def test_values_come_as_code_uses_them_with_their_origins() -> None:
    found = site("[pacing]\npoll_interval = '2m'\n[jobs]\ndefault_memory = '4GB'")
    assert found.get("pacing.poll_interval") == 120.0
    assert found.get("jobs.default_memory") == 4 * 2**30
    assert str(found.settings["pacing.poll_interval"].origin) == "/0.toml:3"
    assert found.make(Pace) == Pace(poll_s=120.0)
    assert found.get("pacing.commands_per_minute") is None


def test_the_first_file_to_set_a_key_wins_key_by_key() -> None:
    found = site(
        "[slurm]\naccount = 'mine'",
        "batch_system = 'slurm'\n[slurm]\naccount = 'all'\nqos = 'normal'\ndirectives = ['-p x']",
    )
    assert found.table("slurm") == {"account": "mine", "qos": "normal", "directives": ("-p x",)}
    assert found.settings["slurm.account"].origin.file == "/0.toml"
    assert found.settings["slurm.qos"].origin.file == "/1.toml"
    assert found.files == ("/0.toml", "/1.toml")


def test_slurm_s_settings_with_queues() -> None:
    found = site(
        """
        [worker]
        setup = '''
        module load python
        umask 077
        '''
        shell = "/bin/bash -l"
        [slurm]
        partition = ["short", "gpu"]
        memory = "cpu"
        accounting = false
        array_size = 500
        [[slurm.queue]]
        name = "short"
        max_time = "2h"
        max_memory = "512GB"
        max_cpus = 64
        max_gpus = 0
        preferred = true
        [[slurm.queue]]
        name = "gpu"
        preemptible = true
        """
    )
    assert found.make(SlurmSettings, "slurm") == SlurmSettings(
        partition="short,gpu",
        memory="cpu",
        accounting=False,
        tasks=500,
        setup=("        module load python", "        umask 077", "        "),
        shell="/bin/bash -l",
        queues=(
            Queue("short", 64, 512 * 2**30, 0, 7200.0, preferred=True),
            Queue("gpu", preemptible=True),
        ),
    )


def test_a_third_party_s_table_is_taken_as_it_is() -> None:
    found = site("[myCluster]\nhost = 'h'\nlist = [1]\n[myCluster.deep]\nx = 1")
    assert found.table("myCluster") == {"host": "h", "list": [1], "deep": {"x": 1}}
    assert problem("myCluster = 3").code == "JT123"


def test_the_digest_changes_with_any_text() -> None:
    assert site("").digest != site("# another").digest
    assert Site().digest == ""


# ---- what is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "line", "said", "hint"),
    [
        ("[slurm]\npartiton = 'x'", "JT122", 3, "'partiton' in [slurm]", "mean 'partition'?"),
        ("[pacng]\nx = 1", "JT122", 2, "'pacng'", "did you mean 'pacing'?"),
        ("[slurm]\npoll_interval = 3", "JT122", 3, "in [slurm]", "'pacing.poll_interval'"),
        ("[[slurm.queue]]\nname = 'a'\nmaxtime = 1", "JT122", 4, "in [slurm.queue]", "'max_time'"),
        ("[pacing]\npoll_interval = 'soon'", "JT123", 3, '"soon"', "write seconds"),
        ("[pacing]\npoll_interval = 0", "JT123", 3, "cannot be 0", "more than 0"),
        ("[pacing]\nsubmits_per_second = nan", "JT123", 3, "cannot be nan", "finite"),
        ("[jobs]\ndefault_memory = '2X'", "JT123", 3, '"2X"', "512M"),
        ("[jobs]\ndefault_cpus = true", "JT123", 3, "cannot be true", "integer"),
        ("[jobs]\ndefault_cpus = 1.5", "JT123", 3, "cannot be 1.5", "integer"),
        ("[worker]\nshell = '\"\"'", "JT123", 3, "worker.shell", "whole path"),
        ("[jobs]\ntime_margin = 0.5", "JT123", 3, "cannot be 0.5", "greater than or equal"),
        ("pacing = 3", "JT123", 2, "pacing cannot be 3", "write [pacing]"),
        ("[slurm]\nqueue = 'short'", "JT123", 3, "slurm.queue", "[[...]]"),
        ("[slurm]\nmemory = 'node'", "JT123", 3, '"node"', "'job', 'cpu' or 'none'"),
        ("[slurm]\naccount = '''a\nb'''", "JT123", 3, "slurm.account", "line break"),
        ("[slurm]\ndirectives = [\n'-x',\n'--array=1']", "JT123", 3, "directives", "--array=1"),
        ("[slurm]\ndirectives = [\n'--ok=1',\n3]", "JT123", 5, "directives[1]", "string"),
        ("[sge]\nmemory_per = 'node'", "JT123", 3, '"node"', "'slot' or 'job'"),
        ("[sge]\nmemory = 'h vmem'", "JT123", 3, '"h vmem"', "is no resource: qconf -sc"),
        ("[sge]\ndirectives = [\n'-p 1',\n'-t 1-5']", "JT123", 3, "directives", "-t 1-5"),
        ("[sge]\nuse_queue = ['a.q', '']", "JT123", 3, "use_queue", "or a list"),
        ("[drmaa]\nnative = ['--mem={mib}']", "JT123", 3, "native", "not {mib}: in braces may"),
        ("[drmaa]\ntask_variables = 'A B'", "JT123", 3, "task_variables", "no name of a variable"),
        ("[slurm]\npartition = 'a,b'", "JT123", 3, '"a,b"', "or a list"),
        ("[[slurm.queue]]\nmax_time = 1", "JT123", 2, "queue[0].name is missing", ""),
        ("[[slurm.queue]]\nname='a'\n[[slurm.queue]]\nname='a'", "JT123", 2, "queue", "twice"),
        ("[locked]\nkeys = [\n'slurm',\n'slurm.acount']", "JT122", 5, "acount", "slurm.account"),
        ("a = = 1", "JT121", 2, "no valid TOML", "quotes"),
        ("a = [1,", "JT121", 2, "no valid TOML", ""),
        ("a = " + "[" * 5000, "JT121", 0, "no valid TOML", ""),
        ("a = 1" + "0" * 5000, "JT121", 0, "no valid TOML", ""),
        ("[rescue]\nsilence = '30s'", "JT123", 3, '"30s"', "two heartbeats"),
    ],
)  # fmt: skip
def test_a_problem_tells_its_line_and_what_to_do(
    text: str, code: str, line: int, said: str, hint: str
) -> None:
    found = problem(text)
    assert (found.code, found.origin.line) == (code, line)
    assert said in found.what
    assert hint in found.hint
    if line:
        assert found.source == f"schema = 1\n{text}".split("\n")[line - 1]


@pytest.mark.parametrize("key", ["jobs.default_cpus", "pacing.submits_per_second"])
def test_a_number_that_no_float_can_hold_is_too_large(key: str) -> None:
    found = problem(f"{key} = 1{'0' * 400}")
    assert f"{key} cannot be 1000" in found.what
    assert "less than or equal" in found.hint


@pytest.mark.parametrize(
    ("schema", "said"),
    [("", "is missing"), ("schema = 2\n", "cannot be 2"), ("schema = '1'\n", 'cannot be "1"')],
)
def test_a_file_of_another_version_is_told_once_and_no_more(schema: str, said: str) -> None:
    _, problems = read("[slurm]\nnew_key = 1" if schema else "", schema=schema)
    assert [each.code for each in problems] == ["JT125"]
    assert said in problems[0].what


def test_all_problems_of_all_files_are_told_at_once_by_line() -> None:
    first = "[slurm]\nacount = 'x'\nmemory = 'none'\n[pacing]\npoll_interval = 'x'"
    _, problems = read(first, "[limits]\nmax_jobs = 0")
    assert [(each.origin.file, each.origin.line) for each in problems] == [
        ("/0.toml", 3), ("/0.toml", 6), ("/1.toml", 3),
    ]  # fmt: skip
    text = str(refuse(problems))
    assert text.splitlines()[:3] == [
        "error[JT122]: unknown key 'acount' in [slurm] in /0.toml, line 3",
        "    3 | acount = 'x'",
        "  did you mean 'account'?  All keys: jobtree site show --schema",
    ]
    assert text.count("error[") == 3


def test_the_error_with_all_its_problems_survives_a_pickle() -> None:
    _, problems = read("[slurm]\na = 1\nb = 2")
    error = refuse(problems)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, SiteError)
    assert str(again) == str(error)


def test_a_partition_that_no_queue_describes() -> None:
    found = problem("[slurm]\npartition = 'b'", "[[slurm.queue]]\nname = 'a'")
    assert "'b'" in found.what
    assert found.origin.file == "/0.toml"


# ---- locks -----------------------------------------------------------------------------------


def test_a_locked_key_may_not_be_set_by_an_earlier_file() -> None:
    locking = "[locked]\nkeys = ['slurm.account']\n[slurm]\naccount = 'all'"
    found = problem("[slurm]\naccount = 'mine'\nqos = 'q'", locking)
    assert found.code == "JT124"
    assert found.what == "slurm.account is locked by /1.toml:3, but set"
    assert (found.origin.file, found.origin.line) == ("/0.toml", 3)


def test_a_lock_names_its_file_and_binds_nobody_after_it() -> None:
    found = site("[locked]\nkeys = ['pacing']", "[pacing]\npoll_interval = 5")
    assert str(found.lock_of("pacing.poll_interval")) == "/0.toml:3"
    assert found.lock_of("slurm.account") is None


def test_a_locked_section_locks_each_of_its_keys_also_wrong_ones() -> None:
    _, problems = read("[pacing]\npoll_interval = 'x'", "[locked]\nkeys = ['pacing']")
    assert {each.code for each in problems} == {"JT123", "JT124"}


def test_an_option_may_not_be_given_against_a_lock() -> None:
    found = site("[locked]\nkeys = ['limits.max_jobs']\n[limits]\nmax_jobs = 50")
    with pytest.raises(SiteError, match="--maxJobs") as caught:
        settings_in_force({"maxJobs": 60}, None, found)
    assert caught.value.code == "JT124"
    assert "/0.toml:3" in caught.value.where
    assert settings_in_force({"maxJobs": 50}, None, found)[0].max_jobs == 50


def test_an_option_of_before_the_lock_is_dropped() -> None:
    _, saved = settings_in_force({"maxJobs": 60, "retryCount": 2})
    settings, saved = settings_in_force({}, saved, site("[locked]\nkeys = ['limits']"))
    assert (settings.max_jobs, settings.retries) == (UNLIMITED, 2)
    assert settings_in_force({}, saved)[0].max_jobs == UNLIMITED


# ---- what holds ------------------------------------------------------------------------------


def test_options_win_over_the_site_and_the_site_over_the_defaults() -> None:
    found = site("batch_system = 'slurm'\n[retry]\nretry_count = 3\nrescue_count = 5")
    settings, saved = settings_in_force({"retryCount": 1}, None, found)
    assert (settings.batch_system, settings.retries, settings.rescues) == ("slurm", 1, 5)
    again, _ = settings_in_force({}, saved, site("[retry]\nretry_count = 7\nrescue_count = 8"))
    assert (again.batch_system, again.retries, again.rescues) == ("singleMachine", 1, 8)


def test_what_a_site_says_reaches_the_master_s_settings() -> None:
    found = site(
        """
        [retry]
        memory_cap = "8GB"
        time_cap = "2d"
        [rescue]
        silence = "20m"
        max_job_duration = "3h"
        [worker]
        python = "/opt/python"
        local_logs = true
        [jobs]
        time_margin = 2
        min_time = "20m"
        [filesystem]
        sweep_interval = 5
        """
    )
    settings, _ = settings_in_force({}, None, found)
    assert settings.policy == Policy(
        largest_memory_bytes=8 * 2**30,
        largest_time_s=172800.0,
        silent_s=1200.0,
        longest_step_s=10800.0,
    )
    assert settings.longest_step_s == 10800.0
    assert (settings.python, settings.local_logs, settings.sweep_s) == ("/opt/python", True, 5.0)
    assert (settings.time_margin, settings.least_time_s) == (2.0, 1200.0)


def test_without_a_site_what_it_might_say_is_what_the_program_says() -> None:
    settings, _ = settings_in_force({}, None)
    assert settings.policy == Policy()
    assert settings.heartbeat_s * 2 <= settings.policy.silent_s


def test_a_key_that_is_no_longer_one_is_refused() -> None:
    for key in ("pacing.poll_backoff", "rescue.node_cool_down", "worker.heartbeat"):
        section, _, name = key.partition(".")
        found = problem(f"[{section}]\n{name} = 60")
        assert (found.code, found.origin.line) == ("JT122", 3)
        assert f"{name!r} in [{section}]" in found.what


def test_every_option_that_has_a_key_has_one_that_exists() -> None:
    assert [o.name for o in OPTIONS if o.key and o.key not in SCHEMA.keys] == []
    assert BY_NAME["maxJobs"].key == "limits.max_jobs"
    assert default_options().site is None


def test_every_key_is_explained() -> None:
    assert [name for name, key in SCHEMA.keys.items() if not key.meaning or not key.kind] == []
    assert read_size("1G") == 2**30
