"""The clients of an engine, run against one instance of it, each within a time limit.

Owns how a client is run; what it is asked, and in which environment, is an engine's own matter.
Must not start a daemon or send a signal. Read next: daemons.py, whose daemons answer.
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence

from localengines.failure import Failure
from localengines.packages import PATH, program

CLIENT_S = 30.0


class Asking(ABC):
    """The way to ask one instance of an engine."""

    @abstractmethod
    def environ(self) -> dict[str, str]:
        """Return the environment of the daemons, and of the clients that are run here."""

    def plain_environ(self, home: str, user: str) -> dict[str, str]:
        """Return what that of every engine has."""
        return {"PATH": PATH, "LANG": "C.UTF-8", "HOME": home, "USER": user}

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return what to execute for a client and its arguments."""
        return [program(argv[0]), *argv[1:]]

    def client(
        self, *argv: str, text: str = "", limit_s: float = CLIENT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a client with this text as its input, whatever it returns; -1 if it took too long.

        Some clients of a frozen daemon wait for ever.
        """
        try:
            return subprocess.run(
                self.command(argv),
                env=self.environ(),
                cwd="/",
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, -1, "", f"no answer within {limit_s:g} s")

    def ask(self, *argv: str, text: str = "", limit_s: float = CLIENT_S) -> str:
        """Return what a client prints; Failure with its complaint if it fails."""
        done = self.client(*argv, text=text, limit_s=limit_s)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()) or done.returncode
            raise Failure(f"{' '.join(argv)}: {said}")
        return done.stdout

    def succeeds(self, *argv: str, limit_s: float = CLIENT_S) -> bool:
        """Tell whether a client returns 0."""
        return self.client(*argv, limit_s=limit_s).returncode == 0
