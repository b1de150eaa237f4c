"""Accounting: a MariaDB of the cluster's own, and who is known in it.

Owns the database's files and Slurm's accounts; must not start a daemon.
Read next: settings.py for slurmdbd.conf.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from localengines.failure import Failure
from localengines.files import write
from localengines.place import closed_to_others

from localcluster.clients import Clients
from localcluster.settings import LIMITED

INSTALL_S = 120.0
"""How long the database may take to be made, on a busy machine with a slow disk."""

_SIZES = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-method=nosync",  # it need not survive the machine
    "--innodb-flush-log-at-trx-commit=0",
)


class Accounting:
    """The accounting of one cluster."""

    def __init__(self, clients: Clients) -> None:
        self.clients = clients

    def argv(self) -> tuple[str, ...]:
        """Return how MariaDB is started: on a socket only, and with its accounts made."""
        return (
            "mariadbd",
            "--no-defaults",
            *self._options(),
            f"--socket={self.clients.places.database_socket}",
            f"--pid-file={self.clients.places / 'mysql' / 'pid'}",
            f"--log-error={self.clients.places / 'log' / 'mariadbd.log'}",
            f"--init-file={self.clients.places / 'mysql' / 'accounts.sql'}",
            "--skip-networking",
            "--skip-log-bin",
            "--innodb-lock-wait-timeout=900",  # slurmdbd asks for it
            *_SIZES,
        )

    def _options(self) -> list[str]:
        mysql = self.clients.places / "mysql"
        found = [f"--datadir={mysql / 'data'}", f"--tmpdir={mysql / 'tmp'}"]
        return [*found, f"--user={self._owner()}"] if self.clients.settings.root else found

    def _owner(self) -> str:
        """Return who MariaDB runs as where root starts it: mysql, if it can get to the files."""
        mysql = self.clients.places / "mysql"
        if (mysql / "data").exists():
            return mysql.owner()
        return "mysql" if closed_to_others(mysql) is None else "root"

    def create(self, password: str) -> None:
        """Make MariaDB's files, with the accounts it needs, before it ever runs."""
        mysql = self.clients.places / "mysql"
        given_away = self.clients.settings.root and self._owner() != "root"
        for name in ("data", "tmp"):
            (mysql / name).mkdir()
        log = self.clients.places / "log" / "mariadbd.log"
        log.touch()
        if given_away:
            for path in (mysql, mysql / "data", mysql / "tmp", log):
                shutil.chown(path, "mysql", "mysql")
        done = self.clients.client(
            "mariadb-install-db",
            "--no-defaults",
            *self._options(),
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *_SIZES,
            limit_s=INSTALL_S,
        )
        if done.returncode != 0:
            raise Failure(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}")
        write(mysql / "accounts.sql", _accounts_sql(password).encode(), 0o600)
        if given_away:
            shutil.chown(mysql / "accounts.sql", "mysql", "mysql")

    def answers(self) -> bool:
        """Tell whether MariaDB answers."""
        return self.clients.succeeds(
            "mariadb-admin",
            "--no-defaults",
            "--user=root",
            f"--socket={self.clients.places.database_socket}",
            "ping",
        )

    def set_up_accounts(self) -> None:
        """Make the cluster, an account with every local user, and the QOS of `limited`."""
        if self.clients.ask(
            "sacctmgr", "-n", "-P", "show", "cluster", "local", "format=cluster"
        ).strip():
            return
        users = ",".join(_local_users(self.clients.settings.user))
        limits = " ".join(f"{key}={value}" for key, value in LIMITED.items())
        commands = (
            "add cluster local\n"
            "add account local description=local\n"
            f"add user {users} account=local\n"
            f"add qos limited set {limits}\n"
        )
        done = self.clients.client("sacctmgr", "-i", text=commands)
        if not self.clients.ask(
            "sacctmgr", "-n", "-P", "show", "qos", "limited", "format=name"
        ).strip():
            raise Failure(f"sacctmgr could not set up accounts:\n{done.stdout}{done.stderr}")


def _accounts_sql(password: str) -> str:
    return (
        "CREATE DATABASE IF NOT EXISTS slurm_acct_db;"
        f"\nCREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED BY '{password}';"
        "\nGRANT ALL ON slurm_acct_db.* TO slurm@localhost;\n"
    )


def _local_users(me: str) -> list[str]:
    """Return the users of /etc/passwd, not a whole institute's, and the caller."""
    lines = Path("/etc/passwd").read_text(encoding="utf-8", errors="replace").splitlines()
    return sorted({me, *(line.partition(":")[0] for line in lines if not line.startswith("#"))})
