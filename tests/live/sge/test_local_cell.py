"""The local cell itself: it is a real Grid Engine of several hosts, and it goes away."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

from tests.live.engines import place, processes_of
from tests.live.sge.conftest import temporary_cell
from tests.live.sge.lab import LOCAL_CELL, Lab, local_cell
from tests.live.waiting import eventually

# ---- up, status, env ---------------------------------------------------------------------


def test_it_is_up_and_says_so(sge: Lab) -> None:
    status = sge.call("status")
    assert status.returncode == 0
    assert f"{sge.top}: 3 hosts of 4 slots, 16384 MiB" in status.stdout
    for host in sge.hosts:
        assert f"  {host:12} running  ok" in status.stdout
    again = sge.call("up")
    assert again.returncode == 0
    assert "was there already; started nothing" in again.stdout
    other = sge.call("up", "--hosts", "2")
    assert other.returncode == 1
    assert "there is a cell with --hosts 3 already" in other.stderr


def test_env_leads_a_shell_to_it(sge: Lab) -> None:
    script = f'eval "$({sys.executable} {LOCAL_CELL} env --dir {sge.top})" && qconf -sql && qsub -h'
    bare = {"PATH": os.environ["PATH"]}
    found = subprocess.run(
        ["sh", "-c", f"{script}; command -v qsub"],
        env=bare,
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    lines = found.stdout.split("\n")
    assert lines[:2] == ["all.q", "short.q"]
    assert str(sge.top / "client" / "bin" / "qsub") in lines


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    assert local_cell("status", "--dir", nowhere).returncode == 3
    assert local_cell("down", "--dir", nowhere).returncode == 0
    env = local_cell("env", "--dir", nowhere)
    assert env.returncode == 1
    assert "no cell in" in env.stderr
    (tmp_path / "thesis.txt").touch()
    up = local_cell("up", "--dir", str(tmp_path))
    assert up.returncode == 1
    assert "holds other things" in up.stderr


# ---- it is a real Grid Engine ------------------------------------------------------------


def test_root_and_an_ordinary_user_run_jobs_on_every_host(
    sge: Lab, ordinary_user: pwd.struct_passwd, open_tmp_path: Path
) -> None:
    jobs = {}
    for user in (None, ordinary_user.pw_name):
        for host in sge.hosts:
            out = open_tmp_path / f"{user}-{host}"
            script = f"echo $(id -u) $(hostname) $QUEUE > {out}"
            job = sge.submit("-l", f"h={host}", "/bin/sh", "-c", script, user=user)
            jobs[job] = (out, f"{ordinary_user.pw_uid if user else 0} {host} all.q\n")
    for job, (out, expected) in jobs.items():
        assert sge.wait_records(job) == [("0", "0")]
        assert eventually(f"{out} written", out.read_text) == expected


def test_hosts_are_machines_with_processes_and_a_network_of_their_own(
    machines: Lab, open_tmp_path: Path
) -> None:
    out = open_tmp_path / "seen"
    script = f"cat /proc/1/cmdline /proc/sys/kernel/hostname > {out}; cat /etc/hosts >> {out}"
    machines.wait_records(machines.submit("-l", "h=sge2", "/bin/sh", "-c", script))
    seen = out.read_text()
    assert "boot.py" in seen
    assert "sge2" in seen.splitlines()[0].rpartition("\0")[2]
    for host in machines.hosts:
        assert f" {host}\n" in seen


def test_an_array_runs_and_its_tasks_end_each_in_its_own_way(sge: Lab) -> None:
    job = sge.submit("-t", "1-10", "/bin/sh", "-c", "exit $((SGE_TASK_ID % 2))")
    assert len(sge.wait_records(job, 10)) == 10
    ends = {record["taskid"]: record["exit_status"] for record in sge.records(job)}
    assert ends == {str(task): str(task % 2) for task in range(1, 11)}
    assert sge.submit("-h", "-t", "75000-75000", "/bin/true")
    assert "more than 75000 tasks" in sge.refusal("qsub", "-b", "y", "-t", "1-75001", "/bin/true")


def test_accounting_tells_how_jobs_ended(sge: Lab) -> None:
    over = "x = bytearray(100 << 20); import os; os.fork(); import time; time.sleep(60)"
    ended = {
        sge.submit("/bin/sh", "-c", "exit 3"): ("0", "3"),
        sge.submit("/bin/sh", "-c", "kill -SEGV $$"): ("100", "139"),
        sge.submit("/bin/true"): ("0", "0"),
        sge.submit("-l", "h_rt=2", "/bin/sleep", "60"): ("37", "137"),
        sge.submit("-l", "h_vmem=150M", sys.executable, "-ISc", over): ("37", "137"),
    }
    assert {job: sge.wait_records(job)[0] for job in ended} == ended


def test_queues_environments_and_resources(sge: Lab, open_tmp_path: Path) -> None:
    outs = {queue: open_tmp_path / queue for queue in ("all.q", "short.q")}
    for queue, out in outs.items():
        script = f"echo $QUEUE $PE $NSLOTS > {out}"
        words = ("-q", queue, "-pe", "smp", "2", "-l", "gpu=1,m_mem_free=1G,h_vmem=1G")
        job = sge.submit(*words, "/bin/sh", "-c", script)
        assert sge.wait_records(job) == [("0", "0")]
        assert out.read_text() == f"{queue} smp 2\n"
    wide = sge.submit("-pe", "mpi", str(2 * sge.slots), "/bin/sleep", "300")
    sge.wait(wide, "r")
    too_much = sge.submit("-l", "gpu=3", "/bin/true")
    eventually("a reason", lambda: sge.reason(too_much), lambda told: "offers only" in told)
    assert sge.state(too_much) == "qw"
    unknown = sge.refusal("qsub", "-b", "y", "-l", "gpus=1", "/bin/true")
    assert 'unknown resource "gpus"' in unknown
    too_long = sge.refusal("qsub", "-w", "e", "-b", "y", "-q", "short.q", "-l", "h_rt=400", "true")
    assert "no suitable queues" in too_long


def test_jobs_that_ask_for_no_queue_do_not_get_the_short_one(sge: Lab) -> None:
    job = sge.submit("-t", "1-40", "/bin/sleep", "300")
    running = sge.slots * len(sge.hosts)
    eventually(
        "all slots taken",
        lambda: sorted(sge.states(job).values()).count("r"),
        lambda count: count == running,
    )
    assert "short.q" not in sge.run("qstat", "-u", "*").stdout


def test_a_killed_jobs_own_directory_goes_with_it(
    sge: Lab, ordinary_user: pwd.struct_passwd, open_tmp_path: Path
) -> None:
    out = open_tmp_path / "told"
    script = f"touch $TMPDIR/left; echo $TMPDIR > {out}; kill -9 $$"
    job = sge.submit("/bin/sh", "-c", script, user=ordinary_user.pw_name)
    assert sge.wait_records(job) == [("100", "137")]
    scratch = Path(out.read_text().strip())
    assert scratch.parent == sge.top / "tmp", "the cell's own: others number their jobs alike"
    eventually("its end", lambda: not scratch.exists())


# ---- down --------------------------------------------------------------------------------


def link_of(cell: Lab) -> Path:
    """Return the network interface of this machine that leads into a cell.

    Others come and go with the cells of tests that run at the same time.
    """
    return Path("/sys/class/net") / f"jtcell{cell.status()['port'] // 10 % 500}"


def test_a_second_cell_lives_beside_and_leaves_nothing(sge: Lab, open_tmp_path: Path) -> None:
    hosts = Path("/etc/hosts").read_text()
    orphan = open_tmp_path / "ran"
    with temporary_cell("--hosts", "1", "--conf", "max_u_jobs=7") as second:
        assert "max_u_jobs                   7" in second.run("qconf", "-sconf").stdout
        script = f"setsid sleep 1000 & hostname > {orphan}; sleep 1000"
        second.submit("/bin/sh", "-c", script)
        assert eventually("its job", lambda: orphan.exists() and orphan.read_text())
        assert sge.run("qstat", "-u", "*").stdout == ""  # the first knows nothing of it
        assert len(processes_of(second.top)) > 3
        top, link = second.top, link_of(second)
        assert link.exists() == second.namespaces
    assert processes_of(top) == {}
    assert not link.exists()
    assert top.name not in Path("/proc/self/mountinfo").read_text()
    assert Path("/etc/hosts").read_text() == hosts
    assert sge.is_calm()


def test_without_namespaces_this_machine_is_the_host(sge: Lab) -> None:
    with temporary_cell("--namespaces", "0") as alone:
        (host,) = alone.hosts
        job = alone.submit("/bin/sleep", "300")
        alone.wait(job, "r")
        alone.fault("kill-host", host)
        assert alone.status()["daemons"][host] == "gone"
        alone.fault("start-host", host)
        assert alone.wait_records(job) == [("19", "0")]
        told = alone.call("fault", "cut-host", host)
        assert "machines of their own" in told.stderr
        top = alone.top
    assert processes_of(top) == {}
    assert sge.is_calm()


def test_a_cell_without_root_is_its_users_own(
    sge: Lab, ordinary_user: pwd.struct_passwd, own_place: Path
) -> None:
    top, user = own_place / "home" / "sge", ordinary_user.pw_name
    python, program = sge.python_of(user), str(own_place / "contrib" / "sge" / "local-cell")

    def call(*words: str) -> str:
        argv = [python, program, *words, "--dir", str(top)]
        return sge.run(*argv, user=user, cwd=own_place, limit_s=240).stdout

    assert "a Grid Engine of 1 host is up" in call("up")
    try:
        out = own_place / "home" / "out"
        script = f'eval "$({python} {program} env --dir {top})" && qsub -terse -b y -sync y'
        ask = f"{script} -shell n -cwd -o {out} -j y /usr/bin/id -u"
        sge.run("sh", "-c", ask, user=user, cwd=own_place / "home")
        assert eventually("its output", out.read_text) == f"{ordinary_user.pw_uid}\n"
    finally:
        assert "is gone" in call("down")
    assert processes_of(top) == {}
    assert not top.exists()


def test_the_cell_goes_down_with_the_process_it_is_tied_to() -> None:
    top = place() / f"jobtree-sge-tied-{os.getpid()}"
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        up = local_cell("up", "--dir", str(top), "--hosts=1", f"--while-pid={sleeper.pid}")
        assert up.returncode == 0, up.stderr
        sleeper.kill()
    eventually("the end of the cell", lambda: not top.exists() and not processes_of(top))


def test_a_start_that_fails_leaves_no_process_and_its_logs(tmp_path: Path) -> None:
    top = tmp_path / "cell"
    up = local_cell("up", "--dir", str(top), "--conf", "gid_range=nonsense")
    down = local_cell("down", "--dir", str(top))
    assert up.returncode == 1
    assert "error:" in up.stderr
    assert f"its logs are in {top}/log" in up.stderr
    assert processes_of(top) == {}
    assert down.stdout == f"what was left of a failed start in {top} is gone\n"
    assert not top.exists()


def test_ports_in_use_are_refused(sge: Lab, tmp_path: Path) -> None:
    port = str(sge.status()["port"])
    up = local_cell("up", "--dir", str(tmp_path / "cell"), "--port", port)
    assert up.returncode == 1
    assert f"ports from {port} on are in use" in up.stderr
