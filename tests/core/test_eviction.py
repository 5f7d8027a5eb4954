"""Who leaves first when every place is taken."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.eviction import NEVER, rank

PHASES = ["fresh", "head", "idle", "exchange", "linger", "body", "refused"]

# acknowledged, lingering, heads older than a quarter of `head`, slow uploads, idle, fresh
IN_ORDER = [
    ("linger", True, 0.0),
    ("linger", False, 0.0),
    ("head", False, 5.1),
    ("body", False, 0.0),
    ("send", False, 0.0),
    ("idle", False, 0.0),
    ("fresh", False, 0.0),
]


def test_the_order_is_the_contract_s() -> None:
    ranks = [
        rank(phase, acknowledged=acked, age=age, head_timeout=20.0, slow=True)
        for phase, acked, age in IN_ORDER
    ]
    assert ranks == sorted(set(ranks))
    assert max(ranks) < NEVER


@pytest.mark.parametrize("phase", ["body", "send"])
def test_who_comes_on_well_stays(phase: str) -> None:
    assert rank(phase, acknowledged=False, age=1e6, head_timeout=20.0, slow=False) == NEVER


@pytest.mark.parametrize(
    ("age", "head_timeout", "may_go"),
    [
        (0.0, 20.0, False),
        (5.0, 20.0, False),
        (5.01, 20.0, True),
        (19.9, 20.0, True),
        (1.3, 5.0, True),
        (1e9, inf, False),
    ],
)
def test_a_quarter_of_the_head_s_time_is_left_to_everybody(
    age: float, head_timeout: float, may_go: bool
) -> None:
    assert (rank("head", acknowledged=False, age=age, head_timeout=head_timeout) != NEVER) is may_go


@given(st.booleans(), st.floats(0, 1e6), st.floats(0.001, 1e6))
def test_who_is_being_served_stays(acknowledged: bool, age: float, head_timeout: float) -> None:
    """And so does whoever sends a body as fast as one should."""
    for phase in ("exchange", "body", "refused"):
        assert rank(phase, acknowledged=acknowledged, age=age, head_timeout=head_timeout) == NEVER


@given(st.sampled_from(PHASES), st.booleans(), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.001, 1e6))
def test_waiting_longer_never_makes_anybody_safer(
    phase: str, acknowledged: bool, age: float, more: float, head_timeout: float
) -> None:
    before = rank(phase, acknowledged=acknowledged, age=age, head_timeout=head_timeout)
    after = rank(phase, acknowledged=acknowledged, age=age + more, head_timeout=head_timeout)
    assert after <= before
