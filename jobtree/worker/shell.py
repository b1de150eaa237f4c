"""Runs the shell commands of a workflow, plain ones and those with a JOB_FILE.

Owns the spawning and what an exit status means; must not know the results' form.
Read next: payload/jobfile.py for the protocol, steps.py for Targets. Of a user's exit status only
zero or not counts: 75, 99, 100 or 255 mean nothing special here.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from jobtree.core.job import Command, CommandKind
from jobtree.errors import JobTreeError
from jobtree.mailbox.results import Usage
from jobtree.payload.context import StepContext
from jobtree.worker.usage import usage_of_child

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the same calls, without an enum made of each answer

SHELL = "/bin/sh"
MOST_SAID_BYTES = 256 * 1024
LONGEST_ARGUMENT = 128 * 1024
"""Bytes that one argument of a program may have on Linux, with its final zero."""

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BACK_TO_DEFAULT = (*_PASSED_ON, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)

_KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
_AS_KILLED = frozenset(code for number in _KILLS for code in (-number, 128 + number))


class StepOutcome(NamedTuple):
    """How a step ended; the fields are those of results.Done and Failed."""

    why: str = ""  # "" if it succeeded
    children: list[Command] = []  # noqa: RUF012 - never changed
    follow_on: Command | None = None
    said: str = ""
    exit_status: int | None = None
    signal: int | None = None
    detail: str = ""
    crashed: bool = False
    killed: bool = False  # a child ended as if it was killed, so this process may be next


class StepSettings(NamedTuple):
    """What commands and isolated steps run with."""

    environ: Mapping[str, str]
    log_level: str  # for the JOB_FILE, as the next one
    job_time_s: float
    on_group: Callable[[int], None]  # called with the process group, with 0 at its end


def run_command(
    command: Command, context: StepContext, settings: StepSettings
) -> tuple[StepOutcome, Usage]:
    """Run a command to its end."""
    if command.kind == CommandKind.SHELL:
        return _spawn_and_wait(command.text, context, settings)
    from jobtree.payload.jobfile import JOB_FILE, speaks_protocol

    if not speaks_protocol(command.text):
        why = f"the command does not contain the word {JOB_FILE}: nothing was run"
        fix = f'put {JOB_FILE} where it expects the path, or mark it plain="1" (docs/jobfile.md)'
        return StepOutcome(why, detail=fix), Usage(0.0, 0.0, None)
    return _run_protocol(command, context, settings)


def _run_protocol(
    command: Command, context: StepContext, settings: StepSettings
) -> tuple[StepOutcome, Usage]:
    from jobtree.payload.jobfile import JOB_FILE, job_file_text, read_growth, with_job_file

    local = context.local.ask()
    job_file, stats = f"{local}/job.xml", f"{local}/stats.xml"
    try:
        content = job_file_text(context, settings.log_level, settings.job_time_s, stats)
    except JobTreeError as error:
        return StepOutcome(error.what, detail=str(error)), Usage(0.0, 0.0, None)
    with open(job_file, "w", encoding="utf-8") as file:
        file.write(content)
    environ = {**settings.environ, JOB_FILE: job_file}
    text = with_job_file(command.text, job_file)
    outcome, usage = _spawn_and_wait(text, context, settings._replace(environ=environ))
    if not outcome.why:
        try:
            growth = read_growth(job_file)
            outcome = StepOutcome("", growth.children, growth.follow_on, _read_stats(stats))
        except JobTreeError as error:
            outcome = StepOutcome(error.what, detail=str(error), exit_status=0)
    for path in (job_file, stats):
        with suppress(OSError):
            os.unlink(path)
    return outcome, usage


def _read_stats(path: str) -> str:
    """Return the stats that the command wrote; "" if there are none, or too many."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with open(fd, "rb") as file:
        said = file.read(MOST_SAID_BYTES + 1)
    return said.decode(errors="replace") if len(said) <= MOST_SAID_BYTES else ""


def _spawn_and_wait(
    text: str, context: StepContext, settings: StepSettings
) -> tuple[StepOutcome, Usage]:
    began = monotonic()
    mask = block_signals()
    try:
        script = _script_of(text, context)
        pid = os.posix_spawn(
            SHELL,
            [SHELL, script] if script else [SHELL, "-c", text],
            settings.environ,
            setpgroup=0,
            setsigmask=(),
            setsigdef=BACK_TO_DEFAULT,
        )
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        why = f"the command could not be started: {error.strerror}"
        if error.errno == 7:  # E2BIG: not of the command, which lies in a file if it is long
            size = sum(len(name) + len(value) for name, value in settings.environ.items())
            why = f"the environment is too large for this system ({size:,} characters)"
        return StepOutcome(why), Usage(monotonic() - began, 0.0, None)
    status, used = wait_for_group(pid, settings.on_group, mask)
    if script:
        with suppress(OSError):
            os.unlink(script)
    usage = usage_of_child(monotonic() - began, used)
    return _outcome_of(text, os.waitstatus_to_exitcode(status)), usage


def _script_of(text: str, context: StepContext) -> str:
    """Write a command to a file if it is too long for an argument; return its path, else ""."""
    if len(text) < LONGEST_ARGUMENT // 4:  # a character takes four bytes at most
        return ""
    content = os.fsencode(text)
    if len(content) < LONGEST_ARGUMENT:
        return ""
    script = f"{context.local.ask()}/command.sh"
    fd = os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
    return script


def block_signals() -> Iterable[int]:
    """Block signals that would end this process until wait_for_group(); return the old mask.

    Otherwise one that arrives just after a child was started would leave the child alone.
    """
    return signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)


def restore_signals(mask: Iterable[int]) -> None:
    """Undo block_signals(): in the child, or if there is no child to wait for."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def wait_for_group(
    pid: int, on_group: Callable[[int], None], mask: Iterable[int] = ()
) -> tuple[int, Any]:
    """Wait for a child that leads a process group; return its wait status and its rusage.

    A signal that would end this process is passed on to the child, which may handle it, and ends
    this process after the child. mask: the signals to block from now on.
    """
    received: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        with suppress(OSError):
            os.killpg(pid, number)

    on_group(pid)
    before = [(number, signal.signal(number, pass_on)) for number in _PASSED_ON]
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _, status, used = os.wait4(pid, 0)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        on_group(0)
    for signalled in received:
        os.kill(os.getpid(), signalled)
    return status, used


def seems_killed(*codes: object) -> bool:
    """Tell whether one of these exit statuses (negative: signals) is that of a killed process.

    What is not a number is ignored.
    """
    return any(isinstance(code, int) and code in _AS_KILLED for code in codes)


def _outcome_of(text: str, code: int) -> StepOutcome:
    """Return the outcome of a command by its exit status (negative: a signal)."""
    if code == 0:
        return StepOutcome()
    killed = seems_killed(code)
    if code < 0:
        return StepOutcome(f"killed by {signal_name(-code)}", signal=-code, killed=killed)
    word = text.split(None, 1)[0][:80]
    why = f"exit status {code}"
    if code == 127:
        why += f": command not found (it begins with {word!r})"
    elif code == 126:
        why += f": the command cannot be executed (it begins with {word!r})"
    elif 128 < code < 128 + signal.NSIG:
        why += f": the way a shell tells of {signal_name(code - 128)}"
    return StepOutcome(why, exit_status=code, killed=killed)


def signal_name(number: int) -> str:
    """Return "signal 11 (SIGSEGV)"."""
    from signal import Signals

    try:
        return f"signal {number} ({Signals(number).name})"
    except ValueError:
        return f"signal {number}"
