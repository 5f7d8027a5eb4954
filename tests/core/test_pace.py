"""How slow is too slow: the moment of the first limit, and who makes room."""

from math import inf

import pytest

from shieldproxy.core.pace import GRACE, PRESSED, Pace, rate_at

IDLE, RATE, TOTAL = 15.0, 500.0, 3600.0


@pytest.mark.parametrize(
    ("moved", "last", "limits", "due"),
    [
        pytest.param(0, 0.0, (IDLE, RATE, TOTAL), (10.0, "rate"), id="nothing: the grace is over first"),
        pytest.param(0, 0.0, (5.0, RATE, TOTAL), (5.0, "idle"), id="nothing, and little patience"),
        pytest.param(4_999, 9.0, (IDLE, RATE, TOTAL), (10.0, "rate"), id="a byte short when the grace ends"),
        pytest.param(6_000, 9.0, (IDLE, RATE, TOTAL), (12.0, "rate"), id="each byte buys time"),
        pytest.param(50_000, 10.0, (IDLE, RATE, TOTAL), (25.0, "idle"), id="fast, then silent"),
        pytest.param(
            50_000, 90.0, (IDLE, RATE, TOTAL), (100.0, "rate"), id="fast at first is no credit for ever"
        ),
        pytest.param(10**9, 3_590.0, (IDLE, RATE, TOTAL), (3_600.0, "total"), id="fast, and endless"),
        pytest.param(1, 50.0, (IDLE, 0.0, TOTAL), (65.0, "idle"), id="no rate is asked for"),
        pytest.param(1, 50.0, (inf, 0.0, inf), (inf, "idle"), id="everything off"),
    ],
)
def test_the_first_limit(
    moved: int, last: float, limits: tuple[float, float, float], due: tuple[float, str]
) -> None:
    assert Pace(0.0, last, moved).limit(*limits) == due


def test_the_rate_is_an_average_from_the_start() -> None:
    """Whoever moves 600 bytes in each second is never due, whoever moves 400 is when the grace ends."""
    for rate, passes in ((600, True), (556, True), (400, False), (10, False)):
        pace = Pace(0.0, 0.0)
        due = inf
        for second in range(1, 120):
            due, which = pace.limit(IDLE, RATE, TOTAL)
            if due <= second:
                assert which == "rate"
                break
            pace.move(rate, float(second))
        assert (due > 119) == passes, rate
        assert passes or due == GRACE


def test_our_own_pauses_do_not_count() -> None:
    pace = Pace(100.0, 100.0)
    pace.move(5_500, 101.0)
    assert pace.limit(IDLE, RATE, TOTAL) == (111.0, "rate")
    pace.pause(105.0)
    pace.pause(109.0)
    assert pace.limit(IDLE, RATE, TOTAL) == (inf, "")
    assert not pace.slow(1_000.0, IDLE, RATE)
    pace.resume(205.0)
    assert pace.limit(IDLE, RATE, TOTAL) == (211.0, "rate")
    pace.resume(300.0)
    assert pace.began == 200.0


@pytest.mark.parametrize(
    ("now", "moved", "last", "slow"),
    [
        pytest.param(3.0, 0, 0.0, False, id="just begun"),
        pytest.param(6.0, 0, 5.0, True, id="nothing to speak of"),
        pytest.param(6.0, int(6 * RATE * PRESSED), 5.0, False, id="as fast as it should be"),
        pytest.param(6.0, int(6 * RATE * PRESSED) - 1, 5.0, True, id="a byte less"),
        pytest.param(60.0, 10**9, 56.5, False, id="silent for a moment"),
        pytest.param(60.0, 10**9, 56.0, True, id="silent for long"),
    ],
)
def test_who_makes_room(now: float, moved: int, last: float, slow: bool) -> None:
    assert Pace(0.0, last, moved).slow(now, IDLE, RATE) is slow


def test_off_is_never() -> None:
    assert rate_at(5.0, 0, 0.0) == inf
