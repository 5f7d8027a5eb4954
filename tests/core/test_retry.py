"""When a request may be sent again: the whole table of its conditions; and how many may."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.retry import FLOOR, WINDOW, Budget, may_retry

SAFE = [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"]
UNSAFE = [b"POST", b"PATCH", b"CONNECT", b"get", b"LOCK", b""]
BOTH = (True, False)


@pytest.mark.parametrize("method", SAFE + UNSAFE, ids=lambda method: method.decode() or "none")
def test_the_whole_table(method: bytes) -> None:
    for reused, answered, replayable, unrun, unsafe, elsewhere in product(BOTH, repeat=6):
        for retries, most in product(range(4), repeat=2):
            possible = replayable and not answered
            repeatable = method in SAFE or unsafe
            allowed = possible and (
                (unrun and retries < max(1, most))
                or (repeatable and reused and retries == 0)
                or (repeatable and elsewhere and retries < most)
            )
            assert (
                may_retry(
                    method=method,
                    reused=reused,
                    answered=answered,
                    replayable=replayable,
                    retries=retries,
                    unrun=unrun,
                    unsafe=unsafe,
                    elsewhere=elsewhere,
                    most=most,
                )
                is allowed
            )


@pytest.mark.parametrize("method", UNSAFE, ids=lambda method: method.decode() or "none")
def test_what_may_have_been_run_is_never_sent_again(method: bytes) -> None:
    for reused, answered, replayable, elsewhere in product(BOTH, repeat=4):
        assert not may_retry(
            method=method,
            reused=reused,
            answered=answered,
            replayable=replayable,
            retries=0,
            elsewhere=elsewhere,
            most=5,
        )


def test_a_quiet_server_s_first_failures_are_retried() -> None:
    budget = Budget(0.2)
    assert [budget.spend(100.0, number) for number in range(FLOOR)] == [True] * FLOOR
    assert not budget.spend(100.0, FLOOR)


def test_what_is_left_is_what_may_be_spent() -> None:
    budget = Budget(0.2)
    for spent in range(FLOOR):
        assert budget.left(100.0, spent) == FLOOR - spent
        assert budget.spend(100.0, spent)
    assert budget.left(100.0, FLOOR) == 0
    assert budget.left(100.0 + 2 * WINDOW, FLOOR) == FLOOR
    assert Budget(0.0).left(100.0, 1000) == 0


def test_a_share_of_nothing_is_nothing() -> None:
    assert not Budget(0.0).spend(5.0, 10_000)


def test_a_share_of_what_was_asked() -> None:
    budget, total, spent = Budget(0.2), 0, 0
    assert budget.spend(0.0, total)
    for step in range(1, 1001):
        total += 1
        if budget.spend(step * 0.009, total):
            spent += 1
            total += 1
    assert 190 <= spent <= 210, "of 1,000 within a window, all of which failed"


def test_a_window_later_there_is_a_budget_again() -> None:
    budget, now = Budget(0.2), 1000.0
    while budget.spend(now, 0):
        pass
    assert not budget.spend(now + WINDOW / 2, 0)
    assert budget.spend(now + 2 * WINDOW, 0)


def test_what_was_asked_long_ago_is_no_reason() -> None:
    budget = Budget(0.2)
    budget.spend(0.0, 0)
    budget.spend(1.0, 100_000)
    now = 1000.0
    spent = sum(budget.spend(now, 100_000) for _ in range(1000))
    assert spent <= FLOOR + 0.2 * 100_000 * WINDOW / (now - 1)


@given(
    st.floats(0.01, 1.0),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 4)), max_size=40),
)
def test_never_much_more_than_the_share(share: float, story: list[tuple[int, int, float]]) -> None:
    """Over the whole of any history: the share of what was asked, and the floor of each window."""
    budget, now, first, again = Budget(share), 0.0, 0, 0
    for asked, failed, pause in story:
        first += asked
        for _ in range(failed):
            again += budget.spend(now, first + again)
        now += pause
    windows = 2 + now / WINDOW
    assert again <= 2 * share * first + FLOOR * windows
