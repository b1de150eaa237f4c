"""Forms of times, ranges and tables that several schedulers print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems.commandline.reading import epoch, fixed_rows, pairs, ranges, seconds, spans


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", [3]),
        ("0-2,7", [0, 1, 2, 7]),
        ("2-8:3", [2, 5, 8]),
        ("", None),
        ("1,", None),
        ("1-3:0", None),
        ("a", None),
        ("0-999999999", None),
    ],
)
def test_ranges_are_unfolded(text: str, numbers: list[int] | None):
    assert ranges(text) == numbers


@given(st.sets(st.integers(0, 30)))
def test_spans_are_the_other_way_round(numbers: set[int]):
    text = ",".join(spans(numbers))
    assert (ranges(text) if text else []) == sorted(numbers)
    assert spans([2, 3, 4, 8]) == ["2-4", "8"]


@pytest.mark.parametrize(
    ("text", "told"), [("1-02:03:04", 93784.0), ("02:03", 123.0), ("UNLIMITED", None), ("5", None)]
)
def test_seconds_are_read(text: str, told: float | None):
    assert seconds(text) == told


def test_a_time_is_read_as_utc_and_one_with_a_zone_of_its_own_is_none():
    assert epoch("1970-01-01T00:01:00") == epoch("1970-01-01T00:01:00Z") == 60.0
    assert epoch("1970-01-01T00:01:00+01:00") is None
    assert epoch("soon") is None


def test_pairs_are_read():
    assert pairs("A=1 B= C=x=y other") == {"A": "1", "B": "", "C": "x=y"}


def test_a_row_with_a_line_break_in_a_cell_is_one_and_a_short_one_costs_itself():
    rows = [cells for _, cells in fixed_rows("ab|c  |\nx|y\na\n|d  |\n", (2, 3), "|")]
    assert rows == [["ab", "c"], None, ["a", "d"]]


@given(st.text(st.sampled_from("ab| \n"), max_size=60))
def test_no_text_of_a_table_is_lost(text: str):
    found = [row for row, _ in fixed_rows(text, (2, 3), "|")]
    assert "\n".join(found) == (text[:-1] if text.endswith("\n") else text)
