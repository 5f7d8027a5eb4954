"""The rest of a refused body: read out where that is quick, else the connection ends."""

from math import inf

import pytest

from shieldproxy.core.readout import SLACK, WORTH, seconds_for, time_of

KIB, MIB = 1024, 1024 * 1024


@pytest.mark.parametrize(
    ("left", "rate", "rtt", "drains"),
    [
        pytest.param(-1, 0, 0.01, False, id="nobody knows how much"),
        pytest.param(-1, 10**9, 0.0, False, id="nor how much of it is left"),
        pytest.param(0, 0, 0.1, True, id="nothing"),
        pytest.param(100, 0, 0.1, True, id="a form"),
        pytest.param(100 * KIB, 0, 0.1, True, id="a picture, far away"),
        pytest.param(600 * KIB, 0, 0.1, False, id="a large one, far away"),
        pytest.param(600 * KIB, 0, 0.001, True, id="the same, near"),
        pytest.param(16 * MIB, 0, 0.001, False, id="of unknown speed, and long"),
        pytest.param(16 * MIB, 100 * MIB, 0.001, True, id="long, and fast"),
        pytest.param(100 * KIB, 10 * KIB, 0.05, False, id="short, and slow"),
        pytest.param(3 * MIB, 2 * MIB, 0.4, True, id="no longer than a new connection would take"),
        pytest.param(3 * MIB, 2 * MIB, 0.03, False, id="the same, where a new one is made at once"),
    ],
)
def test_the_choice(left: int, rate: float, rtt: float, drains: bool) -> None:
    assert (seconds_for(left, rate, rtt) > 0) is drains


@pytest.mark.parametrize("rate", [0, 50_000])
@pytest.mark.parametrize("rtt", [0.0, 0.02, 0.3])
def test_more_takes_longer(rate: float, rtt: float) -> None:
    times = [time_of(left, rate, rtt) for left in (0, 1, 1000, 10**5, 10**7)]
    assert times == sorted(times)
    assert time_of(-1, rate, rtt) == inf


def test_it_is_bounded() -> None:
    """Twice the longest that is worth it, and the slack: a client that sends nothing more is given up."""
    for left in (0, 10, 10**4, 10**6, 10**8):
        for rate in (0.0, 10.0, 10.0**5, 10.0**9):
            assert seconds_for(left, rate, 0.1) <= 2 * WORTH + SLACK
