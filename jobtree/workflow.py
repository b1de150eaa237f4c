"""Workflows: making a tree, taking it up again, and running it to its end.

Owns the directory's making and checking, and the wiring of a master; decides nothing about
jobs. Read next: master.py.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, NamedTuple

from batchsystems import registry
from batchsystems.interface import BatchSystem, Caller
from batchsystems.site import Site
from batchsystems.sitefiles import load_site
from jobtree import environment, lease, options, tree
from jobtree.database import copy_database
from jobtree.errors import StoreError, UsageError, explain_uncaught
from jobtree.handover import target_command
from jobtree.job import Colour, Command
from jobtree.jobfile import protocol_command
from jobtree.live import Live
from jobtree.mailbox import layout
from jobtree.mailbox.bundles import BundleWriter
from jobtree.mailbox.files import check_private, random_name, refuse_link, write_file
from jobtree.mailbox.office import Mailbox
from jobtree.master import MachineClock, Master, Unwatched
from jobtree.report.progress import logging_to, watching
from jobtree.store import Store
from jobtree.target import Target

log = logging.getLogger("jobtree")

FORMAT = 1


class Outcome(NamedTuple):
    """How a run ended. remaining: jobs not done; left: it was told to leave before the end."""

    remaining: int
    failed: int
    left: bool


def run_target(target: Target, given: object) -> Outcome:
    """Run a tree whose root is a Target: a new one, or the one --jobTree already has.

    Raises ReportableError for whatever the user can mend.
    """
    explain_uncaught()
    directory = _directory(given)
    if is_tree(directory):
        return _continue(directory, given, environment.capture())
    return _start(directory, given, lambda bundle: target_command(target, bundle))


def run_command(text: str, given: object) -> Outcome:
    """Run a new tree whose root is a command of the JOB_FILE protocol."""
    directory = _directory(given)
    if is_tree(directory):
        raise StoreError(
            f"job tree {directory} already exists",
            code="JT301",
            where=_where_it_stands(directory),
            fix=f"continue it:   jobtree restart {directory}\n"
            f"start afresh:  jobtree clean {directory}   or use another name",
        )
    return _start(directory, given, lambda _: protocol_command(text))


def restart(directory: str, given: object) -> Outcome:
    """Take up a tree where it stands; options given now win over those of before."""
    directory = os.path.abspath(directory)
    require_tree(directory)
    return _continue(directory, given, None)


def is_tree(directory: str) -> bool:
    """Tell whether a directory is a job tree, by its marker."""
    return os.path.isfile(f"{directory}/{layout.MARKER}")


def require_tree(directory: str) -> None:
    """Refuse what is no job tree, or may have been altered by others. Raises StoreError."""
    if not is_tree(directory):
        raise StoreError(
            f"{directory} is not a job tree",
            code="JT305",
            where=f"it has no {layout.MARKER}",
            fix="give the directory that --jobTree named",
        )
    check_tree(directory)


def check_tree(directory: str) -> None:
    """Refuse a tree that, in whole or in part, is a symlink, another user's, or open to others.

    Raises StoreError JT330, JT312.
    """
    check_parent(directory)
    found = os.lstat(directory)
    if stat.S_ISLNK(found.st_mode):
        raise StoreError(f"{directory} is a symbolic link", code="JT330", fix="give the directory")
    check_private(found, directory)
    for name in os.listdir(directory):
        if name in layout.TRUSTED or name.partition(".")[0] == "tree":
            found = os.lstat(f"{directory}/{name}")
            if stat.S_ISLNK(found.st_mode):
                raise refuse_link(f"{directory}/{name}")
            check_private(found, f"{directory}/{name}")
    if not os.access(directory, os.W_OK):
        raise StoreError(
            f"job tree {directory} cannot be written",
            code="JT312",
            why="all that was committed is safe",
            fix="make the directory writable by you, then restart the tree",
        )


def check_parent(directory: str) -> None:
    """Refuse a place where anybody may put another directory under the tree's name.

    A group that may write there is trusted: shared project directories are so. JT330.
    """
    parent = os.path.dirname(directory)
    mode = os.stat(parent).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise StoreError(
            f"every user may write in {parent} (mode {stat.S_IMODE(mode):04o})",
            code="JT330",
            why="others could put a tree of theirs in the place of yours, and it would be run",
            fix=f"use a directory of your own, or:  chmod o-w {parent}",
        )


def _directory(given: object) -> str:
    directory: str = options.given(given).get("jobTree", "")
    if not directory:
        raise UsageError(
            "no directory for the job tree was given",
            code="JT103",
            fix="add --jobTree DIR, on a file system that all nodes share",
        )
    return os.path.abspath(os.path.expanduser(directory))


def _start(directory: str, given: object, root: Callable[[BundleWriter], Command]) -> Outcome:
    """Make the tree, all of it or nothing, and run it."""
    settings, saved, _ = _settle(given)
    if os.path.lexists(directory) and (not os.path.isdir(directory) or os.listdir(directory)):
        raise StoreError(
            f"{directory} exists and is not a job tree",
            code="JT306",
            fix="give a new directory with --jobTree, or an empty one",
        )
    draft = f"{_drafts(directory)}{os.getpid()}-{lease.process_start(os.getpid())}"
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        check_parent(directory)
        _drop_abandoned(directory)
        os.mkdir(draft, 0o700)
        for name in layout.SUBDIRECTORIES:
            os.mkdir(f"{draft}/{name}", 0o700)
        digest = environment.save(draft, environment.capture())
        bundle = BundleWriter(draft, "root")
        command = root(bundle)
        bundle.sync()
        bundle.close()
        budgets = tree.Budgets(settings.retries, settings.rescues)
        meta = {
            "options": saved,
            "root_label": command.label,
            "started": time.time(),
            "environment": digest,
        }
        Store.create(
            f"{draft}/{layout.DATABASE}", tree.first_job(1, 0, command, budgets), meta
        ).close()
        marker = {"format": FORMAT, "id": random_name(6)}
        write_file(f"{draft}/{layout.MARKER}", json.dumps(marker).encode() + b"\n")
        if os.path.isdir(directory):
            os.rmdir(directory)
        os.rename(draft, directory)
    except OSError as error:
        _drop(draft)
        raise StoreError(
            f"job tree {directory} cannot be made: {error.strerror}",
            code="JT307",
            where=str(error.filename or directory),
            fix="give a directory you can write, with space left, with --jobTree",
        ) from error
    except BaseException:
        _drop(draft)
        raise
    return _continue(directory, given, None, fresh=True)


def _drafts(directory: str) -> str:
    """Return how the names of trees begin that are being made on this host for `directory`."""
    return f"{directory}~{os.uname().nodename}."


def _drop_abandoned(directory: str) -> None:
    """Remove what masters of this host left that died while they made the tree."""
    beginning = _drafts(directory)
    for name in os.listdir(os.path.dirname(directory)):
        path = os.path.join(os.path.dirname(directory), name)
        pid, _, started = path.removeprefix(beginning).partition("-")
        if not (path.startswith(beginning) and pid.isdecimal() and started.isdecimal()):
            continue
        if lease.process_start(int(pid)) != int(started) and os.access(path, os.W_OK):
            _drop(path)


def _drop(draft: str) -> None:
    import shutil

    shutil.rmtree(draft, ignore_errors=True)


def _continue(
    directory: str, given: object, surroundings: environment.Environment | None, fresh: bool = False
) -> Outcome:
    check_tree(directory)
    chosen = options.given(given)
    with _explained_files(directory), opened(directory) as (held, store):
        settings, saved, site = _settle(given, store.meta("options"))
        store.put_meta("options", saved)
        store.put_meta("site", json.dumps({"files": site.files, "digest": site.digest}))
        if surroundings is not None:
            _change_environment(directory, store, surroundings)
        if not fresh:
            store.refill(settings.retries, settings.rescues)
        with logging_to(settings.log_level, chosen.get("logFile", "")):
            if site.files:
                log.info("site: %s (%.12s)", ", ".join(site.files), site.digest)
            return _run(directory, held, store, settings, site, fresh)


def _change_environment(directory: str, store: Store, new: environment.Environment) -> None:
    """Replace the saved environment; its digest is on record before the file is there."""
    known = [environment.recorded(directory, store.meta("environment", "")), new.digest()]
    store.put_meta("environment", " ".join(known).strip())
    store.commit()
    environment.save(directory, new)


@contextmanager
def _explained_files(directory: str) -> Iterator[None]:
    """Turn what the file system refuses into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the file system fails under the job tree: {error.strerror or error}",
            code="JT318",
            where=str(error.filename or directory),
            why="all that was committed is safe; jobs that run go on",
            fix=f"mend it (space, quota, the server), then:  jobtree restart {directory}",
        ) from error


