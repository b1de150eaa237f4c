"""The parsers of all verbs: argparse whose mistakes are explained, with what was probably meant.

Owns the verbs and their options; runs none, and imports little, as `--help` is to be quick.
Read next: main.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from jobtree.errors import UsageError

Argument = tuple[str, dict[str, Any]]

VERBS = {
    "run": "start a new tree from a shell command",
    "restart": "go on where a tree stopped, whatever stopped it",
    "status": "how far a tree is",
    "logs": "what a job printed, and how its attempts ended",
    "kill": "stop a tree and all its batch jobs",
    "clean": "delete a tree; nothing else ever does",
    "stats": "where time and memory went",
    "nodes": "which nodes are left out because jobs fail there; take them back",
    "site": "what is known of this cluster",
}

SITE_VERBS = {
    "init": "write a site file to begin with, from what the cluster reveals",
    "show": "print every key of the site file, its value, and where that comes from",
    "check": "tell all that is wrong in site files; asks no batch system",
    "doctor": "run canary jobs as the site file says, and tell what to change",
}

_TOP = """\
verbs:
{verbs}

  DIR, the directory of the tree, may be left out: then it is the newest tree in the
  current directory. `jobtree VERB --help` tells more.

exit status: 0 all done; 1 jobs failed for good; 2 usage; 3 site; 4 batch system; 5 store;
130 interrupted; 70 a fault of jobTree itself
"""


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of ending the program."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError (JT100)."""
        raise UsageError(message, code="JT100", fix=f"see  {self.prog} --help")

    def add_table(self, arguments: Iterable[Argument]) -> None:
        """Add arguments, each a name and what argparse wants to know of it."""
        for name, about in arguments:
            self.add_argument(name, **about)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all of the arguments; an unknown one is told with what was probably meant."""
        found, unknown = self.parse_known_args(arguments)
        if not unknown:
            return found
        first = unknown[0]
        if not first.startswith("-"):
            self.error(f"{first!r} is one argument too many")
        name = first.partition("=")[0]
        known = [each for action in self._actions for each in action.option_strings]
        raise UsageError(
            f"there is no option {name}",
            code="JT104",
            why=guess(name, known),
            fix=f"see  {self.prog} --help",
        )


def import_verb(module: str, verb: str) -> Callable[[argparse.Namespace], int]:
    """Return the function of a verb; imports what that one needs, and no more."""
    from importlib import import_module

    found: Callable[[argparse.Namespace], int] = getattr(
        import_module(f"jobtree.cli.{module}"), verb
    )
    return found


def guess(word: str, known: Iterable[str]) -> str:
    """Return "did you mean --retryCount?", or "" if nothing known is like it."""
    from difflib import get_close_matches

    plain = {each.lower(): each for each in known}
    same = [word.lower()] if word.lower() in plain else []
    close = same or get_close_matches(word.lower(), list(plain), n=2, cutoff=0.7)
    return f"did you mean {' or '.join(plain[each] for each in close)}?" if close else ""


def top_parser() -> Parser:
    """Return the parser of what stands before and at the verb."""
    verbs = "\n".join(f"  {verb:<9}{what}" for verb, what in VERBS.items())
    parser = Parser(
        "jobtree",
        "Runs a tree of jobs on whatever batch system there is, and finishes it.",
        _TOP.format(verbs=verbs),
    )
    parser.usage = "jobtree VERB [DIR] [options]"
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument("--explain", metavar="CODE", help="tell what an error code means (JT301)")
    _add_tree(parser)
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def verb_parser(verb: str) -> Parser:
    """Return the parser of what stands after a verb."""
    parser = Parser(f"jobtree {verb}", f"{VERBS[verb].capitalize()}.")
    if verb == "site":
        return _site_parser(parser)
    if verb == "logs":
        parser.add_argument("job", metavar="JOB", help="the number of the job")
    if verb != "run":
        parser.add_argument("directory", metavar="DIR", nargs="?", help="the tree")
    if verb in ("run", "restart"):
        _add_run_options(parser, verb)
        return parser
    _add_tree(parser)
    parser.add_argument("--logLevel", metavar="LEVEL", help="at DEBUG, errors show a traceback")
    parser.add_table(OPTIONS[verb])
    return parser


def _site_parser(parser: Parser) -> Parser:
    parser.usage = "jobtree site VERB [options]"
    parser.epilog = "verbs:\n" + "\n".join(f"  {v:<9}{what}" for v, what in SITE_VERBS.items())
    parser.add_argument("site_verb", nargs="?", default="", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(jobTree=None)
    return parser


def site_verb_parser(verb: str) -> Parser:
    """Return the parser of what stands after `jobtree site VERB`."""
    said = SITE_VERBS[verb]
    parser = Parser(f"jobtree site {verb}", f"{said[0].upper()}{said[1:]}.")
    parser.add_table(OPTIONS[f"site {verb}"])
    if verb == "doctor":
        parser.epilog = (
            "Exit status: 0 all passed; 3 something is wrong with the site; 4 the batch system "
            "cannot be\nreached; 130 interrupted. It leaves no job and no file behind."
        )
    return parser


def _flag(name: str, meaning: str) -> Argument:
    return name, {"action": "store_true", "help": meaning}


def _value(name: str, metavar: str, meaning: str, **more: Any) -> Argument:
    return name, {"metavar": metavar, "help": meaning, **more}


_JSON = _flag("--json", "print JSON")
_SITE = _value("--site", "FILE", "the site file, if it has moved")

OPTIONS: dict[str, tuple[Argument, ...]] = {
    "status": (_JSON, _flag("--failIfNotComplete", "exit with 1 unless all is done")),
    "logs": (_JSON, _value("--attempt", "N", "only this attempt", type=int)),
    "stats": (_JSON,),
    "nodes": (
        _JSON,
        _value("--clear", "NODE,NODE", "let these be used again at once, all of them if none is "
               "named", nargs="?", const=""),
    ),
    "kill": (_SITE,),
    "clean": (_SITE, _flag("--yes", "do not ask")),
    "site init": (
        _value("--batchSystem", "NAME", "which one to ask (default: the one that is here)"),
        _value("--output", "FILE", "write this file (default: site.toml); - prints it"),
        _flag("--force", "replace the file if it exists"),
    ),
    "site show": (
        _value("--site", "FILE", "a site file that goes before the others"),
        _flag("--schema", "print what each key means instead"),
        _JSON,
    ),
    "site check": (
        _value("files", "FILE", "check these, each by itself, and no others", nargs="*"),
        _JSON,
    ),
    "site doctor": (
        _value("--site", "FILE", "the site file to try, before the others"),
        _value("--batchSystem", "NAME", "another than the site file says"),
        _value("--directory", "DIR", "where trees are to be, on the file system that nodes share "
               "(default: here)"),
        _flag("--quick", "leave out the time limit, which takes minutes"),
        _value("--wait", "TIME", "how long a canary may wait in the queue (default: 10m)"),
        _JSON,
    ),
}  # fmt: skip
"""What verbs take besides the tree; `run` and `restart` have jobtree.options."""


def _add_run_options(parser: Parser, verb: str) -> None:
    from jobtree.options import add_options

    if verb == "run":
        parser.add_argument(
            "--command",
            required=True,
            metavar="COMMAND",
            help="shell command of the first job; the word JOB_FILE in it becomes the path of "
            "the file through which it adds children (docs/jobfile.md)",
        )
    else:
        parser.epilog = "Options given now win over those the tree was run with before."
    add_options(parser)
    parser.add_argument("-J", dest="jobTree", metavar="DIR", help="short for --jobTree")


def _add_tree(parser: Parser) -> None:
    parser.add_argument("-J", "--jobTree", metavar="DIR", help="the tree")
