"""How a client reads: who is given up and why, and that who keeps the rate never is."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.closing import STEADY, Kernel
from shieldproxy.core.limits import Timeouts
from shieldproxy.core.pace import GRACE, Pace
from shieldproxy.core.sending import UNSEEN, judge, next_look

TIMES = Timeouts(send_idle=30.0, send_min_rate=500.0, fin_wait_1=20.0)


def kernel(acked: int, *, silent: float = 0.0, retransmits: int = 0, probes: int = 0) -> Kernel:
    return Kernel(1, retransmits, probes, silent, acked, 0.01)


@pytest.mark.parametrize(
    ("last", "acked", "now", "found", "why"),
    [
        (0.0, 0, 9.9, {}, ""),
        (0.0, 100, 10.0, {}, "send-rate"),
        (0.0, 5_100, 10.0, {}, ""),
        (0.0, 5_100, 10.3, {}, "send-rate"),
        (0.0, 100_000, 29.9, {}, ""),
        (0.0, 100_000, 30.0, {}, "send-idle"),
        (20.0, 100_000, 49.9, {}, ""),
        (0.0, 100 * STEADY, 99.9, {}, ""),  # what was taken ahead is credit
        (0.0, 100 * STEADY, 100.0, {}, "send-idle"),
        (0.0, 100_000, 21.0, {"silent": 20.5, "probes": 1}, ""),
        (0.0, 100_000, 21.0, {"silent": 20.5, "probes": 2}, "vanished"),
        (0.0, 100_000, 21.0, {"silent": 19.5, "retransmits": 9}, ""),
        (0.0, 100_000, 21.0, {"silent": 20.5, "retransmits": 3}, "vanished"),
    ],
)
def test_who_is_given_up(last: float, acked: int, now: float, found: dict[str, float], why: str) -> None:
    pace = Pace(0.0, last, acked)
    assert judge(pace, kernel(acked, **found), acked, 0.0, TIMES, now) == why  # type: ignore[arg-type]


def test_the_first_look_sees_no_progress_and_the_next_one_does() -> None:
    pace = Pace(0.0, 1.0, UNSEEN)
    assert judge(pace, kernel(10_000), 10_000, 0.0, TIMES, 5.0) == ""
    assert (pace.last, pace.moved) == (1.0, 10_000)
    assert judge(pace, kernel(10_001), 10_001, 0.0, TIMES, 6.0) == ""
    assert (pace.last, pace.moved) == (6.0, 10_001)


def test_off_is_off() -> None:
    off = Timeouts(send_idle=inf, send_min_rate=0.0)
    pace = Pace(0.0, 0.0, UNSEEN)
    assert judge(pace, kernel(0), 0, 0.0, off, 1e9) == ""
    assert next_look(pace, 0.0, 0.0, off, 1e9) > 1e9


def test_a_unix_client_cannot_vanish() -> None:
    assert judge(Pace(0.0, 0.0, UNSEEN), None, 70_000, 0.0, TIMES, 25.0) == ""


@given(
    rate=st.floats(500.0, 1e6),
    steps=st.lists(st.floats(0.1, 29.0), min_size=1, max_size=60),
    ahead=st.integers(0, 4_000_000),
)
def test_who_keeps_the_rate_is_served_for_ever(rate: float, steps: list[float], ahead: int) -> None:
    """Looked at whenever `next_look` says, with its kernel ahead of it by any number of bytes."""
    pace, now, look = Pace(0.0, 0.0, UNSEEN), 0.0, 0.5
    taken = max(float(ahead), rate * 29.0 + 1)
    for step in steps:
        then = now + step
        while look < then:
            assert judge(pace, kernel(int(taken)), int(taken), 0.0, TIMES, look) == ""
            again = next_look(pace, 0.0, 0.0, TIMES, look)
            assert again > look
            look = again
        now = then
        taken = max(taken, rate * (now + 29.0) + 1)  # it reads in gulps, each enough for the longest pause
        pace.last = now


@given(
    moved=st.integers(0, 10**8),
    now=st.floats(0, 1e5),
    since=st.floats(0, 100),
    silent=st.floats(0, 100),
    idle=st.floats(0.5, 60),
)
def test_a_verdict_is_not_looked_for_too_late(
    moved: int, now: float, since: float, silent: float, idle: float
) -> None:
    times = Timeouts(send_idle=idle, send_min_rate=500.0, fin_wait_1=20.0)
    pace = Pace(max(0.0, now - since), max(0.0, now - since), moved)
    again = next_look(pace, silent, pace.began, times, now)
    assert now < again <= now + max(idle / 4, 0.25)


def test_the_grace_is_for_everybody() -> None:
    pace = Pace(100.0, 100.0, UNSEEN)
    assert judge(pace, kernel(0), 0, 100.0, TIMES, 100.0 + GRACE - 0.1) == ""
    assert judge(pace, kernel(0), 0, 100.0, TIMES, 100.0 + GRACE) == "send-rate"
