"""Making a tree, continuing one, and running it to its end.

Owns the first state of a tree, and putting a master together; decides nothing about jobs.
Read next: store/open_tree.py, master/loop.py.
"""

import json
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

from batchsystems import registry, signals
from batchsystems.clock import MachineClock
from batchsystems.interface import BatchSystem, Caller
from batchsystems.site import Site
from batchsystems.sitefiles import load_site
from jobtree import options
from jobtree.core import job_states
from jobtree.core.job import Command
from jobtree.errors import StoreError, UsageError, explain_uncaught
from jobtree.mailbox import layout
from jobtree.mailbox.bundles import BundleWriter
from jobtree.mailbox.files import random_name, write_file
from jobtree.mailbox.master_side import Mailbox
from jobtree.master.loop import Master
from jobtree.master.run_state import RunState
from jobtree.payload import environment
from jobtree.payload.jobfile import JOB_FILE, protocol_command, speaks_protocol
from jobtree.payload.serialize import target_command
from jobtree.report.progress import logging_to, watching
from jobtree.report.snapshot import read_status
from jobtree.store import lease
from jobtree.store.directory import check_tree, is_tree, new_tree, require_tree
from jobtree.store.open_tree import open_tree
from jobtree.store.store import ID_BYTES, Store
from jobtree.target import Target

log = logging.getLogger("jobtree")

FORMAT = 1


class RunOutcome(NamedTuple):
    """How a run ended."""

    remaining: int
    """jobs not done"""
    left: bool
    """it was told to leave before the end"""


def run_target(target: Target, given: object) -> RunOutcome:
    """Run a tree whose root is a Target: a new one, or the one --jobTree already has.

    Raises ReportableError for whatever the user can mend.
    """
    explain_uncaught()
    directory = _directory(given)
    if is_tree(directory):
        return _continue(directory, given, environment.capture())
    return _start(directory, given, lambda bundle: target_command(target, bundle))


def run_command(text: str, given: object) -> RunOutcome:
    """Run a new tree whose root is a command of the JOB_FILE protocol.

    Raises ReportableError for whatever the user can mend.
    """
    if not speaks_protocol(text):
        raise UsageError(
            f"the command does not contain the word {JOB_FILE}",
            code="JT113",
            where=text,
            fix=f"put {JOB_FILE} where the command expects the path of the file through which it "
            f"adds jobs\nif it adds none:  --command {shlex.quote(f'{text}  # {JOB_FILE}')}",
        )
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


def restart(directory: str, given: object) -> RunOutcome:
    """Take up a tree where it stands; options given now win over those of before."""
    directory = os.path.abspath(directory)
    require_tree(directory)
    return _continue(directory, given, None)


def _directory(given: object) -> str:
    directory: str = options.given(given).get("jobTree", "")
    if not directory:
        raise UsageError(
            "no directory for the job tree was given",
            code="JT103",
            fix="add --jobTree DIR, on a file system that all nodes share",
        )
    return os.path.abspath(os.path.expanduser(directory))


def _start(directory: str, given: object, root: Callable[[BundleWriter], Command]) -> RunOutcome:
    """Make the tree, all of it or nothing, and run it."""
    settings, saved, _ = _settle(given)
    with new_tree(directory) as draft:
        _fill(draft, settings, saved, root)
    return _continue(directory, given, None, fresh=True)


def _fill(
    draft: str, settings: options.Settings, saved: str, root: Callable[[BundleWriter], Command]
) -> None:
    """Write what a tree consists of at first: environment, root, database and marker."""
    digest = environment.save(draft, environment.capture())
    bundle = BundleWriter(draft, "root")
    command = root(bundle)
    bundle.sync()
    bundle.close()
    budgets = job_states.Budgets(settings.retries, settings.rescues)
    identity = random_name(ID_BYTES)
    meta = {
        "id": identity,
        "options": saved,
        "root_label": command.label,
        "started": time.time(),
        "environment": digest,
    }
    first = job_states.first_job(1, 0, command, budgets)
    Store.create(f"{draft}/{layout.DATABASE}", first, meta).close()
    marker = {"format": FORMAT, "id": identity}
    write_file(f"{draft}/{layout.MARKER}", json.dumps(marker).encode() + b"\n")


@signals.expected()
def _continue(
    directory: str, given: object, surroundings: environment.Environment | None, fresh: bool = False
) -> RunOutcome:
    check_tree(directory)
    chosen = options.given(given)
    with _explained_files(directory), open_tree(directory) as (held, store):
        settings, saved, site = _settle(given, store.meta("options"))
        store.put_meta("options", saved)
        store.put_meta("site", json.dumps({"files": site.files, "digest": site.digest}))
        if surroundings is None and not environment.recorded(directory, _digests(store)):
            surroundings = _environment_anew(directory, store)
        if surroundings is not None:
            _change_environment(directory, store, surroundings)
        environment.keep_setup(directory, _digests(store))
        if not fresh:
            store.refill(settings.retries, settings.rescues)
        with logging_to(settings.log_level, chosen.get("logFile", "")):
            if site.files:
                log.info("site: %s (%.12s)", ", ".join(site.files), site.digest)
            outcome = _run(directory, held, store, settings, site, fresh)
        if not store.issues():
            environment.drop_earlier(directory)
        return outcome


