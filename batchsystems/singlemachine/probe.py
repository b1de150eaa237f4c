"""Probe: what this machine offers, for `site init`.

Owns the words; the figures are machine.py's. Read next: ../probe.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from batchsystems.probe import Probe
from batchsystems.singlemachine.machine import read_machine
from batchsystems.site.draft import Draft, Line, Table
from batchsystems.site.writing import write_size
from batchsystems.transport.local import CommandResult


class SingleMachineProbe(Probe):
    """Asks nobody: all is read from this machine."""

    def draft(self, answers: Mapping[str, CommandResult]) -> Draft:
        """Return what this process may use here; all of it is used if nothing says otherwise."""
        machine = read_machine()
        host, gpus = os.uname().nodename, len(machine.gpus)
        memory = machine.memory_bytes // 2**30 * 2**30 or machine.memory_bytes
        lines = (
            Line("max_cpus", str(machine.cpus), "all that this process may use", False),
            Line("max_memory", write_size(memory), "nearly all that it may use", False),
            Line("max_gpus", str(gpus), "all that were found", False),
        )
        remarks = ("Without a key all of it is used. Say less to leave something for others.",)
        about = f"the machine {host} ({machine.cpus} cpus, {memory / 2**30:.3g} GiB, {gpus} gpus)"
        return Draft("singleMachine", about, (Table("singleMachine", lines, remarks),))
