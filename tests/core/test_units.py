"""Times, sizes and rates: what is read, what is refused, and that what is shown is read back."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy import units


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500ms", 0.5),
        ("5s", 5),
        ("1.5s", 1.5),
        ("2m", 120),
        ("1h", 3600),
        ("0s", 0),
        ("off", math.inf),
        ("1ms", 0.001),
    ],
)
def test_times(text: str, value: float) -> None:
    assert units.seconds(text) == value


@pytest.mark.parametrize(
    "text",
    [
        5,
        0,
        2.5,
        True,
        "",
        "5",
        "5 s",
        "-5s",
        "5S",
        "5sec",
        "1e3s",
        "٥s",
        "inf",
        "nan",
        "5s\n",
        None,
        [],
        "Off",
    ],
)
def test_what_is_no_time(text: object) -> None:
    with pytest.raises(ValueError, match=r"no (time|unit)"):
        units.seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (0, 0),
        (1024, 1024),
        ("7B", 7),
        ("64KiB", 65536),
        ("1MiB", 1 << 20),
        ("1GiB", 1 << 30),
        ("off", sys.maxsize),
    ],
)
def test_sizes(text: object, value: int) -> None:
    assert units.size(text) == value


@pytest.mark.parametrize(
    "text", [-1, 1.5, True, "", "64", "64KB", "64kib", "64 KiB", "-1KiB", "1.5MiB", None, sys.maxsize]
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="no size"):
        units.size(text)


@pytest.mark.parametrize(("text", "value"), [("500B/s", 500.0), ("2KiB/s", 2048.0), ("off", 0.0)])
def test_rates(text: str, value: float) -> None:
    assert units.rate(text) == value


@pytest.mark.parametrize("text", [500, "500", "500B", "5/s", "500b/s", "1KB/s"])
def test_what_is_no_rate(text: object) -> None:
    with pytest.raises(ValueError, match="no rate"):
        units.rate(text)


@given(st.one_of(st.just(math.inf), st.integers(0, 10**9).map(lambda ms: ms / 1000)))
def test_a_time_shown_is_read_back(value: float) -> None:
    assert units.seconds(units.show_seconds(value)) == pytest.approx(value, abs=1e-6)


@given(st.one_of(st.just(sys.maxsize), st.integers(0, 1 << 35)))
def test_a_size_shown_is_read_back(value: int) -> None:
    assert units.size(units.show_size(value)) == value


@given(st.integers(0, 1 << 35))
def test_a_rate_shown_is_read_back(value: int) -> None:
    assert units.rate(units.show_rate(value)) == value
