"""A fake Grid Engine: qsub, qstat, qdel, qalter and qconf over a directory, and accounting.

Prints what Grid Engine 8.1.9 prints (tests/data/sge). The directory is SGE_ROOT; see
fakecluster.py for what is in it. Its config.json may have besides:

    {"accounting": true, "max_tasks": 75000, "host_bytes": 17179869184, "rule": "$pe_slots",
     "why": "", "never": ""}    why, never: reasons of qstat -j and of qalter -w v;
                                accounting: "late" puts records into accounting.late
"""

import os
import re
import sys
import time
from xml.sax.saxutils import escape

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from fakecluster import FakeCluster, fail  # noqa: E402 - found beside this directory

WITH_VALUE = frozenset(
    {
        *("-b", "-C", "-S", "-N", "-r", "-m", "-w", "-j", "-o", "-wd", "-t", "-tc", "-l", "-pe"),
        *("-q", "-P", "-A", "-p"),
    }
)
STATES = {"PENDING": "qw", "RUNNING": "r", "COMPLETING": "dr", "ERROR": "Eqw"}
XSD = "http://arc.liv.ac.uk/repos/darcs/sge/source/dist/util/resources/schemas/qstat/qstat.xsd"


def reject(text, status=1):
    fail(f"Unable to run job: {text}\nExiting.", status)


def options(words):
    """Return the options as a dict, -l as one list; -pe has two values."""
    found, words = {"-l": []}, list(words)
    while words:
        word = words.pop(0)
        if word == "-l":
            found["-l"] += words.pop(0).split(",")
        elif word == "-pe":
            found["-pe"] = (words.pop(0), int(words.pop(0)))
        elif word in WITH_VALUE:
            found[word] = words.pop(0)
        elif word in ("-terse", "-clear"):
            found[word] = True
        else:
            fail(f'qsub: invalid option argument "{word}"', 2)
    return found


def size_bytes(text):
    number, unit = re.fullmatch(r"(\d+)([KMG]?)", text).groups()
    return int(number) << {"": 0, "K": 10, "M": 20, "G": 30}[unit]


def folded(numbers):
    """Return `1-3:1,7` for 1, 2, 3 and 7, as qstat shows tasks."""
    spans = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{a}-{b}:1" if b > a else str(a) for a, b in spans)


