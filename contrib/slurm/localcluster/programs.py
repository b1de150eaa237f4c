"""The programs a Slurm consists of, and the Debian packages that bring them.

Owns their names; must not start anything. Read next: cluster.py, which starts them.
"""

from __future__ import annotations

from pathlib import Path

from localengines import packages

PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurmdbd",
    "slurm-wlm-basic-plugins",
    "slurm-wlm-mysql-plugin",
    "munge",
    "mariadb-server",
)
CORE = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol")
ACCOUNTING = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb", "mariadb-install-db")


def has_accounting() -> bool:
    """Tell whether slurmdbd and a database for it are installed."""
    plugins = Path("/usr").glob("lib*/**/slurm*/accounting_storage_mysql.so")
    return not packages.missing(ACCOUNTING) and any(plugins)


def install() -> bool:
    """Install what is missing; return whether anything was."""
    if not packages.missing(CORE) and has_accounting():
        return False
    parts = "Slurm's controller, slurmd, slurmdbd and clients, munge and MariaDB"
    packages.install("Slurm", PACKAGES, parts)
    return True
