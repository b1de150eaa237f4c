"""A fake Slurm: sbatch, squeue, sacct, scancel, sinfo, scontrol, sacctmgr over a directory.

Prints what Slurm 22.05 prints (tests/data/slurm), runs jobs as plain processes, and can be told
to fail in the ways Slurm does. The directory is the one that holds the file SLURM_CONF names:

    config.json   {"min_job_age": 300, "accounting": true, "slots": 8, "max_array": 1001,
                   "rate": null}       rate: tasks end with 0 at this pace, without a process;
                                       sinfo: its lines, where they are to be others
    faults.json   [{"command": "sbatch", "do": "accept-then-hang", "times": 1}, ...]
    calls.log     one line of JSON for each command that was run

Faults: hang, accept-then-hang, accept-then-error, error (with "stderr" and "status"), empty,
garbage, truncate (with "bytes", or "lines"), slow (with "seconds").
"""

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, redirect_stdout

STATE = os.path.dirname(os.path.abspath(os.environ.get("SLURM_CONF", "")))
JOBS = f"{STATE}/jobs"
DEFAULTS = {"min_job_age": 300, "accounting": True, "slots": 8, "max_array": 1001, "rate": None}
DEFAULTS["sinfo"] = [
    "fake|1-00:00:00|64|262144|gpu:4|OFF|fake*",
    "spare|infinite|8|8192|(null)|REQUEUE|spare",
]
PARTITIONS = [
    "PartitionName=fake AllowAccounts=ALL Default=YES QoS=N/A MaxTime=1-00:00:00 "
    "MaxCPUsPerNode=UNLIMITED PriorityTier=2 OverSubscribe=NO PreemptMode=OFF State=UP "
    "MaxMemPerNode=UNLIMITED",
    "PartitionName=spare AllowAccounts=ALL Default=NO QoS=N/A MaxTime=UNLIMITED "
    "MaxCPUsPerNode=UNLIMITED PriorityTier=1 OverSubscribe=NO PreemptMode=REQUEUE State=UP "
    "MaxMemPerNode=UNLIMITED",
]
LIVE = ("PENDING", "RUNNING", "COMPLETING")
TIMED_OUT = "Socket timed out on send/recv operation"


