"""AcidTest: this machine, on which jobs die without warning. For testing what runs the jobs.

Owns the choice of victims; the launcher does the killing. Read next: adapter.py.
"""

from __future__ import annotations

import random
from typing import Any

from batchsystems.interface import JobSpec
from batchsystems.singlemachine.adapter import SingleMachine


class AcidTest(SingleMachine):
    """Kills the whole tree of each job by SIGKILL, with a probability, after a random delay.

    A victim that has not ended by itself before is reported as what it is: FAILED, signal 9.
    seed: the same victims and delays again, in the order in which jobs start. Its other arguments
    are those of SingleMachine.
    """

    name = "acidTest"

    def __init__(
        self,
        *args: Any,
        kill_probability: float = 0.5,
        max_delay_s: float = 1.0,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._kill_probability, self._max_delay_s = kill_probability, max_delay_s
        self._rng = random.Random(seed)  # noqa: S311 - chance, not keys

    def _order(self, spec: JobSpec, gpus: tuple[str, ...]) -> dict[str, object]:
        order = super()._order(spec, gpus)
        delay_s = self._rng.uniform(0.0, self._max_delay_s)
        if self._rng.random() < self._kill_probability:
            order["kill_after_s"] = f"{delay_s:.3f}"
        return order
