"""The line's pace, who is next in it, and when somebody may come again."""

from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.line import LATELY, MOST, Pace, newest_first, retry_after


@pytest.mark.parametrize(
    ("waiting", "each", "seconds"),
    [
        (0, 0.0, 1),
        (0, 0.3, 1),
        (9, 0.1, 1),
        (10, 0.1, 2),
        (99, 0.25, 25),
        (1024, 0.01, 11),
        (1024, 1.0, MOST),
        (0, 1e9, MOST),
    ],
)
def test_who_is_sent_away_may_come_when_those_in_line_have_been_served(
    waiting: int, each: float, seconds: int
) -> None:
    assert retry_after(waiting, each) == seconds


@given(st.integers(0, 10_000), st.floats(0, 1e6))
def test_it_is_always_a_whole_number_of_seconds_within_bounds(waiting: int, each: float) -> None:
    seconds = retry_after(waiting, each)
    assert seconds == max(1, min(MOST, ceil((waiting + 1) * each)))


def test_the_pace_is_the_mean_of_the_last_intervals() -> None:
    pace, now = Pace(), 50.0
    pace.began(now)
    for _ in range(5 * LATELY):
        now += 0.5
        pace.freed(now)
    assert pace.each(now, waiting=True) == pytest.approx(0.5)
    for _ in range(5 * LATELY):
        now += 0.1
        pace.freed(now)
    assert pace.each(now, waiting=True) == pytest.approx(0.1, rel=0.1)


def test_a_line_that_has_stopped_is_seen_to_have_stopped() -> None:
    pace = Pace()
    pace.began(0.0)
    pace.freed(0.1)
    assert pace.each(0.1, waiting=True) == pytest.approx(0.1)
    assert pace.each(8.1, waiting=True) == pytest.approx(8.0)
    assert pace.each(8.1, waiting=False) == pytest.approx(0.1), "nobody waits: nothing has stopped"


def test_before_anything_is_known_the_line_s_own_age_counts() -> None:
    pace = Pace()
    assert pace.each(7.0, waiting=False) == 0.0
    pace.began(7.0)
    assert pace.each(10.0, waiting=True) == 3.0


def test_time_in_which_nobody_waited_does_not_count() -> None:
    pace = Pace()
    pace.began(0.0)
    pace.freed(0.2)
    pace.began(1000.0)
    pace.freed(1000.2)
    assert pace.each(1000.2, waiting=True) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("waited", "waiting", "each", "timeout", "overloaded"),
    [
        (0.0, 1, 0.0, 10.0, False),
        (4.9, 9, 0.1, 10.0, False),
        (5.0, 9, 0.1, 10.0, True),
        (0.5, 100, 0.1, 10.0, False),
        (0.5, 101, 0.1, 10.0, True),
        (1e9, 10**6, 1e6, inf, False),
    ],
)
def test_adaptive_is_newest_first_while_the_line_is_overloaded(
    waited: float, waiting: int, each: float, timeout: float, overloaded: bool
) -> None:
    facts = {"waited": waited, "waiting": waiting, "each": each, "timeout": timeout}
    assert newest_first("adaptive", **facts) is overloaded  # type: ignore[arg-type]
    assert newest_first("fifo", **facts) is False  # type: ignore[arg-type]
    assert newest_first("lifo", **facts) is True  # type: ignore[arg-type]
