"""The options of local-cluster, their defaults and their help.

Owns the words of the command line; must not act on them. Read next: main.py, which does.
"""

from __future__ import annotations

import argparse

from localcluster.faults import VERBS
from localcluster.settings import PARTITIONS

TOLD = "JOBTREE_LOCAL_CLUSTER"
"""The variable, set by `env`, that tells later calls which cluster is meant."""

NOT_UP = 3
"""status's exit status for a cluster that does not run, or not all of it."""


def parser() -> argparse.ArgumentParser:
    """Return the parser; `verb` is what is to be done, as in main.py's table."""
    whole = argparse.ArgumentParser(
        prog="local-cluster",
        description="A real Slurm of several nodes on this machine, private to its directory.",
        epilog="Run as root, every user can submit; else only you. Several clusters can coexist.",
    )
    whole.add_argument("--dir", help=argparse.SUPPRESS)
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--dir",
        default=argparse.SUPPRESS,
        help=f"the cluster's directory (${TOLD}, else one for you in the temporary directory)",
    )
    verbs = whole.add_subparsers(required=True, dest="verb", metavar="VERB")

    up = verbs.add_parser("up", parents=[place], help="start it, or what is missing of it")
    _add_up_options(up)

    verbs.add_parser("down", parents=[place], help="stop it and leave nothing behind")

    status = verbs.add_parser(
        "status", parents=[place], help=f"show what runs; exit status {NOT_UP} if not all does"
    )
    status.add_argument("--json", action="store_true", help="the same for programs")

    verbs.add_parser("env", parents=[place], help='print what to eval: eval "$(... env)"')

    install = verbs.add_parser("install", help="install Slurm and MariaDB on Debian, as root")
    install.add_argument("--quiet", action="store_true", help="say nothing if all is there")

    fault = verbs.add_parser(
        "fault",
        parents=[place],
        help="break or mend something: fault --help lists what",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_verb_list(),
    )
    fault.add_argument("fault", choices=VERBS, metavar="FAULT")
    fault.add_argument("target", nargs="?", default="", metavar="NODE|JOBID")

    watch = verbs.add_parser("watch", parents=[place])  # no help: up --while-pid starts it
    watch.add_argument("pid", type=int)
    watch.add_argument("start", type=int)
    return whole


def _add_up_options(up: argparse.ArgumentParser) -> None:
    up.add_argument("--nodes", type=_count, default=4, help="how many nodes (4)")
    up.add_argument("--cpus", type=_count, default=8, help="of each node; may be invented (8)")
    up.add_argument(
        "--memory", type=_count, default=8192, metavar="MIB", help="of each node (8192)"
    )
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
    up.add_argument("--port", type=_count, help="the first of its ports (a free block)")
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
        type=_conf,
        metavar="KEY=VALUE",
        help="a line of slurm.conf that wins over the one made here; may be repeated",
    )
    up.add_argument(
        "--while-pid", type=_count, metavar="PID", help="take it down when this process ends"
    )


def _verb_list() -> str:
    width = max(len(f"{name} {verb.takes}") for name, verb in VERBS.items())
    lines = [f"  {f'{name} {verb.takes}':{width}}  {verb.what}" for name, verb in VERBS.items()]
    return "\n".join(lines)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _partitions(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in PARTITIONS]
    if unknown:
        known = ", ".join(PARTITIONS)
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {known}")
    return names


def _conf(text: str) -> str:
    if "=" not in text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return text
