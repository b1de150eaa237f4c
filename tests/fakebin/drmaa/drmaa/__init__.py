"""A fake of the Python package drmaa, over the library of no cluster: a directory.

Answers as libdrmaa of Grid Engine 8.1.9 does, oddities included. $FAKE_DRMAA is the directory; see
../../fakecluster.py for what is in it. Faults go by the name of a method, and have besides:

    {"command": "runJob", "do": "raise", "kind": "DeniedByDrmException", "words": "code 17: ..."}
    {"command": "wait", "do": "die"}        "accept-then-die", "accept-then-hang": of runJob

Its config.json may have besides: {"drms": "SGE 8.1.9", "forget": true}   forget: sessions end with
their process, so that their contact is refused; "eqw": exit statuses on which jobs stay in error.
"""

import os
import re
import signal
import sys
import time
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))

from fakecluster import LIVE, FakeCluster  # noqa: E402 - found two directories up

JobInfo = namedtuple(
    "JobInfo",
    "jobId hasExited hasSignal terminatedSignal hasCoreDump wasAborted exitStatus resourceUsage",
)


class DrmaaException(Exception):
    pass


class DrmCommunicationException(DrmaaException):
    pass


class DeniedByDrmException(DrmaaException):
    pass


class TryLaterException(DrmaaException):
    pass


class InternalException(DrmaaException):
    pass


class InvalidJobException(DrmaaException):
    pass


class InvalidArgumentException(DrmaaException, AttributeError):
    pass


class ExitTimeoutException(DrmaaException):
    pass


class AlreadyActiveSessionException(DrmaaException):
    pass


def no_such_job():
    return InvalidJobException("code 18: The job specified by the 'jobid' does not exist.")


class JobControlAction:
    TERMINATE = "terminate"


class JobTemplate:
    attributeNames = ("drmaa_remote_command", "drmaa_wd", "drmaa_wct_hlimit")

    def __init__(self):
        self.nativeSpecification = ""


class FakeDrm(FakeCluster):
    program = os.path.abspath(__file__)
    defaults = FakeCluster.defaults | {"drms": "SGE 8.1.9", "forget": False, "eqw": [100]}

    def environment(self, job, index):
        number = "undefined" if job["size"] is None else str(index + 1)
        return {
            "PATH": "/usr/local/bin:/bin:/usr/bin",
            "HOME": "/home/of/the/user",
            "LANG": "C",
            "TMPDIR": "/tmp",
            "JOB_ID": str(job["id"]),
            "NSLOTS": "1",
            self.config().get("variable", "SGE_TASK_ID"): number,
        }

    def start(self, job, index):
        return super().start(job, index) if os.path.isdir(job["cwd"]) else None

    def unlaunched(self, job, index):
        job["tasks"][index].update(state="ERROR", end=time.time())

    def exited(self, job, index, status):
        task, code = job["tasks"][index], status >> 8
        if task["state"] == "COMPLETING":
            task["state"] = "CANCELLED"
        elif not status & 127 and code in self.config()["eqw"]:
            task["state"] = "ERROR"
        else:
            task["state"] = "FAILED" if status else "COMPLETED"
        task["code"] = status


DRM = FakeDrm(os.environ.get("FAKE_DRMAA", ""))


def faulty(method):
    """Have a method go wrong if that is what a test wants."""

    def act(self, *words):
        DRM.note(method.__name__)
        fault = DRM.take_fault(method.__name__)
        do = fault["do"]
        if do == "raise":
            kind = globals().get(fault["kind"], Exception)
            raise kind(fault["words"])
        if do == "slow":
            time.sleep(fault["seconds"])
        if do == "hang":
            time.sleep(3600)
        if do == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        found = method(self, *words)
        if do == "accept-then-hang":
            time.sleep(3600)
        if do == "accept-then-die":
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return act


def note(method):
    with open(f"{DRM.state}/calls.log", "a") as log:
        log.write(f'["{method}"]\n')


DRM.note = note


