"""The script a workflow was started from, as a worker has it: its `__main__`.

Owns the loading of that script, once and without its guarded part; must not know pickles.
Read next: pickling.py.

Users, pickle and multiprocessing all find the script as `__main__`, as in the process that started
the workflow. While it is loaded here its `__name__` is another, so that what stands under
`if __name__ == "__main__":` does not run; then the module, its classes and functions get the name.
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
"""The script's name while it is loaded; older trees name its classes by it."""


class Script:
    """The script of a workflow, loaded when something in it is first asked for."""

    def __init__(self, path: str, module: str = "") -> None:
        """Take the path, and the dotted name if it was started with `python -m`; load nothing."""
        self._path, self._name = path, module
        self._module = _Main(self)
        self._loaded = self._loading = False
        self._failure: JobTreeError | None = None
        if path:
            vars(self._module)["__file__"] = path

    def install(self) -> None:
        """Become this process's `__main__`, without being loaded yet."""
        if self._name:
            with suppress(ImportError, ValueError):  # reported when the script is asked for
                self._set_spec()
        sys.modules[MAIN] = self._module

    def module(self) -> ModuleType:
        """Return the script, loaded. Raises JobTreeError (JT404, JT410, JT411) if it cannot be."""
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
        """Tell whether it is being loaded, or was."""
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

        Not from a cached .pyc: its time stamp is in seconds, and would hide a fix just made.
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
        """Return the content of the script, which may lie in a zip application."""
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
    """A module that is loaded when a name is first looked up in it."""

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
    """Let a class or function of the script, and those in a class, belong to `__main__`.

    Pickle finds things by name from the module on: no other object need be changed.
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
