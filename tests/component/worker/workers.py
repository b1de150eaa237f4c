"""A tree with hand-written orders, and the real worker process: what worker tests lean on.

Owns the making of trees and orders; must not check anything. Read next: test_chain.py.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jobtree
from jobtree.core.job import Command, Requirements
from jobtree.mailbox import layout
from jobtree.mailbox.bundles import BundleWriter
from jobtree.mailbox.orders import Assignment, Terms, write_order
from jobtree.mailbox.results import Done, Failed, ResultLine, ResultReader
from jobtree.payload import environment
from jobtree.payload.serialize import target_command
from jobtree.target import Target

START = Path(jobtree.__file__).parent / "worker" / "start.py"
SUBMISSION = "jt-test-1"
ISSUE = f"{SUBMISSION}.0"
TERMS = Terms(
    submission=SUBMISSION,
    epoch=1,
    granted=Requirements(2**30, 2, 0, 3600.0),
    defaults=Requirements(2**20, 1, 0, 1.0),
    doorbell=None,
    heartbeat_s=10.0,
    max_log_bytes=50_000,
    log_level="INFO",
    job_time_s=300.0,
    scratch="",
)


class Tree:
    """A directory laid out as a tree, with what its workers said."""

    def __init__(self, path: Path, script: str = "") -> None:
        self.path, self.scratch = path / "tree", path / "scratch"
        self.home = path / "home"
        for directory in (self.scratch, self.home):
            directory.mkdir()
        for name in layout.SUBDIRECTORIES:
            (self.path / name).mkdir(parents=True, mode=0o700)
        here = environment.capture()
        self.environment = here._replace(
            directory=str(self.home), main_path=script, main_module="", umask=0o022
        )
        environment.save(str(self.path), self.environment)
        self.reader = ResultReader(layout.result_path(str(self.path), ISSUE))
        self.lines: list[ResultLine] = []

    def target(self, target: Target) -> Command:
        """Return the Command of a Target, pickled into the tree."""
        bundle = BundleWriter(str(self.path), "root")
        command = target_command(target, bundle)
        bundle.close()
        return command

    def order(
        self, *stacks: Sequence[Target | Command], isolate: bool = False, **terms: Any
    ) -> None:
        """Write an order: a pack of jobs 1, 2 ... with these stacks."""
        pack = []
        for number, stack in enumerate(stacks, 1):
            commands = [self.target(c) if isinstance(c, Target) else c for c in stack]
            pack.append(Assignment(number, 1_000_001, 0, 0, isolate, tuple(commands)))
        self.order_pack(pack, **terms)

    def order_pack(self, pack: list[Assignment], **terms: Any) -> None:
        """Write an order of one task, as it is."""
        here = TERMS._replace(scratch=str(self.scratch), **terms)
        write_order(str(self.path), here, [pack])

    def start(self, index: int = 0, **options: Any) -> subprocess.Popen[bytes]:
        """Start a worker."""
        order = layout.order_path(str(self.path), SUBMISSION)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", str(START), order, str(index)],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **options,
        )

    def work(self, status: int = 0, **options: Any) -> list[ResultLine]:
        """Run a worker to its end, check its exit status, return all lines it wrote."""
        worker = self.start(**options)
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == status, (worker.returncode, errors.decode(), self.log())
        self.errors = errors.decode()
        self.lines += self.reader.read(final=True)
        assert not self.reader.damage
        return self.lines

    def run(
        self, *stacks: Sequence[Target | Command], isolate: bool = False, **terms: Any
    ) -> list[ResultLine]:
        """Order, work, and return the lines."""
        self.order(*stacks, isolate=isolate, **terms)
        return self.work()

    def done(self) -> list[Done]:
        """Return the steps that succeeded."""
        return [line for line in self.lines if isinstance(line, Done)]

    def failed(self) -> list[Failed]:
        """Return the steps that failed."""
        return [line for line in self.lines if isinstance(line, Failed)]

    def log(self) -> str:
        """Return what the worker's steps printed."""
        try:
            return Path(layout.log_path(str(self.path), ISSUE)).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def output(self, line: Done) -> bytes:
        """Return what one step printed."""
        with open(layout.log_path(str(self.path), ISSUE), "rb") as file:
            file.seek(line.log.offset)
            return file.read(line.log.length)

    def failed_output(self, line: Failed) -> bytes:
        """Return the copy of what a failed step printed."""
        path = layout.failed_log_path(str(self.path), line.job, line.step, line.attempt)
        return Path(path).read_bytes()


def wait_until(path: Path) -> None:
    """Wait for a file to be there."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.005)
