"""Secrets of the environment: no log, report, database or command line ever shows them.

Owns the secrets, and the watch on files and on the process list; must not attack the tree.
Read next: docs/reliability.md.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.killing import jobtree, python, run
from tests.integration.places import Place

pytestmark = pytest.mark.usefixtures("no_stray_processes")

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3cr3t-one-AKIA",
    "TOKEN": "s3cr3t-two-ghp",
    "DATABASE_PASSWORD": "s3cr3t-three-pg",
}

SECRETIVE = """
import argparse, os, sys
from jobtree import Stack, Target
class Root(Target):
    def run(self):
        for number in range(6):
            self.addChildTarget(Child(number))
        self.addChildCommand("test -n \\"$TOKEN\\" && : JOB_FILE")
        self.addChildCommand("test -n \\"$TOKEN\\"")
        self.addChildCommand("false")
class Child(Target):
    def __init__(self, number):
        super().__init__()
        self.number = number
    def run(self):
        assert os.environ["TOKEN"] and os.environ["AWS_SECRET_ACCESS_KEY"]
        if self.number == 0:
            raise ValueError("the reason")
        if self.number == 1:
            os.kill(os.getpid(), 11)
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    Stack.addJobTreeOptions(parser)
    sys.exit(min(1, Stack(Root()).startJobTree(parser.parse_args())))
"""


class ProcessList:
    """What `ps` would have shown at any time: command lines, read again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.002):
            for entry in os.listdir("/proc"):
                if entry.isdecimal():
                    with suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                        self.seen.add(file.read())

    def __enter__(self) -> ProcessList:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def holding_secrets(path: Path) -> Iterator[Path]:
    for file in path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            if any(secret.encode() in content for secret in SECRETS.values()):
                yield file


def test_secrets_of_the_environment_get_nowhere(tmp_path: Path) -> None:
    place = Place(tmp_path / "home")
    place.script.write_text(SECRETIVE)
    argv = python(place.script, "--jobTree", place.tree, "--logLevel", "DEBUG", "--stats")
    with ProcessList() as processes:
        first = run([*argv, "--logFile", "master.log"], place.home / "log", **SECRETS)
        assert first.status == 1, first.said
        for verb in (["status"], ["status", "--json"], ["stats"], ["why"], ["logs", "2"]):
            run(jobtree(*verb, place.tree), place.home / f"log.{'-'.join(verb)}", **SECRETS)
        run(jobtree("restart", place.tree), place.home / "log", **SECRETS)
    assert any(b"worker/start.py" in line for line in processes.seen)
    shown = [line for line in processes.seen if any(s.encode() in line for s in SECRETS.values())]
    assert not shown
    kept = {place.tree / f"environment.{form}" for form in ("json", "sh")}
    assert set(holding_secrets(tmp_path)) == kept
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    shutil.copytree(place.tree, tmp_path / "copy")
    with sqlite3.connect(tmp_path / "copy" / "tree.db") as db:
        dump = "\n".join(db.iterdump())
    assert not any(secret in dump for secret in SECRETS.values())
