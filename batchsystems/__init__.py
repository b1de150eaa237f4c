"""Batch systems: one contract, many schedulers; usable without jobtree, which it never imports.

Owns the package's public names, loaded when first used; must not import anything heavy.
Read next: interface.py, the contract; registry.py, the names; docs/batch-systems.md.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true; importing typing would cost 5 ms
if TYPE_CHECKING:
    from batchsystems.errors import (
        BatchSystemError,
        ImpossibleRequest,
        ReportableError,
        SiteError,
        Unobtainable,
    )
    from batchsystems.interface import (
        INDEX,
        Accepted,
        Ambiguous,
        BatchSystem,
        Caller,
        Capacity,
        JobEnd,
        JobRecord,
        JobSpec,
        Reason,
        Refused,
        Resources,
        Trouble,
        Update,
    )
    from batchsystems.registry import load, load_for, names
    from batchsystems.singlemachine.acidtest import AcidTest
    from batchsystems.singlemachine.adapter import SingleMachine
    from batchsystems.site import Site
    from batchsystems.sitefiles import load_site

_HOMES = {
    "singlemachine.acidtest": ("AcidTest",),
    "errors": (
        *("BatchSystemError", "ImpossibleRequest", "ReportableError", "SiteError"),
        "Unobtainable",
    ),
    "interface": (
        *("INDEX", "Accepted", "Ambiguous", "BatchSystem", "Caller", "Capacity", "JobEnd"),
        *("JobRecord", "JobSpec", "Reason", "Refused", "Resources", "Trouble", "Update"),
    ),
    "registry": ("load", "load_for", "names"),
    "singlemachine.adapter": ("SingleMachine",),
    "site": ("Site",),
    "sitefiles": ("load_site",),
}

__all__ = [
    "INDEX", "Accepted", "AcidTest", "Ambiguous", "BatchSystem", "BatchSystemError", "Caller",
    "Capacity", "ImpossibleRequest", "JobEnd", "JobRecord", "JobSpec", "Reason", "Refused",
    "ReportableError", "Resources", "SingleMachine", "Site", "SiteError", "Trouble",
    "Unobtainable", "Update", "load", "load_for", "load_site", "names",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import the module a public name lives in, when the name is first used."""
    for module, offered in _HOMES.items():
        if name in offered:
            from importlib import import_module

            value: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
