"""Factory: the batch system that speaks a dialect, made with its settings.

Owns what is read for that: a site's settings, and the user's own defaults. Must not run a
command. Read next: adapter.py, what is made; ../registry.py, which calls.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from batchsystems.clock import Clock
from batchsystems.commandline.adapter import CommandLine
from batchsystems.commandline.dialect import Dialect, Wishes
from batchsystems.commandline.pacing import Pace, Timeouts
from batchsystems.common import default_files
from batchsystems.interface import Caller
from batchsystems.site import Site
from batchsystems.transport.local import Transport

log = logging.getLogger("jobtree.batchsystems")


@dataclass(frozen=True)
class AdapterOf:
    """Makes the batch system that speaks a dialect: what is registered calls it as a class."""

    dialect: type[Dialect]
    here = False

    @property
    def settings(self) -> type[Any]:
        """What declares its table in a site file."""
        return self.dialect.settings_class

    def __call__(
        self,
        settings: Any = None,
        pace: Pace | None = None,
        timeouts: Timeouts | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> CommandLine:
        """Make one. settings: one of the dialect's settings_class.

        What these leave open is as the user's own defaults say, where that is theirs to say.
        """
        own = self.dialect.settings_class() if settings is None else settings
        wishes = wishes_of(self.dialect, own)
        speaks = self.dialect(wishes.settings, wishes.told)
        made = CommandLine(speaks, pace, timeouts, transport, clock)
        tell_wishes(made.name, wishes)
        return made

    def from_site(self, site: Site, section: str, caller: Caller) -> CommandLine:
        """Make one by its table of a site file, and by those that are for every scheduler."""
        own = site.make(self.dialect.settings_class, section)
        return self(own, site.make(Pace), site.make(Timeouts))


def adapter_of(kind: object) -> AdapterOf | None:
    """Return what makes the batch system of a class that is a dialect; None if it is none."""
    if isinstance(kind, type) and issubclass(kind, Dialect):
        return AdapterOf(kind)
    return None


def wishes_of(dialect: type[Dialect], settings: Any) -> Wishes:
    """Read what the user's variables and files of defaults ask for, where a dialect heeds any."""
    if dialect.defaults is None:
        return Wishes(settings)
    files = default_files.read(dialect.defaults.files(os.environ))
    return dialect.defaults.read(settings, os.environ, files)


def tell_wishes(name: str, wishes: Wishes) -> None:
    """Say which defaults of the user's own count for jobs, and which do not."""
    if wishes.followed:
        log.info("%s: jobs are submitted as you wish: %s", name, ", ".join(wishes.followed))
    if wishes.others:
        log.warning(
            "%s: these defaults of yours are not followed, since jobTree or the site file sets "
            "the same for each job: %s",
            name,
            ", ".join(wishes.others),
        )
