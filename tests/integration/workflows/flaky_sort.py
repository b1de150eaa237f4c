"""examples/sort.py, but steps fail after their work: one in four, and one in four of its retries.

The example's classes are replaced by children of theirs, in the example itself, so that the steps
it grows are flaky as well. Workers import this script, and find the same.
"""

from __future__ import annotations

import random
import sys
from importlib import util
from pathlib import Path

PATH = Path(__file__).resolve().parents[3] / "examples" / "sort.py"
spec = util.spec_from_file_location("sort_example", PATH)
assert spec is not None
assert spec.loader is not None
sort = util.module_from_spec(spec)
sys.modules["sort_example"] = sort
spec.loader.exec_module(sort)


def perhaps_fail() -> None:
    if random.random() < 0.25:
        raise RuntimeError("failed after its work, on purpose")


class Split(sort.Split):  # type: ignore[name-defined, misc]
    def run(self) -> None:
        super().run()
        perhaps_fail()


class Merge(sort.Merge):  # type: ignore[name-defined, misc]
    def run(self) -> None:
        super().run()
        perhaps_fail()


sort.Split, sort.Merge = Split, Merge  # type: ignore[attr-defined]

if __name__ == "__main__":
    sys.exit(sort.main())
