"""Grid Engine's clients, run against one cell: what they are asked and what they answer.

Owns their environment and what is read of their answers; must not start a daemon or send a signal.
Read next: cell.py, whose daemons answer.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from localengines.clients import Asking
from localengines.failure import Failure
from localengines.packages import program

from localcell.programs import binary
from localcell.settings import CELL, QUEUE, Places, Settings


class Clients(Asking):
    """The way to ask one cell, as an administrator on the master's machine."""

    def __init__(self, settings: Settings, places: Places) -> None:
        self.settings = settings
        self.places = places

    def environ(self) -> dict[str, str]:
        """Return the environment of the daemons, and of the clients that this program runs."""
        return self.plain_environ(str(self.places.top), self.settings.user) | {
            "SGE_ROOT": str(self.places.root),
            "SGE_CELL": CELL,
            "SGE_QMASTER_PORT": str(self.settings.port),
            "SGE_EXECD_PORT": str(self.settings.port + 1),
        }

    def on_master(self, argv: Sequence[str]) -> list[str]:
        """Return the command that sees the names of all hosts, as the master does."""
        if not self.settings.namespaces:
            return list(argv)
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        alone = [program("unshare"), "--mount", "sh", "-c", script, "sh"]
        return [*alone, str(self.places.master_hosts), *argv]

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return what to execute for a client and its arguments."""
        return self.on_master([binary(argv[0]), *argv[1:]])

    def answers(self) -> bool:
        """Tell whether the master answers."""
        return self.succeeds("qconf", "-sh", limit_s=10)

    def host_states(self) -> Mapping[str, str]:
        """Return host -> state of its queue: "ok" or Grid Engine's letters; empty if unknown.

        u: the host does not answer; E: error; d: disabled; a: alarm.
        """
        done = self.client("qstat", "-f", "-xml", "-q", QUEUE, limit_s=10)
        return parse_host_states(done.stdout) if done.returncode == 0 else {}

    def is_well(self) -> bool:
        """Tell whether every queue on every host takes jobs."""
        done = self.client("qstat", "-f", "-xml", limit_s=10)
        if done.returncode != 0:
            return False
        queues = list(_xml(done.stdout).iter("Queue-List"))
        return bool(queues) and all(_state(queue) == "ok" for queue in queues)

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that the master knows, ended ones excepted."""
        found = _xml(self.ask("qstat", "-xml", "-u", "*"))
        return sorted({number.text or "" for number in found.iter("JB_job_number")})


def parse_host_states(text: str) -> Mapping[str, str]:
    """Return host -> state from what `qstat -f -xml` prints."""
    found = {}
    for queue in _xml(text).iter("Queue-List"):
        _, _, host = (queue.findtext("name") or "").partition("@")
        found[host] = _state(queue)
    return found


def _state(queue: ET.Element) -> str:
    """Return a queue's state on one host; before a host's first report, the letters are wanting."""
    return queue.findtext("state") or ("ok" if queue.findtext("load_avg") else "u")


def _xml(text: str) -> ET.Element:
    try:
        return ET.fromstring(text)  # noqa: S314 - what is read is our own master's
    except ET.ParseError as error:
        raise Failure(f"what Grid Engine printed is no XML: {error}") from error
