"""The options of `local-cluster up`, their defaults and their help.

Owns the words of the command line; must not act on them. Read next: main.py.
"""

from __future__ import annotations

import argparse

from localengines.program import count, setting

from localcluster.settings import PARTITIONS


def add_up_options(up: argparse.ArgumentParser) -> None:
    """Add them; their names are those of Cluster.options."""
    up.add_argument("--nodes", type=count, default=4, help="how many nodes (4)")
    up.add_argument("--cpus", type=count, default=8, help="of each node; may be invented (8)")
    up.add_argument("--memory", type=count, default=8192, metavar="MIB", help="of each node (8192)")
    up.add_argument(
        "--cgroup",
        choices=("auto", "0", "1"),
        default="auto",
        help="limit memory by cgroups (auto: where root finds version 1)",
    )
    up.add_argument(
        "--accounting",
        choices=("auto", "0", "1"),
        default="auto",
        help="keep accounting, in a MariaDB of its own (auto: if installed)",
    )
    up.add_argument("--port", type=count, help="the first of its ports (a free block)")
    up.add_argument(
        "--partitions",
        type=_partitions,
        default=list(PARTITIONS),
        metavar="NAME,...",
        help=f"the first is the default ({','.join(PARTITIONS)})",
    )
    up.add_argument(
        "--conf",
        action="append",
        default=[],
        type=setting,
        metavar="KEY=VALUE",
        help="a line of slurm.conf that wins over the one made here; may be repeated",
    )


def _partitions(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in PARTITIONS]
    if unknown:
        known = ", ".join(PARTITIONS)
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {known}")
    return names
