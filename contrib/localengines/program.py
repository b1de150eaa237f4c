"""The program that users call: up, down, status, env, install, fault.

Owns what every engine's program does and prints alike; must not know any scheduler.
Read next: main.py of localcluster or localcell, which fills in the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from localengines import faults, processes
from localengines.daemons import Engine, user_name
from localengines.failure import Failure
from localengines.faults import Verb
from localengines.files import LOCK, locked
from localengines.place import make_directory

Kind = TypeVar("Kind", bound=Engine)

NOT_UP = 3
"""status's exit status for a cluster that does not run, or not all of it."""


class Program(ABC, Generic[Kind]):
    """One engine's program.

    name: what users call. engine: the batch system. noun: what one of them is called. variable:
    set by `env`, it tells later calls which one is meant. faults: what can be done to it.
    """

    name: ClassVar[str]
    engine: ClassVar[str]
    noun: ClassVar[str]
    variable: ClassVar[str]
    description: ClassVar[str]
    epilog: ClassVar[str]
    targets: ClassVar[str]
    faults: Mapping[str, Verb[Kind]]

    # ---- what each engine does in its own way ------------------------------------------------

    @abstractmethod
    def load(self, top: Path) -> Kind | None:
        """Return what is in a directory; None if it is nothing, Failure if it is damaged."""

    @abstractmethod
    def new(self, top: Path, options: argparse.Namespace) -> AbstractContextManager[Kind]:
        """Return a new one, not yet created, whose ports are kept while it starts."""

    @abstractmethod
    def add_up_options(self, up: argparse.ArgumentParser) -> None:
        """Add the engine's own options of `up`."""

    @abstractmethod
    def missing(self) -> list[str]:
        """Return the programs without which it cannot start."""

    @abstractmethod
    def install(self) -> bool:
        """Install what is missing; return whether anything was."""

    @abstractmethod
    def exports(self, engine: Kind) -> Mapping[str, str]:
        """Return the variables that lead clients to it."""

    @abstractmethod
    def status(self, engine: Kind) -> tuple[bool, dict[str, Any], str]:
        """Return whether all of it is well, what it is for programs, and the same for people."""

    # ---- the verbs ---------------------------------------------------------------------------

    def main(self) -> int:
        """Do what the command line says; return the exit status."""
        os.umask(0o022)
        options = self.parser().parse_args()
        verbs = {
            "up": self._up,
            "down": self._down,
            "status": self._status,
            "env": self._env,
            "install": self._install,
            "fault": self._fault,
            "watch": self._watch,
        }
        try:
            return verbs[options.verb](options)
        except (Failure, OSError) as error:
            print(f"{self.name}: error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{self.name}: interrupted", file=sys.stderr)
            return 130

    def _up(self, options: argparse.Namespace) -> int:
        began = time.monotonic()
        missing = self.missing()
        if missing:
            raise Failure(
                f"not installed: {', '.join(missing)}. On Debian, as root: {self.name} install"
            )
        top = self._directory(options)
        make_directory(top)
        with locked(top):
            engine = self.load(top)
            if engine is None:
                engine = self._create(top, options)
            else:
                self._agree(engine, options)
                started = engine.start_missing()
                print(f"was there already; started {', '.join(started) or 'nothing'}")
            if options.while_pid is not None:
                self._guard(engine, options.while_pid)
        took = time.monotonic() - began
        print(f"{engine.described()} is up in {top} ({took:.1f} s)")
        print(f'to use it: eval "$({self._myself(top)} env)"')
        return 0

    def _create(self, top: Path, options: argparse.Namespace) -> Kind:
        """Make one and start it; leave its logs, but no process, if that fails."""
        with self.new(top, options) as engine:
            try:
                engine.create()
                engine.start_missing()
            except BaseException:
                engine.stop_all()
                engine.mark.unlink(missing_ok=True)
                print(f"{self.name}: its logs are in {top}/log", file=sys.stderr)
                raise
        return engine

    def _down(self, options: argparse.Namespace) -> int:
        top = self._directory(options)
        engine = self._loaded(top)
        if engine is not None:
            with locked(top):
                engine.stop_all()
                engine.remove()
            print(f"the {self.engine} in {top} is gone")
        elif (top / LOCK).exists():
            shutil.rmtree(top)
            print(f"what was left of a failed start in {top} is gone")
        else:
            print(f"no {self.noun} in {top}: nothing to stop")
        return 0

    def _status(self, options: argparse.Namespace) -> int:
        top = self._directory(options)
        engine = self.load(top) if top.is_dir() else None
        if engine is None:
            print("{}" if options.json else f"no {self.noun} in {top}")
            return NOT_UP
        well, told, text = self.status(engine)
        print(json.dumps(told, indent=2) if options.json else text)
        return 0 if well else NOT_UP

    def _env(self, options: argparse.Namespace) -> int:
        engine = self._existing(self._directory(options))
        for key, value in {**self.exports(engine), self.variable: str(engine.top)}.items():
            print(f"export {key}={shlex.quote(value)}")
        return 0

    def _install(self, options: argparse.Namespace) -> int:
        began = time.monotonic()
        if self.install():
            print(f"== {self.engine} installed ({time.monotonic() - began:.0f} s)")
        elif not options.quiet:
            print("everything is installed")
        return 0

    def _fault(self, options: argparse.Namespace) -> int:
        verb = self.faults[options.fault]
        if bool(verb.takes) != bool(options.target):
            wanted = f"needs a {verb.takes}" if verb.takes else "takes no argument"
            raise Failure(f"{options.fault} {wanted}")
        engine = self._existing(self._directory(options))
        _check_same_user(engine)
        with locked(engine.top):
            verb.do(engine, options.target)
        return 0

    def _watch(self, options: argparse.Namespace) -> int:
        """Wait until a process has ended, then take it down. Runs in the background."""
        watched = processes.Process(options.pid, options.start)
        while watched.state != "gone":
            time.sleep(0.5)
        return self._down(options)

    # ---- directory and settings --------------------------------------------------------------

    def _directory(self, options: argparse.Namespace) -> Path:
        """Return the directory: as told, else one for each user."""
        told = options.dir or os.environ.get(self.variable)
        if told:
            return Path(told).resolve()
        temporary = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - a directory of ours in it
        word = self.engine.lower().replace(" ", "-")
        return Path(temporary).resolve() / f"jobtree-{word}-{user_name()}"

    def _existing(self, top: Path) -> Kind:
        """Return what is in a directory; Failure if it is nothing."""
        engine = self.load(top) if top.is_dir() else None
        if engine is None:
            raise Failure(f"no {self.noun} in {top}; start one: {self._myself(top)} up")
        return engine

    def _loaded(self, top: Path) -> Kind | None:
        """Return what is in a directory, None if it is nothing; Failure if it is another's."""
        engine = self.load(top) if top.is_dir() else None
        if engine is not None and os.geteuid() != 0:
            _check_same_user(engine)
        return engine

    def _agree(self, engine: Kind, options: argparse.Namespace) -> None:
        """Refuse to start one again with other settings than it has; defaults agree."""
        defaults = self.parser().parse_args(["up"])
        for name, value in engine.options().items():
            if getattr(options, name) not in (value, getattr(defaults, name)):
                raise Failure(
                    f"there is a {self.noun} with --{name} {value} already; take it down first, "
                    "or give another --dir"
                )

    def _guard(self, engine: Kind, pid: int) -> None:
        """Start the process that takes it down when `pid` has ended."""
        watched = processes.process(pid)
        if watched is None:
            raise Failure(f"--while-pid: there is no process {pid}")
        if engine.state("guard") == "gone":
            argv = [sys.executable, str(_program()), "watch", "--dir", str(engine.top)]
            engine.spawn("guard", [*argv, str(watched.pid), str(watched.start)])

    def _myself(self, top: Path) -> str:
        """Return how to call this program for this directory."""
        return shlex.join([str(_program()), "--dir", str(top)])

    # ---- the command line --------------------------------------------------------------------

    def parser(self) -> argparse.ArgumentParser:
        """Return the parser; `verb` is what is to be done."""
        whole = argparse.ArgumentParser(
            prog=self.name, description=self.description, epilog=self.epilog
        )
        whole.add_argument("--dir", help=argparse.SUPPRESS)
        place = argparse.ArgumentParser(add_help=False)
        place.add_argument(
            "--dir",
            default=argparse.SUPPRESS,
            help=f"its directory (${self.variable}, else one for you in the temporary directory)",
        )
        verbs = whole.add_subparsers(required=True, dest="verb", metavar="VERB")

        up = verbs.add_parser("up", parents=[place], help="start it, or what is missing of it")
        self.add_up_options(up)
        up.add_argument(
            "--while-pid", type=count, metavar="PID", help="take it down when this process ends"
        )

        verbs.add_parser("down", parents=[place], help="stop it and leave nothing behind")

        status = verbs.add_parser(
            "status", parents=[place], help=f"show what runs; exit status {NOT_UP} if not all does"
        )
        status.add_argument("--json", action="store_true", help="the same for programs")

        verbs.add_parser("env", parents=[place], help='print what to eval: eval "$(... env)"')

        install = verbs.add_parser("install", help=f"install {self.engine} on Debian, as root")
        install.add_argument("--quiet", action="store_true", help="say nothing if all is there")

        fault = verbs.add_parser(
            "fault",
            parents=[place],
            help="break or mend something: fault --help lists what",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=faults.listing(self.faults),
        )
        fault.add_argument("fault", choices=self.faults, metavar="FAULT")
        fault.add_argument("target", nargs="?", default="", metavar=self.targets)

        watch = verbs.add_parser("watch", parents=[place])  # no help: up --while-pid starts it
        watch.add_argument("pid", type=int)
        watch.add_argument("start", type=int)
        return whole


def _check_same_user(engine: Engine) -> None:
    """Refuse to start daemons for a cluster as somebody else than who runs it."""
    if engine.user != user_name():
        raise Failure(f"what is in {engine.top} belongs to {engine.user}: do it as {engine.user}")


def _program() -> Path:
    return Path(sys.argv[0]).resolve()


# ---- kinds of options --------------------------------------------------------------------


def count(text: str) -> int:
    """Read a positive number."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def setting(text: str) -> str:
    """Read a line of configuration, KEY=VALUE."""
    if "=" not in text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return text
