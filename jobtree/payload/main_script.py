"""The script a workflow was started from, as a worker has it: its `__main__`.

Owns the loading of that script, at most once and not its guarded part; must not know pickles.
Read next: pickling.py.

Users, pickle and multiprocessing all find the script as `__main__`, where it was when its
workflow was started. While it is run here its `__name__` is another, so what stands under
`if __name__ == "__main__":` is left out; after that module, classes and functions get the name.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any

from jobtree.errors import JobTreeError

MAIN = "__main__"
LOADING = "__jobtree_main__"
"""What the script is called while it is run: its classes went by this name in older trees."""


class Script:
    """The script of a workflow, run here when something in it is first asked for."""

    def __init__(self, path: str, module: str = "") -> None:
        """Take the script's path, and its dotted name if it was started with `python -m`."""
        self._path, self._name = path, module
        self._module = _Main(self)
        self._loaded = self._loading = False
        self._failure: JobTreeError | None = None
        if path:
            vars(self._module)["__file__"] = path

    def install(self) -> None:
        """Be this process's `__main__`, without being run yet."""
        if self._name:
            with suppress(ImportError, ValueError):  # told when the script is asked for
                self._set_spec()
        sys.modules[MAIN] = self._module

    def module(self) -> ModuleType:
        """Return the script, run. Raises JobTreeError (JT404, JT410, JT411) if it cannot be."""
        if self._failure is not None:
            raise self._failure
        if not self._loaded:
            try:
                self._load()
            except JobTreeError as failure:
                self._failure = failure
                raise
        return self._module

    def has_begun(self) -> bool:
        """Tell whether it is being run, or was."""
        return self._loading or self._loaded

    def _load(self) -> None:
        if not self._path and not self._name:
            raise no_script("a pickled Target's class is in __main__, and no script is recorded")
        try:
            self._run(self._code())
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

    def _code(self) -> CodeType:
        """Return the script compiled, whatever its suffix.

        Not from a .pyc: those tell versions apart by the second, and a bug just mended must be.
        """
        if self._name:
            self._set_spec()
        source = self._source()
        if self._path.endswith(".pyc"):
            loader: Any = vars(self._module)["__spec__"].loader
            code: CodeType = loader.get_code(self._name)
            return code
        return compile(source, self._path, "exec", dont_inherit=True)

    def _source(self) -> bytes:
        """Return what the script's file holds; of a zip application, what its part does."""
        archive = os.path.dirname(self._path)
        if os.path.isfile(archive):
            from zipimport import zipimporter

            return zipimporter(archive).get_data(self._path)
        with open(self._path, "rb") as file:
            return file.read()

    def _set_spec(self) -> None:
        """Let relative imports work, and multiprocessing see how the script was started."""
        from importlib.util import find_spec

        spec = find_spec(self._name)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {self._name!r}", name=self._name)
        vars(self._module).update(
            __spec__=spec, __loader__=spec.loader, __package__=self._name.rpartition(".")[0]
        )

    def _run(self, code: CodeType) -> None:
        content, before = vars(self._module), dict(vars(self._module))
        sys.modules[LOADING] = self._module
        content["__name__"] = LOADING
        self._loading = True
        try:
            exec(code, content)  # noqa: S102
        except BaseException:
            content.clear()
            content.update(before)
            raise
        finally:
            self._loading = False
            content["__name__"] = MAIN
        for value in list(content.values()):
            _rename(value)
        self._loaded = True


class _Main(ModuleType):
    """A module that is run when a name is looked for in it that it does not have."""

    def __init__(self, script: Script) -> None:
        super().__init__(MAIN)
        object.__setattr__(self, "__script__", script)

    def __getattr__(self, name: str) -> Any:
        script: Script = vars(self)["__script__"]
        asks_for_script = not (name.startswith("__") and name.endswith("__"))
        if asks_for_script and not script.has_begun():
            try:
                script.module()
            except JobTreeError as error:
                raise AttributeError(f"module '__main__' cannot be imported: {error}") from error
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"module '__main__' has no attribute {name!r}")


def _rename(value: Any) -> None:
    """Let a class or function of the script, and what is in a class, be of `__main__`.

    What pickle finds by name is found so from the module: no other object need be looked at.
    """
    with suppress(Exception):  # objects of the script's own may raise anything
        if type(value) in (staticmethod, classmethod):
            value = value.__func__
        kind = type(value)
        is_class = issubclass(kind, type)
        if not is_class and kind is not FunctionType:
            if object.__getattribute__(value, "__dict__").get("__module__") == LOADING:
                value.__module__ = MAIN
            return
        if value.__module__ != LOADING:
            return
        value.__module__ = MAIN
        if is_class:
            for part in list(vars(value).values()):
                _rename(part)


def no_script(what: str) -> JobTreeError:
    """Return the error for what is in a `__main__` that is no file (JT404)."""
    return JobTreeError(
        what,
        code="JT404",
        why="workers find classes by importing the file they are written in",
        fix="save the workflow as a script, or move its Targets into a module",
    )
