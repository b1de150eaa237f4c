"""local-cluster: what is Slurm's own in it.

Owns what status and env tell of Slurm; must not talk to it. Read next: localengines/program.py
for the verbs, cluster.py for what a cluster is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localengines import packages
from localengines.program import Program

from localcluster import programs
from localcluster.cluster import Cluster
from localcluster.faults import VERBS
from localcluster.options import add_up_options
from localcluster.place import new_settings


class LocalCluster(Program[Cluster]):
    """The program."""

    name = "local-cluster"
    engine = "Slurm"
    noun = "cluster"
    variable = "JOBTREE_LOCAL_CLUSTER"
    description = "A real Slurm of several nodes on this machine, private to its directory."
    epilog = "Run as root, every user can submit; else only you. Several clusters can coexist."
    targets = "NODE|JOBID"
    faults = VERBS

    def load(self, top: Path) -> Cluster | None:
        """Return the cluster in a directory; None if there is none."""
        return Cluster.load(top)

    @contextmanager
    def new(self, top: Path, options: argparse.Namespace) -> Iterator[Cluster]:
        """Return a new cluster, whose ports are kept while it starts."""
        with new_settings(top, options) as settings:
            yield Cluster(top, settings)

    def add_up_options(self, up: argparse.ArgumentParser) -> None:
        """Add the options of `up`."""
        add_up_options(up)

    def missing(self) -> list[str]:
        """Return the programs without which Slurm cannot start."""
        return packages.missing(programs.CORE)

    def install(self) -> bool:
        """Install what is missing; return whether anything was."""
        return programs.install()

    def exports(self, engine: Cluster) -> Mapping[str, str]:
        """Return the variable that leads Slurm's clients to the cluster."""
        return {"SLURM_CONF": str(engine.places.conf)}

    def status(self, engine: Cluster) -> tuple[bool, dict[str, Any], str]:
        """Return whether all daemons run and all nodes are known, and what is."""
        settings = engine.settings
        states = {name: engine.state(name) for name in engine.daemons}
        nodes = engine.slurm.node_states() if states["slurmctld"] == "running" else {}
        told = json.loads(settings.to_json())
        told |= {"daemons": states, "nodes": {n: nodes.get(n) for n in settings.node_names}}
        well = set(states.values()) == {"running"} and set(settings.node_names) <= set(nodes)
        return well, told, _text(engine, states, nodes)


def _text(cluster: Cluster, states: dict[str, str], nodes: dict[str, str]) -> str:
    settings = cluster.settings
    lines = [
        f"{cluster.top}: {settings.nodes} nodes of {settings.cpus} cpus, "
        f"{settings.memory_mib} MiB; ports from {settings.port}",
        f"runs as {settings.user}; memory is limited by "
        f"{'cgroups' if settings.cgroup else 'sampling'}; "
        f"{'with' if settings.accounting else 'without'} accounting",
    ]
    for name, state in states.items():
        found = cluster.recorded(name)
        pid = f"pid {found.pid}" if found and state != "gone" else ""
        lines.append(f"  {name:10} {state:8} {pid:12} {nodes.get(name, '')}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Do what the command line says; return the exit status."""
    return LocalCluster().main()
