"""What is learned of a server's patience, and that nothing is risked to learn it."""

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.idle import BURST, DENIALS, GRACE, KEPT, LEAST_MARGIN, OUTLIERS, SHARE, Patience


def taught(ages: list[float], apart: float = 1.0) -> tuple[Patience, float]:
    patience, now = Patience(), 100.0
    for age in ages:
        patience.ended(now, age)
        now += apart
    return patience, now


def test_of_a_new_server_only_the_grace_is_taken_for_granted() -> None:
    assert Patience().safe(0.0) == GRACE


def test_an_age_is_used_that_others_have_survived() -> None:
    patience = Patience()
    patience.lasted(8.0)
    assert patience.safe(0.0) == 8.0 * SHARE
    patience.lasted(2.0)
    assert patience.safe(0.0) == 8.0 * SHARE


@pytest.mark.parametrize("seconds", [1.0, 2.0, 5.0, 60.0])
def test_a_server_s_own_time_out_is_kept_away_from(seconds: float) -> None:
    patience, now = taught([seconds] * 3)
    patience.lasted(1000.0)
    assert patience.safe(now) == pytest.approx(seconds * SHARE)


def test_the_first_close_counts_at_once() -> None:
    patience = Patience()
    patience.lasted(60.0)
    patience.ended(10.0, 2.0)
    assert patience.safe(10.0) == pytest.approx(1.5)
    assert patience.safe(10.0 + BURST) == pytest.approx(1.5)


def test_a_server_that_closes_behind_its_responses_is_never_used_twice() -> None:
    patience, now = taught([0.0, 0.001, 0.0])
    assert patience.safe(now) < 0


def test_a_restart_teaches_no_time_and_what_was_survived_counts_anew() -> None:
    patience, now = taught([5.0, 5.0, 5.0])
    patience.lasted(4.9)
    for age in (0.01, 3.0, 0.4, 1.2, 4.0):
        patience.ended(now, age)
    assert patience.safe(now) < 0, "until it is known for a restart, it is taken at its word"
    now += BURST
    assert patience.safe(now) == GRACE
    patience.lasted(4.0)
    assert patience.safe(now) == pytest.approx(3.0), "the server's own time is still known"
    patience.lasted(100.0)
    assert patience.safe(now) == pytest.approx(3.75)


def test_a_single_close_of_all_there_is_does_not_take_the_grace() -> None:
    patience, now = taught([0.003])
    assert patience.safe(now) == pytest.approx(GRACE)


def test_many_connections_of_the_same_age_that_close_together_are_a_time_out() -> None:
    patience, now = Patience(), 5.0
    for step in range(20):
        patience.ended(now + step * 0.001, 2.0 + step * 0.001)
    assert patience.safe(now + 1) == pytest.approx(1.5)


def test_one_odd_close_among_many_is_an_outlier() -> None:
    patience, now = taught([2.0] * OUTLIERS + [0.01])
    assert patience.safe(now) == pytest.approx(1.5)


def test_what_is_contradicted_again_and_again_is_forgotten_slowly() -> None:
    """The server was given a longer time-out: the old closes go one by one."""
    patience, now = taught([2.0] * 3)
    for _ in range(DENIALS - 1):
        patience.lasted(30.0)
    assert patience.safe(now) == pytest.approx(1.5)
    for _ in range(2 * DENIALS + 1):
        patience.lasted(30.0)
    assert patience.safe(now) == pytest.approx(22.5)


def test_only_so_many_are_remembered() -> None:
    patience, now = taught([1.0] * KEPT + [4.0] * KEPT)
    assert patience.safe(now) == pytest.approx(3.0)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["close", "lasted", "restart", "time"]), st.floats(0, 1), st.floats(0, 3)),
    max_size=60,
)


@given(st.floats(0.6, 60), EVENTS)
def test_no_history_makes_an_age_safe_at_which_the_server_closes(
    patience_of_server: float, events: list[Any]
) -> None:
    """A server with one time-out that restarts now and then: what is safe stays below it."""
    patience, now = Patience(), 0.0
    for what, part, pause in events:
        if what == "close":
            patience.ended(now, patience_of_server + part * 0.05)
        elif what == "lasted":
            patience.lasted(part * patience_of_server)
        elif what == "restart":
            for each in (part, part / 2, part / 4):
                patience.ended(now, each * patience_of_server)
        now += pause
        assert patience.safe(now) <= max(GRACE, (patience_of_server + 0.05) * SHARE)
        assert patience.safe(now) < patience_of_server - LEAST_MARGIN / 2 or patience.safe(now) == GRACE


@given(EVENTS)
def test_nothing_older_than_what_was_seen_is_ever_safe(events: list[Any]) -> None:
    patience, now, seen = Patience(), 0.0, 0.0
    for what, part, pause in events:
        if what == "close":
            patience.ended(now, part * 10)
            seen = max(seen, part * 10)
        elif what == "lasted":
            patience.lasted(part * 100)
            seen = max(seen, part * 100)
        now += pause
        assert -LEAST_MARGIN <= patience.safe(now) <= max(GRACE, seen * SHARE) < inf


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 40), st.floats(0, 2)), max_size=60))
def test_what_is_kept_ready_is_what_would_be_found_anew(told: list[tuple[bool, float, float]]) -> None:
    patience, now = Patience(), 100.0
    for closed, age, later in told:
        patience.ended(now, age) if closed else patience.lasted(age)
        now += later
        said = patience.safe(now)
        bound = patience._bound(now)
        assert said == min(max(GRACE, patience._survived * SHARE), bound)
