"""Probe: what a cluster behind a DRMAA library reveals of itself, as a site file.

Owns the questions and the reading of their answers; runs nothing itself. Read next:
../sge/probe.py, which tells more of a Grid Engine; ../probe.py, which asks.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping

from batchsystems.drmaa.dialect import DrmaaDialect
from batchsystems.drmaa.session.client import HOME
from batchsystems.drmaa.session.library import find
from batchsystems.drmaa.settings import DrmaaSettings
from batchsystems.drmaa.tables import family_of
from batchsystems.errors import BatchSystemError, Unobtainable
from batchsystems.probe import Probe
from batchsystems.sge.probe import SgeProbe
from batchsystems.site.draft import PACKED, Draft, Line, Table
from batchsystems.site.writing import write_value
from batchsystems.transport.local import CommandResult

ASK = f"import sys; sys.path.insert(0, {HOME!r}); from batchsystems.drmaa.probe import tell; tell()"


def tell() -> None:
    """Print what the library of this machine says of itself; fail with the reason."""
    import tempfile

    from batchsystems.drmaa.session.client import Client

    try:
        library = find(DrmaaSettings(), os.environ)
        with tempfile.TemporaryDirectory() as directory:
            client = Client(library, DrmaaSettings(), directory)
            try:
                client.start()
                told = {"path": library.path, "env": library.env, "about": client.about}
            finally:
                client.close()
    except BatchSystemError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    sys.stdout.write(json.dumps(told))


class DrmaaProbe(Probe):
    """Asks the library what it is, and a Grid Engine behind it how memory is asked for."""

    scrubbed = DrmaaDialect.scrubbed
    kept = DrmaaDialect.kept

    def questions(self, user: str) -> Mapping[str, tuple[str, ...]]:
        """Return what asks the library, and those of Grid Engine, which may be in vain."""
        return {
            "library": (sys.executable, "-P", "-c", ASK),
            **SgeProbe().questions(user),
        }

    def draft(self, answers: Mapping[str, CommandResult]) -> Draft:
        """Return the draft. Raises Unobtainable if there is no library that can be loaded."""
        said = answers["library"]
        if not said.whole or said.status != 0:
            raise Unobtainable(
                "no DRMAA library gave an answer",
                why=said.stderr.strip() or said.words(),
                fix="name it by $DRMAA_LIBRARY_PATH, and ask again",
            )
        told = json.loads(said.stdout)
        about = told["about"]
        drms = about["drmsInfo"] or about["drmaaImplementation"] or "a cluster"
        family = family_of(" ".join(about.values()))
        table = Table("drmaa", tuple(_keys(told, bool(family.task_variables))))
        unknown: tuple[str, ...] = ()
        more: tuple[Table, ...] = (PACKED,)
        if family.name == "sge":
            try:
                behind = SgeProbe().draft(answers)
                more, unknown = behind.tables, behind.unknown
            except Unobtainable:
                unknown = ("how memory is asked for: qconf gave no answer",)
        elif family.name != "slurm":
            unknown = (f"how memory is asked for on {drms}: drmaa.native tells it",)
        return Draft("drmaa", f"{drms}, by its DRMAA library", (table, *more), unknown=unknown)


def _keys(told: Mapping[str, Mapping[str, str] | str], arrays: bool) -> Iterator[Line]:
    yield Line("library", write_value(told["path"]), "found here")
    env = told["env"]
    if isinstance(env, dict) and "SGE_ROOT" in env:
        yield Line("sge_root", write_value(env["SGE_ROOT"]), "of this cell")
    if not arrays:
        why = "in which a task of an array finds its number; none is known of this cluster"
        yield Line("task_variables", '["PBS_ARRAYID"]', why, False)
    yield Line("native", '["-p 0"]', live=False)