class FakeSge(FakeCluster):
    program = os.path.abspath(__file__)
    submitter = "qsub"
    accepted_but = "Unable to run job: Error reading answer list from qmaster\nExiting."
    defaults = FakeCluster.defaults | {
        "accounting": True,
        "max_tasks": 75000,
        "host_bytes": 16 << 30,
        "rule": "$pe_slots",
        "why": "",
        "never": "",
    }

    # -- submitting and running -------------------------------------------------------------------

    def take(self, words):
        asked = options(words)
        script = sys.stdin.read()
        if asked.get("-C") != "" and re.search(r"^#\$", script, re.M):
            fail('qsub: Unknown option "from a line of the script"', 2)
        if asked.get("-q", "all.q") != "all.q":
            queue = asked["-q"]
            reject(f'Job was rejected because job requests unknown queue "{queue}"')
        if "-pe" in asked and asked["-pe"][0] != "smp":
            pe = asked["-pe"][0]
            reject(f'job rejected: the requested parallel environment "{pe}" does not exist')
        size = int(asked["-t"].partition("-")[2]) if "-t" in asked else None
        most = self.config()["max_tasks"]
        if (size or 1) > most:
            reject(f"job rejected: you tried to submit a job with more than {most} tasks")
        if asked["-w"] != "n":
            self.check(asked)
        about = {"name": asked["-N"], "output": asked["-o"], "cwd": asked["-wd"]}
        number = self.submit(script, size, category=",".join(asked["-l"]), **about)
        print(number if size is None else f"{number}.1-{size}:1")

    def check(self, asked):
        """Turn a submission down that no host has the memory for."""
        with self.locked():
            number = self.load("last.json", 0) + 1
            self.save("last.json", number)
        limit = f"{self.config()['host_bytes'] / 2**30:.3f}G"
        memory = [each for each in asked["-l"] if each.startswith("h_vmem=")]
        reasons = [
            f'Job {number} (-l {each}) cannot run at host "fake1" '
            f"because it offers only hc:h_vmem={limit}"
            for each in memory
            if size_bytes(each.partition("=")[2]) > self.config()["host_bytes"]
        ]
        reasons += [
            f'Job {number} (-l {each}) cannot run in queue "all.q@fake1" '
            f"because job requests unknown resource ({each.partition('=')[0]})"
            for each in asked["-l"]
            if each.startswith("virtual_free=")
        ]
        if reasons and asked["-w"] == "e":
            reject("error: no suitable queues")
        elif reasons:
            reject("\n".join([*reasons, "verification: no suitable queues"]))
        elif asked["-w"] == "v":
            print("verification: found suitable queue(s)")
            sys.exit(0)

    def environment(self, job, index):
        """Return what Grid Engine gives by itself: nothing of the submitter's is in it."""
        task = job["tasks"][index]
        return {
            "PATH": "/usr/local/bin:/bin:/usr/bin",
            "HOME": "/home/of/the/user",
            "LANG": "C",
            "SHELL": "/bin/sh",
            "USER": "user",
            "TMPDIR": "/tmp",
            "SGE_ROOT": self.state,
            "JOB_ID": str(job["id"]),
            "JOB_NAME": job["name"],
            "NSLOTS": "1",
            "RESTARTED": "1" if task["runs"] else "0",
            "SGE_TASK_ID": "undefined" if job["size"] is None else str(index + 1),
        }

    def start(self, job, index):
        return super().start(job, index) if os.path.isdir(job["cwd"]) else None

    def unlaunched(self, job, index):
        task = job["tasks"][index]
        if os.path.isdir(job["cwd"]):
            why, failed = f'error: can\'t open output file "{job["output"]}"', 26
        else:
            why, failed = f"error: can't chdir to {job['cwd']}", 28
        task.update(state="ERROR", why=f"{why}: No such file or directory")
        self.record(job, index, failed, 0, ran=False)

    def exited(self, job, index, status):
        task, code = job["tasks"][index], status >> 8
        if task["state"] == "COMPLETING":
            task["state"] = "CANCELLED"
            self.record(job, index, 100, 128 + (status & 127))
        elif status & 127:
            task["state"] = "FAILED"
            self.record(job, index, 100, 128 + (status & 127))
        elif code == 99:
            task["state"] = "PENDING"
            self.record(job, index, 25, code)
        elif code == 100:
            task.update(state="ERROR", why="exit_status of job start = 100")
            self.record(job, index, 30, code)
        else:
            task["state"] = "FAILED" if code else "COMPLETED"
            self.record(job, index, 0, code)

    def pretend(self, job, rate):
        before = [task["state"] for task in job["tasks"]]
        super().pretend(job, rate)
        for index, task in enumerate(job["tasks"]):
            if task["state"] == "COMPLETED" != before[index]:
                self.record(job, index, 0, 0)
        if before != [task["state"] for task in job["tasks"]]:
            self.keep(job)

    def record(self, job, index, failed, status, ran=True):
        """Append a record to the accounting file."""
        kept = self.config()["accounting"]
        if not kept:
            return
        task = job["tasks"][index]
        start, end = (int(task[each] or 0) if ran else 0 for each in ("start", "end"))
        number = 0 if job["size"] is None else index + 1
        cells = ["all.q", "fake1", "users", "user", job["name"], job["id"], "sge", 0]
        cells += [int(job["submit"]), start, end, failed, status, end - start]
        cells += ["0.004000", "0.005000", "4500.000000", 0, 0, 0, 0, 217 if ran else 0]
        cells += [
            0,
            0,
            "0.000000",
            8,
            0,
            0,
            0,
            3,
            4,
            "NONE",
            "defaultdepartment",
            "NONE",
            1,
            number,
        ]
        cells += ["0.009000" if ran else "0.000000", "0.000000", "0.000000"]
        asked = f"-l {job['category']}" if job["category"] else "NONE"
        cells += [asked, "0.000000", "NONE", "3399680.000000" if ran else "0.000000", 0, 0]
        folder = f"{self.state}/default/common"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/accounting{'.late' if kept == 'late' else ''}", "a") as file:
            file.write(":".join(map(str, cells)) + "\n")

    # -- looking and ending -----------------------------------------------------------------------

    def answer(self, command, words):
        return getattr(self, command)(words)

    def qstat(self, words):
        with self.locked():
            found = self.submissions()
        if "-xml" not in words:
            return self.details(found, words[1].split(","))
        return self.listing(found)

    def listing(self, found):
        yield "<?xml version='1.0'?>"
        yield f'<job_info  xmlns:xsd="{XSD}">'
        yield "  <queue_info>"
        for job in found:
            for index, task in enumerate(job["tasks"]):
                if task["state"] in ("RUNNING", "COMPLETING"):
                    tasks = "" if job["size"] is None else str(index + 1)
                    yield from self.entry(job, task, tasks)
        yield "  </queue_info>"
        yield "  <job_info>"
        for job in found:
            for state in ("PENDING", "ERROR"):
                waiting = [i for i, task in enumerate(job["tasks"]) if task["state"] == state]
                if waiting:
                    tasks = "" if job["size"] is None else folded(i + 1 for i in waiting)
                    yield from self.entry(job, job["tasks"][waiting[0]], tasks)
        yield "  </job_info>"
        yield "</job_info>"

    def entry(self, job, task, tasks):
        word = STATES[task["state"]]
        runs = task["state"] in ("RUNNING", "COMPLETING")
        if task["runs"] > runs and task["state"] != "ERROR":
            word = {"qw": "Rq", "r": "Rr", "dr": "dRr"}[word]
        tag, at = (
            ("JAT_start_time", task["start"]) if runs else ("JB_submission_time", job["submit"])
        )
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at))
        yield f'    <job_list state="{"running" if runs else "pending"}">'
        yield f"      <JB_job_number>{job['id']}</JB_job_number>"
        yield "      <JAT_prio>0.55500</JAT_prio>"
        yield f"      <JB_name>{escape(job['name'])}</JB_name>"
        yield "      <JB_owner>user</JB_owner>"
        yield f"      <state>{word}</state>"
        yield f"      <{tag}>{stamp}</{tag}>"
        yield f"      <queue_name>{'all.q@fake1' if runs else ''}</queue_name>"
        yield "      <slots>1</slots>"
        if tasks:
            yield f"      <tasks>{tasks}</tasks>"
        yield "    </job_list>"

    def details(self, found, ids):
        missing = set(ids)
        for job in found:
            if str(job["id"]) in ids:
                missing.discard(str(job["id"]))
                yield "=" * 62
                yield f"job_number:                 {job['id']}"
                yield f"job_name:                   {job['name']}"
                for index, task in enumerate(job["tasks"]):
                    if task["state"] == "ERROR":
                        when = "11/22/2026 07:11:59 [5001:22496]"
                        yield f"error reason {index + 1:>10}:      {when}: {task['why']}"
                off = "(Collecting of scheduler job information is turned off)"
                yield f"scheduling info:            {self.config()['why'] or off}"
        if missing and len(missing) == len(ids):
            fail("Following jobs do not exist: \n" + "\n".join(sorted(missing)))

    def qalter(self, words):
        never = self.config()["never"]
        for number in words[2:]:
            if never:
                yield f"Job {number} {never}"
            suitable = "no suitable queues" if never else "found suitable queue(s)"
            yield f"verification: {suitable}"

    def qconf(self, words):
        if words[0] == "-sconf":
            yield f"max_aj_tasks                 {self.config()['max_tasks']}"
        elif words[0] == "-spl":
            yield from ("mpi", "smp")
        elif words[0] == "-sp":
            rule = self.config()["rule"] if words[1] == "smp" else "$round_robin"
            yield f"pe_name            {words[1]}"
            yield f"allocation_rule    {rule}"

    def qdel(self, words):
        lines = []
        with self.locked():
            found = self.submissions()
            for word in words:
                lines += self.delete(found, word)
        yield from lines
        if any("does not exist" in line for line in lines):
            sys.stdout.flush()

    def delete(self, found, word):
        number, _, span = word.partition(".")
        jobs = [job for job in found if str(job["id"]) == number] or [
            job for job in found if job["name"] == word
        ]
        first, _, last = span.partition("-")
        said = []
        for job in jobs:
            whole = not span or job["name"] == word
            tasks = [
                task
                for index, task in enumerate(job["tasks"])
                if task["state"] in STATES
                and (whole or int(first) <= index + 1 <= int(last or first))
            ]
            self.end(tasks)
            if tasks:
                self.keep(job)
                said.append(f"user has registered the job {word} for deletion")
        return said or [f'denied: job "{word}" does not exist']


FakeSge(os.environ.get("SGE_ROOT", "")).main()
