"""Names in use: no two unfinished jobs of one instance have the same name and index.

Owns which are taken; must not know what becomes of a job. Read next: interface.py, which says why.
"""

from __future__ import annotations

from collections.abc import Iterable

from batchsystems.interface import JobSpec


class NamesInUse:
    """The name and index of each unfinished job, few bytes for each of an array."""

    def __init__(self) -> None:
        self._used: dict[str, set[int]] = {}

    def take(self, specs: Iterable[JobSpec]) -> None:
        """Take the names of these jobs, all or none.

        Raises ValueError if one is an unfinished job's, or of two of them.
        """
        taken: list[JobSpec] = []
        for spec in specs:
            if spec.index in self._used.get(spec.name, ()):
                for each in taken:
                    self.give_back(each.name, each.index)
                raise ValueError(
                    f"submission {spec.name} has an unfinished job of index {spec.index}: jobs are "
                    "known by name and index, so give each submission a name of its own"
                )
            self.add(spec.name, spec.index)
            taken.append(spec)

    def add(self, name: str, index: int) -> None:
        """Take the name of a job that was there before."""
        self._used.setdefault(name, set()).add(index)

    def give_back(self, name: str, index: int) -> None:
        """Let a name be used again: its job has ended, or was refused."""
        indices = self._used.get(name)
        if indices is not None:
            indices.discard(index)
            if not indices:
                del self._used[name]
