"""One local cell: its daemons in order, and how each is known to be ready and stopped.

Owns the cell's directory; must not decide what goes into Grid Engine's configuration.
Read next: configuration.py for that, faults.py for what can be done to a running cell.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from localengines import processes
from localengines.daemons import READY_S, Daemon, Engine
from localengines.failure import Failure
from localengines.files import write
from localengines.processes import wait_for

from localcell import configuration
from localcell.clients import Clients
from localcell.machines import SWITCH, Machines
from localcell.members import Member, members
from localcell.programs import BINARIES, CLIENTS, RESOURCES, binary
from localcell.settings import Places, Settings

MASTER = "qmaster"

REGISTERED = re.compile(r"\|execd on (\S+) registered$", re.MULTILINE)

RECONNECT_S = 120.0
"""How long hosts may take to answer: they look for a restarted master in growing intervals."""


class Cell(Engine):
    """A cell in a directory, which need not run."""

    def __init__(self, top: Path, settings: Settings) -> None:
        super().__init__(top, settings.user)
        self.places = Places(top)
        self.settings = settings
        self.sge = Clients(settings, self.places)
        self.machines = Machines(self, settings, self.places)
        foreground = ("env", "SGE_ND=1", str(BINARIES / "sge_qmaster"))
        argv = self.sge.on_master(foreground)
        self.daemons = {MASTER: Daemon(argv, self.sge.answers)}

    @classmethod
    def load(cls, top: Path) -> Cell | None:
        """Return the cell in a directory; None if there is none, Failure if it is damaged."""
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
        hosts = len(self.settings.host_names)
        return f"a Grid Engine of {hosts} host{'s' if hosts > 1 else ''}"

    def options(self) -> Mapping[str, Any]:
        """Return the options of `up` that this cell has."""
        settings = self.settings
        return {
            "hosts": settings.hosts,
            "slots": settings.slots,
            "memory": settings.memory_mib,
            "namespaces": str(int(settings.namespaces)),
            "port": settings.port,
            "conf": list(settings.conf),
        }

    def environ(self) -> dict[str, str]:
        """Return the environment of the daemons."""
        return self.sge.environ()

    # ---- a new cell --------------------------------------------------------------------------

    def create(self) -> None:
        """Write everything the daemons need; the settings last, which make it a cell."""
        settings, places = self.settings, self.places
        for name in ("etc", "log", "run", "spool", "sge", "client", "faults", "tmp"):
            shutil.rmtree(places / name, ignore_errors=True)  # of an attempt that failed
            (places / name).mkdir()
        for path in (*places.spools(), places.common, places.client_common):
            path.mkdir(parents=True)
        places.scratch.chmod(0o1777)
        for path, master in ((places.hosts, False), (places.master_hosts, True)):
            write(path, configuration.hosts(settings, master=master).encode(), 0o644)
        for name in ("bin", "lib", "util", "utilbin"):
            (places.root / name).symlink_to(Path("/var/lib/gridengine") / name)
        self._write_common()
        self._create_client_root()
        self._create_spool()
        write(places.settings, settings.to_json().encode(), 0o644)

    def _write_common(self) -> None:
        settings, common = self.settings, self.places.common
        texts = {
            "bootstrap": configuration.bootstrap(settings, self.places, str(BINARIES)),
            "act_qmaster": f"{settings.machine}\n",
        }
        if settings.alias:
            texts["host_aliases"] = f"{settings.machine} {settings.alias}\n"
        for name, text in texts.items():
            write(common / name, text.encode(), 0o644)

    def _create_client_root(self) -> None:
        """Make the clients' SGE_ROOT: the same cell, but an accounting file that can be hidden."""
        places = self.places
        for name in ("lib", "util", "utilbin"):
            (places.client_root / name).symlink_to(Path("/var/lib/gridengine") / name)
        (places.client_root / "bin").mkdir()
        for name in CLIENTS:
            (places.client_root / "bin" / name).symlink_to(binary(name))
        for name in ("bootstrap", "act_qmaster", "host_aliases"):
            if (places.common / name).exists():
                (places.client_common / name).symlink_to(places.common / name)
        self.show_accounting()

    def _create_spool(self) -> None:
        """Make the master's database, with all that it can hold before a master has run."""
        etc, spool = self.places / "etc", str(self.places / "spool" / "db")
        shutil.copytree(RESOURCES / "centry", etc / "complexes")
        self._write_all(etc / "complexes", configuration.complexes())
        self._write_all(etc / "pes", configuration.environments())
        self._write_all(etc, {"global": self.global_configuration()})
        self._prepare("spoolinit", "berkeleydb", "libspoolb", spool, "init")
        self._prepare("spooldefaults", "configuration", str(etc / "global"))
        self._prepare("spooldefaults", "complexes", str(etc / "complexes"))
        self._prepare("spooldefaults", "usersets", str(RESOURCES / "usersets"))
        self._prepare("spooldefaults", "pes", str(etc / "pes"))
        self._prepare("spooldefaults", "managers", *sorted({"root", self.settings.user}))

    def global_configuration(self) -> str:
        """Return the global configuration as it is without faults."""
        return configuration.global_configuration(self.settings, self.places)

    def _write_all(self, folder: Path, texts: Mapping[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            write(folder / name, text.encode(), 0o644)

    def _prepare(self, *argv: str) -> None:
        done = subprocess.run(
            [binary(argv[0]), *argv[1:]],
            env=self.environ(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stdout + done.stderr or f"exit status {done.returncode}, without a word"
            raise Failure(f"{' '.join(argv)} failed:\n{said}")

    def _configure(self) -> None:
        """Tell a master that runs for the first time what it could not be told before."""
        settings, etc, ask = self.settings, self.places / "etc", self.sge.ask
        done = etc / "configured"
        if done.exists():
            return
        everyone = ",".join(dict.fromkeys((settings.machine, *settings.host_names)))
        for option in ("-ah", "-as"):
            self.sge.client("qconf", option, everyone)  # those it knows already are no error
        hosts = {host: configuration.execution_host(settings, host) for host in settings.host_names}
        self._write_all(etc / "hosts.d", hosts)
        for host in hosts:
            ask("qconf", "-Ae", str(etc / "hosts.d" / host))
        queues = configuration.queues(settings, self.places, ask("qconf", "-sq"))
        scheduler = configuration.scheduler(ask("qconf", "-ssconf"))
        group = configuration.host_group(settings)
        self._write_all(etc, {**queues, "scheduler": scheduler, "allhosts": group})
        ask("qconf", "-Msconf", str(etc / "scheduler"))
        ask("qconf", "-Ahgrp", str(etc / "allhosts"))
        for queue in queues:
            ask("qconf", "-Aq", str(etc / queue))
        done.touch()

    # ---- up and down -------------------------------------------------------------------------

    def start_missing(self) -> list[str]:
        """Start every daemon that does not run; wait until all hosts are up; return the names."""
        started = []
        if self.settings.namespaces and not self.machines.is_on(SWITCH):
            self.machines.boot(SWITCH)
            started.append(SWITCH)
        if self.state(MASTER) == "gone":
            self.start(MASTER)
            started.append(MASTER)
        self._configure()
        return started + self.start_hosts(self.settings.host_names)

    def lost_hosts(self) -> list[str]:
        """Return the hosts that the master does not hear from."""
        states = self.sge.host_states()
        return [host for host in self.settings.host_names if "u" in states.get(host, "u")]

    def start_hosts(self, hosts: Iterable[str]) -> list[str]:
        """Switch on the hosts that are off; start their execution daemons, where they do not run.

        Wait until the master has heard from each; return the names of those started.
        """
        states = self.execd_states()
        missing = [host for host in hosts if states[host] == "gone"]
        known = self._registrations()
        for host in missing:
            if self.settings.namespaces and not self.machines.is_on(host):
                self.machines.boot(host)
        starting = {host: self._launch_execd(host) for host in missing}
        for host, launcher in starting.items():
            launcher.wait(READY_S)  # the daemon goes to the background by itself
            if self.execd_state(host) == "gone":
                raise Failure(f"sge_execd ended at once on {host}:\n{self.last_words(host)}")
        if missing:
            what = f"{', '.join(missing)} registered with the master"
            wait_for(what, lambda: self._have_registered(missing, known), RECONNECT_S)
        wait_for("all hosts up", lambda: self.all_up(hosts), RECONNECT_S)
        return missing

    def _launch_execd(self, host: str) -> subprocess.Popen[bytes]:
        argv = [str(BINARIES / "sge_execd")]
        if self.settings.namespaces:
            argv = self.machines.entering(host, argv)
        with (self.top / "log" / f"{host}.out").open("ab") as out:
            return subprocess.Popen(
                argv,
                env=self.environ(),
                cwd=self.top,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _registrations(self) -> Mapping[str, int]:
        """Return host -> how often its execution daemon made itself known to the master.

        The master's own view lags: a host that was killed and came back seems never gone.
        """
        try:
            text = (self.top / "spool" / "qmaster" / "messages").read_text(errors="replace")
        except FileNotFoundError:
            text = ""
        return Counter(REGISTERED.findall(text))

    def _have_registered(self, hosts: Iterable[str], known: Mapping[str, int]) -> bool:
        found = self._registrations()
        return all(found.get(host, 0) > known.get(host, 0) for host in hosts)

    def all_up(self, hosts: Iterable[str]) -> bool:
        """Tell whether the master hears from these hosts."""
        return not set(hosts) & set(self.lost_hosts())

    def stop_all(self) -> None:
        """End every process of the cell; what it brought into the network goes with them."""
        self.end("guard", 0)
        self.end(MASTER, 0)
        if self.settings.namespaces:
            with suppress(Failure):
                self.machines.remove_link()  # now, as the kernel is slow to remove it with a switch
            for name in (*self.settings.host_names, SWITCH):
                self.machines.end(name)
        wait_for("the end of every process", self._end_members, READY_S)
        if self.settings.namespaces:
            self.machines.remove_link()

    def _end_members(self) -> bool:
        """Kill what belongs to the cell; tell whether nothing did."""
        found = self.members()
        processes.end([one.process for one in found if one.kind == "execd"], 0)
        processes.end([one.process for one in found], 0)
        return not found

    # ---- hosts and jobs ----------------------------------------------------------------------

    def members(self, host: str | None = None) -> list[Member]:
        """Return every process of the hosts, or of one host."""
        spaces = self.machines.spaces() if self.settings.namespaces else {}
        found = members(self.settings, self.places, spaces)
        return [one for one in found if one.host != SWITCH and host in (None, one.host)]

    def execd_states(self) -> Mapping[str, str]:
        """Return host -> state of its execution daemon: "running", "frozen" or "gone"."""
        found: dict[str, str] = dict.fromkeys(self.settings.host_names, "gone")
        for one in self.members():
            if one.kind == "execd" and found[one.host] != "running":
                found[one.host] = one.process.state  # of several, one is becoming a shepherd
        return found

    def execd_state(self, host: str) -> str:
        """Return the state of one host's execution daemon."""
        return self.execd_states()[host]

    def kill_leftovers(self) -> int:
        """Kill what jobs left behind on the hosts; return how many processes that were."""
        left = [one.process for one in self.members() if one.kind in ("shepherd", "job")]
        processes.end(left, 0)
        return len(left)

    def show_accounting(self) -> None:
        """Let clients see the accounting file."""
        with suppress(FileExistsError):
            (self.places.client_common / "accounting").symlink_to(self.places.common / "accounting")

    def hide_accounting(self) -> None:
        """Let clients find no accounting file, as on a submit host that does not share it."""
        (self.places.client_common / "accounting").unlink(missing_ok=True)
