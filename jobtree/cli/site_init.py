"""`site init`: a site file to begin with, from what the cluster reveals.

Owns which batch system is asked, where the file goes, and what is said of it; the asking is
batchsystems.probe's. Read next: ../../batchsystems/probe.py.
"""

from __future__ import annotations

import argparse
import os
import pwd
import sys
import time
from shlex import quote

from batchsystems import registry, signals
from batchsystems.probe import NoProbe, detect, run_probe
from batchsystems.site.draft import Draft, write_draft
from batchsystems.site.problems import refuse
from batchsystems.sitefiles import check_text, schema
from batchsystems.transport.local import Local
from jobtree.errors import UsageError
from jobtree.report.plain import plural, printable

FILE = "site.toml"
STDOUT = "-"


@signals.expected()
def init(given: argparse.Namespace) -> int:
    """Write a site file. Raises BatchSystemError if the batch system gives no answer."""
    name = given.output or FILE
    target = STDOUT if name == STDOUT else os.path.abspath(os.path.expanduser(name))
    if target != STDOUT and not given.force:
        _refuse_to_overwrite(target)
    draft = _draft(given.batchSystem)
    when = time.strftime("%Y-%m-%d")
    text = write_draft(draft, schema().keys, sys.executable, when)
    if problems := check_text(text, target):
        raise refuse(problems)
    if target == STDOUT:
        print(text, end="")
        return 0
    _write(target, text, given.force)
    print(printable("\n".join(_told(draft, target))))
    return 0


def _draft(named: str | None) -> Draft:
    probes = registry.probes()
    transport = Local()
    if named:
        name = registry.canonical(named)
    else:
        found = detect(probes, transport)
        name = found[0] if found else "singleMachine"
        if len(found) > 1:
            others = ", ".join(found[1:])
            print(f"{name} is here, and so is {others}: --batchSystem chooses", file=sys.stderr)
    probe = probes.get(name) or NoProbe(name)
    return run_probe(probe, transport, _user())._replace(batch_system=name)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _told(draft: Draft, target: str) -> list[str]:
    lines = [f"{target}: written for {draft.about}"]
    if draft.unknown:
        lines.append(
            f"  {plural(len(draft.unknown), 'thing')} could not be found out; it says which"
        )
    return [
        *lines,
        "  look through it, then",
        f"  check it:  jobtree site check {quote(target)}",
        f"  try it:    jobtree site doctor --site {quote(target)}",
    ]


def _refuse_to_overwrite(target: str) -> None:
    if os.path.lexists(target):
        raise UsageError(
            f"{target} exists: nothing was written",
            code="JT109",
            fix="name another file with --output, or add --force to replace it",
        )


def _write(target: str, text: str, force: bool) -> None:
    """Write the file whole, or not at all; only with force in the place of another."""
    place = f"{target}.{os.getpid()}.new" if force else target
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(place, target)
    except BaseException:
        os.unlink(place)
        raise
