"""The local cluster itself: it is a real Slurm, its faults do what they say, and it goes away."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.live.engines import processes_of
from tests.live.slurm.lab import LOCAL_CLUSTER, Lab, local_cluster
from tests.live.waiting import eventually, is_running

EPILOG = LOCAL_CLUSTER.parent / "epilog.sh"


# ---- up, status, env ---------------------------------------------------------------------


def test_it_is_up_and_says_so(slurm: Lab) -> None:
    status = local_cluster("status", "--dir", str(slurm.top))
    assert status.returncode == 0
    assert f"{slurm.top}: 4 nodes of 8 cpus, 8192 MiB" in status.stdout
    for name in ("munged", "slurmctld", *slurm.nodes):
        assert f"  {name:10} running" in status.stdout
    again = local_cluster("up", "--dir", str(slurm.top))
    assert again.returncode == 0
    assert "was there already; started nothing" in again.stdout
    other = local_cluster("up", "--dir", str(slurm.top), "--nodes", "3")
    assert other.returncode == 1
    assert "there is a cluster with --nodes 4 already" in other.stderr


def test_env_leads_a_shell_to_it(slurm: Lab) -> None:
    script = f'eval "$({sys.executable} {LOCAL_CLUSTER} env --dir {slurm.top})" && sinfo -h -o %P'
    bare = {"PATH": os.environ["PATH"]}
    found = subprocess.run(
        ["sh", "-c", script], env=bare, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["short*", "long", "low", "lowkill", "high", "limited"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    assert local_cluster("status", "--dir", nowhere).returncode == 3
    assert local_cluster("down", "--dir", nowhere).returncode == 0
    env = local_cluster("env", "--dir", nowhere)
    assert env.returncode == 1
    assert "no cluster in" in env.stderr
    (tmp_path / "thesis.txt").touch()
    up = local_cluster("up", "--dir", str(tmp_path))
    assert up.returncode == 1
    assert "holds other things" in up.stderr


# ---- it is a real Slurm ------------------------------------------------------------------


def test_root_and_an_ordinary_user_run_jobs_on_every_node(
    slurm: Lab, ordinary_user: pwd.struct_passwd, open_tmp_path: Path
) -> None:
    script = "--wrap=echo $(id -u) $SLURMD_NODENAME"
    jobs = {}
    for user in (None, ordinary_user.pw_name):
        for node in slurm.nodes:
            out = open_tmp_path / f"{user}-{node}"
            job = slurm.submit(f"--output={out}", f"--nodelist={node}", script, user=user)
            jobs[job] = (out, f"{ordinary_user.pw_uid if user else 0} {node}\n")
    for job, (out, expected) in jobs.items():
        assert slurm.wait(job) == "COMPLETED"
        assert eventually(f"{out} written", out.read_text) == expected


def test_an_array_runs_and_its_highest_index_is_1000(slurm: Lab) -> None:
    job = slurm.submit("--array=0-9", "--wrap=exit $((SLURM_ARRAY_TASK_ID % 2))")
    rows = eventually(
        "ten ends in accounting",
        lambda: slurm.accounted(job, "JobID,State"),
        lambda rows: len([row for row in rows if row[1] in ("COMPLETED", "FAILED")]) == 10,
    )
    assert {row[0]: row[1] for row in rows} == {
        f"{job}_{index}": "FAILED" if index % 2 else "COMPLETED" for index in range(10)
    }
    assert slurm.submit("--array=1000", "--hold", "--wrap=true")
    refused = slurm.run("sbatch", "--array=1001", "--wrap=true", check=False)
    assert "Invalid job array specification" in refused.stderr


def test_accounting_tells_how_jobs_ended(slurm: Lab) -> None:
    over = "x = bytearray(400 << 20); import time; time.sleep(20)"
    greedy = slurm.submit("--mem=64", f"--wrap={sys.executable} -c '{over}'")
    ended = {
        slurm.submit("--wrap=exit 3"): ["FAILED", "3:0"],
        slurm.submit("--wrap=kill -SEGV $$"): ["FAILED", "0:11"],
        slurm.submit("--wrap=true"): ["COMPLETED", "0:0"],
        greedy: ["OUT_OF_MEMORY", "0:125"] if slurm.cgroup else ["FAILED", "0:9"],
    }
    assert {job: slurm.wait_accounted(job) for job in ended} == ended


def test_partitions_limits_and_gpus(
    slurm: Lab, ordinary_user: pwd.struct_passwd, open_tmp_path: Path
) -> None:
    out = open_tmp_path / "gpus"
    gpu = slurm.submit(
        "-p", "long", "--gres=gpu:2", f"-o{out}", "--wrap=echo $CUDA_VISIBLE_DEVICES"
    )
    refused = slurm.run("sbatch", "--gres=gpu:3", "--wrap=true", check=False)
    assert "Requested node configuration is not available" in refused.stderr
    slow = slurm.submit("-p", "short", "--time=10", "--wrap=true")
    eventually("its reason", lambda: slurm.reason(slow), lambda told: told == "PartitionTimeLimit")
    user = ordinary_user.pw_name
    slurm.submit("-p", "limited", "--array=0-8", "--hold", "--wrap=true", user=user)
    too_many = slurm.run(
        "sbatch", "-p", "limited", "--array=0-8", "--wrap=true", user=user, check=False
    )
    assert "QOSMaxSubmitJobPerUserLimit" in too_many.stderr
    assert slurm.wait(gpu) == "COMPLETED"
    assert eventually("its output", out.read_text) == "0,1\n"


def test_a_job_of_high_preempts_jobs_of_low_and_lowkill(slurm: Lab) -> None:
    node = slurm.nodes[0]
    whole = ("--nodelist", node, "--cpus-per-task=8", "--mem=8192")
    half = ("--nodelist", node, "--cpus-per-task=4", "--mem=4096")
    low = slurm.submit("-p", "low", *half, "--wrap=sleep 300")
    lowkill = slurm.submit("-p", "lowkill", *half, "--wrap=sleep 300")
    slurm.wait(low, "RUNNING")
    slurm.wait(lowkill, "RUNNING")
    high = slurm.submit("-p", "high", *whole, "--wrap=sleep 300")
    slurm.wait(high, "RUNNING")
    assert slurm.wait(lowkill) == "PREEMPTED"
    assert slurm.wait(low, "PENDING") == "PENDING"


# ---- faults ------------------------------------------------------------------------------


def test_controller_stopped_killed_and_frozen(slurm: Lab) -> None:
    job = slurm.submit("--wrap=sleep 6; exit 4")
    slurm.wait(job, "RUNNING")
    slurm.fault("stop-controller")
    assert slurm.status()["daemons"]["slurmctld"] == "gone"
    assert "is DOWN" in slurm.run("scontrol", "ping", check=False).stdout
    slurm.fault("start-controller")
    assert slurm.wait_accounted(job) == ["FAILED", "4:0"]
    slurm.fault("kill-controller")
    assert slurm.status()["daemons"]["slurmctld"] == "gone"
    slurm.fault("heal")
    slurm.fault("freeze-controller")
    assert slurm.status()["daemons"]["slurmctld"] == "frozen"
    with pytest.raises(subprocess.TimeoutExpired):
        slurm.run("squeue", "-h", limit_s=1)
    slurm.fault("thaw-controller")
    slurm.run("squeue", "-h")  # answers again; the killed one may have forgotten the job's end


def test_munge_and_accounting_stopped(slurm: Lab) -> None:
    slurm.fault("stop-munge")
    assert "Munge encode failed" in slurm.refusal("squeue", "-h")
    slurm.fault("start-munge")
    slurm.run("squeue", "-h")
    slurm.fault("stop-dbd")
    assert "Connection refused" in slurm.refusal("sacct")
    job = slurm.submit("--wrap=true")
    slurm.fault("start-dbd")
    assert slurm.wait_accounted(job) == ["COMPLETED", "0:0"]
    slurm.fault("stop-database")
    slurm.refusal("sacct")
    slurm.fault("start-database")
    eventually("accounting", lambda: slurm.run("sacct", check=False).returncode == 0)


def test_a_drained_node_takes_no_job_until_it_is_resumed(slurm: Lab) -> None:
    node = slurm.nodes[1]
    slurm.fault("drain", node)
    job = slurm.submit("--nodelist", node, "--wrap=true")
    eventually("its reason", lambda: slurm.reason(job), lambda why: "ReqNodeNotAvail" in why)
    slurm.fault("resume", node)
    assert slurm.wait(job) == "COMPLETED"
    slurm.fault("resume", node)  # again, to no effect


def test_a_killed_node_fails_its_job_and_orphans_its_process(
    slurm: Lab, open_tmp_path: Path
) -> None:
    node, orphan = slurm.nodes[2], open_tmp_path / "pid"
    script = f"--wrap=echo $$ > {orphan}; exec sleep 300"
    job = slurm.submit("--nodelist", node, "--no-requeue", script)
    eventually("its process", lambda: orphan.exists() and orphan.read_text())
    slurm.fault("kill-node", node)
    assert slurm.status()["daemons"][node] == "gone"
    slurm.fault("down-node", node)  # SlurmdTimeout would do it, after half a minute
    assert slurm.wait(job) == "NODE_FAIL"
    pid = int(orphan.read_text())
    assert is_running(pid)
    slurm.fault("start-node", node)
    eventually("an idle node", lambda: slurm.status()["nodes"][node], lambda told: told == "idle")
    slurm.fault("clear")
    assert not is_running(pid)


def test_a_frozen_node_stops_responding_and_comes_back(slurm: Lab) -> None:
    node = slurm.nodes[3]
    job = slurm.submit("--nodelist", node, "--wrap=sleep 300")
    slurm.wait(job, "RUNNING")
    slurm.fault("freeze-node", node)
    assert slurm.status()["daemons"][node] == "frozen"
    slurm.fault("thaw-node", node)
    assert slurm.state(job) == "RUNNING"
    slurm.run("scancel", job)
    assert slurm.wait(job) == "CANCELLED"


def test_a_job_without_its_step_daemon_seems_to_run(slurm: Lab, open_tmp_path: Path) -> None:
    begun = open_tmp_path / "begun"
    job = slurm.submit("--array=7", f"--wrap=touch {begun}; sleep 300")
    task = f"{job}_7"
    eventually("its process", begun.exists)  # it is called RUNNING before it has a step daemon
    slurm.fault("kill-stepd", task)
    assert slurm.state(task) == "RUNNING"
    told = local_cluster("fault", "--dir", str(slurm.top), "kill-stepd", task)
    assert "no step of job" in told.stderr


def test_a_job_is_requeued_and_the_time_of_another_is_up(slurm: Lab) -> None:
    late = slurm.submit("--time=5", "--wrap=sleep 300")
    job = slurm.submit('--wrap=test -n "$SLURM_RESTART_COUNT" || sleep 300')
    slurm.wait(job, "RUNNING")
    slurm.wait(late, "RUNNING")
    slurm.fault("time-out", late)
    times = slurm.run("squeue", "-h", "-j", late, "-o", "%S %e").stdout.split()
    began, ends = (datetime.fromisoformat(time) for time in times)
    assert ends - began < timedelta(minutes=1)  # Slurm ends it when it next looks: every 30 s
    slurm.fault("requeue", job)
    assert slurm.wait(job, "COMPLETED") == "COMPLETED"
    eventually(
        "its first run in accounting",
        lambda: [row[0] for row in slurm.accounted(job, "State", "-X", "-D")],
        lambda states: states[:1] == ["REQUEUED"],
    )


def test_faults_are_named_and_checked(slurm: Lab) -> None:
    told = local_cluster("fault", "--dir", str(slurm.top), "kill-node", "nosuch")
    assert told.returncode == 1
    assert "there is no node 'nosuch'; the nodes are" in told.stderr
    assert "needs a NODE" in local_cluster("fault", "kill-node").stderr
    assert "freeze-controller" in local_cluster("fault", "--help").stdout


# ---- down --------------------------------------------------------------------------------


def test_a_second_cluster_without_root_lives_beside_and_leaves_nothing(
    slurm: Lab, ordinary_user: pwd.struct_passwd, own_place: Path
) -> None:
    top, user = own_place / "home" / "slurm", ordinary_user.pw_name
    python, program = slurm.python_of(user), str(own_place / "contrib" / "slurm" / "local-cluster")

    def call(*words: str) -> str:
        argv = [python, program, *words, "--dir", str(top)]
        return slurm.run(*argv, user=user, cwd=own_place).stdout

    assert "a Slurm of 2 nodes is up" in call("up", "--nodes", "2", "--accounting", "0")
    env = {"SLURM_CONF": str(top / "etc" / "slurm.conf")}
    out = own_place / "home" / "out"
    script = f"--wrap=setsid sleep 1000 & echo $SLURMD_NODENAME > {out}; sleep 1000"
    slurm.run("sbatch", "-o/dev/null", "--nodelist=node2", script, user=user, env=env)
    assert eventually("its output", lambda: out.exists() and out.read_text()) == "node2\n"
    assert len(processes_of(top)) > 5
    assert "is gone" in call("down")
    assert processes_of(top) == {}
    assert not top.exists()
    assert slurm.run("squeue", "-h").stdout == ""  # the first knows nothing of it, and lives
    assert slurm.is_calm()


def test_the_cluster_goes_down_with_the_process_it_is_tied_to(own_place: Path) -> None:
    top = own_place / "tied"
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        up = local_cluster(
            "up", "--dir", str(top), "--nodes=1", "--accounting=0", f"--while-pid={sleeper.pid}"
        )
        assert up.returncode == 0, up.stderr
        sleeper.kill()
    eventually("the end of the cluster", lambda: not top.exists() and not processes_of(top))


def test_below_a_directory_closed_to_others_it_is_root_s_alone(own_place: Path) -> None:
    closed = own_place / "closed"
    closed.mkdir(mode=0o700)
    top = closed / "slurm"
    up = local_cluster("up", "--dir", str(top), "--nodes=1", "--accounting=1")
    try:
        assert up.returncode == 0, up.stderr
        assert f"only root can submit, since {closed} is closed to others" in up.stdout
        env = {**os.environ, "SLURM_CONF": str(top / "etc" / "slurm.conf")}
        asked = ["sacctmgr", "-n", "-P", "show", "account", "local", "format=account"]
        said = subprocess.run(asked, env=env, capture_output=True, text=True, check=True)
        assert said.stdout == "local\n", "accounting is up"
    finally:
        local_cluster("down", "--dir", str(top))
    assert not top.exists()


# ---- the epilog --------------------------------------------------------------------------


def test_the_epilog_removes_what_dead_workers_left_and_nothing_else(
    another_user: pwd.struct_passwd, open_tmp_path: Path
) -> None:
    mine = 20000 + os.getpid() % 40000  # nobody else's: it looks at all that its user runs here

    def make(name: str, owner: int) -> Path:
        path = open_tmp_path / name
        path.mkdir(mode=0o700)
        (path / "0").mkdir()
        (path / "0" / "link").symlink_to("/etc")
        for each in (path, path / "0"):
            os.chown(each, owner, owner)
        return path

    left = make("jobtree-0123456789abcdef", mine)
    others = make("jobtree-fedcba9876543210", another_user.pw_uid)
    thesis = make("jobtree-my-thesis", mine)
    link = open_tmp_path / "jobtree-00000000000000ff"
    link.symlink_to(thesis)
    os.lchown(link, mine, mine)

    def epilog(uid: int) -> None:
        env = {"SLURM_JOB_UID": str(uid), "JOBTREE_SCRATCH": str(open_tmp_path)}
        done = subprocess.run([EPILOG], env=env, capture_output=True, text=True, check=True)
        assert done.stdout + done.stderr == ""

    busy = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "17"}
    with subprocess.Popen(["sleep", "1000"], env=busy, user=mine) as worker:
        epilog(mine)
        assert left.exists()
        worker.kill()
    epilog(0)
    assert left.exists()
    epilog(mine)
    assert not left.exists()
    assert sorted(open_tmp_path.iterdir()) == sorted([others, thesis, link])
