"""Execution hosts as machines of their own: booted, wired, entered, cut off.

Owns namespaces and the network between them: each host has a name, an address and processes of
its own, and a cable to a switch, itself in a namespace, from which one more cable leads to this
machine. All of it is gone when its processes are. Must not know Grid Engine's daemons.
Read next: boot.py, the first process of each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from localengines import processes
from localengines.daemons import Engine
from localengines.failure import Failure
from localengines.packages import program
from localengines.processes import Process, wait_for

from localcell.settings import Places, Settings

SWITCH = "switch"
BRIDGE = "br0"
END_S = 60.0


class Machines:
    """The machines of one cell."""

    def __init__(self, engine: Engine, settings: Settings, places: Places) -> None:
        self.engine = engine
        self.settings = settings
        self.places = places

    # ---- machines ----------------------------------------------------------------------------

    def is_on(self, name: str) -> bool:
        """Tell whether a machine is on."""
        return self.engine.state(name) != "gone"

    def boot(self, name: str) -> None:
        """Switch a machine on and connect it; its daemons are the caller's business."""
        read, write = os.pipe()
        try:
            self.engine.spawn(name, self._boot_argv(name, write), pass_fds=(write,))
        finally:
            os.close(write)
        try:
            booted = os.read(read, 16)  # nothing: it has ended
        finally:
            os.close(read)
        if not booted:
            raise Failure(f"{name} did not boot:\n{self.engine.last_words(name)}")
        if name == SWITCH:
            self._wire_switch()
        else:
            self._wire(name)

    def _boot_argv(self, name: str, ready: int) -> list[str]:
        own = ("--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
        script = Path(__file__).with_name("boot.py")
        python = (sys.executable, "-I", "-S", "-B", str(script))
        return [program("unshare"), *own, *python, name, str(self.places.hosts), str(ready)]

    def end(self, name: str) -> None:
        """Switch a machine off, with everything that runs on it."""
        parent = self.engine.recorded(name)
        first = self.first(name)
        if first is not None:  # the kernel ends the others of its namespace
            processes.end([first], 0)
        if parent is not None:
            processes.end([parent], 0)

    def spaces(self) -> Mapping[str, str]:
        """Return the machines' process namespaces, as /proc calls them, with their names."""
        found = {}
        for name in (*self.settings.host_names, SWITCH):
            parent = self.engine.recorded(name)
            if parent is not None and parent.state != "gone":
                found[_children_space(parent)] = name
        return found

    def first(self, name: str) -> Process | None:
        """Return a machine's process 1; None if it is off."""
        parent = self.engine.recorded(name)
        if parent is None or parent.state == "gone":
            return None
        space = _children_space(parent)
        for one, folder in processes.others():
            if _is_first_of(folder, space):
                return one
        return None

    # ---- commands ----------------------------------------------------------------------------

    def entering(self, name: str, argv: Sequence[str], *, network_only: bool = False) -> list[str]:
        """Return the command that runs another on a machine; Failure if it is off.

        network_only: with the files and processes of this machine, but the other's network.
        """
        first = self.first(name)
        if first is None:
            raise Failure(f"{name} is switched off")
        spaces = ("--net",) if network_only else ("--net", "--uts", "--mount", "--pid")
        return [program("nsenter"), f"--target={first.pid}", *spaces, "--", *argv]

    def run(self, name: str, argv: Sequence[str]) -> str:
        """Run a command on a machine and return what it prints; Failure if it fails."""
        return self._run(self.entering(name, argv))

    def _run(self, argv: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                argv,
                env=self.engine.environ(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=END_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"{' '.join(argv)}: not within {END_S:g} s") from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise Failure(f"{' '.join(argv)}: {said or done.returncode}")
        return done.stdout

    # ---- the network -------------------------------------------------------------------------

    def _ip(self, name: str, words: str) -> str:
        """Run `ip` on a machine's network."""
        return self._run(self.entering(name, [program("ip"), *words.split()], network_only=True))

    def _wire_switch(self) -> None:
        """Lead a cable from the switch to this machine, and give it its address there."""
        first = self.first(SWITCH)
        if first is None:
            raise Failure(f"the {SWITCH} has ended:\n{self.engine.last_words(SWITCH)}")
        link, ip = self.settings.link, program("ip")
        self._ip(SWITCH, f"link add {BRIDGE} type bridge")
        self._ip(SWITCH, f"link set dev {BRIDGE} up")
        self.remove_link()
        self._run([ip, *f"link add {link} type veth peer name up0 netns {first.pid}".split()])
        self._run([ip, *f"addr add {self.settings.master_address}/24 dev {link}".split()])
        self._run([ip, "link", "set", "dev", link, "up"])
        self._ip(SWITCH, f"link set dev up0 master {BRIDGE} up")

    def _wire(self, host: str) -> None:
        """Lead a cable from a host to the switch, and give the host its address."""
        first = self.first(host)
        if first is None:
            raise Failure(f"{host} has ended:\n{self.engine.last_words(host)}")
        self._unplug(host)
        self._ip(SWITCH, f"link add {host} type veth peer name eth0 netns {first.pid}")
        self._ip(SWITCH, f"link set dev {host} master {BRIDGE} up")
        self._ip(host, f"addr add {self.settings.host_address(host)}/24 dev eth0")
        self._ip(host, "link set dev eth0 up")

    def _unplug(self, host: str) -> None:
        """Remove the cable of an earlier boot, which the kernel removes in its own time."""
        if self._is_plugged(host):
            with suppress(Failure):  # it may be gone by now
                self._ip(SWITCH, f"link del dev {host}")
        wait_for(f"the end of {host}'s old cable", lambda: not self._is_plugged(host), END_S)

    def _is_plugged(self, host: str) -> bool:
        return f" {host}@" in self._ip(SWITCH, "-o link show")

    def cut(self, host: str) -> None:
        """Cut a host off from all others; what runs there goes on."""
        self._ip(SWITCH, f"link set dev {host} down")

    def reconnect(self, host: str) -> None:
        """Connect a host again."""
        self._ip(SWITCH, f"link set dev {host} up")

    def is_cut(self, host: str) -> bool:
        """Tell whether a host that is on was cut off."""
        return ",UP" not in self._ip(SWITCH, f"-o link show dev {host}").partition(">")[0]

    def remove_link(self) -> None:
        """Remove the way from this machine into the cell, for which the kernel takes its time."""
        link = self.settings.link
        if self._link_exists():
            with suppress(Failure):  # it may be gone by now
                self._run([program("ip"), "link", "del", "dev", link])
        wait_for(f"the end of {link}", lambda: not self._link_exists(), END_S)

    def _link_exists(self) -> bool:
        return (Path("/sys/class/net") / self.settings.link).exists()


def _children_space(parent: Process) -> str:
    """Return the namespace that a process's children live in; "" if it has just ended."""
    try:
        return os.readlink(f"/proc/{parent.pid}/ns/pid_for_children")
    except OSError:
        return ""


def _is_first_of(folder: Path, space: str) -> bool:
    try:
        if os.readlink(folder / "ns" / "pid") != space:
            return False
        status = (folder / "status").read_text(errors="replace")
    except OSError:
        return False
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
    return numbers[-1] == "1"
