"""Session: what is asked of a DRMAA library, and what its odd answers mean.

Owns every call of the library once it is loaded, whose errors pass through; runs in a process of
its own, as each call may hang. Rests on DRMAA 1.0 and on what libdrmaa of Grid Engine 8.1.9 was
seen to do. Read next: journal.py, what is kept; server.py, who calls.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from batchsystems.drmaa.session.job_info import how_of, in_error
from batchsystems.drmaa.session.journal import Job, Journal, keys_of
from batchsystems.drmaa.tables import family_of

NO_USAGE = re.compile(r"^code 24\b")
"""What ended without any usage: no class of errors has this number."""

EXPIRED, UNKNOWN_JOB = "ExitTimeoutException", "InvalidJobException"
MOST_REAPED = 20_000
"""So many ends are taken in one look."""

GONE_S, UNDETERMINED_S = 45.0, 300.0
"""A job that the cluster does not know, or nothing of, for so long is gone, though its session has
no end of it. After a restart of qmaster Grid Engine tells sessions of ends only every 30 s."""

ENDS_HELD_BACK = (
    "Grid Engine answers again: if its qmaster was restarted, it holds back the ends of these jobs "
    "for up to 10 minutes, and their slots with them, so that new jobs may wait; "
    "restarting sge_execd on the hosts cuts that short"
)
"""An execd that has reconnected keeps what ended of a session for 600 s, for the session to be
gone on with first; one that was started anew does not."""

TIME_LIMIT = "drmaa_wct_hlimit"
"""What the standard calls an attribute of a template that a library need not have."""

ENDED = ("done", "failed")
UNDETERMINED = "undetermined"


class SessionError(Exception):
    """A failure of a kind of its own: a class of the library's, or `before` it was asked."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind, self.words = kind, words


def kind_of(error: BaseException) -> str:
    """Return what the library calls an error."""
    return type(error).__name__


