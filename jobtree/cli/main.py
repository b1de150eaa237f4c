"""The command `jobtree`: finds the verb, runs it, and explains what went wrong.

Owns exit statuses and the outermost boundary of errors; knows no verb's work. Read next:
running.py, reading.py, ending.py, one for each kind of verb.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from batchsystems.errors import ReportableError
from jobtree.cli.arguments import VERBS, guess, import_verb, top_parser, verb_parser
from jobtree.errors import StoreError, UsageError, exit_status

OWN_FAULT = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

HOMES = {
    **dict.fromkeys(("run", "restart"), "running"),
    **dict.fromkeys(("kill", "clean"), "ending"),
    **dict.fromkeys(("status", "logs", "stats", "nodes"), "reading"),
}
"""The modules of verbs that are not called as their verb is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _escape_what_cannot_be_shown()
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except ReportableError as error:
        return _explain(error, arguments)
    except BrokenPipeError:
        _close_output()
        return BROKEN_PIPE
    except OSError as error:
        return _explain(_from_file_system(error), arguments)
    except KeyboardInterrupt:
        _say("interrupted; a tree that was begun goes on with:  jobtree restart DIR")
        return INTERRUPTED
    except SystemExit as leaving:  # argparse, after --help
        return leaving.code if isinstance(leaving.code, int) else 0
    except Exception as error:  # noqa: BLE001 - the outermost boundary
        import traceback

        _say(traceback.format_exc())
        _say(f"error[JT000]: {type(error).__name__}: {error}")
        _say("  this is a fault of jobTree: please report it, with the lines above")
        return OWN_FAULT


def _escape_what_cannot_be_shown() -> None:
    r"""Have characters that the terminal's encoding lacks written as `\\xe9`, not raise.

    cron and old terminals have ASCII or ISO-8859-1; names of files may be no text at all.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _dispatch(arguments: list[str]) -> int:
    parser = top_parser()
    top = parser.parse(arguments)
    if top.version:
        from jobtree import __version__

        print(f"jobtree {__version__}")
        return 0
    if top.explain is not None:
        from jobtree.cli.explain import explain

        print(explain(top.explain))
        return 0
    if top.verb is None:
        parser.print_help(sys.stderr)
        return 2
    if top.verb not in VERBS:
        raise _unknown_verb(top.verb)
    given = verb_parser(top.verb).parse(top.rest)
    if given.jobTree is None:
        given.jobTree = top.jobTree
    return import_verb(HOMES.get(top.verb, top.verb), top.verb)(given)


def _unknown_verb(verb: str) -> UsageError:
    if verb.endswith(".py"):
        fix = f"a workflow script is run by itself:  python {verb} --jobTree DIR"
    elif os.path.isdir(verb):
        fix = f"a verb comes first:  jobtree status {verb}"
    else:
        fix = f"verbs are: {', '.join(VERBS)}"
    return UsageError(f"there is no verb {verb!r}", code="JT104", why=guess(verb, VERBS), fix=fix)


def _from_file_system(error: OSError) -> ReportableError:
    return StoreError(
        f"the file system refused: {error.strerror or error}",
        code="JT318",
        where=str(error.filename or ""),
        fix="see that the directory is there, yours, and has space left",
    )


def _explain(error: ReportableError, arguments: list[str]) -> int:
    from jobtree.report.plain import printable

    if _wants_tracebacks(arguments):
        import traceback

        _say("".join(traceback.format_exception(error)).rstrip("\n"))
    _say(printable(str(error)))
    return exit_status(error)


def _wants_tracebacks(arguments: list[str]) -> bool:
    joined = " ".join(arguments).upper().replace("=", " ")
    return "--LOGLEVEL DEBUG" in joined


def _say(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr)


def _close_output() -> None:
    """Let nothing more be written to a pipe nobody reads, not at exit either."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
