"""Slurm's clients, run against one cluster: what they are asked and what they answer.

Owns their environment and what is read of their answers; must not start a daemon or send a signal.
Read next: cluster.py, whose daemons answer.
"""

from __future__ import annotations

from localengines.clients import Asking

from localcluster.settings import Places, Settings

UP_NODE = frozenset({"idle", "mixed", "allocated", "completing", "draining", "drained"})


class Clients(Asking):
    """The way to ask one cluster."""

    def __init__(self, settings: Settings, places: Places) -> None:
        self.settings = settings
        self.places = places

    def environ(self) -> dict[str, str]:
        """Return the environment of the daemons, and of the clients that this program runs."""
        return self.plain_environ(str(self.places.top), self.settings.user) | {
            "SLURM_CONF": str(self.places.conf),
            "MYSQL_UNIX_PORT": str(self.places.database_socket),
        }

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
