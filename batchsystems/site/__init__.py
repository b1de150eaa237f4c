"""Site: what an administrator says of a cluster, as plain data for the rest of the program.

Owns the data and where each value came from; reads nothing, and must not import anything heavy.
Read next: ../sitefiles.py, which finds site files; sections.py, what may stand in one.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Origin(NamedTuple):
    """Where something is said. via: what named the file, for people ("--site", "system")."""

    file: str
    line: int = 0
    via: str = ""

    def __str__(self) -> str:
        """Return `file:line`, as editors take it."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Setting(NamedTuple):
    """One value. key: as in the file (`pacing.poll_interval`); field: as in code (`poll_s`)."""

    key: str
    field: str
    value: Any
    origin: Origin
    written: str = ""
    """the value as the file has it, on one line"""


@dataclass(frozen=True)
class Site:
    """What the site files say, merged: the first file to set a key wins.

    settings, locks: by key; a lock may also name a whole section. files: those that were read,
    in order. digest: of all their texts. Empty if there is no site file: every default holds.
    """

    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    locks: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}))
    files: tuple[str, ...] = ()
    digest: str = ""

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, the default if no file sets it."""
        found = self.settings.get(key)
        return default if found is None else found.value

    def lock_of(self, key: str) -> Origin | None:
        """Return who locked a key, or its section; None if it is free."""
        return self.locks.get(key) or self.locks.get(key.partition(".")[0])

    def fields(self, *sections: str) -> dict[str, Any]:
        """Return what these sections set, by the names that code uses."""
        return {
            setting.field: setting.value
            for key, setting in self.settings.items()
            if key.partition(".")[0] in sections
        }

    def make(self, kind: Callable[..., T], *sections: str, **more: Any) -> T:
        """Return a dataclass or named tuple of what these sections set among its fields."""
        names: Collection[str] = getattr(kind, "_fields", getattr(kind, "__dataclass_fields__", ()))
        found = {name: value for name, value in self.fields(*sections).items() if name in names}
        return kind(**(found | more))
