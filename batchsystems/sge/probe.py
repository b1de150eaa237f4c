"""SgeProbe: what a Grid Engine reveals of itself, for `site init`. Pure.

Owns what is asked and how the answers are weighed, as Grid Engine 8.1.9 was seen to answer
(tests/data/sge); must not run anything. Read next: ../probe.py, tables.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from batchsystems.errors import Unobtainable
from batchsystems.probe import Probe
from batchsystems.sge.dialect import SgeDialect
from batchsystems.sge.settings import RESOURCE
from batchsystems.site.draft import PACKED, Draft, Line, Table
from batchsystems.site.writing import write_value
from batchsystems.transport.local import CommandResult

MEMORY = ("h_vmem", "m_mem_free", "mem_free", "virtual_free")
"""Resources by which memory is asked for, the usual ones first."""

NAMES_SHOWN = 8


class Resource(NamedTuple):
    """A row of qconf -sc."""

    name: str
    requestable: bool
    consumable: str
    """NO, YES (by slot) or JOB"""


class SgeProbe(Probe):
    """Asks qconf, and qstat for its version."""

    programs = ("qsub", "qconf")
    scrubbed = SgeDialect.scrubbed
    scrubbed_names = SgeDialect.scrubbed_names
    kept = SgeDialect.kept
    fixed = SgeDialect.fixed

    def questions(self, user: str) -> Mapping[str, tuple[str, ...]]:
        """Return six commands, all of which any user may run."""
        return {
            "version": ("qstat", "-help"),
            "config": ("qconf", "-sconf"),
            "resources": ("qconf", "-sc"),
            "environments": ("qconf", "-spl"),
            "queues": ("qconf", "-sql"),
            "projects": ("qconf", "-sprjl"),
        }

    def draft(self, answers: Mapping[str, CommandResult]) -> Draft:
        """Return the draft. Raises Unobtainable if not even the configuration was told."""
        config = answers["config"]
        if not _said(config):
            raise Unobtainable(
                "Grid Engine gave no answer",
                where="qconf -sconf",
                why=config.words(),
                fix="see that this is a submit host (SGE_ROOT is set, `qhost` answers);\n"
                "or ask another batch system, by --batchSystem",
            )
        settings = dict(re.findall(r"^(\w+) +(\S.*?) *$", config.stdout, re.M))
        resources = _resources(_said(answers["resources"]))
        version = _said(answers["version"]).partition("\n")[0] or "Grid Engine"
        lines = tuple(_keys(answers, settings, resources))
        remark = (
            "Grid Engine chooses the queue by what a job asks for. Name queues, or describe them "
            "by [[sge.queue]], only where jobTree is to choose itself."
        )
        tables = [Table("sge", lines, (remark,)), PACKED, *_limits(settings)]
        unknown = () if resources else ("how memory is asked for: qconf -sc did not tell",)
        return Draft("sge", f"the cell of {version}", tuple(tables), unknown=unknown)


def _said(ran: CommandResult) -> str:
    return ran.stdout if ran.whole and ran.status == 0 else ""


def _names(ran: CommandResult) -> list[str]:
    return [line for line in _said(ran).splitlines() if re.fullmatch(r"[\w.@-]+", line)]


def _resources(text: str) -> dict[str, Resource]:
    found = {}
    for line in text.splitlines():
        cells = line.split()
        if len(cells) == 8 and RESOURCE.fullmatch(cells[0]):
            name, requestable, consumable = cells[0], cells[4] in ("YES", "FORCED"), cells[5]
            found[name] = Resource(name, requestable, consumable)
    return found


def _keys(
    answers: Mapping[str, CommandResult],
    settings: Mapping[str, str],
    resources: Mapping[str, Resource],
) -> Iterator[Line]:
    yield from _memory(resources)
    environments = _names(answers["environments"])
    if environments:
        why = f"here are {_listed(environments)}; one whose rule is $pe_slots is looked for"
        yield Line("pe", write_value(environments[0]), why, False)
    yield _project(_names(answers["projects"]), settings)
    queues = _names(answers["queues"])
    if queues:
        why = f"the only one, or a list; here are {_listed(queues)}"
        yield Line("use_queue", write_value(queues[0]), why, False)
    yield _gpu(resources)
    if re.fullmatch(r"[1-9]\d{0,14}", settings.get("max_aj_tasks", "")):
        why = "Grid Engine's max_aj_tasks, which is asked"
        yield Line("array_size", settings["max_aj_tasks"], why, False)
    if "accounting=false" in settings.get("reporting_params", ""):
        yield Line("accounting", '"none"', "reporting_params says accounting=false")


def _memory(resources: Mapping[str, Resource]) -> Iterator[Line]:
    """Yield how to ask for memory: by what is handed out, else by what at least limits."""
    there = [resources[name] for name in MEMORY if name in resources]
    there = [each for each in there if each.requestable]
    if not there:
        return
    given = [each for each in there if each.consumable in ("YES", "JOB")]
    best = (given or there)[0]
    others = _listed([each.name for each in given if each != best])
    also = f"; so are {others}" if others else ""
    how = f"handed out{also}" if given else "not handed out (consumable NO): it only limits"
    yield Line("memory", write_value(best.name), how)
    per = "job" if best.consumable == "JOB" else "slot"
    yield Line("memory_per", write_value(per), f"qconf -sc: consumable {best.consumable}")


def _project(projects: Sequence[str], settings: Mapping[str, str]) -> Line:
    forced = settings.get("enforce_project", "false") == "true"
    why = "every job must name one" if forced else "as qsub -P, if jobs should name one"
    if projects:
        why += f"; here are {_listed(projects)}"
    return Line("project", write_value(projects[0] if projects else "lab"), why, False)


def _gpu(resources: Mapping[str, Resource]) -> Line:
    named = [name for name in resources if re.search("gpu", name, re.I)]
    if not named or "gpu" in named:
        why = "what gpus are called" if named else "no resource is called so: are there gpus?"
        return Line("gpu", '"gpu"', why, False)
    return Line("gpu", write_value(named[0]), f"of {_listed(named)}: qconf -sc")


def _limits(settings: Mapping[str, str]) -> Iterator[Table]:
    """Yield how much may be out, if Grid Engine would refuse more."""
    most = settings.get("max_u_jobs", "0")
    if re.fullmatch(r"[1-9]\d{0,14}", most):
        line = Line("max_jobs", most, "max_u_jobs: a user may have no more")
        yield Table("limits", (line,), ("How much of one tree may be out at once.",))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown}, and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown
