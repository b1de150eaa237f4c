"""What is given to Grid Engine: options, scripts, and the settings that shape them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from batchsystems import load
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.dialect import Request, Validation
from batchsystems.commandline.factory import AdapterOf
from batchsystems.commandline.limits import Limits, Queue
from batchsystems.errors import BatchSystemError
from batchsystems.interface import INDEX, Resources
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.settings import SgeSettings
from batchsystems.sge.tables import NEVER, REFUSALS, REMEDIES, RERUN_STATUS
from tests.unit.sge.fake import use

GIB = 2**30


def request(**more: Any) -> Request:
    given: dict[str, Any] = {
        "name": "name",
        "command": ("true",),
        "resources": Resources(),
        "size": None,
        "first": 0,
        "cwd": "/",
        "env": {},
    }
    return Request(**(given | more))


def submit(settings: SgeSettings | None = None, limits: Limits | None = None, **more: Any):
    return SgeDialect(settings).submit(request(**more), limits or Limits())


def option(argv: tuple[str, ...], name: str) -> str | None:
    """Return the value of an option that is given once, None if it is not given."""
    places = [at for at, word in enumerate(argv) if word == name]
    assert len(places) <= 1
    return argv[places[0] + 1] if places else None


def test_resources_become_options():
    asked = Resources(cpus=4, memory_bytes=GIB + 1, gpus=2, time_s=61)
    argv = submit(resources=asked).argv
    assert option(argv, "-l") == "h_rt=61,h_vmem=257M,gpu=2"
    assert argv[argv.index("-pe") :][:3] == ("-pe", "smp", "4")
    assert option(argv, "-r") == "n"


def test_a_job_that_asks_for_nothing_is_given_no_resources():
    argv = submit().argv
    assert not {"-l", "-pe", "-q", "-P", "-t", "-tc"} & set(argv)


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (SgeSettings(memory_per="job"), "-l", "h_vmem=1024M,gpu=1"),
        (SgeSettings(memory=("mem_free", "h_vmem")), "-l", "mem_free=256M,h_vmem=256M,gpu=1"),
        (SgeSettings(memory=("m_mem_free",)), "-l", "m_mem_free=256M,gpu=1"),
        (SgeSettings(memory=()), "-l", "gpu=1"),
        (SgeSettings(gpu="cuda"), "-l", "h_vmem=256M,cuda=1"),
        (SgeSettings(queue="long.q"), "-q", "long.q"),
        (SgeSettings(queue="a.q,b.q"), "-q", "a.q,b.q"),
        (SgeSettings(project="p"), "-P", "p"),
        (SgeSettings(pe="threads"), "-pe", "threads"),
        (SgeSettings(check=False), "-w", "n"),
        (SgeSettings(shell="/bin/bash -l"), "-S", "/bin/bash"),
        (SgeSettings(directives=("-p -10", '-A "the account"')), "-A", "the account"),
    ],
)
def test_settings_become_options(settings: SgeSettings, name: str, value: str):
    asked = Resources(cpus=4, memory_bytes=GIB, gpus=1)
    assert option(submit(settings, resources=asked).argv, name) == value


@pytest.mark.parametrize(
    ("check", "letter"), [(Validation.ON, "e"), (Validation.WHY, "v"), (Validation.OFF, "n")]
)
def test_the_check_is_made_or_left_out(check: Validation, letter: str):
    assert option(submit(check=check).argv, "-w") == letter


def test_of_queues_that_are_described_the_one_that_holds_the_job_is_named():
    limits = Limits(queues=(Queue("short.q", time_s=300, preferred=True), Queue("long.q")))
    chosen = [
        option(submit(limits=limits, resources=Resources(time_s=t)).argv, "-q") for t in (200, 400)
    ]
    assert chosen == ["short.q", "long.q"]


def test_of_several_queues_allowed_the_one_that_holds_the_job_is_named():
    queues = (Queue("a.q", time_s=300), Queue("b.q"), Queue("c.q"))
    settings = SgeSettings(queue="a.q,b.q", queues=queues)
    dialect = SgeDialect(settings)
    assert [queue.name for queue in dialect.known.queues] == ["a.q", "b.q"]
    argv = dialect.submit(request(resources=Resources(time_s=400)), dialect.known).argv
    assert option(argv, "-q") == "b.q"


def test_nodes_are_avoided_by_a_pattern():
    argv = submit(avoid=("node1", "node2.example.org", "no|such)")).argv
    assert option(argv, "-l") == "h=!(node1|node2.example.org)"


def test_arrays_count_from_1_and_the_index_from_where_they_begin():
    command = submit(SgeSettings(concurrent=5), size=10, first=2000, command=("echo", INDEX))
    assert option(command.argv, "-t") == "1-10"
    assert option(command.argv, "-tc") == "5"
    assert run(command.stdin, SGE_TASK_ID="3") == "2002\n"
    assert run(submit(first=7, command=("echo", INDEX)).stdin) == "7\n"


def run(script: str, **env: str) -> str:
    given = {"PATH": "/usr/bin:/bin", "RESTARTED": "0"} | env
    return subprocess.run(
        ["/bin/sh"], input=script, env=given, capture_output=True, text=True, check=True
    ).stdout


def test_words_reach_the_command_as_they_are(tmp_path: Path):
    words = ("printf", "%s|", "a b", "c'd", '"', "$HOME", "`x`", "\\", "e\nf", "", "*", INDEX)
    command = submit(command=words, size=5, first=1000, cwd=str(tmp_path))
    assert run(command.stdin, SGE_TASK_ID="3") == "a b|c'd|\"|$HOME|`x`|\\|e\nf||*|1002|"


def test_the_script_is_not_searched_for_options():
    assert option(submit().argv, "-C") == ""
    assert option(submit().argv, "-b") == "n"


def test_the_environment_is_the_job_s_but_for_what_is_the_node_s(tmp_path: Path):
    env = {"A": "b 'c'\nd", "TMPDIR": "/caller", "IFS": ":", "BASH_FUNC_f%%": "() { :; }"}
    command = submit(env=env | {"PATH": "/usr/bin:/bin"}, command=("env",))
    seen = run(command.stdin, TMPDIR="/node", HOME="/from/sge", JOB_ID="12", LANG="de")
    assert "A=b 'c'\nd\n" in seen
    assert "TMPDIR=/node\n" in seen
    assert "JOB_ID=12\n" in seen
    assert "IFS=:\n" in seen
    assert "BASH_FUNC_f%%=() { :; }\n" in seen
    assert "HOME=" not in seen
    assert "LANG=" not in seen
    assert "-V" not in command.argv


def test_set_up_lines_come_after_the_environment_and_before_the_job(tmp_path: Path):
    settings = SgeSettings(setup=('GREETING="hello $NAME"', "export GREETING"))
    env = {"NAME": "you", "PATH": "/usr/bin:/bin"}
    words = ("sh", "-c", "echo $GREETING; pwd")
    script = submit(settings, env=env, command=words, cwd=str(tmp_path)).stdin
    assert run(script) == f"hello you\n{tmp_path}\n"


def test_a_job_that_is_run_again_does_nothing(tmp_path: Path):
    script = submit(command=("touch", f"{tmp_path}/ran")).stdin
    for restarted, status in (("1", RERUN_STATUS), ("0", 0)):
        env = {"PATH": "/usr/bin:/bin", "RESTARTED": restarted}
        done = subprocess.run(["/bin/sh"], input=script, env=env, text=True, check=False)
        assert done.returncode == status
        assert (tmp_path / "ran").exists() == (status == 0)


@pytest.mark.parametrize("killed", [True, False])
def test_a_job_that_was_killed_before_it_began_does_nothing(tmp_path: Path, killed: bool):
    said = "11/25/2026 18:34:20 [0:13091]: "
    lines = ["mapped signal TSTP to signal KILL", "queued signal KILL"] if killed else []
    trace = "".join(f"{said}{line}\n" for line in ["shepherd called with uid = 0", *lines])
    (tmp_path / "trace").write_text(trace)
    script = submit(command=("touch", f"{tmp_path}/ran")).stdin
    env = {"PATH": "/usr/bin:/bin", "RESTARTED": "0", "SGE_JOB_SPOOL_DIR": str(tmp_path)}
    done = subprocess.run(["/bin/sh"], input=script, env=env, text=True, check=False)
    assert done.returncode == (-9 if killed else 0)
    assert (tmp_path / "ran").exists() == (not killed)


def test_a_missing_directory_fails_the_job_and_not_elsewhere():
    script = submit(cwd="/proc/nowhere").stdin
    done = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 126
    assert "/proc/nowhere" in done.stderr


@pytest.mark.parametrize("path", ["/a/$HOME/x", "/a/b,c", "/a/b:c"])
def test_paths_that_qsub_would_read_otherwise_are_the_script_s(path: str):
    command = submit(output=path, cwd=path)
    assert option(command.argv, "-o") == "/dev/null"
    assert option(command.argv, "-wd") == "/"
    assert f"exec >>'{path}' 2>&1" in command.stdin or f"exec >>{path} 2>&1" in command.stdin


def test_other_paths_are_given_to_qsub():
    command = submit(output="/a/b c/x.log", cwd="/a/b c")
    assert option(command.argv, "-o") == "/a/b c/x.log"
    assert option(command.argv, "-wd") == "/a/b c"
    assert "exec >>" not in command.stdin
    assert option(submit().argv, "-o") == "/dev/null"


@pytest.mark.parametrize(
    "given",
    [
        {"queue": "a\nb"},
        {"directives": ("-l x=1\n-N evil",)},
        {"setup": ("a\r",)},
        {"memory_per": "node"},
        {"memory": ("h vmem",)},
        {"gpu": ""},
        {"concurrent": 0},
        {"directives": ("-t 1-5",)},
        {"directives": ("-l x=1 -N name",)},
        {"directives": ("x=1",)},
        {"directives": ("",)},
        {"directives": ('-A "open',)},
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any]):
    with pytest.raises(BatchSystemError, match="JT203") as caught:
        SgeSettings(**given)
    assert caught.value.fix


def test_without_grid_engine_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BatchSystemError, match="no qsub, no qstat, no qdel"):
        AdapterOf(SgeDialect)()


@pytest.mark.parametrize("name", ["sge", "SGE", "gridEngine", "grid_engine", "uge", "ogs"])
def test_it_goes_by_several_names(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    use(monkeypatch, tmp_path / "sge")
    batch = load(name)
    assert isinstance(batch, CommandLine)
    batch.close()


def test_ids_are_split_and_joined():
    dialect = SgeDialect()
    assert dialect.ids.split("12") == ("12", None)
    assert dialect.ids.split("12.3") == ("12", 2)
    assert dialect.ids.join("12", 2) == "12.3"
    assert dialect.ids.submission_of("12.3") == "12"
    bad = ("", "x", "12.", "12.0", "12.1-3:1", "12_3", "-1")
    assert [dialect.ids.split(other) for other in bad] == [None] * len(bad)


def test_kills_name_jobs_and_ranges_of_tasks():
    natives = ["7", "12.10", "12.2", "9.1", "12.1", "12.3"]
    assert SgeDialect().kill(natives).argv == ("qdel", "7", "12.1-3", "12.10", "9.1")
    assert SgeDialect().kill_named("name") is not None


@pytest.mark.parametrize(
    ("settings", "env", "path"),
    [
        ({}, {"SGE_ROOT": "/sge"}, "/sge/default/common/accounting"),
        ({}, {"SGE_ROOT": "/sge", "SGE_CELL": "far"}, "/sge/far/common/accounting"),
        ({"accounting": "/var/accounting"}, {"SGE_ROOT": "/sge"}, "/var/accounting"),
        ({"accounting": "none"}, {"SGE_ROOT": "/sge"}, ""),
    ],
)
def test_accounting_is_where_the_cell_or_the_settings_say(
    settings: dict[str, Any],
    env: dict[str, str],
    path: str,
):
    wishes = SgeDialect.defaults.read(SgeSettings(**settings), env, ())
    records = SgeDialect(wishes.settings, wishes.told).records
    assert (records.path if records else "") == path


def test_reasons_are_asked_of_all_that_wait_at_once():
    asks = SgeDialect().pending.commands(["12", "13"])
    assert [ask.argv for ask in asks] == [
        ("qstat", "-j", "12,13"),
        ("qalter", "-w", "v", "12", "13"),
    ]
    assert SgeDialect().pending.commands([]) == ()


@pytest.mark.parametrize(
    ("why", "part"),
    [
        (f"{NEVER}: x", "lower what it asks for"),
        ('(-l h_vmem=9G) cannot run at host "a" because it offers only hc:h_vmem=1G', "free now"),
        ('cannot run because it exceeds limit "user/////" in rule "x/1"', "quota"),
        ('queue instance "a@b" dropped because it is temporarily not available', "down"),
        ("it is held (hqw)", "qrls"),
        ("never heard of", ""),
    ],
)
def test_reasons_for_waiting_have_a_remedy(why: str, part: str):
    remedy = SgeDialect().remedy(why)
    assert part in remedy
    assert bool(part) == bool(remedy)


def test_only_what_could_never_run_is_hopeless():
    dialect = SgeDialect()
    assert dialect.is_hopeless(f"{NEVER}: reasons")
    assert not any(dialect.is_hopeless(text) for _, text in REMEDIES)
    assert all(fix or not kind.value.startswith("perm") for _, (kind, fix) in REFUSALS)
