"""What fake schedulers have in common: jobs in a directory, run as plain processes, and faults.

Owns no scheduler's words. Read next: slurm/fakeslurm.py, sge/fakesge.py. In the directory are

    config.json   {"slots": 8, "rate": null}   rate: tasks end with 0 at this pace, unprocessed
    faults.json   [{"command": "sbatch", "do": "accept-then-hang", "times": 1}, ...]
    calls.log     one line of JSON for each command that was run
    jobs/         a file for each submission, and its script

Faults: hang, accept-then-hang, accept-then-error, error (with "stderr", "stdout" and "status"),
empty, garbage, truncate (with "bytes", or "lines"), slow (with "seconds").
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

LIVE = ("PENDING", "RUNNING", "COMPLETING", "ERROR")


def fail(text, status=1, stdout=""):
    sys.stdout.write(stdout)
    sys.stderr.write(text + "\n")
    sys.exit(status)


class FakeCluster:
    """A scheduler over a directory; a subclass speaks one scheduler's language."""

    program = ""
    """The file that main() is called from, for the process that runs jobs."""
    submitter = ""
    """The command that submits."""
    accepted_but = ""
    """What that says of a submission that was accepted, and whose answer got lost."""
    killer = signal.SIGKILL
    """By what tasks are ended."""
    defaults = {"slots": 8, "rate": None}  # noqa: RUF012 - never changed

    def __init__(self, state):
        self.state, self.jobs = state, f"{state}/jobs"

    # -- the directory ----------------------------------------------------------------------------

    @contextmanager
    def locked(self):
        with open(f"{self.state}/lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def load(self, name, default):
        try:
            with open(f"{self.state}/{name}") as file:
                return json.load(file)
        except FileNotFoundError:
            return default

    def save(self, name, value):
        path = f"{self.state}/{name}"
        with open(f"{path}.new", "w") as file:
            json.dump(value, file)
        os.rename(f"{path}.new", path)

    def config(self):
        return self.defaults | self.load("config.json", {})

    def submissions(self):
        """Return all submissions, as of now."""
        os.makedirs(self.jobs, exist_ok=True)
        numbers = sorted(int(n[:-5]) for n in os.listdir(self.jobs) if n.endswith(".json"))
        found = [self.load(f"jobs/{number}.json", None) for number in numbers]
        rate = self.config()["rate"]
        if rate is not None:
            for job in found:
                self.pretend(job, rate)
        return found

    def pretend(self, job, rate):
        """Let tasks have run that have no process."""
        ended = int((time.time() - job["submit"]) * rate)
        for number, task in enumerate(job["tasks"]):
            if task["state"] in LIVE:
                at = job["submit"] + number / rate
                task.update(state="RUNNING", start=job["submit"])
                if number < ended:
                    task.update(state="COMPLETED", end=at)

    def keep(self, job):
        self.save(f"jobs/{job['id']}.json", job)

    # -- submitting and running -------------------------------------------------------------------

    def submit(self, script, size, **about):
        """Take a submission in, with the environment of this process; return its number."""
        task = {"state": "PENDING", "code": 0, "start": None, "end": None, "pid": None, "runs": 0}
        with self.locked():
            number = self.load("last.json", 0) + 1
            self.save("last.json", number)
            job = {"id": number, "submit": time.time(), "size": size} | about
            job["tasks"] = [dict(task) for _ in range(size or 1)]
            os.makedirs(self.jobs, exist_ok=True)
            self.keep(job)
        with open(f"{self.jobs}/{number}.sh", "w") as file:
            file.write(script)
        if self.config()["rate"] is None:
            null = subprocess.DEVNULL
            argv = [sys.executable, "-S", "-E", self.program, "run", str(number)]
            subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, start_new_session=True)
        return number

    def run(self, number):
        """Run the tasks of one submission, some at a time, to the end of all."""
        slots, running = self.config()["slots"], {}
        with self.locked():
            job = self.load(f"jobs/{number}.json", None)
        while running or self.pending(job):
            with self.locked():
                job = self.load(f"jobs/{number}.json", None)
                if job is None:
                    return
                before = json.dumps(job)
                for index in self.pending(job)[: slots - len(running)]:
                    child = self.start(job, index)
                    task = job["tasks"][index]
                    task["runs"] += 1
                    if child is None:
                        self.unlaunched(job, index)
                    else:
                        running[child] = index
                        task.update(state="RUNNING", start=time.time(), pid=child.pid)
                for child in list(running):
                    code = child.poll()
                    if code is not None:
                        index = running.pop(child)
                        job["tasks"][index].update(end=time.time(), pid=None)
                        self.exited(job, index, -code if code < 0 else code << 8)
                if json.dumps(job) != before:
                    self.keep(job)
            time.sleep(0.02)

    @staticmethod
    def pending(job):
        return [i for i, task in enumerate(job["tasks"]) if task["state"] == "PENDING"]

    def start(self, job, index):
        """Start a task; None if its output cannot be opened."""
        try:
            output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:
            return None
        child = subprocess.Popen(
            ["/bin/sh", f"{self.jobs}/{job['id']}.sh"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self.environment(job, index),
            cwd=job["cwd"] if os.path.isdir(job["cwd"]) else "/tmp",
            start_new_session=True,
        )
        os.close(output)
        return child

    def end(self, wanted):
        """End some tasks of one submission: those that run by a signal."""
        for task in wanted:
            if task["state"] in ("PENDING", "ERROR") or (
                task["pid"] is None and task["state"] in LIVE
            ):
                task.update(state="CANCELLED", end=time.time())
            elif task["state"] == "RUNNING":
                task["state"] = "COMPLETING"
                os.killpg(task["pid"], self.killer)

    def environment(self, job, index):
        """Return what a task finds in its environment."""
        raise NotImplementedError

    def unlaunched(self, job, index):
        """Note that a task could not be started."""
        raise NotImplementedError

    def exited(self, job, index, status):
        """Note that a task's process ended with this status of wait()."""
        raise NotImplementedError

    # -- commands and faults ----------------------------------------------------------------------

    def answer(self, command, words):
        """Do a command that does not submit; return the lines that it prints."""
        raise NotImplementedError

    def main(self):
        command, words = sys.argv[1], sys.argv[2:]
        if command == "run":
            self.run(int(words[0]))
            return
        with open(f"{self.state}/calls.log", "a") as log:
            log.write(json.dumps([command, *words]) + "\n")
        fault = self.take_fault(command)
        do = fault["do"]
        if do == "slow":
            time.sleep(fault["seconds"])
        elif do == "hang":
            time.sleep(3600)
        elif do == "error":
            fail(fault["stderr"], fault.get("status", 1), fault.get("stdout", ""))
        elif do == "empty":
            return
        if command != self.submitter:
            spoil(fault, self.answer(command, words))
        elif do.startswith("accept-then"):
            with redirect_stdout(io.StringIO()):
                self.take(words)
            if do == "accept-then-hang":
                time.sleep(3600)
            fail(self.accepted_but)
        else:
            self.take(words)

    def take(self, words):
        """Do the command that submits, and print its answer."""
        raise NotImplementedError

    def take_fault(self, command):
        with self.locked():
            faults = self.load("faults.json", [])
            for fault in faults:
                if fault["command"] == command and fault.get("times", 1) != 0:
                    fault["times"] = fault.get("times", 1) - 1
                    self.save("faults.json", faults)
                    return fault
        return {"do": ""}


def spoil(fault, lines):
    """Print an answer as the fault wants it."""
    text = "".join(f"{line}\n" for line in lines)
    if fault["do"] == "garbage":
        text = "".join(chr((ord(c) * 7 + 13) % 94 + 33) if c != "\n" else c for c in text) + "\0\n"
    elif fault["do"] == "truncate":
        text = "".join(text.splitlines(True)[: fault["lines"]]) if "lines" in fault else text
        text = text[: fault.get("bytes", len(text))]
    sys.stdout.write(text)
