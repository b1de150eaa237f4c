"""The JOB_FILE protocol: how commands in any language grow the tree.

Owns the XML file's form and the Commands made of what people type; must not run anything.
Read next: ../worker/shell.py, which runs them; docs/jobfile.md for people.

The command finds a `<job .../>` with what it was given; it may set command, time, memory, cpu
and gpus on it (the follow-on) and append `<child command=.../>` to `<children>`. expat reads it
as a stream, so that a file of a million children needs no tree of elements.
"""

import os
import re
import stat
from typing import Any, NamedTuple

from jobtree.core.job import Command, CommandKind, Requirements
from jobtree.errors import JobTreeError, UsageError
from jobtree.payload.context import StepContext
from jobtree.units import parse_requirements

JOB_FILE = "JOB_FILE"
"""The word that is replaced by the path, and the variable that holds it too."""

_MENTIONED = re.compile(r"(?<!\w)JOB_FILE(?!\w)", re.ASCII)
_REPLACED = re.compile(r"(?<![\w$])(?<!\$\{)JOB_FILE(?!\w)", re.ASCII)
_NEEDS_NO_QUOTES = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
MOST_BYTES = 64 * 1024 * 1024
LABEL_CHARACTERS = 40
UNSET = ("9223372036854775807", "2147483647")
"""What older programs write for a requirement they do not have: sys.maxint."""


_NOTHING_ASKED = Requirements()


def shell_command(text: str, requirements: Requirements = _NOTHING_ASKED) -> Command:
    """Return the Command that runs `text` under /bin/sh."""
    return Command(CommandKind.SHELL, _label(text), _checked(text), requirements)


def protocol_command(text: str, requirements: Requirements = _NOTHING_ASKED) -> Command:
    """Return the Command that runs `text` with a JOB_FILE. Without the word, it will fail."""
    return Command(CommandKind.PROTOCOL, _label(text), _checked(text), requirements)


