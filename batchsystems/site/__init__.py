"""Site: what an administrator says of a cluster, as plain data for the rest of the program.

Owns the data and where each value came from; reads nothing, and must not import anything heavy.
Read next: ../sitefiles.py, which finds site files; fields.py, how keys are declared.
"""

from collections.abc import Mapping
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
    """One value. key: its full name, such as `pacing.poll_interval`."""

    key: str
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

    def table(self, section: str) -> dict[str, Any]:
        """Return what stands in a section, by the names of its keys."""
        return {
            key.partition(".")[2]: setting.value
            for key, setting in self.settings.items()
            if key.startswith(f"{section}.")
        }

    def options(self, declaring: type, section: str = "") -> dict[str, Any]:
        """Return field -> value of what is set among the keys that a dataclass declares.

        section: the table of those that name none. Raises TypeError for another key in it.
        """
        from batchsystems.site.fields import keys_of

        own, found = self.table(section), {}
        for key in keys_of(declaring):
            if key.name in own:
                found[key.field] = own.pop(key.name)
            elif key.name in self.settings:
                found[key.field] = self.settings[key.name].value
        if own:
            raise TypeError(f"unknown keys in [{section}]: {', '.join(own)}")
        return found

    def make(self, declaring: type[T], section: str = "") -> T:
        """Return such a dataclass, with its defaults for what is not set."""
        return declaring(**self.options(declaring, section))
