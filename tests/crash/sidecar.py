"""A worker whose sidecar is traced from its first moment. Run instead of worker/start.py.

Owns nothing but that. Read next: start.py.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from jobtree.worker import main, sidecar

keep = sidecar._Watch.keep


def traced(self: sidecar._Watch) -> None:
    """Have strace attach to this process, and go on when it has."""
    words = json.loads(os.environ["JOBTREE_CRASH_STRACE"])
    argv = ["env", *words, "-p", str(os.getpid())]
    os.posix_spawn("/usr/bin/env", argv, os.environ)
    while True:
        with open("/proc/self/status") as status:
            if "TracerPid:\t0\n" not in status.read():
                break
    keep(self)


sidecar._Watch.keep = traced  # type: ignore[method-assign]
main.main(sys.argv[1:])
