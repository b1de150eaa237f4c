"""The log: where the master's words go, on a terminal, in a pipe and in --logFile.

Owns handlers and the forms of a line; knows nothing of trees. Read next: progress.py.

All goes to stderr. A terminal gets short lines above the block of progress; anything else gets
`TIME LEVEL message` lines without colours, of which the first word names the event and
key=value pairs follow. A log that cannot be written must never end a run.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from jobtree.errors import UsageError
from jobtree.report.plain import indented, iso_time

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live as Display

log = logging.getLogger("jobtree")

PLAIN_ONLY = {"plain_only": True}
"""`extra` of what a terminal shows in another way."""

_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}


class PlainForm(logging.Formatter):
    """`2026-11-22T09:14:40Z error failed job=17 ...`; further lines are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one entry."""
        said = indented(_message(record))
        return f"{iso_time(record.created)} {record.levelname.lower()} {said}"


class _Forgiving(logging.Handler):
    """A handler whose troubles end nothing: the terminal may be gone, the disk full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Drop the record."""


class PlainHandler(_Forgiving, logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to stderr, whatever that is at the moment."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(PlainForm())


class FileHandler(_Forgiving, logging.FileHandler):
    """Appends to --logFile."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.setFormatter(PlainForm())


class Terminal(_Forgiving):
    """A terminal: lines scroll, and a block below them is drawn again and again."""

    def __init__(self) -> None:
        from rich.console import Console

        super().__init__()
        self.console: Console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._display: Display | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record above the block."""
        if getattr(record, "plain_only", False):
            return
        from rich.text import Text

        try:
            line = Text(time.strftime("%H:%M:%S ", time.localtime(record.created)), style="dim")
            said = indented(_message(record))
            line.append(said, style=_STYLES.get(record.levelname, ""))
            self.console.print(line)
        except Exception:  # noqa: BLE001 - logging's own rule: a handler raises nothing
            self.handleError(record)

    def draw(self, block: RenderableType) -> None:
        """Show the block in the place of the last one."""
        from rich.live import Live as Display

        try:
            if self._display is None:
                self._display = Display(
                    block,
                    console=self.console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._display.start(refresh=True)
            else:
                self._display.update(block, refresh=True)
        except OSError:
            self._display = None

    def clear(self) -> None:
        """Remove the block."""
        display, self._display = self._display, None
        if display is not None:
            with suppress(OSError):
                display.stop()


def _message(record: logging.LogRecord) -> str:
    """Return a record's message, with the traceback if it has one."""
    message = record.getMessage()
    if record.exc_info:
        message += f"\n{logging.Formatter().formatException(record.exc_info)}"
    return message


def terminal() -> Terminal | None:
    """Return the terminal that the log goes to, if it goes to one."""
    return next((h for h in log.handlers if isinstance(h, Terminal)), None)


def is_terminal() -> bool:
    """Tell whether stderr is a terminal that can be drawn on."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    except (AttributeError, ValueError):
        return False


@contextmanager
def logging_to(level: str, path: str) -> Iterator[None]:
    """Send the log to stderr, and to the file at `path` unless that is ""; stop at the end.

    Raises UsageError (JT106) if the file cannot be written.
    """
    handlers: list[logging.Handler] = [Terminal() if is_terminal() else PlainHandler()]
    if path:
        try:
            handlers.append(FileHandler(os.path.expanduser(path)))
        except OSError as error:
            raise UsageError(
                f"--logFile {path} cannot be written: {error.strerror}",
                code="JT106",
                fix="name a file in a directory that exists and that you can write",
            ) from error
    before = (log.level, log.propagate)
    log.setLevel(level)
    log.propagate = False
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    finally:
        log.setLevel(before[0])
        log.propagate = before[1]
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
