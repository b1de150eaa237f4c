"""What pages and docstrings name is there: files, modules, and what to read next."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = sorted(
    path for name in ("jobtree", "batchsystems") for path in (ROOT / name).rglob("*.py")
)
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "contrib/**/*.md", "site-config/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # it tells of what was
)
BARE = {
    path.name
    for folder in ("jobtree", "batchsystems", "tests", "docs", "examples", "contrib", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
}
"""Names that a page may use without a folder, as in a table of what a folder has."""

READERS = {
    "README.md": {"count.py"},
    "docs/add-a-scheduler.md": {
        *(f"jobtree_toy/{part}.py" for part in ("dialect", "parse", "settings", "tables")),
        *("tests/test_conformance.py", "tests/test_parse.py", "test_parse.py"),
    },
    "docs/batch-systems.md": {"onthespot.py", "test_onthespot.py"},
    "docs/jobfile.md": {"split.py"},
    "docs/sge.md": {"naps.py", "squares.py"},
    "docs/slurm.md": {"naps.py", "squares.py"},
    "docs/tutorial.md": {
        *("decoder.py", "encoder.py", "scanner.py", "texts/decoder.py", "tool.py"),
        *("flaky.py", "slow.py", "squeeze.py", "words.py"),
    },
}
"""Scripts that a page has its reader write."""

NOT_MODULES = {"jobtree.batchsystems", "jobtree.json", "jobtree.toml"}
"""A logger and group of entry points; files of other programs' settings."""

FILE = re.compile(r"(?<![\w/.*<{~$-])((?:\.\./)*(?:\w[\w-]*/)*\w+\.py)\b")
MODULE = re.compile(r"(?<![\w./:@-])((?:jobtree|batchsystems)(?:\.[A-Za-z_]\w*)+)")


def is_file(name: str, home: Path) -> bool:
    """Tell whether a file is there, as seen from a page's folder, a package, or the whole."""
    places = (home, ROOT, ROOT / "jobtree", ROOT / "batchsystems")
    return any((place / name).is_file() for place in places)


def is_module(name: str) -> bool:
    """Tell whether a dotted name is a module, or something in one."""
    first, *rest = name.split(".")
    found: object = import_module(first)
    path = first
    for part in rest:
        path = f"{path}.{part}"
        try:
            found = getattr(found, part, None) or import_module(path)
        except ImportError:
            return False
    return True


def missing(text: str, home: Path) -> set[str]:
    """Return the files and modules that a text names and that are not there."""
    files = {name for name in FILE.findall(text) if not is_file(name, home)}
    modules = {name for name in MODULE.findall(text) if not name.endswith(".py")} - NOT_MODULES
    return files | {name for name in modules if not is_module(name)}


def docstrings(path: Path) -> str:
    """Return all texts of a source that stand by themselves."""
    expressions = (
        node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Expr)
    )
    return "\n".join(
        each.value
        for each in expressions
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    )


def inside(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=inside)
def test_a_page_names_only_what_is_there(page: Path) -> None:
    found = missing(page.read_text(), page.parent) - READERS.get(inside(page), set()) - BARE
    assert sorted(found) == []


@pytest.mark.parametrize("path", SOURCES, ids=inside)
def test_a_docstring_names_only_what_is_there(path: Path) -> None:
    assert sorted(missing(docstrings(path), path.parent)) == []


@pytest.mark.parametrize("path", SOURCES, ids=inside)
def test_a_module_says_what_to_read_next(path: Path) -> None:
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
    found = re.search(r"Read next: (\S*[^\s.,;:])", text)
    assert found is not None, "it does not say what to read next"
    name = found[1].strip("`")
    places = (path.parent, ROOT / path.relative_to(ROOT).parts[0], ROOT)
    target = next((place / name for place in places if (place / name).exists()), None)
    assert target is not None, f"there is no {name}"
    assert target.resolve() != path, "it says to read itself"


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    text = "`gone.py`, jobtree/office.py, `jobtree.tree`, jobtree/core/job.py, jobtree.core.job.Job"
    assert missing(text, tmp_path) == {"gone.py", "jobtree/office.py", "jobtree.tree"}