@contextmanager
def locked():
    with open(f"{STATE}/lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load(name, default):
    try:
        with open(f"{STATE}/{name}") as file:
            return json.load(file)
    except FileNotFoundError:
        return default


def save(name, value):
    with open(f"{STATE}/{name}.new", "w") as file:
        json.dump(value, file)
    os.rename(f"{STATE}/{name}.new", f"{STATE}/{name}")


def config():
    return DEFAULTS | load("config.json", {})


def submissions():
    """Return all submissions, as of now."""
    os.makedirs(JOBS, exist_ok=True)
    numbers = sorted(int(n[:-5]) for n in os.listdir(JOBS) if n.endswith(".json"))
    found = [load(f"jobs/{number}.json", None) for number in numbers]
    rate = config()["rate"]
    if rate is not None:
        for job in found:
            ended = int((time.time() - job["submit"]) * rate)
            for number, task in enumerate(job["tasks"]):
                if task["state"] in LIVE:
                    state = "COMPLETED" if number < ended else "RUNNING"
                    at = job["submit"] + number / rate
                    task.update(state=state, start=job["submit"], end=at if ended else None)
    return found


def keep(job):
    save(f"jobs/{job['id']}.json", job)


def take_fault(command):
    with locked():
        faults = load("faults.json", [])
        for fault in faults:
            if fault["command"] == command and fault.get("times", 1) != 0:
                fault["times"] = fault.get("times", 1) - 1
                save("faults.json", faults)
                return fault
    return {"do": ""}


def fail(text, status=1):
    sys.stderr.write(text + "\n")
    sys.exit(status)


def stamp(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def options(words):
    """Return --name=value options as a dict, and the rest."""
    named, rest = {}, []
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            named[name] = value
        else:
            rest.append(word)
    return named, rest


# ---- sbatch ------------------------------------------------------------------------------------


def sbatch(words):
    asked, _ = options(words)
    script = sys.stdin.read()
    if not script.startswith("#!"):
        fail("sbatch: error: This does not look like a batch script.")
    if asked.get("partition", "fake") not in ("fake", "spare"):
        fail("sbatch: error: Batch job submission failed: Invalid partition name specified")
    if "nosuch" in asked.get("exclude", ""):
        fail("sbatch: error: Batch job submission failed: Invalid node name specified")
    size = None
    if "array" in asked:
        size = int(asked["array"].partition("-")[2]) + 1
        if size > config()["max_array"]:
            fail("sbatch: error: Batch job submission failed: Invalid job array specification")
    output = asked["output"].replace("%%", "%")
    task = {"state": "PENDING", "code": 0, "start": None, "end": None, "pid": None}
    with locked():
        number = load("last.json", 0) + 1
        save("last.json", number)
        job = {"id": number, "name": asked["job-name"], "submit": time.time(), "size": size}
        job |= {"output": output, "cwd": asked["chdir"], "reason": "None"}
        job["tasks"] = [dict(task) for _ in range(size or 1)]
        os.makedirs(JOBS, exist_ok=True)
        keep(job)
    with open(f"{JOBS}/{number}.sh", "w") as file:
        file.write(script)
    if config()["rate"] is None:
        env = dict(os.environ)
        null = subprocess.DEVNULL
        argv = [sys.executable, "-S", "-E", os.path.abspath(__file__), "run", str(number)]
        subprocess.Popen(
            argv, stdin=null, stdout=null, stderr=null, env=env, start_new_session=True
        )
    print(number)


def run(words):
    """Run the tasks of one submission, some at a time, to the end of all."""
    number = int(words[0])
    slots, running = config()["slots"], {}
    with locked():
        job = load(f"jobs/{number}.json", None)
    waiting = list(range(len(job["tasks"])))
    while waiting or running:
        with locked():
            job = load(f"jobs/{number}.json", None)
            tasks, before = job["tasks"], json.dumps(job)
            waiting = [i for i in waiting if tasks[i]["state"] == "PENDING"]
            while waiting and len(running) < slots:
                task = waiting.pop(0)
                child = start(job, task)
                now = time.time()
                if child is None:
                    tasks[task].update(state="FAILED", code=53, start=now, end=now)
                else:
                    running[child] = task
                    tasks[task].update(state="RUNNING", start=now, pid=child.pid)
            for child in list(running):
                code = child.poll()
                if code is not None:
                    status = -code if code < 0 else code << 8
                    task = tasks[running.pop(child)]
                    task.update(code=status, end=time.time(), pid=None)
                    cancelled = task["state"] == "COMPLETING"
                    task["state"] = "COMPLETED" if status == 0 else "FAILED"
                    if cancelled:
                        task.update(state="CANCELLED", code=status & 127)
            if json.dumps(job) != before:
                keep(job)
        time.sleep(0.02)


def start(job, task):
    env = dict(os.environ) | {"SLURM_JOB_ID": str(job["id"])}
    if job["size"] is not None:
        env |= {"SLURM_ARRAY_JOB_ID": str(job["id"]), "SLURM_ARRAY_TASK_ID": str(task)}
    try:
        output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        return None
    child = subprocess.Popen(
        ["/bin/sh", f"{JOBS}/{job['id']}.sh"],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=env,
        cwd=job["cwd"] if os.path.isdir(job["cwd"]) else "/tmp",
        start_new_session=True,
    )
    os.close(output)
    return child


# ---- looking -----------------------------------------------------------------------------------


def rows(job):
    for number, task in enumerate(job["tasks"]):
        yield str(job["id"]) if job["size"] is None else f"{job['id']}_{number}", task


def seconds(task):
    if task["start"] is None:
        return 0
    return int((task["end"] or time.time()) - task["start"])


def squeue(words):
    form = words[words.index("-O") + 1]
    fields = [field.rstrip("|").partition(":") for field in form.split(",")]
    heads = {"JobArrayID": "JOBID", "SubmitTime": "SUBMIT_TIME", "TimeUsed": "TIME"}
    yield "".join(heads.get(n, n.upper()).ljust(int(w))[: int(w)] + "|" for n, _, w in fields)
    age = config()["min_job_age"]
    with locked():
        found = submissions()
    for job in found:
        for native, task in rows(job):
            if task["state"] not in LIVE and time.time() - (task["end"] or 0) > age:
                continue
            used, reason = seconds(task), job["reason"] if task["state"] == "PENDING" else "None"
            if task["state"] == "FAILED":
                reason = "NonZeroExitCode"
            cells = {
                "JobArrayID": native,
                "State": task["state"],
                "exit_code": str(task["code"]),
                "SubmitTime": stamp(job["submit"]),
                "TimeUsed": f"{used // 60}:{used % 60:02d}",
                "NodeList": "" if task["start"] is None else "fake1",
                "Name": job["name"],
                "Reason": reason,
            }
            yield "".join(cells[n].ljust(int(w))[: int(w)] + "|" for n, _, w in fields)


def sacct(words):
    if not config()["accounting"]:
        fail("Slurm accounting storage is disabled")
    asked, _ = options(words)
    ids = asked["jobs"].split(",") if "jobs" in asked else None
    names = asked["name"].split(",") if "name" in asked else None
    fields = asked["format"].split(",")
    if "noheader" not in asked:
        yield "|".join(fields)
    with locked():
        found = submissions()
    for job in found:
        if ids is not None and str(job["id"]) not in ids:
            continue
        if names is not None and job["name"] not in names:
            continue
        for native, task in rows(job):
            status, sign = task["code"] >> 8, task["code"] & 127
            status -= 128 if status >= 128 else 0
            state = task["state"]
            if state == "CANCELLED":
                state, status, sign = f"CANCELLED by {os.getuid()}", 0, 0
            cells = {
                "JobID": native,
                "State": state,
                "ExitCode": f"{status}:{sign}",
                "Submit": stamp(job["submit"]),
                "ElapsedRaw": str(seconds(task)),
                "Partition": "fake",
                "NodeList": "None assigned" if task["start"] is None else "fake1",
                "JobName": job["name"],
            }
            yield "|".join(cells[field] for field in fields)


def sinfo(words):
    yield from config()["sinfo"]


def scontrol(words):
    if words[-2:] == ["show", "partition"]:
        yield from PARTITIONS
        return
    yield "Configuration data as of 2026-11-22T07:04:58"
    yield "ClusterName             = fake"
    yield "SLURM_VERSION           = 22.05.8"
    yield "SelectTypeParameters    = CR_CORE_MEMORY"
    yield f"MaxArraySize            = {config()['max_array']}"


def sacctmgr(words):
    if not config()["accounting"]:
        fail("You are not running a supported accounting_storage plugin")
    yield from ()


def scancel(words):
    asked, ids = options(words)
    with locked():
        for job in submissions():
            wanted = [
                task
                for native, task in rows(job)
                if native in ids or str(job["id"]) in ids or job["name"] == asked.get("name")
            ]
            for task in wanted:
                if task["state"] == "PENDING" or (task["pid"] is None and task["state"] in LIVE):
                    task.update(state="CANCELLED", end=time.time())
                elif task["state"] == "RUNNING":
                    task["state"] = "COMPLETING"
                    os.killpg(task["pid"], signal.SIGTERM)
            if wanted:
                keep(job)
    yield from ()


# ---- faults ------------------------------------------------------------------------------------


def spoil(fault, lines):
    """Print an answer as the fault wants it."""
    text = "".join(f"{line}\n" for line in lines)
    if fault["do"] == "garbage":
        text = "".join(chr((ord(c) * 7 + 13) % 94 + 33) if c != "\n" else c for c in text) + "\0\n"
    elif fault["do"] == "truncate":
        text = "".join(text.splitlines(True)[: fault["lines"]]) if "lines" in fault else text
        text = text[: fault.get("bytes", len(text))]
    sys.stdout.write(text)


def main():
    command, words = sys.argv[1], sys.argv[2:]
    if command == "run":
        return run(words)
    with open(f"{STATE}/calls.log", "a") as log:
        log.write(json.dumps([command, *words]) + "\n")
    fault = take_fault(command)
    do = fault["do"]
    if do == "slow":
        time.sleep(fault["seconds"])
    elif do == "hang":
        time.sleep(3600)
    elif do == "error":
        fail(fault["stderr"], fault.get("status", 1))
    elif do == "empty":
        return None
    if command == "sbatch":
        if do.startswith("accept-then"):
            with redirect_stdout(io.StringIO()):
                sbatch(words)
            if do == "accept-then-hang":
                time.sleep(3600)
            fail(f"sbatch: error: Batch job submission failed: {TIMED_OUT}")
        return sbatch(words)
    answers = {"squeue": squeue, "sacct": sacct, "sinfo": sinfo, "scancel": scancel}
    answers |= {"scontrol": scontrol, "sacctmgr": sacctmgr}
    spoil(fault, answers[command](words))
    return None


main()
