"""A fake Slurm: sbatch, squeue, sacct, scancel, sinfo, scontrol, sacctmgr over a directory.

Prints what Slurm 22.05 prints (tests/data/slurm). The directory is the one that holds the file
SLURM_CONF names; see fakecluster.py for what is in it. Its config.json may have besides:

    {"others": 0,   rows of squeue for as many jobs of the same user that are not in the directory
     "min_job_age": 300, "accounting": true, "max_array": 1001, "sinfo": [its lines]}
"""

import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from fakecluster import LIVE, FakeCluster, fail  # noqa: E402 - found beside this directory

PARTITIONS = (
    "PartitionName=fake AllowAccounts=ALL Default=YES QoS=N/A MaxTime=1-00:00:00 "
    "MaxCPUsPerNode=UNLIMITED PriorityTier=2 OverSubscribe=NO PreemptMode=OFF State=UP "
    "MaxMemPerNode=UNLIMITED",
    "PartitionName=spare AllowAccounts=ALL Default=NO QoS=N/A MaxTime=UNLIMITED "
    "MaxCPUsPerNode=UNLIMITED PriorityTier=1 OverSubscribe=NO PreemptMode=REQUEUE State=UP "
    "MaxMemPerNode=UNLIMITED",
)
TIMED_OUT = "Socket timed out on send/recv operation"


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


def rows(job):
    for number, task in enumerate(job["tasks"]):
        yield str(job["id"]) if job["size"] is None else f"{job['id']}_{number}", task


def seconds(task):
    if task["start"] is None:
        return 0
    return int((task["end"] or time.time()) - task["start"])


class FakeSlurm(FakeCluster):
    program = os.path.abspath(__file__)
    submitter = "sbatch"
    killer = signal.SIGTERM
    accepted_but = f"sbatch: error: Batch job submission failed: {TIMED_OUT}"
    defaults = FakeCluster.defaults | {
        "min_job_age": 300,
        "accounting": True,
        "max_array": 1001,
        "sinfo": [
            "fake|1-00:00:00|64|262144|gpu:4|OFF|fake*|1|up|no|UNLIMITED",
            "spare|infinite|8|8192|(null)|REQUEUE|spare|1|up|no|UNLIMITED",
        ],
    }

    # -- submitting and running -------------------------------------------------------------------

    def take(self, words):
        asked, rest = options(words)
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
            if size > self.config()["max_array"]:
                fail("sbatch: error: Batch job submission failed: Invalid job array specification")
        output = asked["output"].replace("%%", "%")
        about = {"name": asked["job-name"], "output": output, "cwd": rest[rest.index("-D") + 1]}
        print(self.submit(script, size, reason="None", **about))

    def environment(self, job, index):
        env = dict(os.environ) | {"SLURM_JOB_ID": str(job["id"])}
        if job["size"] is not None:
            env |= {"SLURM_ARRAY_JOB_ID": str(job["id"]), "SLURM_ARRAY_TASK_ID": str(index)}
        return env

    def unlaunched(self, job, index):
        now = time.time()
        job["tasks"][index].update(state="FAILED", code=53, start=now, end=now)

    def exited(self, job, index, status):
        task = job["tasks"][index]
        if task["state"] == "COMPLETING":
            task.update(state="CANCELLED", code=status & 127)
        else:
            task.update(state="COMPLETED" if status == 0 else "FAILED", code=status)

    # -- looking and ending -----------------------------------------------------------------------

    def answer(self, command, words):
        return getattr(self, command)(words)

    def squeue(self, words):
        form = words[words.index("-O") + 1]
        fields = [field.rstrip("|").partition(":") for field in form.split(",")]
        heads = {"JobArrayID": "JOBID", "SubmitTime": "SUBMIT_TIME", "TimeUsed": "TIME"}
        yield "".join(heads.get(n, n.upper()).ljust(int(w))[: int(w)] + "|" for n, _, w in fields)
        age = self.config()["min_job_age"]
        named, _ = options(words)
        only = named["name"].split(",") if "name" in named else None
        if only is None:
            row = ("{}", "RUNNING", "0", stamp(0), "0:00", "fake9", "other", "None")
            form = "".join(f"{c:<{int(w)}}|" for c, (_, _, w) in zip(row, fields, strict=True))
            for number in range(self.config().get("others", 0)):
                yield form.replace("{}     ", str(10**6 + number), 1)
        with self.locked():
            found = [job for job in self.submissions() if only is None or job["name"] in only]
        for job in found:
            for native, task in rows(job):
                live = task["state"] in LIVE
                if not live and time.time() - (task["end"] or 0) > age:
                    continue
                used = seconds(task)
                reason = job["reason"] if task["state"] == "PENDING" else "None"
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

    def sacct(self, words):
        if not self.config()["accounting"]:
            fail("Slurm accounting storage is disabled")
        asked, _ = options(words)
        ids = asked["jobs"].split(",") if "jobs" in asked else None
        names = asked["name"].split(",") if "name" in asked else None
        fields = asked["format"].split(",")
        if "noheader" not in asked:
            yield "|".join(fields)
        with self.locked():
            found = self.submissions()
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

    def sinfo(self, words):
        yield from self.config()["sinfo"]

    def scontrol(self, words):
        if words[-2:] == ["show", "partition"]:
            yield from PARTITIONS
            return
        yield "Configuration data as of 2026-11-22T07:04:58"
        yield "ClusterName             = fake"
        yield "SLURM_VERSION           = 22.05.8"
        yield "SelectTypeParameters    = CR_CORE_MEMORY"
        yield f"MaxArraySize            = {self.config()['max_array']}"

    def sacctmgr(self, words):
        if not self.config()["accounting"]:
            fail("You are not running a supported accounting_storage plugin")
        yield from ()

    def scancel(self, words):
        asked, ids = options(words)
        with self.locked():
            for job in self.submissions():
                named = job["name"] == asked.get("name")
                wanted = [
                    task
                    for native, task in rows(job)
                    if native in ids or str(job["id"]) in ids or named
                ]
                self.end(wanted)
                if wanted:
                    self.keep(job)
        yield from ()


FakeSlurm(os.path.dirname(os.path.abspath(os.environ.get("SLURM_CONF", "")))).main()
