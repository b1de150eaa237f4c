"""A job's script: environment, the site's setup line by line, directory, command. Pure.

Owns the text of scripts, and how the failure of a setup is told and found again; must not know a
scheduler. Read next: ../slurm/dialect.py, ../singlemachine/spawn.py.

A line that fails ends the launch, and says which it was. Lines are one command as long as the very
shell that runs them finds that they are not whole (if ... fi, a function, quotes, a backslash).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from batchsystems.interface import INDEX, JobEnd, Reason

NOT_LAUNCHED = 126
"""With this a script ends whose setup failed, or that cannot enter its directory."""

UNSEEN = 70
"""With this it ends where the file with its environment is not to be seen."""

SAID = "not launched: task "
KEY = "worker.setup"

_STOP = """batchsystems_stop() {{
batchsystems_status=$?
trap - EXIT
printf '%s\\n' '{said}'{task}": {key}, line $batchsystems_line, \
ended with status $batchsystems_status: $batchsystems_entry" >&2
exit {status}
}}
trap batchsystems_stop EXIT
batchsystems_entry="""

_LINE = """batchsystems_line={number} batchsystems_entry="${{batchsystems_entry:+$batchsystems_entry
}}"{line}
if (eval "batchsystems_whole() {{
$batchsystems_entry
}}") 2>/dev/null; then eval "$batchsystems_entry" || batchsystems_stop; batchsystems_entry=; fi"""

_END = """[ -z "$batchsystems_entry" ] || eval "$batchsystems_entry" || batchsystems_stop
trap - EXIT
unset batchsystems_entry batchsystems_line
unset -f batchsystems_stop"""


AWKWARD = frozenset({"BASHOPTS", "EUID", "IFS", "PPID", "SHELLOPTS", "UID"})
"""What a shell's script cannot or must not set."""


def job_lines(
    command: Sequence[str],
    cwd: str,
    index: str,
    *,
    setup: Sequence[str] = (),
    private_env: str | None = None,
    unset: Iterable[str] = (),
    env: Mapping[str, str] = MappingProxyType({}),
    given: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Return the lines that run a job's command in its environment and directory.

    index: the task's, as a word of the shell. unset: variables that a job has only if env says so.
    env: what is to be exported. given: what the command has to find whatever shell and setup say.
    """
    lines = [f"unset {name}" for name in unset if name not in env]
    words = [shlex.quote(f"{name}={value}") for name, value in given.items()]
    for name, value in env.items():
        if name in AWKWARD or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            words.append(shlex.quote(f"{name}={value}"))
        else:
            lines.append(f"export {name}={shlex.quote(value)}")
    lines += setup_lines(setup, index, private_env)
    lines.append(f"cd -- {shlex.quote(cwd)} || exit {NOT_LAUNCHED}")
    words = ["/usr/bin/env", *words] if words else []
    words += [index if word == INDEX else shlex.quote(word) for word in command]
    return [*lines, f"exec {' '.join(words)}"]


def setup_lines(setup: Sequence[str], task: str, private: str | None = None) -> list[str]:
    """Return the lines of a script that run the site's; [] if it has none.

    task: the index of the task, as a word of the shell. private: the file of shell lines that
    holds what of the environment is nobody else's business.
    """
    if not setup:
        return []
    lines = [*private_lines(private, task), _STOP.format(said=SAID, task=task, key=KEY, status=126)]
    for number, line in enumerate(setup, 1):
        lines.append(_LINE.format(number=number, line=shlex.quote(line)))
    return "\n".join([*lines, _END]).split("\n")


def private_lines(private: str | None, task: str) -> list[str]:
    """Return the lines that read a file of environment, and end the job where it is not seen."""
    if private is None:
        return []
    path = shlex.quote(private)
    said = shlex.quote(f": {private} is not to be read on this node")
    return [
        f"[ -s {path} ] || {{ printf '%s\\n' '{SAID}'{task}{said} >&2; exit {UNSEEN}; }}\n. {path}"
    ]


def launch_words(printed: str, index: int) -> str:
    """Return why a task was not launched, as its output tells; "" if it does not."""
    marks = list(re.finditer(rf"^{re.escape(SAID)}{index}: (.*)$", printed, re.M))
    if not marks:
        return ""
    before = printed[: marks[-1].start()].rstrip("\n").rpartition("\n")[2].strip()
    return marks[-1][1] + (f" ({before})" if before and not before.startswith(SAID) else "")


def reread_launch(end: JobEnd, index: int, printed: str) -> JobEnd:
    """Return the end of a job whose script says that it did not come to the command."""
    words = launch_words(printed, index)
    if end.exit_status != NOT_LAUNCHED or not words:
        return end
    return replace(end, reason=Reason.LAUNCH_FAILED, evidence=(*end.evidence, words))
