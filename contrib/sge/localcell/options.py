"""The options of `local-cell up`, their defaults and their help.

Owns the words of the command line; must not act on them. Read next: main.py.
"""

from __future__ import annotations

import argparse

from localengines.program import count, setting


def add_up_options(up: argparse.ArgumentParser) -> None:
    """Add them; their names are those of Cell.options."""
    up.add_argument("--hosts", type=_hosts, default=3, help="how many execution hosts (3)")
    up.add_argument("--slots", type=count, default=4, help="of each host (4)")
    up.add_argument(
        "--memory",
        type=count,
        default=16384,
        metavar="MIB",
        help="of each host; may be invented (16384)",
    )
    up.add_argument(
        "--namespaces",
        choices=("auto", "0", "1"),
        default="auto",
        help="make each host a machine of its own (auto: where root can); 0: one host, this one",
    )
    up.add_argument("--port", type=count, help="the first of its two ports (a free block)")
    up.add_argument(
        "--conf",
        action="append",
        default=[],
        type=setting,
        metavar="KEY=VALUE",
        help="a line of the global configuration that wins over the one made here; may be repeated",
    )


def _hosts(text: str) -> int:
    number = count(text)
    if number > 99:
        raise argparse.ArgumentTypeError("99 hosts are the most")
    return number
