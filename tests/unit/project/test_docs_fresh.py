"""The pages printed from the code are fresh, and tell of all that the code has."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from jobtree import Stack, Target
from jobtree.cli.explain import CODES, FAMILIES, explain
from jobtree.errors import UsageError
from jobtree.options import OPTIONS

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def printer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_print", DOCS / "print.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PRINTER = printer()


@pytest.mark.parametrize("page", PRINTER.PAGES)
def test_a_printed_page_is_fresh(page: str):
    stands = (DOCS / page).read_text() if (DOCS / page).exists() else ""
    assert stands == PRINTER.PAGES[page](), f"docs/{page} is stale: run `make docs`"


def codes_in_use() -> set[str]:
    found: set[str] = set()
    for package in ("jobtree", "batchsystems"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "explain.py":
                found |= set(re.findall(r"JT\d{3}", path.read_text()))
    return found


def test_every_error_code_is_explained_and_every_explained_one_is_used():
    assert codes_in_use() == set(CODES)


def test_every_code_belongs_to_a_family_and_is_whole():
    for code, (meaning, remedy) in CODES.items():
        assert sum(code.startswith(start) for start, _, _ in FAMILIES) == 1, code
        assert meaning.endswith("."), code
        assert remedy, code


def test_a_code_is_explained_and_an_unknown_one_is_not():
    assert explain("jt301").startswith("JT301: ")
    assert explain("301") == explain("JT301")
    with pytest.raises(UsageError):
        explain("JT999")


def test_the_options_page_has_every_option():
    page = (DOCS / "options.md").read_text()
    assert [o.name for o in OPTIONS if f"`--{o.name}" not in page] == []


@pytest.mark.parametrize("kind", [Target, Stack])
def test_every_public_method_is_documented_with_its_parameters(kind: type):
    page = (DOCS / "api.md").read_text()
    for name, method in inspect.getmembers(kind):
        if name.startswith("_"):
            continue
        entry = re.search(rf"^(?:\| `|### )(?:Stack\.)?{name}\((.*?)\) ->", page, re.MULTILINE)
        assert entry is not None, f"docs/api.md tells nothing of {kind.__name__}.{name}"
        documented = re.findall(r"(\w+)(?:: [^,=]+)?(?:=\S+?)?(?:, |$)", entry[1])
        parameters = [p for p in inspect.signature(method).parameters if p != "self"]
        assert documented == parameters, name


def test_the_api_page_s_example_is_python():
    for block in re.findall(r"^```python\n(.*?)^```", (DOCS / "api.md").read_text(), re.M | re.S):
        compile(block, "docs/api.md", "exec")


def test_links_between_pages_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
