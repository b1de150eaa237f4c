"""The environment a workflow was started in, kept so that its steps run in the same one.

Owns environment.json and which variables belong to the node; must never print a variable.
Read next: pickling.py, which needs the script's path from here.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from jobtree.errors import StoreError
from jobtree.mailbox.bundles import digest
from jobtree.mailbox.files import read_file, read_private_range, remove_file, write_file
from jobtree.mailbox.layout import ENVIRONMENT, SETUP_ENVIRONMENT
from jobtree.payload.shell_environment import SETUP_MARK, SHELL_S_OWN, is_plain, shell_lines

MOST_BYTES = 64 * 1024 * 1024


class Environment(NamedTuple):
    """What the master's process had when it started."""

    environ: dict[str, str]
    directory: str
    umask: int
    sys_path: list[str]
    main_path: str  # the script, "" if there is none (interactive, python -c)
    main_module: str  # its dotted name if it was run with `python -m`, else ""
    python: str  # the interpreter
    prefix: str = ""  # its sys.prefix
    site_code: list[str] | None = None  # what `site` ran at its start; None if not on record

    def encode(self) -> bytes:
        """Return the content of environment.json."""
        return json.dumps(self._asdict()).encode()

    def digest(self) -> str:
        """Return the digest by which that content is recognised."""
        return digest(self.encode())


def capture() -> Environment:
    """Return the environment of this process, as it is now."""
    from jobtree.payload.python_startup import site_code

    directory = os.getcwd()
    umask = os.umask(0o077)
    os.umask(umask)
    path, module = main_script()
    return Environment(
        {_as_utf8(name): _as_utf8(value) for name, value in os.environ.items()},
        _as_utf8(directory),
        umask,
        [_as_utf8(os.path.join(directory, entry)) for entry in sys.path],
        _as_utf8(path),
        module,
        _as_utf8(sys.executable),
        _as_utf8(sys.prefix),
        [_as_utf8(entry) for entry in site_code()],
    )


def _as_utf8(text: str) -> str:
    """Return a text of the system's (a path, a variable) decoded anew, as workers do: as UTF-8.

    A master in a locale of ISO-8859-1 or ASCII has decoded the same bytes to other characters.
    """
    if text.isascii():
        return text
    return os.fsencode(text).decode("utf-8", "surrogateescape")


def main_script() -> tuple[str, str]:
    """Return the path of the running script, and its module name if run with `python -m`.

    The path for a zip application lies in the archive: app.pyz/__main__.py.
    """
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if not isinstance(path, str) or not (
        os.path.isfile(path) or os.path.isfile(os.path.dirname(path))
    ):
        return "", ""
    spec = getattr(main, "__spec__", None)
    name = getattr(spec, "name", "")
    return os.path.abspath(path), "" if name == "__main__" else name


def save(tree: str, environment: Environment) -> str:
    """Write environment.json, readable by this user alone; return its digest. Raises OSError."""
    write_setup(tree, environment)
    write_file(f"{tree}/{ENVIRONMENT}", environment.encode())
    return environment.digest()


def write_setup(tree: str, environment: Environment) -> None:
    """Write environment.sh, which the site's setup of a job reads first, unless it is so already.

    A tree of an earlier version has none; a loss of power may have emptied it. Raises OSError,
    StoreError (JT330) if others could have written it.
    """
    path = f"{tree}/{SETUP_ENVIRONMENT}"
    elsewhere = {n: v for n, v in environment.environ.items() if not belongs_to_node(n)}
    lines = shell_lines(elsewhere)
    with suppress(FileNotFoundError):
        if read_file(path, own=True) == lines:
            return
    write_file(path, lines)


def keep_setup(tree: str, digests: str = "") -> None:
    """Write environment.sh again unless it agrees with environment.json; raises as load() does."""
    try:
        saved = load(tree, digests)
    except (FileNotFoundError, ValueError):  # a worker will say so
        return
    write_setup(tree, saved)


def _read(tree: str, suffix: str = "") -> bytes:
    """Return the content of environment.json, or of the copy of an earlier one."""
    return read_private_range(f"{tree}/{ENVIRONMENT}{suffix}", 0, MOST_BYTES)