@contextmanager
def opened(directory: str, looks: bool = False) -> Iterator[tuple[lease.Lease, Store]]:
    """Hold the lease of a tree and its open store; let go of both at the end.

    looks: only for a moment, to answer a question; others then wait instead of being refused.
    Raises StoreError JT302 if another master holds it.
    """
    held, _ = lease.take(directory, looks, notice=lambda text: print(text, file=sys.stderr))  # noqa: T201
    try:
        name = held.holder.database
        if held.holder.copying:
            renamed = f"tree.{held.epoch}.db"
            copy_database(f"{directory}/{name}", f"{directory}/{renamed}")
            held.record_database(renamed)
            name = renamed
        store = Store(f"{directory}/{name}")
    except BaseException:
        held.release()
        raise
    try:
        yield held, store
    finally:
        store.close()
        held.release()


def load_systems(
    directory: str, settings: options.Settings, site: Site, store: Store
) -> dict[str, BatchSystem]:
    """Return the adapter chosen, and those that issues of an earlier master are still with."""
    names = {entry.batch_system for entry in store.issues()} | {settings.batch_system}
    most = None if settings.max_cpus == options.UNLIMITED else settings.max_cpus
    return {
        name: registry.load_for(name, site, Caller(f"{directory}/{layout.BATCH}/{name}", most))
        for name in names
    }


