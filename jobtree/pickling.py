"""Pickling by reference: how the script's own classes reach the workers.

Owns the mapping of `__main__` to the script; must not know what a Target is, nor read files
of pickles. Read next: handover.py, which says what of a Target is pickled.

A worker imports the script by path under the name `__jobtree_main__`, so its guarded part does
not run, and finds both `__main__` and that name there. Classes go by name: a bug mended in the
script before a restart is mended in the pickles too.
"""

from __future__ import annotations

import sys
from _pickle import Unpickler, dumps  # the pickle module itself is slower to import
from io import BytesIO
from types import ModuleType
from typing import Any

from jobtree.errors import JobTreeError

PROTOCOL = 5
MAIN = "__jobtree_main__"
_MAIN_NAMES = ("__main__", MAIN)


def dump(value: object) -> bytes:
    """Return `value` pickled. Raises whatever its parts raise: see explain()."""
    return dumps(value, PROTOCOL)


class Script:
    """The script a workflow was started from, imported here when a pickle first asks for it."""

    def __init__(self, path: str, module: str = "") -> None:
        self._path, self._name = path, module
        self._module: ModuleType | None = None
        self._failure: JobTreeError | None = None

    def module(self) -> ModuleType:
        """Return the imported script. Raises JobTreeError (JT410, JT411) if it cannot be."""
        if self._failure is not None:
            raise self._failure
        if self._module is None:
            try:
                self._module = self._imported()
            except JobTreeError as failure:
                self._failure = failure
                raise
        return self._module

    def _imported(self) -> ModuleType:
        if not self._path and not self._name:
            raise _no_script("a pickled Target's class is in __main__, and no script is recorded")
        try:
            return _import(self._name) if self._name else _run_as_module(self._path)
        except FileNotFoundError as error:
            if error.filename != self._path:
                raise
            raise JobTreeError(
                f"the workflow's script is gone: {self._path}",
                code="JT410",
                why="workers import it by this path to find the classes defined in it",
                fix="put it back there, or restart the workflow from its new place",
            ) from None
        except SystemExit as left:
            raise JobTreeError(
                f"the workflow's script ended while a worker imported it (exit {left.code})",
                code="JT411",
                where=self._path,
                why="everything outside of classes and functions runs at import",
                fix='put what starts the workflow under  if __name__ == "__main__":',
            ) from None


class _Loader(Unpickler):
    """Unpickles, finding what was in `__main__` in the script."""

    def __init__(self, pickled: bytes, script: Script) -> None:
        super().__init__(BytesIO(pickled))
        self._script = script

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle refers to by name."""
        if module not in _MAIN_NAMES:
            return super().find_class(module, name)
        found: Any = self._script.module()
        for part in name.split("."):
            if not hasattr(found, part):
                raise JobTreeError(
                    f"the workflow's script has no {name} any more",
                    code="JT412",
                    where=str(self._script.module().__file__),
                    fix="restore it, or run the tree afresh",
                )
            found = getattr(found, part)
        return found


def load(pickled: bytes, script: Script) -> Any:
    """Return the value dump() was given; executes what the pickle says.

    Raises JobTreeError for the script's faults, else whatever unpickling raises.
    """
    try:
        return _Loader(pickled, script).load()
    except ModuleNotFoundError:
        if not _run_site():
            raise
        return _Loader(pickled, script).load()


class _Site:
    done = False


def _run_site() -> bool:
    """Run what `python -S` skipped (.pth files, editable installs); tell whether it was new."""
    if _Site.done or not sys.flags.no_site:
        return False
    _Site.done = True
    import site

    site.main()
    return True


def _run_as_module(path: str) -> ModuleType:
    """Import a script, whatever its suffix, under another name than `__main__`.

    Not from a .pyc: those tell versions apart by the second, and a bug just mended must be.
    """
    with open(path, "rb") as file:
        source = file.read()
    module = ModuleType(MAIN)
    module.__file__ = path
    sys.modules[MAIN] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except ModuleNotFoundError:
        if not _run_site():
            raise
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return module


def _import(name: str) -> ModuleType:
    from importlib import import_module

    return import_module(name)


def _no_script(what: str) -> JobTreeError:
    return JobTreeError(
        what,
        code="JT404",
        why="workers find classes by importing the file they are written in",
        fix="save the workflow as a script, or move its Targets into a module",
    )


def refuse_without_script(pickled: bytes, script: str) -> None:
    """Refuse a pickle that refers to `__main__` when no file stands behind it (JT404)."""
    if script:
        return
    from pickletools import genops

    before: list[object] = []
    for opcode, argument, _ in genops(pickled):
        if opcode.name == "STACK_GLOBAL" and "__main__" in before[-4:]:
            raise _no_script(f"{before[-1]} is defined in an interactive session or by python -c")
        if isinstance(argument, str):
            before.append(argument)


# ---- naming what cannot be pickled -------------------------------------------------------

MOST_LOOKED_AT = 10_000


def explain(value: object, name: str) -> tuple[str, object]:
    """Return the path and the value of the innermost part that cannot be pickled.

    ("self.db.conn", <sqlite3.Connection ...>); `name` itself if no part of it is at fault.
    """
    looked_at: set[int] = set()
    found = True
    while found:
        found = False
        for path, part in _parts(value, name):
            if id(part) in looked_at or len(looked_at) > MOST_LOOKED_AT:
                continue
            looked_at.add(id(part))
            if not _can_be_pickled(part):
                value, name, found = part, path, True
                break
    return name, value


def _parts(value: object, name: str) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        pairs = [(f"{name}[{key!r:.60}]", part) for key, part in value.items()]
        return pairs + [(f"a key of {name}", key) for key in value]
    if isinstance(value, list | tuple):
        return [(f"{name}[{index}]", part) for index, part in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [(f"an element of {name}", part) for part in value]
    if isinstance(value, type) or callable(value):
        return []
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict):
        return [(f"{name}.{key}", part) for key, part in state.items()]
    return []


def _can_be_pickled(value: object) -> bool:
    try:
        dump(value)
    except Exception:  # noqa: BLE001 - a part's own methods may raise anything
        return False
    return True
