"""Defaults of users and sites that Slurm's commands obey, and what becomes of each. Pure.

Owns the table; rests on the manuals of Slurm 22.05 to 25.05 (sbatch, squeue, sacct, scancel, sinfo,
scontrol: "environment variables") and on what 22.05 was seen to do with ~/.slurm/defaults. None may
change an answer or break what jobTree promises of a job; who pays for a job and where it runs is
the user's to say. Read next: docs/defaults.md, dialect.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from batchsystems.commandline.dialect import UserDefaults, Wishes
from batchsystems.common.default_files import Defaults
from batchsystems.errors import BatchSystemError
from batchsystems.slurm.settings import SlurmSettings

LOCATION = frozenset({"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"})
"""Where Slurm is, and who asks: kept for every command."""

FIXED: Mapping[str, str] = {"SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"}
"""Said to every command: lists of tasks are not cut, times are written as they are read."""

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "account": ("SBATCH_ACCOUNT",),
    "qos": ("SBATCH_QOS",),
    "partition": ("SBATCH_PARTITION",),
    "constraint": ("SBATCH_CONSTRAINT",),
    "reservation": ("SBATCH_RESERVATION",),
    "cluster": ("SBATCH_CLUSTERS", "SLURM_CLUSTERS"),
}
"""Wishes that stand for a setting which the site file leaves open."""

WISHES = frozenset(
    f"SBATCH_{name}"
    for name in (
        *("ACCOUNT", "QOS", "PARTITION", "CONSTRAINT", "RESERVATION", "WCKEY"),
        *("CLUSTER_CONSTRAINT",),
        *("BURST_BUFFER", "DELAY_BOOT", "REQ_SWITCH", "WAIT4SWITCH", "NETWORK", "POWER"),
        *("ACCTG_FREQ", "PROFILE", "DISTRIBUTION", "HINT", "MEM_BIND", "CPU_FREQ_REQ"),
        *("GPU_BIND", "GPU_FREQ", "GRES_FLAGS", "CORE_SPEC", "THREAD_SPEC", "THREADS_PER_CORE"),
        *("EXCLUSIVE", "SPREAD_JOB", "OOM_KILL_STEP"),
    )
)
"""Wishes that sbatch follows itself: who pays, where, and how a node is used."""

OVERRULED = frozenset(
    f"SBATCH_{name}"
    for name in (
        *("ARRAY_INX", "BATCH", "CONTAINER", "CONTAINER_ID", "CPUS_PER_GPU", "DEBUG", "ERROR"),
        *("EXPORT", "GET_USER_ENV", "GPUS", "GPUS_PER_NODE", "GPUS_PER_SOCKET", "GPUS_PER_TASK"),
        *("GRES", "IGNORE_PBS", "INPUT", "JOB_NAME", "MEM_PER_CPU", "MEM_PER_GPU"),
        *("MEM_PER_NODE", "NO_KILL", "NO_REQUEUE", "OPEN_MODE", "OUTPUT", "OVERCOMMIT"),
        *("REQUEUE", "SIGNAL", "TIMELIMIT", "TRES_PER_TASK", "USE_MIN_NODES", "WAIT"),
        *("WAIT_ALL_NODES",),
    )
)
"""Wishes that are not followed: jobTree says these itself for each job, or relies on them."""

FILE = "~/.slurm/defaults"
"""Read where slurm.conf names the plugin cli_filter/user_defaults."""

UNDONE: Mapping[str, str] = {
    "array": "--array=",
    "begin": "--begin=now",
    "dependency": "--dependency=",
    "error": "",
    "input": "--input=/dev/null",
    "mail-type": "--mail-type=NONE",
    "wait": "",
}
"""Options of that file that must not act on a job, and what undoes each."""

NOT_UNDONE = frozenset({"hold", "mem-per-cpu", "mem-per-gpu", "quiet", "test-only"})
"""Options of that file that must not act on a job, and that nothing undoes."""


def with_wishes(own: SlurmSettings, env: Mapping[str, str]) -> SlurmSettings:
    """Return the settings with the user's wishes where these leave a thing open."""
    found: dict[str, Any] = {}
    for setting, names in SETTINGS.items():
        wish = next((env[name] for name in names if env.get(name)), "")
        if wish and not getattr(own, setting) and not (setting == "cluster" and "," in wish):
            found[setting] = wish
    return replace(own, **found)


def wishes(own: SlurmSettings, env: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the wishes that are followed, as NAME=value, and the names of those that are not.

    own: the settings as with_wishes() returned them.
    """
    by_name = {name: setting for setting, names in SETTINGS.items() for name in names}
    followed: list[str] = []
    others: list[str] = []
    for name in sorted(env):
        setting = by_name.get(name)
        if setting is not None and not env[name]:
            continue
        if setting is not None:
            told = followed if getattr(own, setting) == env[name] else others
        elif name in WISHES:
            told = followed
        elif name in OVERRULED or name.startswith("SBATCH_"):
            told = others
        else:
            continue
        told.append(f"{name}={env[name]}" if told is followed else name)
    return followed, others


def defaults_of(files: Iterable[Defaults]) -> dict[str, str]:
    """Return the options that a file of defaults has for sbatch, and their values.

    A line is `[command:][cluster:]option=value`.
    """
    found = {}
    for file in files:
        for line in file.text.splitlines():
            name, _, value = line.strip().partition("=")
            *scope, option = name.split(":")
            if option.strip() and not line.startswith("#") and scope[:1] in ([], ["sbatch"], ["*"]):
                found[option.strip()] = value.strip()
    return found


def require_harmless(options: Mapping[str, str]) -> None:
    """Raise BatchSystemError (JT250) if such a file has what cannot be undone."""
    harmful = sorted(NOT_UNDONE & options.keys())
    if harmful:
        raise BatchSystemError(
            "a file of defaults for sbatch changes jobs in a way that no option undoes",
            code="JT250",
            where=f"{FILE}: {', '.join(harmful)}",
            why="a job that waits for a person, asks for memory twice, is never submitted, or "
            "whose number is not told, cannot be one of a tree",
            fix="remove that line, or have it apply to another command (`srun:*:NAME=value`)",
        )


class SlurmDefaults(UserDefaults):
    """The user's SBATCH_* variables, and a file that the plugin cli_filter/user_defaults reads."""

    def files(self, env: Mapping[str, str]) -> Sequence[str]:
        """Return its path."""
        return (FILE,)

    def read(self, settings: Any, env: Mapping[str, str], files: Sequence[Defaults]) -> Wishes:
        """Return the settings with wishes, and the file's options, which have to be undone."""
        own, options = with_wishes(settings, env), defaults_of(files)
        require_harmless(options)
        return Wishes(own, options, *wishes(own, env))


def undoing(options: Mapping[str, str], size: int | None, output: str) -> list[str]:
    """Return the options that undo such a file's, for a submission of this size."""
    words = [UNDONE[name] for name in sorted(options) if UNDONE.get(name)]
    if size is not None:
        words = [word for word in words if word != UNDONE["array"]]
    return [*words, f"--error={output}"] if "error" in options else words


def undoing_env(options: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that undo such a file's options where no option can."""
    return {"SBATCH_WAIT": "0"} if "wait" in options else {}
