"""The first process of an execution host: names it, and buries its dead.

Owns process 1 of the host's own namespaces; must not start a daemon. It ends only by SIGKILL,
and everything on the host with it. Read next: machines.py, which starts it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


def main(name: str, hosts: str, ready: int) -> None:
    """Set up the host, say so on `ready`, then collect ended processes for ever."""
    socket.sethostname(name)
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    subprocess.run(["ip", "link", "set", "dev", "lo", "up"], check=True)
    _count_on()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    os.write(ready, b"ready")
    os.close(ready)
    while True:
        signal.sigwait({signal.SIGCHLD})
        _collect()


def _count_on() -> None:
    """Let process ids begin where time has got to, where the kernel allows it.

    Each boot would begin at 2 again, and sge_execd take a new process for its old shepherd.
    """
    with suppress(OSError):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(300 + int(time.time() * 50) % 30000))


def _collect() -> None:
    """Collect all that have ended: one signal can stand for several."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
