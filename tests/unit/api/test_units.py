"""Sizes, times and requirements as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsystems.units import LARGEST
from jobtree.core.job import Requirements
from jobtree.errors import UsageError
from jobtree.units import (
    format_size,
    format_time,
    parse_count,
    parse_requirements,
    parse_size,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 * 2**30), ("512M", 512 * 2**20), ("1.5 GiB", 3 * 2**29), ("1k", 1024),
        ("3tb", 3 * 2**40), ("100", 100), ("100B", 100), ("7 bytes", 7), (42, 42), (1.5, 2),
        (" .5M ", 2**19), ("2e9", 2_000_000_000), ("1P", 2**50),
    ],
)  # fmt: skip
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5400), ("1h30m", 5400), ("2-00:00:00", 172800), ("01:30:00", 5400), ("90", 90),
        ("1:30", 90), ("1-12:30", 131400), ("2d", 172800), ("1.5h", 5400), ("1 d, 2 hours", 93600),
        ("3 min 4 s", 184), (0.25, 0.25), (7, 7), ("1w", 604800), ("00:00:01.5", 1.5),
    ],
)  # fmt: skip
def test_times(text: object, seconds: float) -> None:
    assert parse_time(text) == seconds


BAD = ["", "much", "-1", "2X", "1G2", None, True, math.nan, math.inf, -1, 10**400]


@pytest.mark.parametrize("value", [*BAD, "2GG", "1.2.3G"])
def test_bad_sizes_name_the_accepted_forms(value: object) -> None:
    with pytest.raises(UsageError, match="my size") as error:
        parse_size(value, "my size")
    assert error.value.code == "JT110"
    assert "512M" in error.value.fix


@pytest.mark.parametrize("value", [*BAD, "1:2:3:4", "5x", "m"])
def test_bad_times_name_the_accepted_forms(value: object) -> None:
    with pytest.raises(UsageError, match="my time") as error:
        parse_time(value, "my time")
    assert error.value.code == "JT111"
    assert "1h30m" in error.value.fix


@pytest.mark.parametrize("value", [*BAD, 0, 1.5, "0.5"])
def test_bad_counts(value: object) -> None:
    with pytest.raises(UsageError) as error:
        parse_count(value, "cpu", least=1)
    assert error.value.code == "JT112"


def test_requirements() -> None:
    assert parse_requirements() == Requirements()
    assert parse_requirements("1K", "2", 0, "1m") == Requirements(1024, 2, 0, 60.0)
    with pytest.raises(UsageError, match="cpu cannot be 0"):
        parse_requirements(cpus=0)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (2**31, "2.0 GB"), (3 * 2**29, "1.5 GB"),
     (500 * 2**20, "500 MB"), (2**60, "1024 PB")],
)  # fmt: skip
def test_format_size(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0s"), (0.42, "0.4s"), (12.3, "12s"), (59.7, "1m00s"), (252, "4m12s"),
     (6120, "1h42m"), (273600, "3d04h"), (-5, "-5.0s")],
)  # fmt: skip
def test_format_time(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


@given(st.integers(0, LARGEST))
def test_a_number_is_itself(number: int) -> None:
    assert parse_size(number) == number
    assert parse_time(number) == float(number)


@given(st.text())
def test_any_text_is_taken_or_refused(text: str) -> None:
    for parse in (parse_size, parse_time, parse_count):
        try:
            assert parse(text) >= 0
        except UsageError as error:
            assert error.code in ("JT110", "JT111", "JT112")  # noqa: PT017
