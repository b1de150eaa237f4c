"""Positions: every key and element of a TOML text has its line, whatever the spelling."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchsystems.site.positions import Path, find_positions

TEXT = '''# a comment = [not a table]
title = "a # no comment"   # a comment
numbers = [
  1, # one ]
  [2, 3],
  "]",
]
inline = { a.b = 1, c = [ {d = 1}, {e = 2} ] }
"quoted \\"key\\"".'other one' = 1
long = """
[no.table]
x = 1 \\"""
""""
single = \'\'\'
y = '2\'\'\'\'

[ a . "b" ]
c = 1979-05-27 07:32:00
[a]
d = true
[[list]]
x = 1
[list.sub]
y = 2
[[list]]
[[list.deep]]
z = 3
[[list.deep]]
'''


def test_lines_of_all_spellings() -> None:
    assert tomllib.loads(TEXT)
    lines = find_positions(TEXT)
    expected: dict[Path, int] = {
        ("title",): 2, ("numbers",): 3, ("numbers", 0): 4, ("numbers", 1): 5,
        ("numbers", 1, 1): 5, ("numbers", 2): 6, ("inline",): 8, ("inline", "a", "b"): 8,
        ("inline", "c", 1, "e"): 8, ('quoted "key"', "other one"): 9, ("long",): 10,
        ("single",): 14, ("a", "b"): 17, ("a", "b", "c"): 18, ("a",): 17, ("a", "d"): 20,
        ("list", 0): 21, ("list", 0, "x"): 22, ("list", 0, "sub", "y"): 24, ("list", 1): 25,
        ("list", 1, "deep", 0, "z"): 27, ("list", 1, "deep", 1): 28,
    }  # fmt: skip
    assert {path: lines.get(path) for path in expected} == expected


def test_a_text_that_is_no_toml_has_the_positions_up_to_its_fault() -> None:
    assert find_positions("a = 1\n? = 2\nc = 3\n") == {("a",): 1}


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*path, index))


# ---- arbitrary texts, written in a spelling that is drawn too --------------------------------

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=4)
SCALARS = (
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text(st.sampled_from("ab#[]{}=,.\"'\\\n\t é"), max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)


def quoted(text: str, draw: st.DrawFn) -> str:
    if draw(st.booleans()) and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def written(value: Any, draw: st.DrawFn) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        if "\n" in value and draw(st.booleans()):
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"""\n{escaped}"""'
        return quoted(value, draw)
    if isinstance(value, list):
        gap = draw(st.sampled_from(["", " ", "\n", " # no ] here\n"]))
        return f"[{gap}" + f",{gap}".join(written(each, draw) for each in value) + f"{gap}]"
    if isinstance(value, dict):
        pairs = (f"{quoted(key, draw)} = {written(inner, draw)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


@st.composite
def texts(draw: st.DrawFn) -> str:
    plain, tables, arrays = draw(TABLES), draw(TABLES), draw(TABLES)
    lines = [f"{quoted(f'p{key}', draw)} = {written(value, draw)}" for key, value in plain.items()]
    for key, value in tables.items():
        lines.append(f"[ {quoted(f't{key}', draw)} . inner ]  # a table")
        lines.append(f"{quoted(key, draw)}.x = {written(value, draw)}")
    for key, value in arrays.items():
        for _ in range(draw(st.integers(1, 3))):
            lines += [f"[[{quoted(f'a{key}', draw)}]]", f"v = {written(value, draw)}", ""]
            lines += [f"[{quoted(f'a{key}', draw)}.sub]", "w = 1"] if draw(st.booleans()) else []
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


@given(texts())
def test_every_path_of_a_valid_text_has_a_line_that_names_it(text: str) -> None:
    table = tomllib.loads(text)
    lines = find_positions(text)
    assert set(paths(table)) <= set(lines)
    count = text.count("\n") + 1
    assert all(1 <= line <= count for line in lines.values())
    alone: dict[int, list[str]] = {}
    for (key, *rest), line in lines.items():
        if not rest and isinstance(key, str):
            alone.setdefault(line, []).append(key)
    shown = text.split("\n")
    for line, keys in alone.items():
        for key in keys:
            spelled = json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")[1:-1]
            assert key in shown[line - 1] or spelled in shown[line - 1]


@given(st.text(st.sampled_from("ab#[]{}=,.\"'\\\n 1"), max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    find_positions(text)
