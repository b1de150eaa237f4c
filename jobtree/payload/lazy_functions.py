"""Refuses functions that do nothing when called: generators and coroutines.

Owns the recognition of them; must not know what a Target is. Read next: ../target.py.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType

from jobtree.errors import JobTreeError

_KINDS = {  # the flags of a code object, as in the inspect module, which is slow to import
    0x80: "a coroutine function (async def)",
    0x200: "an asynchronous generator (async def with a yield)",
    0x100: "a coroutine function (types.coroutine)",
    0x20: "a generator (there is a yield in it)",
}
_ANY = sum(_KINDS)
_LOOP = "loop over it inside run():  for _ in self.work(): ..."
_AWAIT = "run it inside run():  def run(self): asyncio.run(self.work())"


def refuse_lazy(function: object) -> None:
    """Refuse a function whose body does not run when it is called (JT460)."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    flags = getattr(code, "co_flags", 0) & _ANY
    if not flags:
        return
    flag, kind = next((flag, kind) for flag, kind in _KINDS.items() if flags & flag)
    raise JobTreeError(
        f"{_name(function)}() cannot be a step: it is {kind}",
        code="JT460",
        why="calling it runs none of its lines: the step would be done with nothing done",
        fix=_LOOP if flag == 0x20 else _AWAIT,
    )


def refuse_unrun(returned: object, function: object) -> None:
    """Refuse a step that returns work not begun, which nobody would ever do (JT461)."""
    if returned is None:
        return
    kind = type(returned)
    generator = issubclass(kind, GeneratorType)
    if not (generator or issubclass(kind, AsyncGeneratorType) or hasattr(kind, "__await__")):
        return
    if isinstance(returned, GeneratorType | CoroutineType):
        returned.close()  # else Python warns of it long after, in another step's output
    raise JobTreeError(
        f"{_name(function)}() returned an unfinished {kind.__name__}: nothing will ever run it",
        code="JT461",
        why="a step is done when run() returns",
        fix=_LOOP if generator else _AWAIT,
    )


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
