"""Server: the process that speaks to a DRMAA library, and to its parent by lines of JSON.

Owns the way between the two; started by client.py, and ends when that does. It is a process
because a library may hang or crash, and cannot be given up otherwise. Read next: session.py.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import IO, Any

from batchsystems import signals
from batchsystems.drmaa.session.journal import Journal
from batchsystems.drmaa.session.session import Session, SessionError

PACKAGE = "drmaa"
EXIT_S = 5
"""How long the library may take to end its session."""


def main() -> None:
    """Serve the parent until it closes the line."""
    signals.reset()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = json.loads(sys.argv[1])
    os.set_inheritable(told["answers"], False)
    answers = os.fdopen(told["answers"], "wb", buffering=0)
    session = _loaded(told, answers)
    if session is None:
        sys.exit(1)
    for line in sys.stdin.buffer:
        _say(answers, _answer(session, json.loads(line)))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(EXIT_S)
    session.close()


def _loaded(told: dict[str, Any], answers: IO[bytes]) -> Session | None:
    """Load the library and tell the parent of it, or of what is wrong."""
    try:
        drmaa = importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        _say(answers, {"error": {"kind": "package", "words": str(error)}})
        return None
    except Exception as error:  # noqa: BLE001 - whatever a library does when it is loaded
        _say(answers, {"error": {"kind": "load", "words": str(error)}})
        return None
    journal = Journal(told["directory"])
    try:
        journal.open()
    except OSError as error:
        _say(answers, {"error": {"kind": "directory", "words": str(error)}})
        return None
    session = Session(drmaa, journal, told["contact"], told["statuses"], told["away"])
    about = session.about()
    remarks = [*session.remarks, *([journal.complaint] if journal.complaint else [])]
    session.remarks.clear()
    _say(answers, {"about": about, "remarks": remarks})
    return session


def _answer(session: Session, asked: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked."""
    try:
        if asked["do"] == "submit":
            found = session.submit(asked)
        elif asked["do"] == "poll":
            found = session.poll(asked["heard"])
        elif asked["do"] == "kill":
            found = session.kill(asked["keys"], asked["bare"])
        else:
            found = session.kill_named(asked["name"], asked["bare"])
        answer: dict[str, Any] = {"answer": found}
    except SessionError as error:
        answer = {"error": {"kind": error.kind, "words": error.words}}
    except Exception as error:  # noqa: BLE001 - the parent has to know, and the next may do
        answer = {"error": {"kind": type(error).__name__, "words": str(error)}}
    remarks, session.remarks = session.remarks, []
    return answer | {"remarks": remarks, "away": session.away}


def _say(answers: IO[bytes], said: dict[str, Any]) -> None:
    line = memoryview(json.dumps(said, separators=(",", ":")).encode() + b"\n")
    while line:
        line = line[answers.write(line) or 0 :]


if __name__ == "__main__":
    main()
