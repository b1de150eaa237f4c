"""The local cell's faults: each does what it says, as Grid Engine shows it, and can be undone."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live.sge.lab import Lab
from tests.live.waiting import eventually


def running(lab: Lab, mark: str) -> list[int]:
    """Return the processes of a cell's jobs whose command line has a mark in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            of_cell = os.fsencode(lab.top) in (entry / "environ").read_bytes()
            if of_cell and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def gated(gate: Path) -> tuple[str, str, str]:
    """Return the command of a job that waits for a file, and exits with 4; its path is a mark."""
    return ("/bin/sh", "-c", f"until [ -e {gate} ]; do sleep 0.1; done; exit 4")


def wait_running(lab: Lab, mark: str, count: int) -> None:
    """Wait until so many of a cell's processes have a mark in their command line."""
    eventually(f"{count} of {mark}", lambda: len(running(lab, mark)), count.__eq__)


# ---- the master --------------------------------------------------------------------------


def test_the_master_stopped_killed_and_frozen(sge: Lab, open_tmp_path: Path) -> None:
    gate = open_tmp_path / "go"
    job = sge.submit(*gated(gate))
    sge.wait(job, "r")
    sge.fault("stop-master")
    assert sge.status()["daemons"]["qmaster"] == "gone"
    assert "Connection refused" in sge.refusal("qstat")
    gate.touch()
    wait_running(sge, str(gate), 0)
    sge.fault("start-master")
    assert sge.wait_records(job) == [("0", "4")]  # hosts look for a master every half minute
    sge.fault("kill-master")
    assert sge.status()["daemons"]["qmaster"] == "gone"
    sge.fault("heal")
    sge.fault("freeze-master")
    assert sge.status()["daemons"]["qmaster"] == "frozen"
    with pytest.raises(subprocess.TimeoutExpired):
        sge.run("qstat", limit_s=1)
    sge.fault("thaw-master")
    assert sge.run("qstat").stdout == ""


def test_the_accounting_file_is_hidden_from_clients(sge: Lab) -> None:
    job = sge.submit("/bin/true")
    assert sge.wait_records(job) == [("0", "0")]
    sge.fault("hide-accounting")
    assert "accounting: No such file" in sge.refusal("qacct", "-j", job)
    other = sge.submit("/bin/true")
    sge.wait_gone(other)
    sge.fault("show-accounting")
    assert sge.wait_records(other) == [("0", "0")]


def test_a_line_of_the_configuration_is_set_and_taken_back(sge: Lab) -> None:
    sge.fault("configure", "max_aj_tasks=5")
    assert "more than 5 tasks" in sge.refusal("qsub", "-b", "y", "-t", "1-6", "/bin/true")
    sge.fault("heal")
    sge.submit("-h", "-t", "1-6", "/bin/true")


# ---- hosts -------------------------------------------------------------------------------


def test_a_killed_host_takes_its_jobs_along_and_says_so_when_it_is_back(sge: Lab) -> None:
    host = sge.hosts[0]
    job = sge.submit("-l", f"h={host}", "/bin/sleep", "300.25")
    sge.wait(job, "r")
    wait_running(sge, "300.25", 1)
    sge.fault("kill-host", host)
    assert sge.status()["daemons"][host] == "gone"
    assert running(sge, "300.25") == []
    assert sge.state(job) == "r"  # the master has not noticed
    sge.fault("start-host", host)
    assert sge.wait_records(job) == [("19", "0")]
    sge.wait_gone(job)


def test_a_job_outlives_its_killed_execd(sge: Lab, open_tmp_path: Path) -> None:
    host, gate = sge.hosts[1], open_tmp_path / "go"
    job = sge.submit("-l", f"h={host}", *gated(gate))
    sge.wait(job, "r")
    sge.fault("kill-execd", host)
    assert sge.status()["daemons"][host] == "gone"
    wait_running(sge, str(gate), 1)
    gate.touch()
    wait_running(sge, str(gate), 0)
    assert sge.records(job) == []
    sge.fault("start-execd", host)
    assert sge.wait_records(job) == [("0", "4")]


def test_a_job_outlives_its_killed_shepherd_and_is_recorded_as_failed(sge: Lab) -> None:
    job = sge.submit("-t", "7-8", "/bin/sleep", "300.5")
    wait_running(sge, "300.5", 2)
    sge.fault("kill-shepherd", f"{job}.7")
    assert sge.wait_records(job) == [("19", "0")]
    assert sge.states(job) == {"8": "r"}
    assert len(running(sge, "300.5")) == 2
    told = sge.call("fault", "kill-shepherd", f"{job}.7")
    assert f"no shepherd of job {job}.7 runs here" in told.stderr
    sge.fault("clear")
    assert running(sge, "300.5") == []