def _digests(store: Store) -> str:
    said: str = store.meta("environment", "")
    return said


def _environment_anew(directory: str, store: Store) -> environment.Environment | None:
    """Return the environment to go on in if the saved one is damaged, as by a loss of power.

    That of this process will do for commands. Targets need the script, whose whereabouts are lost:
    raises StoreError JT332.
    """
    if not _digests(store):  # of a version that kept none on record
        return None
    if store.bundles():
        environment.require(directory, _digests(store))
    print(  # noqa: T201
        f"{directory}/{layout.ENVIRONMENT} is damaged: from now on steps run in the environment "
        f"and directory of this process, {os.getcwd()}",
        file=sys.stderr,
    )
    return environment.capture()


def _change_environment(directory: str, store: Store, new: environment.Environment) -> None:
    """Replace the saved environment; its digest is on record before the file is there."""
    known = [environment.recorded(directory, _digests(store)), new.digest()]
    store.put_meta("environment", " ".join(known).strip())
    store.commit()
    if known[0] not in ("", new.digest()):
        environment.keep_earlier(directory, known[0])
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


def _load_systems(
    directory: str, settings: options.Settings, site: Site, store: Store
) -> dict[str, BatchSystem]:
    """Return the adapter chosen, and those that issues of an earlier master are still with."""
    names = {entry.batch_system for entry in store.issues()} | {settings.batch_system}
    most = None if settings.max_cpus == options.UNLIMITED else settings.max_cpus
    return {
        name: registry.load_for(name, site, Caller(f"{directory}/{layout.BATCH}/{name}", most))
        for name in names
    }


def _let_go(system: BatchSystem) -> None:
    """Close a batch system: what it has lives on, what it was only to get is issued again later.

    A master that leaves submits nothing more: the tree may be another's by now.
    """
    system.withdraw()
    system.close()


def _settle(given: object, saved: str | None = None) -> tuple[options.Settings, str, Site]:
    """Return the options in force, the batch system by its one name, what to save, and the site.

    Raises SiteError if a site file is wrong, or locks what is given.
    """
    given_now = options.given(given)
    site = load_site(options.site_named(given_now, saved))
    settings, to_save = options.settings_in_force(given_now, saved, site)
    name = registry.canonical(settings.batch_system)
    return settings._replace(batch_system=name), to_save, site


def _run(
    directory: str,
    held: lease.Lease,
    store: Store,
    settings: options.Settings,
    site: Site,
    fresh: bool,
) -> RunOutcome:
    with (
        _live(directory, held, store, settings, site) as run,
        watching(run, fresh, held.is_ours) as watcher,
        closing(Master(run, held, watcher.turn)) as master,
        # at the first interrupt it leaves, at the second it kills all
        ended_by_signals(lambda number: master.interrupt(may_kill=number == signal.SIGINT)),
    ):
        remaining = master.run()
        return RunOutcome(remaining, master.leaving)


@contextmanager
def _live(
    directory: str, held: lease.Lease, store: Store, settings: options.Settings, site: Site
) -> Iterator[RunState]:
    """Put together what a master works on, and let go of all it holds at the end."""
    with ExitStack() as held_open:
        systems = _load_systems(directory, settings, site, store)
        for system in systems.values():
            held_open.callback(_let_go, system)
        here = registry.is_here(settings.batch_system)
        bell_host = "127.0.0.1" if here else os.uname().nodename
        mailbox = held_open.enter_context(closing(Mailbox(directory, bell_host, here)))
        store.record_place(str(os.stat(directory).st_ino))  # that of a copy is another
        run = RunState(directory, store, mailbox, settings, held.epoch, MachineClock(), systems)
        yield run


@contextmanager
def ended_by_signals(end: Callable[[int], None]) -> Iterator[None]:
    """Have requests to end this process call `end`; what nohup ignores stays ignored.

    Ctrl-C, too, where a shell has its background jobs ignore it.
    """

    def handler(number: int, _frame: object) -> None:
        end(number)

    siblings = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        siblings.add(signal.SIGHUP)
    try:
        before = {kind: signal.signal(kind, handler) for kind in siblings}
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield
        return
    try:
        yield
    finally:
        for kind, earlier in before.items():
            signal.signal(kind, earlier)


@signals.expected()
def kill_left(
    directory: str, site_file: str | None = None, watch: lease.Watch | None = None
) -> list[str]:
    """End the batch jobs of a tree no master holds; return those not confirmed to have ended.

    watch: of the holder until now. Raises StoreError JT302 if a master holds it.
    """
    require_tree(directory)
    with open_tree(directory, watch=watch) as (held, store):
        given = options.default_options()
        given.site = site_file
        settings, _, site = _settle(given, store.meta("options"))
        with (
            _live(directory, held, store, settings, site) as run,
            closing(Master(run, held)) as master,
        ):
            master.recover()
            return master.kill_everything("the user's kill")


def _where_it_stands(directory: str) -> str:
    said = read_status(directory)
    return "" if said is None else f"{said['done']} jobs done, {said['remaining']} not"