def _checked(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise JobTreeError(
            f"{text!r:.60} is not a shell command",
            code="JT430",
            fix="give the command as one string, as you would type it",
        )
    return text


def _label(text: str) -> str:
    """Return the first word's basename: what run times are measured by."""
    for word in text.split():
        name, equals, _ = word.partition("=")
        if not (equals and name.isidentifier()):  # not an assignment before the command
            return os.path.basename(word.strip("\"'();")).strip()[:LABEL_CHARACTERS] or "sh"
    return "sh"


# ---- the file a command is given ---------------------------------------------------------


def job_file_text(context: StepContext, log_level: str, job_time_s: float, stats: str) -> str:
    """Return the XML a command finds in its JOB_FILE; makes the directories it names.

    Raises JobTreeError (JT435) if a path cannot be said in XML.
    """
    granted = context.granted
    attributes = {
        "log_level": log_level,
        "local_temp_dir": context.local.ask(),
        "global_temp_dir": context.global_directory(),
        "job_time": f"{job_time_s:g}",
        "available_memory": "" if granted.memory_bytes is None else granted.memory_bytes,
        "available_cpu": "" if granted.cpus is None else granted.cpus,
        "stats": stats,
        "attempt": context.attempt,
        "attempt_dir": context.attempt_directory(),
    }
    said = "".join(f' {name}="{_escape(str(value))}"' for name, value in attributes.items())
    unfit = next((c for c in said if c < " " or "\ud800" <= c <= "\udfff" or c in _NO_TEXT), "")
    if unfit:
        raise JobTreeError(
            f"a path in the JOB_FILE has a character that XML cannot hold: {unfit!a}",
            code="JT435",
            fix="run the workflow in directories whose names are plain text (--jobTree, --scratch)",
        )
    return f"<job{said}><children/></job>\n"


_NO_TEXT = "\ufffe\uffff"
_ENTITIES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"))
_BLANKS = (("\t", "&#9;"), ("\n", "&#10;"), ("\r", "&#13;"))  # else they are read as spaces


def _escape(value: str) -> str:
    for character, entity in (*_ENTITIES, *_BLANKS):
        value = value.replace(character, entity)
    return value


def speaks_protocol(text: str) -> bool:
    """Tell whether a command asks for its JOB_FILE: by the word, or as `$JOB_FILE`."""
    return _MENTIONED.search(text) is not None


def with_job_file(text: str, path: str) -> str:
    """Return the command with each word JOB_FILE replaced by the path, quoted for the shell.

    Inside quotes of the command's own, the path is escaped to fit in them. `$JOB_FILE` and names
    that only contain the word stay as they are.
    """
    if _NEEDS_NO_QUOTES.fullmatch(path):
        return _REPLACED.sub(lambda _: path, text)
    parts, at, quote = [], 0, ""
    for found in _REPLACED.finditer(text):
        before = text[at : found.start()]
        quote = _open_quote(before, quote)
        parts += [before, _quoted(path, quote)]
        at = found.end()
    return "".join([*parts, text[at:]])


def _open_quote(text: str, quote: str) -> str:
    """Return the quote that is open at the end of shell text that began inside `quote`."""
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
    return quote


def _quoted(path: str, quote: str) -> str:
    """Return a path quoted for the shell, for a place where `quote` is open ("": none)."""
    if quote == '"':
        return re.sub(r'([\\"$`])', r"\\\1", path)
    inner = path.replace("'", "'\\''")
    return inner if quote else f"'{inner}'"


# ---- what the command made of it ---------------------------------------------------------


class Growth(NamedTuple):
    """What a command added to the tree."""

    children: list[Command]
    follow_on: Command | None


def read_growth(path: str) -> Growth:
    """Return what a command wrote into its JOB_FILE.

    Raises JobTreeError (JT431 to JT434) saying what is wrong with the file: then the step has
    failed, and adds nothing to the tree.
    """
    parser = _Parser()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused("JT431", f"the command's JOB_FILE is gone ({error.strerror})") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _refused("JT431", "the command's JOB_FILE is not a file any more")
        if found.st_size > MOST_BYTES:
            most = MOST_BYTES // 1024**2
            raise _refused("JT432", f"the command's JOB_FILE is larger than {most} MB")
        while part := os.read(fd, 1024 * 1024):
            parser.feed(part)
    finally:
        os.close(fd)
    return parser.close()


class _Parser:
    """Collects children and follow-on while the XML streams by."""

    def __init__(self) -> None:
        from xml.parsers import expat  # only the protocol pays for it

        self._error = expat.ExpatError
        self._expat = expat.ParserCreate()
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.StartDoctypeDeclHandler = self._doctype
        self._path: list[str] = []
        self._root: dict[str, str] | None = None
        self._children: list[Command] | None = None

    def feed(self, part: bytes, final: bool = False) -> None:
        try:
            self._expat.Parse(part, final)
        except self._error as error:
            raise _refused("JT433", f"the command's JOB_FILE is not whole XML: {error}") from None

    def close(self) -> Growth:
        self.feed(b"", final=True)
        if self._root is None or self._children is None:
            raise _refused("JT433", "the command's JOB_FILE has no <children> any more")
        root = self._root
        follow_on = None
        if "command" in root:
            follow_on = _command(root, "the follow-on")
        return Growth(self._children, follow_on)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path:
            if name != "job":
                raise _refused("JT433", f"the command's JOB_FILE begins with <{name:.40}>")
            self._root = attributes
        elif self._path == ["job"] and name == "children":
            self._children = [] if self._children is None else self._children
        elif self._path == ["job", "children"] and name == "child":
            assert self._children is not None
            self._children.append(_command(attributes, f"child {len(self._children) + 1}"))
        self._path.append(name)

    def _end(self, _name: str) -> None:
        self._path.pop()

    def _doctype(self, *_: Any) -> None:
        raise _refused("JT433", "the command's JOB_FILE declares a document type")


def _command(attributes: dict[str, str], who: str) -> Command:
    """Return the Command that the attributes of an element describe."""
    text = attributes.get("command", "")
    if not text.strip():
        raise _refused("JT434", f"{who} in the command's JOB_FILE has no command")
    wanted = {
        name: None if attributes.get(name) in (None, "", *UNSET) else attributes[name]
        for name in ("memory", "cpu", "gpus", "time")
    }
    try:
        requirements = parse_requirements(
            wanted["memory"], wanted["cpu"], wanted["gpus"], wanted["time"]
        )
    except UsageError as error:
        what = f"{who} in the command's JOB_FILE ({text:.60}): {error.what}"
        raise _refused("JT434", what, error.fix) from None
    make = shell_command if attributes.get("plain") in ("1", "true") else protocol_command
    return make(text, requirements)


def _refused(code: str, what: str, fix: str = "") -> JobTreeError:
    return JobTreeError(what, code=code, why="no child and no follow-on was taken from it", fix=fix)
