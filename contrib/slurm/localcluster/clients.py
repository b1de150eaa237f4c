"""Slurm's clients, run against one cluster: what they are asked and what they answer.

Owns their environment and their time-outs; must not start a daemon or send a signal.
Read next: cluster.py, whose daemons answer.
"""

from __future__ import annotations

import subprocess

from localengines.failure import Failure
from localengines.packages import PATH, program

from localcluster.settings import Places, Settings

UP_NODE = frozenset({"idle", "mixed", "allocated", "completing", "draining", "drained"})


class Clients:
    """The way to ask one cluster."""

    def __init__(self, settings: Settings, places: Places) -> None:
        self.settings = settings
        self.places = places

    def environ(self) -> dict[str, str]:
        """Return the environment of the daemons, and of the clients that this program runs."""
        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": str(self.places.top),
            "USER": self.settings.user,
            "SLURM_CONF": str(self.places.conf),
            "MYSQL_UNIX_PORT": str(self.places.database_socket),
        }

    def client(
        self, *argv: str, text: str = "", limit_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a client with this text as its input, whatever it returns; -1 if it took too long."""
        try:
            return subprocess.run(
                [program(argv[0]), *argv[1:]],
                env=self.environ(),
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, -1, "", f"no answer within {limit_s:g} s")

    def ask(self, *argv: str, limit_s: float = 30) -> str:
        """Return what a client prints; Failure with its complaint if it fails."""
        done = self.client(*argv, limit_s=limit_s)
        if done.returncode != 0:
            raise Failure(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def succeeds(self, *argv: str) -> bool:
        """Tell whether a client returns 0."""
        return self.client(*argv).returncode == 0

    def answers(self) -> bool:
        """Tell whether the controller answers."""
        return "is UP" in self.client("scontrol", "ping").stdout

    def node_states(self) -> dict[str, str]:
        """Return node -> state, `*` appended where it does not respond; empty if not to be had."""
        lines = self.client("sinfo", "-h", "-a", "-N", "-o", "%N %T").stdout.splitlines()
        return dict(line.split() for line in lines)

    def up_nodes(self) -> set[str]:
        """Return the nodes that respond."""
        return {node for node, state in self.node_states().items() if state in UP_NODE}

    def is_up(self, node: str) -> bool:
        """Tell whether a node responds."""
        return node in self.up_nodes()

    def queue(self) -> list[str]:
        """Return the ids of all jobs that are not finished."""
        return self.ask("squeue", "-h", "-o", "%A").split()
