"""The tree on disk: SQLite, one commit per turn of the master's loop, bounded memory.

Owns tree.db; knows no rule of the tree and nothing of workers. Read next: rows.py.

What a turn changes is collected and written in one transaction; a job not looked at lately is
on disk only.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Any

from jobtree.core.job import Colour, Command, Job
from jobtree.mailbox.files import random_name, sync_directory
from jobtree.store import schema
from jobtree.store.database import check, connect, translated_errors
from jobtree.store.rows import (
    ADD_CLASS,
    ADD_RECORD,
    ADD_REFERENCES,
    DROP_UNUSED,
    INSERT,
    UPDATE,
    UPDATE_STACK,
    HistoryEntry,
    StoredIssue,
    bundles_of,
    encode,
    issue_of,
    issue_row,
    job_of,
    job_row,
    plain_row,
    storable,
)

JOBS_IN_MEMORY = 20_000
BIRTHS_IN_MEMORY = 1_000

ID_BYTES = 6
"""Random bytes of a tree's id."""


class Store:
    """An open tree. Changes become durable at commit(), all of them or none."""

    def __init__(self, path: str) -> None:
        """Open an existing database; see create().

        Raises StoreError: JT310 damaged, JT311 of a newer version, JT312 cannot be written.
        """
        self.path = path
        with translated_errors(path):
            self._db = connect(path)
            check(self._db, path)
            self._load()

    @staticmethod
    def create(path: str, root: Job, meta: dict[str, Any]) -> Store:
        """Make a tree of one job. Nothing may be at `path` yet, and a failure leaves nothing."""
        draft = f"{path}~new"
        for leftover in (draft, f"{draft}-wal"):
            if os.path.exists(leftover):
                os.unlink(leftover)
        with translated_errors(path):
            db = connect(draft)
            db.executescript(f"begin;{schema.TABLES}")
            rows = [(k, storable(v) if isinstance(v, str) else v) for k, v in meta.items()]
            db.executemany("insert into meta values (?, ?)", rows)
            db.execute("insert into meta values ('done', 0)")
            db.execute(INSERT, job_row(root))
            for name in bundles_of(root.stack):
                db.execute(ADD_REFERENCES, (name, 1))
            db.execute(f"pragma application_id = {schema.APPLICATION_ID}")
            db.execute(f"pragma user_version = {schema.VERSION}")
            db.execute("commit")
            db.execute("pragma wal_checkpoint(truncate)")
            db.close()
        os.rename(draft, path)
        sync_directory(os.path.dirname(path))
        return Store(path)

    def _load(self) -> None:
        self._cache: OrderedDict[int, Job] = OrderedDict()
        self._dirty: dict[int, Job] = {}
        self._new: dict[int, Job] = {}
        self._removed: set[int] = set()
        self._restacked: set[int] = set()
        self._history: list[HistoryEntry] = []
        self._classes: dict[str, tuple[int, float]] = {}
        self._references: dict[str, int] = {}
        self._open = False
        self.unused_bundles: list[str] = []
        one = self._db.execute
        self._next_id = one("select coalesce(max(id), 0) from jobs").fetchone()[0] + 1
        self._next_id = max(self._next_id, self.meta("next_id", 1))
        self.done: int = self.meta("done", 0)
        self.counts = dict.fromkeys(Colour, 0)
        for colour, count in one("select colour, count(*) from jobs group by colour"):
            self.counts[Colour(colour)] = count

    # Jobs.

    def get(self, job_id: int) -> Job | None:
        """Return a job, or None if it is finished and gone."""
        job = self._dirty.get(job_id) or self._new.get(job_id) or self._cache.get(job_id)
        if job is None and job_id not in self._removed:
            with translated_errors(self.path):
                row = self._db.execute("select * from jobs where id = ?", (job_id,)).fetchone()
            job = None if row is None else job_of(row)
            if job is not None:
                self._keep(job)
        return job

    def put(self, old: Job, new: Job) -> None:
        """Replace a job by its next state; a DEAD one is removed."""
        self.counts[old.colour] -= 1
        if new.stack is not old.stack:
            self._restacked.add(new.id)
            self._count_references(old.stack, new.stack)
        if new.colour == Colour.DEAD:
            self.done += 1
            for where in (self._dirty, self._new, self._cache):
                where.pop(new.id, None)
            self._removed.add(new.id)
            return
        self.counts[new.colour] += 1
        if new.id in self._new:
            self._new[new.id] = new
        else:
            self._dirty[new.id] = new

    def new_ids(self, count: int) -> range:
        """Return ids never used before in this tree."""
        first = self._next_id
        self._next_id += count
        return range(first, first + count)

    def add(self, jobs: Iterable[Job]) -> list[Job]:
        """Add newborn white jobs, however many; return the first BIRTHS_IN_MEMORY of them."""
        jobs = iter(jobs)
        first = list(islice(jobs, BIRTHS_IN_MEMORY))
        for job in first:
            self._new[job.id] = job
            self._born(job)
        if len(first) == BIRTHS_IN_MEMORY:
            with translated_errors(self.path):
                self._begin()
                self._db.executemany(INSERT, (job_row(self._born(job)) for job in jobs))
        return first

    def white_jobs(self, after: int, limit: int) -> list[Job]:
        """Return ready jobs with ids above `after`, lowest first, as last committed."""
        rows = self.query(
            "select * from jobs where colour = 0 and id > ? order by id limit ?", after, limit
        )
        return [job for row in rows if (job := self._known(row)) is not None]

    def _known(self, row: tuple[Any, ...]) -> Job | None:
        """Return the job of a row as it is now; the row may be behind what is not committed."""
        if row[0] in self._removed:
            return None
        job = self._dirty.get(row[0]) or self._new.get(row[0]) or self._cache.get(row[0])
        if job is None:
            job = job_of(row)
            self._keep(job)
        return job

    def refill(self, retries: int, rescues: int) -> None:
        """Set every unfinished job's budgets, and make failed ones ready again. At start only."""
        with translated_errors(self.path):
            self._begin()
            self._db.execute(
                "update jobs set retries = ?1, rescues = ?2 where (retries, rescues) <> (?1, ?2)",
                (retries, rescues),
            )
            self._db.execute(
                "update jobs set colour = ? where colour = ?", (Colour.WHITE, Colour.RED)
            )
        self.counts[Colour.WHITE] += self.counts[Colour.RED]
        self.counts[Colour.RED] = 0
        self._cache.clear()
        self.commit()

    # Issues, moves, history.

    def issues(self) -> list[StoredIssue]:
        """Return every issue not yet tidied away."""
        return [issue_of(row) for row in self.query("select * from issues")]

    def put_issues(self, issues: Iterable[StoredIssue]) -> None:
        """Add issues, or replace what was kept of them."""
        with translated_errors(self.path):
            self._begin()
            self._db.executemany(
                "insert or replace into issues values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(issue_row, issues),
            )

    def renew_issue(self, issue: StoredIssue) -> None:
        """Replace what was kept of an issue, but for its pack and what it was granted."""
        known = issue.state, issue.native, issue.killed_for, issue.submission, issue.task
        self._write(
            """update issues set state = ?, native = ?, killed_for = ?
            where submission = ? and task = ?""",
            *known,
        )

    def remove_issue(self, submission: str, task: int) -> None:
        """Forget an issue."""
        self._write("delete from issues where submission = ? and task = ?", submission, task)

    def put_move(self, job: int, attempt: int, issue: str, line: str) -> None:
        """Record that a job waits for its outputs to be moved; `line` is its Done line."""
        self._write("insert or replace into moves values (?, ?, ?, ?)", job, attempt, issue, line)

    def remove_move(self, job: int) -> None:
        """Forget a move that was made, or that failed."""
        self._write("delete from moves where job = ?", job)

    def moves(self) -> list[tuple[int, int, str, str]]:
        """Return the (job, attempt, issue, line) of every move not known to be made."""
        return self.query("select job, attempt, issue, line from moves")

    def record(self, record: HistoryEntry) -> None:
        """Add a row to a job's history."""
        if not (record.label + (record.why or "") + (record.detail or "")).isascii():
            label, why, detail = map(storable, (record.label, record.why, record.detail))
            record = record._replace(label=label or "", why=why, detail=detail)
        self._history.append(record)
        if record.event == "done":
            done, wall_s = self._classes.get(record.label, (0, 0.0))
            self._classes[record.label] = done + 1, wall_s + (record.wall_s or 0.0)

    def classes(self) -> list[tuple[str, int, float]]:
        """Return the label, number and mean wall time of all steps done, as last committed."""
        return self.query("select label, done, wall_s / done from classes")

    def history(self, job: int) -> list[HistoryEntry]:
        """Return what happened to a job, oldest first, as last committed."""
        rows = self.query("select * from history where job = ? order by seq", job)
        return [HistoryEntry(*row[1:]) for row in rows]

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of a reading query."""
        with translated_errors(self.path):
            return self._db.execute(sql, arguments).fetchall()

    def needs_bundle(self, name: str) -> bool:
        """Tell whether an unfinished job needs a bundle, as last committed."""
        return bool(self.query("select 1 from bundles where name = ?", name))

    def bundles(self) -> set[str]:
        """Return the bundles that unfinished jobs need, as last committed."""
        return {name for (name,) in self.query("select name from bundles")}

    # Meta and transactions.

    def meta(self, key: str, default: Any = None) -> Any:
        """Return what was recorded under a key."""
        rows = self.query("select value from meta where key = ?", key)
        return rows[0][0] if rows else default

    def put_meta(self, key: str, value: str | float) -> None:
        """Record a value under a key."""
        self._write("insert or replace into meta values (?, ?)", key, value)

    def identity(self) -> str:
        """Return the tree's random id; one that has none yet gets it with the next commit."""
        known: str = self.meta("id", "")
        return known or self._new_identity()

    def record_place(self, place: str) -> None:
        """Note where the tree is. A copy made elsewhere of a tree gets an id of its own."""
        before = self.meta("place", "")
        if before != place:
            self.put_meta("place", place)
            if before:
                self._new_identity()

    def _new_identity(self) -> str:
        made = random_name(ID_BYTES)
        self.put_meta("id", made)
        return made

    def commit(self) -> None:
        """Make all changes since the last commit durable, in one transaction."""
        if not (self._open or self._dirty or self._new or self._removed or self._history):
            return
        with translated_errors(self.path):
            self._begin()
            many = self._db.executemany
            many(INSERT, map(job_row, self._new.values()))
            many(UPDATE, ((*plain_row(job)[1:], job.id) for job in self._dirty.values()))
            restacked = [job for job in self._dirty.values() if job.id in self._restacked]
            many(UPDATE_STACK, ((encode(job.stack), job.id) for job in restacked))
            many("delete from jobs where id = ?", ((job,) for job in self._removed))
            many(ADD_RECORD, ((None, *record) for record in self._history))
            many(ADD_CLASS, ((label, *of) for label, of in self._classes.items()))
            self._flush_references()
            self._db.execute("insert or replace into meta values ('done', ?)", (self.done,))
            self._db.execute("insert or replace into meta values ('next_id', ?)", (self._next_id,))
            self._db.execute("commit")
        for job in (*self._dirty.values(), *self._new.values()):
            self._keep(job)
        self._dirty.clear()
        self._new.clear()
        self._removed.clear()
        self._restacked.clear()
        self._history.clear()
        self._classes.clear()
        self._open = False

    def close(self) -> None:
        """Close without committing."""
        self._db.close()

    def _write(self, sql: str, *arguments: object) -> None:
        with translated_errors(self.path):
            self._begin()
            self._db.execute(sql, arguments)

    def _begin(self) -> None:
        if not self._open:
            self._db.execute("begin immediate")
            self._open = True

    def _keep(self, job: Job) -> None:
        self._cache[job.id] = job
        self._cache.move_to_end(job.id)
        while len(self._cache) > JOBS_IN_MEMORY:
            self._cache.popitem(last=False)

    def _born(self, job: Job) -> Job:
        self.counts[job.colour] += 1
        self._refer(job.stack, 1)
        return job

    def _count_references(self, old: tuple[Command, ...], new: tuple[Command, ...]) -> None:
        kept = 0
        while kept < min(len(old), len(new)) and old[kept] is new[kept]:
            kept += 1
        self._refer(old[kept:], -1)
        self._refer(new[kept:], 1)

    def _refer(self, stack: Iterable[Command], change: int) -> None:
        references = self._references
        for command in stack:
            if command.pickle is not None:
                name = command.pickle.bundle
                references[name] = references.get(name, 0) + change

    def _flush_references(self) -> None:
        # a change of 0 too: a bundle used up in the commit that saw it first must go as well
        changed = list(self._references.items())
        self._references.clear()
        self._db.executemany(ADD_REFERENCES, changed)
        for name, change in changed:
            if change <= 0 and self._db.execute(DROP_UNUSED, (name,)).rowcount:
                self.unused_bundles.append(name)
