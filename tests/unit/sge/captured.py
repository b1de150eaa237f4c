"""What a real Grid Engine printed."""

from __future__ import annotations

import json
from pathlib import Path

from batchsystems.commandline.answers import (
    Observation,
)
from batchsystems.sge.parse import read_queue
from batchsystems.transport.local import CommandResult

DATA = Path(__file__).parents[2] / "data" / "sge"
QSTAT = (DATA / "qstat.xml").read_text()
DETAILS = (DATA / "qstat-j.txt").read_text()
CHECKS = (DATA / "qalter.txt").read_text()
ANSWERS = json.loads((DATA / "answers.json").read_text())


def ran(stdout: str, stderr: str = "", status: int | None = 0) -> CommandResult:
    return CommandResult(status, stdout, stderr)


def queue() -> dict[str, list[Observation]]:
    result = read_queue(ran(QSTAT))
    assert result.complete
    found: dict[str, list[Observation]] = {}
    for observation in result.observations:
        found.setdefault(observation.name, []).append(observation)
    return found
