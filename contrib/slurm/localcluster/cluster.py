"""One local cluster: its daemons in order, and how each is known to be ready and stopped.

Owns the cluster's directory; must not decide what goes into Slurm's configuration files.
Read next: settings.py for those, faults.py for what can be done to a running cluster.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from localengines import processes
from localengines.daemons import READY_S, Daemon, Engine
from localengines.failure import Failure
from localengines.files import write
from localengines.processes import Process, wait_for

from localcluster import members
from localcluster.accounting import Accounting
from localcluster.clients import Clients
from localcluster.settings import (
    GPUS,
    Places,
    Settings,
    cgroup_conf,
    gres_conf,
    slurm_conf,
    slurmdbd_conf,
)


class Cluster(Engine):
    """A cluster in a directory, which need not run."""

    def __init__(self, top: Path, settings: Settings) -> None:
        super().__init__(top, settings.user)
        self.places = Places(top)
        self.settings = settings
        self.slurm = Clients(settings, self.places)
        self.accounting = Accounting(self.slurm)
        self.daemons = self._daemons()

    @classmethod
    def load(cls, top: Path) -> Cluster | None:
        """Return the cluster in a directory; None if there is none, Failure if it is damaged."""
        try:
            return cls(top, Settings.from_json(Places(top).settings.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise Failure(f"{Places(top).settings} cannot be read: {error}") from error

    @property
    def mark(self) -> Path:
        """Return where the settings are kept."""
        return self.places.settings

    def described(self) -> str:
        """Return what it is."""
        return f"a Slurm of {self.settings.nodes} nodes"

    def options(self) -> Mapping[str, Any]:
        """Return the options of `up` that this cluster has."""
        settings = self.settings
        return {
            "nodes": settings.nodes,
            "cpus": settings.cpus,
            "memory": settings.memory_mib,
            "port": settings.port,
            "cgroup": str(int(settings.cgroup)),
            "accounting": str(int(settings.accounting)),
            "partitions": list(settings.partitions),
            "conf": list(settings.conf),
        }

    def environ(self) -> dict[str, str]:
        """Return the environment of the daemons."""
        return self.slurm.environ()

    def _daemons(self) -> dict[str, Daemon]:
        """Return every daemon by name, in the order in which they start."""
        places, found = self.places, {}
        found["munged"] = Daemon(
            (
                "munged",
                "--foreground",
                "--force",
                f"--key-file={places / 'munge' / 'key'}",
                f"--socket={places.munge_socket}",
                f"--log-file={places / 'log' / 'munged.log'}",
                f"--pid-file={places / 'munge' / 'pid'}",
                f"--seed-file={places / 'munge' / 'seed'}",
                "--num-threads=4",
            ),
            lambda: self.slurm.succeeds("munge", "-n", "-S", str(places.munge_socket)),
            self._remove_munge_socket,
        )
        if self.settings.accounting:
            found["mariadbd"] = Daemon(self.accounting.argv(), self.accounting.answers)
            found["slurmdbd"] = Daemon(
                ("slurmdbd", "-D"), lambda: self.slurm.succeeds("sacctmgr", "-n", "show", "cluster")
            )
        found["slurmctld"] = Daemon(("slurmctld", "-D", "-i"), self.slurm.answers)
        for node in self.settings.node_names:
            found[node] = Daemon(
                ("slurmd", "-D", "-N", node),
                lambda node=node: self.slurm.is_up(node),  # type: ignore[misc]
            )
        return found

    # ---- up and down -------------------------------------------------------------------------

    def create(self) -> None:
        """Write everything the daemons need; the settings last, which make it a cluster."""
        places = self.places
        for name in ("etc", "log", "run", "state", "spool", "munge", "dev", "mysql"):
            shutil.rmtree(places / name, ignore_errors=True)  # of an attempt that failed
            (places / name).mkdir()
        for node in self.settings.node_names:
            (places / "spool" / node).mkdir()
        (places / "mysql").chmod(0o700)
        write(places / "munge" / "key", os.urandom(128), 0o600)
        for number in range(GPUS):
            (places / "dev" / f"gpu{number}").symlink_to("/dev/null")
        texts = {
            "slurm.conf": slurm_conf(self.settings, places),
            "gres.conf": gres_conf(self.settings, places),
            "cgroup.conf": cgroup_conf(),
            "plugstack.conf": "",
        }
        for name, text in texts.items():
            write(places / "etc" / name, text.encode(), 0o644)
        if self.settings.accounting:
            password = os.urandom(16).hex()
            text = slurmdbd_conf(self.settings, places, password)
            write(places / "etc" / "slurmdbd.conf", text.encode(), 0o600)
            self.accounting.create(password)
        write(places.settings, self.settings.to_json().encode(), 0o644)

    def start_missing(self) -> list[str]:
        """Start every daemon that does not run; wait until all nodes are up; return the names."""
        started = [name for name in self.daemons if self.state(name) == "gone"]
        nodes = self.settings.node_names
        for name in self.daemons:
            if name in started and name not in nodes:
                self.start(name)
                if name == "slurmdbd":
                    self.accounting.set_up_accounts()
        for name in nodes:
            if name in started:
                self.start(name, wait=False)
        wait_for("all nodes up", lambda: set(nodes) <= self.slurm.up_nodes(), READY_S)
        return started

    def stop_all(self) -> None:
        """Cancel the jobs if the controller answers, then end every process of the cluster."""
        for name in self.daemons:
            self.signal(name, signal.SIGCONT)
        with suppress(Failure):  # it is polite, no more
            self.cancel_all()
        nodes = self.settings.node_names
        processes.end([found for node in nodes if (found := self.recorded(node))], 0)
        wait_for("the end of every job", self._end_members, READY_S)
        rest = [name for name in reversed(self.daemons) if name not in nodes]
        for name in (*rest, "guard"):
            self.end(name, 0)
        wait_for("the end of every daemon", self._end_members, READY_S)
        wait_for("the end of every cgroup", self._remove_cgroups, READY_S)

    def _end_members(self) -> bool:
        """Kill what belongs to the cluster and was not recorded; tell whether nothing did."""
        found = {one.process for one in members.members(self.places.top, self.places.conf)}
        found |= set(self._in_cgroups())
        found -= self._recorded_daemons()
        processes.end(found, 0)
        return not found

    def _recorded_daemons(self) -> set[Process]:
        return {found for name in self.daemons if (found := self.recorded(name))}

    def _in_cgroups(self) -> list[Process]:
        names = self.settings.node_names
        return members.cgroup_processes(names) if self.settings.cgroup else []

    def _remove_cgroups(self) -> bool:
        names = self.settings.node_names
        return members.remove_cgroups(names) if self.settings.cgroup else True

    # ---- jobs --------------------------------------------------------------------------------

    def cancel_all(self) -> None:
        """Cancel every job, as far as the controller answers, and wait until they are gone."""
        if self.state("slurmctld") != "running" or self.state("munged") != "running":
            return
        users = set(self.slurm.ask("squeue", "-h", "-o", "%u", limit_s=5).split())
        for user in users:
            self.slurm.ask("scancel", "-u", user, limit_s=20)
        if users:
            with suppress(Failure):
                wait_for("the end of all jobs", lambda: not self.slurm.queue(), 10)

    def kill_leftovers(self) -> int:
        """Kill what jobs left behind on the nodes; return how many processes that were."""
        left = {
            one.process
            for one in members.members(self.places.top, self.places.conf)
            if one.kind == "job"
        }
        left |= set(self._in_cgroups()) - self._recorded_daemons()
        processes.end(left, 0)
        return len(left)

    def _remove_munge_socket(self) -> None:
        for path in self.places.munge_socket.parent.glob("munge.socket*"):
            path.unlink()