class Session:
    """The one session of this process. drmaa: the loaded module.

    away: whether the cluster could not be reached, which the process before may have found.
    """

    def __init__(
        self,
        drmaa: Any,
        journal: Journal,
        contact: str = "",
        statuses: int = 200,
        away: bool = False,
    ) -> None:
        self._drmaa, self._journal = drmaa, journal
        self._contact, self._statuses = contact, statuses
        self._session: Any = None
        self._number = 0
        self._turn = 0
        self._without_usage = 0
        self.away = away
        self.remarks: list[str] = []

    def about(self) -> dict[str, str]:
        """Return what the library says of itself; no session is needed for it."""
        kind = self._drmaa.Session
        found: dict[str, str] = {}
        for name in ("drmsInfo", "drmaaImplementation", "version"):
            try:
                found[name] = str(getattr(kind, name))
            except Exception as error:  # noqa: BLE001 - what it cannot tell is not known
                found[name] = ""
                self.remarks.append(f"{name} is not told: {error}")
        return found

    # -- the session ------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin the session, the earlier one if there was one. Raises SessionError."""
        if self._session is not None:
            return
        session = self._drmaa.Session()
        earlier = self._journal.contact
        if earlier:
            try:
                session.initialize(earlier)
            except Exception as error:
                if self._is_away(error):
                    raise SessionError("before", str(error)) from error
                self.remarks.append(
                    f"the session {earlier!r} cannot be gone on with: {error}; a new one begins"
                )
                earlier = ""
        if not earlier:
            try:
                session.initialize(*([self._contact] if self._contact else []))
            except Exception as error:
                self._is_away(error)
                raise SessionError("before", str(error)) from error
        self._session = session
        for job in self._journal.jobs.values():
            job.attached, job.sure = bool(earlier), False
        self._journal.meet(str(session.contact or ""))

    def _is_away(self, error: Exception) -> bool:
        """Tell whether an error means that the cluster cannot be reached, and note it if so."""
        away = "Communication" in kind_of(error)
        self.away = self.away or away
        return away

    def _be_back(self) -> None:
        """Note that the cluster answers, and say what is to be expected of one that was away."""
        if not self.away:
            return
        self.away = False
        if self._journal.jobs and family_of(" ".join(self.about().values())).name == "sge":
            self.remarks.append(ENDS_HELD_BACK)

    def close(self) -> None:
        """End the session, once it has told what has ended; jobs live on."""
        if self._session is not None:
            self._reap()
            self._session.exit()

    # -- submitting -------------------------------------------------------------------------------

    def submit(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Submit a job, or an array; return its ids."""
        self.open()
        name, size = asked["name"], asked["size"]
        script = self._journal.write_script(name, asked["script"])
        now = time.time()
        template = self._session.createJobTemplate()
        try:
            self._fill(template, asked, script)
            if size is None:
                natives = [str(self._session.runJob(template))]
            else:
                found = self._session.runBulkJobs(template, 1, size, 1)
                natives = [str(native) for native in found]
        finally:
            self._session.deleteJobTemplate(template)
        if len(natives) != (size or 1):
            self._end_all(natives)
            raise SessionError(
                "DeniedByDrmException", f"of {size} tasks {len(natives)} were submitted"
            )
        keys = keys_of(natives, size is not None)
        limits = asked.get("time_s"), asked.get("memory_bytes")
        pairs = zip(keys, natives, strict=True)
        self._journal.take([Job(key, native, name, now, *limits) for key, native in pairs])
        return {"keys": keys[:1]}

    def _fill(self, template: Any, asked: dict[str, Any], script: str) -> None:
        template.jobName = asked["name"]
        template.remoteCommand, *args = asked["shell"]
        template.args = [*args, script]
        template.workingDirectory = asked["cwd"]
        template.outputPath = ":/dev/null"
        template.joinFiles = True
        if asked["native"]:
            template.nativeSpecification = asked["native"]
        limit_s = asked["limit_s"]
        if limit_s is not None and TIME_LIMIT in map(str, template.attributeNames):
            template.hardWallclockTimeLimit = limit_s

    def _end_all(self, natives: Iterable[str]) -> None:
        for native in natives:
            self._terminate(native)

    # -- looking ----------------------------------------------------------------------------------

    def poll(self, heard: int) -> dict[str, Any]:
        """Return all jobs, and those that have ended; answers up to `heard` were heard.

        It raises if the cluster gives no answer: then nothing is said of any job.
        """
        self.open()
        try:
            self._reap()
            self._check(self._doubtful())
            self._ask_states()
        except Exception as error:
            self._is_away(error)
            raise
        self._be_back()
        self._number += 1
        ended = self._journal.untold(heard, self._number)
        live = list(self._journal.jobs.values())
        return {"number": self._number, "jobs": [job.shown() for job in (*live, *ended)]}

    def _reap(self) -> None:
        """Take the ends that the session knows, one call each, and none for a job that runs."""
        anyone, at_once = self._drmaa.Session.JOB_IDS_SESSION_ANY, self._at_once
        for _ in range(MOST_REAPED):
            if not any(job.attached for job in self._journal.jobs.values()):
                return
            try:
                info = self._session.wait(anyone, at_once)
            except Exception as error:
                if kind_of(error) in (EXPIRED, UNKNOWN_JOB):
                    return
                if not NO_USAGE.match(str(error)):
                    raise
                self._without_usage += 1  # somebody's, but it does not say whose
                if self._without_usage > len(self._journal.jobs):
                    self._without_usage = 0
                    return
                continue
            job = self._journal.by_native.get(str(info.jobId))
            if job is not None:
                self._end(job, info)

    @property
    def _at_once(self) -> Any:
        return self._drmaa.Session.TIMEOUT_NO_WAIT

    def _doubtful(self) -> Iterator[Job]:
        """Return whom to wait for by name.

        The killed, those of an earlier process, and all if an end came without a name.
        """
        jobs = [job for job in self._journal.jobs.values() if job.attached]
        yield from [job for job in jobs if job.killed or not job.sure]
        if self._without_usage:
            yield from [job for job in jobs if job.sure and not job.killed]

    def _check(self, doubtful: Iterable[Job]) -> None:
        """Wait for jobs by name, for no time: nothing but that tells whose end had no usage."""
        for job in islice(doubtful, 0, 10 * self._statuses):
            try:
                info = self._session.wait(job.native, self._at_once)
            except Exception as error:
                kind = kind_of(error)
                if kind == EXPIRED:
                    job.sure = True
                    continue
                if kind == UNKNOWN_JOB:
                    self._unknown(job)
                elif NO_USAGE.match(str(error)):
                    self._journal.end(job, {"how": "vanished"})
                else:
                    raise
            else:
                self._end(job, info)

    def _unknown(self, job: Job) -> None:
        """Note that the session does not know a job any more, or never did."""
        if self._without_usage:
            self._without_usage -= 1
            self._journal.end(job, {"how": "vanished"})
        else:
            job.attached = False

    def _end(self, job: Job, info: Any) -> None:
        """Take in how a job ended, as the session tells it."""
        job.sure = False  # it is told once: should what is asked now fail, the next look asks anew
        how = how_of(info)
        unasked = how["how"] == "aborted" and not job.killed
        if unasked and (in_error(how["usage"]) or self._state(job) not in ("", "done")):
            how["how"] = "stuck"  # it may sit in the queue for ever
            self._terminate(job.native)
        self._journal.end(job, how)

    def _state(self, job: Job) -> str:
        """Return the library's word for where a job is, "" if the cluster does not know it."""
        try:
            return str(self._session.jobStatus(job.native))
        except Exception as error:
            if kind_of(error) == UNKNOWN_JOB:
                return ""
            raise

    def _ask_states(self) -> None:
        """Ask where some jobs are: one request each, so only for whom it may have changed.

        Tasks begin in their order: behind one that waits the others do, too.
        """
        behind: set[str] = set()
        wanted = [job for job in self._journal.jobs.values() if job.may_change]
        others = [job for job in self._journal.jobs.values() if not job.may_change]
        if others:
            self._turn += 1
            wanted.append(others[self._turn % len(others)])
        asked = 0
        start = self._turn if len(wanted) > self._statuses else 0
        for job in _in_turn(wanted, start):
            if asked >= self._statuses:
                self._turn += asked
                break
            if job.submission in behind:
                continue
            asked += 1
            state = self._state(job)
            self._note(job, state)
            if state in ("queued_active", "user_on_hold", "system_on_hold"):
                behind.add(job.submission)

    def _note(self, job: Job, state: str) -> None:
        if state in ("", UNDETERMINED):
            self._note_gone(job, GONE_S if state == "" else UNDETERMINED_S)
            return
        job.gone_since = None
        if state in ENDED and not job.attached:
            if state == "failed":
                self._terminate(job.native)
            self._journal.end(job, {"how": "gone", "word": state})
        elif state not in ENDED:
            if state == "running" and job.started is None:
                job.started = time.time()
            job.state = state

    def _note_gone(self, job: Job, patience_s: float) -> None:
        """End a job that the cluster does not know, once its session can have no end of it."""
        now = time.monotonic()
        job.gone_since = now if job.gone_since is None else job.gone_since
        unknown_here = not job.attached and patience_s == GONE_S
        if unknown_here or now - job.gone_since >= patience_s:
            self._journal.end(job, {"how": "gone"})

    # -- ending -----------------------------------------------------------------------------------

    def kill(self, keys: Sequence[str], bare: bool) -> dict[str, Any]:
        """Have jobs and whole submissions ended. bare: an array's number stands for all of it."""
        self.open()
        wanted: dict[str, list[Job]] = {}
        by_submission: dict[str, list[Job]] = {}
        for job in self._journal.jobs.values():
            by_submission.setdefault(job.submission, []).append(job)
        for key in keys:
            job_of = self._journal.jobs.get(key)
            wanted[key] = [job_of] if job_of is not None else by_submission.get(key, [])
        for key, jobs in wanted.items():
            for job in jobs:
                job.killed = True
            whole = bare and key.endswith(".") and len(jobs) > 1
            if not whole or not self._terminate(key[:-1]):
                self._end_all([job.native for job in jobs])
        return {"killed": sum(map(len, wanted.values()))}

    def kill_named(self, name: str, bare: bool) -> dict[str, Any]:
        """Have a submission ended that may have been accepted."""
        keys = {job.submission for job in self._journal.jobs.values() if job.name == name}
        return self.kill(sorted(keys), bare)

    def _terminate(self, native: str) -> bool:
        """Request the end of a job; return whether the cluster knew it."""
        try:
            self._session.control(native, self._drmaa.JobControlAction.TERMINATE)
        except Exception as error:
            if kind_of(error) == UNKNOWN_JOB:
                return False
            raise
        return True


def _in_turn(jobs: Sequence[Job], start: int) -> Iterator[Job]:
    for at in range(len(jobs)):
        yield jobs[(start + at) % len(jobs)]
