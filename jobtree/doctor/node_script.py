"""What a canary does on a node: `python -I -S .../node_script.py DIRECTORY TOKEN SCRATCH`.

Owns the node's half of an exchange of files, and the test of its scratch; imports the standard
library and this package's lightest parts. Read next: runner.py, the other half.

Exit status: 0 once it was answered; 87 if nobody answered, 88 if it cannot write.
"""

from __future__ import annotations

import json
import os
import sys
import time

HELLO, PING, PONG = "hello", "ping", "pong"
UNANSWERED, UNWRITABLE = 87, 88
ANSWER_S = 60.0
POLL_S = 0.02


def visit(directory: str, token: str, scratch: str) -> int:
    """Say hello, wait for an answer, answer that; return the exit status."""
    from jobtree.mailbox.files import exists_after_listing, write_file

    began = time.time()
    try:
        hello = {"began": began, "host": os.uname().nodename, "python": sys.version.split()[0]}
        hello |= {"scratch": try_scratch(scratch), "written": time.time()}
        write_file(f"{directory}/{HELLO}", json.dumps(hello).encode())
        deadline = time.monotonic() + ANSWER_S
        while not exists_after_listing(f"{directory}/{PING}"):
            if time.monotonic() > deadline:
                return UNANSWERED
            time.sleep(POLL_S)
        with open(f"{directory}/{PING}", encoding="ascii") as file:
            if file.read() != token:
                return UNANSWERED
        pong = {"seen": time.time()}
        write_file(f"{directory}/{PONG}", json.dumps(pong).encode())
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return UNWRITABLE
    return 0


def try_scratch(wanted: str) -> dict[str, object]:
    """Return where a worker's scratch would be, and what is wrong with it ("" if nothing)."""
    from jobtree.mailbox.files import random_name
    from jobtree.payload.context import scratch_on_node

    place, error, free = scratch_on_node(wanted), "", None
    own = f"{place}/jobtree-{random_name(8)}"
    try:
        os.mkdir(own, 0o700)
        try:
            with open(f"{own}/written", "w", encoding="ascii") as file:
                file.write("written")
            os.unlink(f"{own}/written")
        finally:
            os.rmdir(own)
        found = os.statvfs(place)
        free = found.f_bavail * found.f_frsize
    except OSError as problem:
        error = f"{problem.strerror}: {problem.filename}"
    given_up = bool(wanted) and "$" in os.path.expandvars(wanted)
    return {"path": place, "error": error, "free_bytes": free, "unset": given_up}


if __name__ == "__main__":
    own = os.path.abspath(__file__)
    sys.path[0:0] = [os.path.dirname(os.path.dirname(os.path.dirname(own)))]
    sys.exit(visit(*sys.argv[1:4]))