class Session:
    TIMEOUT_NO_WAIT = 0
    JOB_IDS_SESSION_ANY = "DRMAA_JOB_IDS_SESSION_ANY"
    drmsInfo = DRM.config()["drms"]
    drmaaImplementation = DRM.config()["drms"]
    version = "1.0"
    contact = ""

    @faulty
    def initialize(self, contact=None):
        if contact is not None and not re.fullmatch(r"session=\S+", contact):
            raise InvalidArgumentException("code 4: The input value for an argument is invalid.")
        if contact is not None and DRM.config()["forget"]:
            raise InvalidArgumentException("code 4: no such session")
        self.contact = contact or f"session=fake.{os.getpid()}.{time.monotonic_ns()}"
        with DRM.locked():
            for job in DRM.submissions():  # what ended while no session was attached is lost
                for task in job["tasks"]:
                    if task["state"] not in LIVE and job["session"] == self.contact:
                        task["reaped"] = True
                DRM.keep(job)

    def exit(self):
        note("exit")

    def createJobTemplate(self):
        return JobTemplate()

    def deleteJobTemplate(self, template):
        pass

    @faulty
    def runJob(self, template):
        return str(self._submit(template, None))

    @faulty
    def runBulkJobs(self, template, first, last, step):
        number = self._submit(template, last)
        return [f"{number}.{task}" for task in range(first, last + 1, step)]

    def _submit(self, template, size):
        words = [template.remoteCommand, *template.args]
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        memory = re.search(r"h_vmem=(\d+)M", template.nativeSpecification)
        if memory and int(memory[1]) > 16384 and "-w e" in template.nativeSpecification:
            raise DeniedByDrmException("code 17: error: no suitable queues")
        if not template.outputPath.startswith(":"):
            raise InvalidArgumentException("code 4: The output path must begin with a colon")
        about = {"name": template.jobName, "output": template.outputPath[1:]}
        about |= {"cwd": template.workingDirectory, "native": template.nativeSpecification}
        limit = getattr(template, "hardWallclockTimeLimit", None)
        return DRM.submit(f"exec {quoted}", size, session=self.contact, limit=limit, **about)

    @faulty
    def wait(self, native, timeout):
        with DRM.locked():
            for job in DRM.submissions():
                for index, task in enumerate(job["tasks"]):
                    name = str(job["id"]) if job["size"] is None else f"{job['id']}.{index + 1}"
                    if native not in (name, self.JOB_IDS_SESSION_ANY):
                        continue
                    if job["session"] != self.contact or task.get("reaped"):
                        continue
                    over = task["state"] not in LIVE or task["state"] == "ERROR"
                    if over:
                        task["reaped"] = True
                        DRM.keep(job)
                        return self._info(name, task)
                    if native == name:
                        raise ExitTimeoutException("code 23: time-out condition")
        if native == self.JOB_IDS_SESSION_ANY:
            raise ExitTimeoutException("code 23: time-out condition")
        raise no_such_job()

    def _info(self, name, task):
        status, state = task["code"], task["state"]
        if state == "CANCELLED" and task["start"] is None:
            raise Exception("code 24: no usage information was returned for the completed job")
        start, end = task["start"] or 0, task["end"] or 0
        code = status >> 8 or (128 + (status & 127) if status & 127 else 0)
        usage = {"cpu": "0.0100", "maxvmem": "1000000.0000", "exit_status": f"{code}.0000"}
        usage |= {"start_time": f"{start:.4f}", "end_time": f"{end:.4f}"}
        usage |= DRM.config().get("usage", {})
        if state in ("CANCELLED", "ERROR"):
            return JobInfo(name, False, False, "", False, True, 0, usage)
        if status & 127:
            ended_by = signal.Signals(status & 127).name
            return JobInfo(name, False, True, ended_by, False, False, 0, usage)
        return JobInfo(name, True, False, "", False, False, status >> 8, usage)

    def _find(self, native):
        number, _, task = str(native).partition(".")
        for job in DRM.submissions():
            if str(job["id"]) == number and (job["size"] is None) == (task == ""):
                return job, [job["tasks"][int(task or 1) - 1]]
            if str(job["id"]) == number:
                return job, job["tasks"]
        raise no_such_job()

    @faulty
    def jobStatus(self, native):
        with DRM.locked():
            state = self._find(native)[1][0]["state"]
        words = {"PENDING": "queued_active", "RUNNING": "running", "COMPLETING": "running"}
        words["ERROR"] = "failed"
        if state not in words:
            raise no_such_job()
        return words[state]

    @faulty
    def control(self, native, action):
        with DRM.locked():
            job, tasks = self._find(native)
            if not any(task["state"] in LIVE for task in tasks):
                raise no_such_job()
            DRM.end(tasks)
            DRM.keep(job)


if __name__ == "__main__":
    FakeDrm(os.environ["FAKE_DRMAA"]).main()