def recorded(tree: str, digests: str) -> str:
    """Return the digest of environment.json if it is one of those on record, else ""."""
    try:
        found = digest(_read(tree))
    except FileNotFoundError:
        return ""
    return found if found in digests.split() else ""


def require(tree: str, digests: str) -> None:
    """Refuse a tree whose steps would find no environment. Raises StoreError JT332, OSError."""
    if digests and not recorded(tree, digests):
        raise _damaged(tree)


def _damaged(tree: str) -> StoreError:
    path = f"{tree}/{ENVIRONMENT}"
    try:
        size = os.stat(path).st_size
        where = "it is empty" if not size else f"its {size} bytes are others than were recorded"
    except OSError:
        where = "it is not there"
    return StoreError(
        f"{path} is not what was written",
        code="JT332",
        where=where,
        why="steps run in the environment, the directory and by the script that it names; "
        "it was not used",
        fix="start the workflow's script again with this --jobTree: it writes a new one",
    )


def load(tree: str, digests: str = "") -> Environment:
    """Return what save() wrote. digests: those on record, if any; it must have one of them.

    Raises StoreError (JT330 if others could have written it, JT332 if it is not what was
    written), OSError, ValueError if damaged.
    """
    content = _read(tree)
    if digests and digest(content) not in digests.split():
        content = _earlier(tree, digests)
    try:
        return Environment(**json.loads(content))
    except TypeError as error:
        raise ValueError(f"{tree}/{ENVIRONMENT} is damaged: {error}") from error


def keep_earlier(tree: str, known: str) -> None:
    """Keep a copy of environment.json for batch jobs in the queue that were submitted with it.

    known: its digest. Raises OSError.
    """
    content = _read(tree)
    if digest(content) == known:
        write_file(f"{tree}/{ENVIRONMENT}.{known}", content)


def drop_earlier(tree: str) -> None:
    """Remove the copies of keep_earlier(): no batch job is left that needs them."""
    for name in os.listdir(tree):
        if name.startswith(f"{ENVIRONMENT}."):
            remove_file(f"{tree}/{name}")


def _earlier(tree: str, digests: str) -> bytes:
    """Return the environment with one of these digests, which another master has replaced."""
    for known in digests.split():
        try:
            content = _read(tree, f".{known}")
        except FileNotFoundError:
            continue
        if digest(content) == known:
            return content
    raise _damaged(tree)


NODE_NAMES = frozenset(
    (
        *("TMPDIR", "TMP", "TEMP", "HOSTNAME", "HOST", "HOSTTYPE", "XDG_RUNTIME_DIR"),
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
        *("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"),
        *("JOB_ID", "JOB_NAME", "JOB_SCRIPT", "TASK_ID", "QUEUE", "NSLOTS", "NHOSTS", "NQUEUES"),
        *("ARC", "PE", "PE_HOSTFILE", "REQUEST", "RESTARTED", "ENVIRONMENT", "PARASOL"),
        *("PMI_RANK", "PMI_SIZE", "PMI_FD"),
    )
)
"""Variables that tell where a process runs and what it was given there."""

NODE_PREFIXES = (
    *("SLURM_", "SLURMD_", "SGE_", "PBS_", "LSB_", "LS_", "LSF_", "COBALT_", "FLUX_"),
    *("_CONDOR_", "PMIX_"),
)


def belongs_to_node(name: str) -> bool:
    """Tell whether the node's value of a variable wins over the saved one."""
    return name in NODE_NAMES or name.startswith(NODE_PREFIXES)


def step_environ(saved: Mapping[str, str], node: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a step: the saved one, with the node's own variables.

    If the site's setup of jobs has run, it started from the saved environment, and its result wins.
    Raises ValueError if it started from a part of it.
    """
    if node.get(SETUP_MARK, "whole") != "whole":
        raise ValueError(f"{SETUP_ENVIRONMENT} is damaged: the setup of jobs had not all of it")
    if SETUP_MARK in node:
        own = {n: v for n, v in node.items() if n != SETUP_MARK and n not in SHELL_S_OWN}
        lost = {n: v for n, v in saved.items() if not (is_plain(n) or belongs_to_node(n))}
        return lost | own
    mixed = {name: value for name, value in saved.items() if not belongs_to_node(name)}
    mixed.update((name, value) for name, value in node.items() if belongs_to_node(name))
    return mixed
