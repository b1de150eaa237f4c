"""The environment on its way to a node: what a batch job is given, and what its setup starts with.

Owns which variables go with a submission, where others may see them, and the file of shell lines
that holds the rest; must not print a variable. Read next: environment.py, what steps run in.
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
"""What finding and starting a program takes: a worker reads all else from the tree."""

SETUP_MARK = "JOBTREE_ENVIRONMENT"
"""Set by the file of shell lines: what runs now has begun with all of it."""

SHELL_S_OWN = frozenset(("PWD", "OLDPWD", "SHLVL", "_"))
AWKWARD = frozenset(("BASHOPTS", "EUID", "IFS", "PPID", "SHELLOPTS", "UID"))
"""What a shell sets for itself, and what it cannot or must not be told."""

_NOT_PLAIN = AWKWARD | SHELL_S_OWN

_FUNCTION = r"BASH_FUNC_([^%()]+)(%%|\(\))"


def with_submission(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a batch job is given to start its worker with: nothing that is a secret."""
    return {
        name: value
        for name, value in environ.items()
        if name in SEEN or name.startswith(SEEN_PREFIXES)
    }


def is_plain(name: str) -> bool:
    """Tell whether a shell can hand on a variable of this name, as it is."""
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
