"""The environment on its way to a node: with the submission, and as shell lines in the tree.

Owns which variables go with a submission, where other users may see them, and the file of shell
lines for the site's setup of jobs; must not print a variable. Read next: environment.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SEEN = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP"),
        *("TEMP", "BASH_ENV", "ENV", "GLIBC_TUNABLES", "KRB5CCNAME"),
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    )
)
SEEN_PREFIXES = ("LC_", "LD_", "MALLOC_")
"""What is needed to find and start a program: a worker reads all else from the tree."""

SETUP_MARK = "JOBTREE_ENVIRONMENT"
"""Set by the file of shell lines: "begun", and "whole" once all of it was read."""

SHELL_S_OWN = frozenset(("PWD", "OLDPWD", "SHLVL", "_"))
AWKWARD = frozenset(("BASHOPTS", "EUID", "IFS", "PPID", "SHELLOPTS", "UID"))
"""What a shell sets for itself, and what it cannot or must not be given."""

_NOT_PLAIN = AWKWARD | SHELL_S_OWN

_FUNCTION = r"BASH_FUNC_([^%()]+)(%%|\(\))"


def with_submission(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that go with a submission: none of them is a secret."""
    return {
        name: value
        for name, value in environ.items()
        if name in SEEN or name.startswith(SEEN_PREFIXES)
    }


def is_plain(name: str) -> bool:
    """Tell whether a shell can pass on a variable of this name unchanged."""
    return name.isidentifier() and name.isascii() and name not in _NOT_PLAIN


def shell_lines(environ: Mapping[str, str]) -> bytes:
    """Return the lines by which a shell takes these variables, and bash its functions."""
    import shlex  # masters alone need it

    lines = [f"{SETUP_MARK}=begun; export {SETUP_MARK}"]
    for name, value in environ.items():
        function = re.fullmatch(_FUNCTION, name)
        if is_plain(name) and name != SETUP_MARK:
            lines.append(f"export {name}={shlex.quote(value)}")
        elif function is not None and value.startswith("()"):
            made = shlex.quote(f"{function[1]} {value}")
            lines.append(
                f'[ -z "${{BASH_VERSION-}}" ] || '
                f"{{ eval {made} && export -f {shlex.quote(function[1])}; }} || :"
            )
    return "\n".join([*lines, f"{SETUP_MARK}=whole", ""]).encode("utf-8", "surrogateescape")