def test_a_host_cut_off_is_called_unknown_and_its_job_goes_on(
    machines: Lab, open_tmp_path: Path
) -> None:
    host, out = machines.hosts[2], open_tmp_path / "end"
    script = f"until [ -e {open_tmp_path}/go ]; do sleep 0.1; done; echo over > {out}"
    job = machines.submit("-l", f"h={host}", "/bin/sh", "-c", script)
    machines.wait(job, "r")
    machines.fault("cut-host", host)
    eventually("host unknown", lambda: machines.queue_state(host), lambda state: state == "u")
    (open_tmp_path / "go").touch()
    eventually("the job's end", out.exists)
    assert machines.state(job) == "r"
    machines.fault("heal-host", host)
    assert machines.queue_state(host) == "ok"
    assert machines.wait_records(job) == [("0", "0")]


def test_jobs_of_an_unknown_host_run_a_second_time_beside_the_first(
    machines: Lab, open_tmp_path: Path
) -> None:
    machines.fault("configure", "reschedule_unknown=00:00:05")
    script = f"hostname >> {open_tmp_path}/began; exec sleep 300.75"
    job = machines.submit("-r", "y", "/bin/sh", "-c", script)
    machines.wait(job, "r")
    host, began = machines.host_of(job), open_tmp_path / "began"
    eventually("its start", began.exists)
    machines.fault("cut-host", host)
    starts = eventually("a second start", began.read_text, lambda text: text.count("\n") == 2)
    first, second = starts.split()
    assert first == host != second
    wait_running(machines, "300.75", 2)
    assert machines.wait_records(job)[0][0] == "25"
    machines.fault("heal-host", host)
    wait_running(machines, "300.75", 1)


def test_a_frozen_host_goes_on_where_it_was(sge: Lab, open_tmp_path: Path) -> None:
    host, gate = sge.hosts[0], open_tmp_path / "go"
    job = sge.submit("-l", f"h={host}", *gated(gate))
    sge.wait(job, "r")
    sge.fault("freeze-host", host)
    assert sge.status()["daemons"][host] == "frozen"
    gate.touch()
    sge.fault("thaw-host", host)
    assert sge.wait_records(job) == [("0", "4")]


# ---- what a host lacks -------------------------------------------------------------------


def test_a_missing_directory_puts_jobs_of_one_host_into_error(
    machines: Lab, ordinary_user: pwd.struct_passwd, open_tmp_path: Path
) -> None:
    place = open_tmp_path / "home"
    place.mkdir()
    shutil.chown(place, ordinary_user.pw_uid, ordinary_user.pw_gid)
    host, other, user = machines.hosts[0], machines.hosts[1], ordinary_user.pw_name
    machines.fault("unmount", f"{host}:{place}")
    words = ("-o", f"{place}/out", "/bin/true")
    job = machines.submit("-l", f"h={host}", *words, user=user)
    machines.wait(job, "Eqw")
    assert machines.wait_records(job) == [("26", "0")]
    elsewhere = machines.submit("-l", f"h={other}", *words, user=user)
    assert machines.wait_records(elsewhere) == [("0", "0")]
    machines.fault("remount", f"{host}:{place}")
    machines.run("qmod", "-cj", job, user=user, check=False)  # it says 1 although it worked
    assert machines.wait_records(job, 2)[-1] == ("0", "0")
    told = machines.call("fault", "unmount", host)
    assert "is not HOST:DIR" in told.stderr


def test_a_failing_prolog_puts_the_queue_into_error(sge: Lab) -> None:
    host = sge.hosts[1]
    sge.fault("fail-prolog", host)
    job = sge.submit("-q", f"all.q@{host}", "/bin/true")  # or another queue of it would run it next
    eventually("queue in error", lambda: sge.queue_state(host), lambda state: state == "E")
    assert sge.wait_records(job) == [("8", "0")]
    sge.wait(job, "qw")
    sge.fault("mend-prolog", host)
    assert sge.wait_records(job, 2)[-1] == ("0", "0")


def test_a_job_is_run_again(sge: Lab) -> None:
    job = sge.submit("-r", "y", "/bin/sleep", "300")
    sge.wait(job, "r")
    sge.fault("rerun", job)
    assert sge.wait_records(job)[0][0] == "25"
    eventually("it runs again", lambda: sge.state(job), lambda state: state in ("Rr", "r"))


def test_heal_undoes_all_faults_at_once(machines: Lab) -> None:
    first, second, third = machines.hosts
    machines.fault("fail-prolog", third)
    machines.fault("unmount", f"{second}:/srv")
    machines.fault("kill-host", first)
    machines.fault("cut-host", second)
    machines.fault("freeze-host", third)
    machines.fault("hide-accounting")
    machines.fault("freeze-master")
    assert machines.call("status").returncode == 3
    machines.fault("heal")
    status = machines.call("status")
    assert status.returncode == 0, status.stdout
    jobs = [machines.submit("-l", f"h={host}", "/bin/true") for host in machines.hosts]
    for job in jobs:
        assert machines.wait_records(job) == [("0", "0")]


def test_faults_are_named_and_checked(sge: Lab) -> None:
    told = sge.call("fault", "kill-host", "nosuch")
    assert told.returncode == 1
    assert "there is no host 'nosuch'; the hosts are" in told.stderr
    assert "needs a HOST" in sge.call("fault", "kill-host").stderr
    assert "freeze-master" in sge.call("fault", "--help").stdout
