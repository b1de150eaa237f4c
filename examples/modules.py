"""Count what is in every module of the installed Python library: one job a file, one report.

    python examples/modules.py --report library.json --jobTree modules.jt

Each Module parses one file and leaves its counts in the directory that Library shares with its
follow-on. The Report runs when every Module is done, and adds them up.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

from jobtree import Stack, Target

NOT_THE_LIBRARY = ("site-packages", "dist-packages", "__pycache__")
COUNTS = ("lines", "classes", "functions", "imports", "branches")
BRANCHES = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.Match, ast.IfExp)


class Library(Target):
    """Find the modules below a directory, and have each of them counted."""

    def __init__(self, directory: str, report: str) -> None:
        super().__init__(time="10m", memory="256M")
        self.directory, self.report = directory, report

    def run(self) -> None:
        """Grow a child for each module; what they find is reported when all are done."""
        counts = self.getGlobalTempDir()
        for number, path in enumerate(modules_below(self.directory)):
            self.addChildTarget(Module(self.directory, path, f"{counts}/{number}.json"))
        self.setFollowOnTarget(Report(self.directory, counts, self.report))


class Module(Target):
    """Count what is in one module. A file that is no Python for this Python is counted as such."""

    def __init__(self, directory: str, path: str, output: str) -> None:
        super().__init__(time="2m", memory="512M")
        self.directory, self.path, self.output = directory, path, output

    def run(self) -> None:
        """Parse and count; the result appears under its name when it is whole."""
        with open(os.path.join(self.directory, self.path), "rb") as file:
            found = counted(file.read())
        draft = f"{self.output}.{self.getAttempt()}"
        with open(draft, "w", encoding="utf-8") as file:
            json.dump({"module": self.path, **found}, file)
        os.replace(draft, self.output)


class Report(Target):
    """Add up what the Modules found."""

    def __init__(self, directory: str, counts: str, output: str) -> None:
        super().__init__(time="10m", memory="512M")
        self.directory, self.counts, self.output = directory, counts, output

    def run(self) -> None:
        """Write the report."""
        modules = []
        for name in os.listdir(self.counts):
            if name.endswith(".json"):
                with open(os.path.join(self.counts, name), encoding="utf-8") as file:
                    modules.append(json.load(file))
        report = {"directory": self.directory, **summed(modules)}
        draft = f"{self.getAttemptDir()}/report.json"
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
            file.write("\n")
        self.publish(draft, self.output)


def modules_below(directory: str) -> Iterator[str]:
    """Yield the path of every module below a directory, relative to it, in order."""
    for place, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if name not in NOT_THE_LIBRARY)
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(place, name), directory)


def counted(source: bytes) -> dict[str, Any]:
    """Return how much of what there is in a module, and what it imports."""
    found: dict[str, Any] = {"lines": source.count(b"\n"), "bytes": len(source), "uses": []}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return found | {"parsed": False}
    found |= dict.fromkeys(COUNTS[1:], 0)
    uses: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found["classes"] += 1
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found["functions"] += 1
        elif isinstance(node, BRANCHES):
            found["branches"] += 1
        elif isinstance(node, ast.Import):
            uses.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            uses[node.module.partition(".")[0]] += 1
    return found | {"parsed": True, "imports": uses.total(), "uses": sorted(uses)}


def summed(modules: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the totals, the packages by size, and the modules that most others import."""
    totals: Counter[str] = Counter()
    packages: dict[str, Counter[str]] = {}
    used_by: Counter[str] = Counter()
    for module in sorted(modules, key=lambda module: str(module["module"])):
        counts = {"modules": 1, **{name: module.get(name, 0) for name in COUNTS}}
        totals.update(counts)
        package, slash, _ = module["module"].partition("/")
        packages.setdefault(package if slash else "(top level)", Counter()).update(counts)
        used_by.update(module["uses"])
    return {
        "totals": dict(totals),
        "not_parsed": sorted(module["module"] for module in modules if not module["parsed"]),
        "packages": dict(sorted(packages.items(), key=lambda item: (-item[1]["lines"], item[0]))),
        "used_by": dict(sorted(used_by.items(), key=lambda item: (-item[1], item[0]))),
    }


def table(report: dict[str, Any], most: int = 12) -> str:
    """Return a report as text."""
    names = ("modules", *COUNTS)
    lines = [f"{'package':<20}" + "".join(f"{name:>11}" for name in names)]
    rows = [*list(report["packages"].items())[:most], ("all of it", report["totals"])]
    for package, counts in rows:
        lines.append(f"{package:<20.20}" + "".join(f"{counts[name]:>11,}" for name in names))
    uses = (f"{name} ({count:,})" for name, count in list(report["used_by"].items())[:most])
    lines.append(f"imported by most modules: {', '.join(uses)}")
    lines.append(f"not to be parsed by this Python: {len(report['not_parsed'])}")
    return "\n".join(lines)


def main() -> int:
    """Count the library named on the command line, by default that of this Python."""
    parser = argparse.ArgumentParser(description="Count what is in the modules of a library.")
    parser.add_argument("--library", default=sysconfig.get_path("stdlib"), metavar="DIR",
                        help="where the modules are (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--report", required=True, metavar="FILE", help="where to write it, as JSON"
    )
    Stack.addJobTreeOptions(parser)
    options = parser.parse_args()
    report = os.path.abspath(options.report)
    if not os.path.isdir(options.library):
        parser.error(f"{options.library} is not a directory")
    if Stack(Library(os.path.abspath(options.library), report)).startJobTree(options):
        print("not all counted yet; to go on, give the same command again", file=sys.stderr)
        return 1
    with open(report, encoding="utf-8") as file:
        print(table(json.load(file)))
    print(f"report: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