def _settle(given: object, saved: str | None = None) -> tuple[options.Settings, str, Site]:
    """Return the options in force, the batch system by its one name, what to save, and the site.

    Raises SiteError if a site file is wrong, or locks what is given.
    """
    given_now = options.given(given)
    site = load_site(options.site_named(given_now, saved))
    settings, to_save = options.settle(given_now, saved, site)
    name = registry.canonical(settings.batch_system)
    return settings._replace(batch_system=name), to_save, site


def _run(
    directory: str,
    held: lease.Lease,
    store: Store,
    settings: options.Settings,
    site: Site,
    fresh: bool,
) -> Outcome:
    with (
        _live(directory, held, store, settings, site) as live,
        watching(live, fresh) as watcher,
        closing(Master(live, held, watcher)) as master,
        _signals(master),
    ):
        remaining = master.run()
        return Outcome(remaining, store.counts[Colour.RED], master.leaving)


@contextmanager
def _live(
    directory: str, held: lease.Lease, store: Store, settings: options.Settings, site: Site
) -> Iterator[Live]:
    """Put together what a master works on, and let go of all it holds at the end."""
    with ExitStack() as held_open:
        systems = load_systems(directory, settings, site, store)
        for system in systems.values():
            held_open.callback(system.close)
        here = registry.is_here(settings.batch_system)
        bell_host = "127.0.0.1" if here else os.uname().nodename
        mailbox = held_open.enter_context(closing(Mailbox(directory, bell_host, here)))
        live = Live(directory, store, mailbox, settings, held.epoch, MachineClock(), systems)
        yield live


@contextmanager
def _signals(master: Master) -> Iterator[None]:
    """Leave at the first interrupt, kill all at the second."""

    def interrupted(number: int, _frame: object) -> None:
        master.interrupt(may_kill=number == signal.SIGINT)

    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        before = {kind: signal.signal(kind, interrupted) for kind in kinds}
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield
        return
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def kill_left(directory: str, site_file: str | None = None) -> list[str]:
    """End the batch jobs of a tree no master holds; return those not confirmed to have ended."""
    require_tree(directory)
    with opened(directory) as (held, store):
        given = options.default_options()
        given.site = site_file
        settings, _, site = _settle(given, store.meta("options"))
        with (
            _live(directory, held, store, settings, site) as live,
            closing(Master(live, held, Unwatched())) as master,
        ):
            master.recover()
            return master.kill_everything("the user's kill")


def _where_it_stands(directory: str) -> str:
    try:
        with open(f"{directory}/{layout.STATUS}") as file:
            said: dict[str, Any] = json.load(file)
        return f"{said['done']} jobs done, {said['remaining']} not"
    except (OSError, ValueError, KeyError):
        return ""
