"""How a lingering close ends: single cases, the kernel's figures, and any client at all.

The simulated shell does what `net.linger` does: it looks when something happens and when `next_look` says
so, and stops at the event that `review` returns. Time is a number.
"""

from dataclasses import dataclass, replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.closing import Event, Kernel, Lingering, next_look, review, vanished
from shieldproxy.core.limits import MIB, Limits, Timeouts

TIMES = Timeouts()
LIMITS = Limits()
NEAR = 1e-6
"""Seconds by which sums of floats may differ."""

ALIVE = Kernel(state=4, retransmits=0, probes=0, silent=0.0, bytes_acked=0, rtt=0.05)


def kernel(retransmits: int, probes: int, silent: float) -> Kernel:
    return replace(ALIVE, retransmits=retransmits, probes=probes, silent=silent)


# facts, section 2: zero window but alive: retransmits 0, probes at most 1; vanished: probes 4 or
# retransmits 5 after 8 s
@pytest.mark.parametrize(
    ("retransmits", "probes", "silent", "fin_wait_1", "gone"),
    [
        pytest.param(0, 0, 30.0, 20.0, False, id="alive, window closed, between two probes"),
        pytest.param(0, 1, 30.0, 20.0, False, id="alive, one probe on its way"),
        pytest.param(0, 1, 1e6, 20.0, False, id="a probe's answer is late, however long it was silent"),
        pytest.param(0, 4, 8.0, 8.0, True, id="vanished with a closed window"),
        pytest.param(5, 0, 8.0, 8.0, True, id="vanished with data on its way"),
        pytest.param(5, 4, 20.0, 20.0, True, id="both"),
        pytest.param(0, 4, 19.9, 20.0, False, id="not silent for fin_wait_1 yet, probes"),
        pytest.param(5, 0, 19.9, 20.0, False, id="not silent for fin_wait_1 yet, retransmits"),
        pytest.param(5, 4, 0.1, 20.0, False, id="a lossy path that answers"),
        pytest.param(2, 0, 20.0, 20.0, False, id="two retransmits: a slow path"),
        pytest.param(3, 0, 20.0, 20.0, True, id="three retransmits"),
        pytest.param(0, 2, 20.0, 20.0, True, id="two probes unanswered"),
        pytest.param(9, 9, 1e9, inf, False, id="fin_wait_1 off"),
    ],
)
def test_vanished_or_slow(
    retransmits: int, probes: int, silent: float, fin_wait_1: float, gone: bool
) -> None:
    facts = kernel(retransmits, probes, silent)
    assert vanished(facts, replace(TIMES, fin_wait_1=fin_wait_1)) is gone


def acked(at: float, last_byte: float = 0.0, rtt: float = 0.0) -> Lingering:
    return Lingering("ack", 0.0, last_byte, acked_at=at, rtt=rtt, progress_at=at)


@pytest.mark.parametrize(
    ("linger", "now", "event"),
    [
        pytest.param(acked(1.0), 2.9, None, id="the gap is not over"),
        pytest.param(acked(1.0), 3.0, Event.QUIET, id="the gap runs from the acknowledgement"),
        pytest.param(acked(1.0, last_byte=2.5), 3.0, None, id="or from the last byte, if that is later"),
        pytest.param(acked(1.0, last_byte=2.5), 4.5, Event.QUIET, id="to the gap after it"),
        pytest.param(acked(1.0, rtt=0.8), 4.1, None, id="four round trips of a slow path are longer"),
        pytest.param(acked(1.0, rtt=0.8), 4.2, Event.QUIET, id="and end it"),
        pytest.param(replace(acked(1.0), hole=True), 8.9, None, id="a hole to fill: four gaps"),
        pytest.param(replace(acked(1.0), hole=True), 9.0, Event.QUIET, id="and no more"),
        pytest.param(replace(acked(1.0), hole=True), 31.0, Event.TOTAL, id="nor beyond total"),
        pytest.param(acked(10.0, last_byte=39.5), 39.9, None, id="total runs from the acknowledgement"),
        pytest.param(acked(10.0, last_byte=39.9), 40.0, Event.TOTAL, id="total, whatever still comes"),
        pytest.param(replace(acked(1.0), drained=16 * MIB), 1.0, Event.OVERFLOW, id="bytes"),
        pytest.param(replace(acked(1.0), drained=16 * MIB - 1), 1.0, None, id="one byte less"),
    ],
)
def test_when_it_ends(linger: Lingering, now: float, event: Event | None) -> None:
    assert review(linger, None, TIMES, LIMITS, now) is event


def test_without_acknowledgement_neither_gap_nor_total_ends_it() -> None:
    """A slow reader may take long: as long as its kernel takes bytes, the close waits."""
    linger = Lingering("ack", 0.0, 0.0, progress=5, progress_at=500.0)
    assert review(linger, ALIVE, TIMES, LIMITS, 529.9) is None
    assert review(linger, ALIVE, TIMES, LIMITS, 530.0) is Event.STALLED


def test_a_vanished_client_is_let_go_before_send_idle() -> None:
    linger = Lingering("ack", 0.0, 0.0, progress_at=0.0)
    assert review(linger, kernel(0, 4, 20.0), TIMES, LIMITS, 20.0) is Event.VANISHED


def test_the_clock_alone_ends_a_timed_one() -> None:
    """It asks nothing of the kernel: the gap after the last byte, and total from the start."""
    linger = Lingering("timed", 0.0, 0.0)
    assert review(linger, None, TIMES, LIMITS, 1.9) is None
    assert review(linger, None, TIMES, LIMITS, 2.0) is Event.QUIET
    assert review(replace(linger, last_byte=29.5), None, TIMES, LIMITS, 30.0) is Event.TOTAL


# any client

TIMEOUTS = st.builds(
    Timeouts,
    linger_gap=st.floats(0.1, 5),
    linger_total=st.floats(0.1, 60),
    fin_wait_1=st.floats(0.5, 60),
    send_idle=st.floats(0.5, 60),
)
MOVES = st.lists(
    st.tuples(
        st.floats(0, 20),
        st.sampled_from(["bytes", "some", "all", "gone", "nothing"]),
        st.integers(1, 40_000),
    ),
    max_size=40,
)


@dataclass
class Shell:
    """What net.linger does, on numbers."""

    linger: Lingering
    timeouts: Timeouts
    limits: Limits
    rtt: float
    now: float = 0.0
    taken: int = 0
    taken_at: float = 0.0
    gone_at: float = inf
    due: float = inf

    def look(self) -> Event | None:
        linger, facts = self.linger, None
        if linger.acked_at == inf:
            silent = self.now - self.gone_at if self.gone_at < inf else 0.0
            facts = kernel(5 if silent > 5 else 0, 0, silent)
            if self.taken > linger.progress:
                linger.progress, linger.progress_at = self.taken, self.now
        event = review(linger, facts, self.timeouts, self.limits, self.now)
        if event is None:
            self.due = next_look(linger, self.timeouts, self.now)
            assert self.due > self.now, "polled"
        return event

    def move(self, what: str, size: int) -> None:
        linger = self.linger
        if self.gone_at < inf:
            return
        if what == "bytes":
            linger.drained += size
            linger.last_byte = self.now
        elif what == "some":
            self.taken += size
            self.taken_at = self.now
        elif what == "all" and linger.acked_at == inf:
            linger.acked_at, linger.rtt = self.now, self.rtt
        elif what == "gone":
            self.gone_at = self.now

    def wait(self, until: float) -> Event | None:
        """Let time pass, with a look whenever one is due."""
        while self.due <= until:
            self.now = self.due
            event = self.look()
            if event is not None:
                return event
        self.now = until
        return None

    def play(self, moves: list[tuple[float, str, int]]) -> Event:
        event = self.look()
        assert event is None
        for pause, what, size in moves:
            event = self.wait(self.now + pause)
            if event is None:
                self.move(what, size)
                event = self.look() if what in {"bytes", "all"} else None  # of the others no event tells
            if event is not None:
                return event
        event = self.wait(self.now + 10_000)
        assert event is not None, "a client that does nothing more holds its place for hours"
        return event


@given(
    st.sampled_from(["ack", "timed"]),
    TIMEOUTS,
    st.integers(1, 100_000),
    st.floats(0, 3),
    st.booleans(),
    MOVES,
)
def test_any_client_ends_within_the_limits(
    mode: str, timeouts: Timeouts, most: int, rtt: float, hole: bool, moves: list[tuple[float, str, int]]
) -> None:
    linger = Lingering("timed" if mode == "timed" else "ack", 0.0, 0.0, progress_at=0.0, hole=hole)
    shell = Shell(linger, timeouts, Limits(linger=most), rtt)
    event = shell.play(moves)
    now = shell.now
    start = linger.started if mode == "timed" else linger.acked_at
    gap = timeouts.linger_gap if mode == "timed" else max(timeouts.linger_gap, 4 * rtt) * (4 if hole else 1)
    if start < inf:
        assert now <= start + timeouts.linger_total + NEAR
        assert now <= max(start, linger.last_byte) + gap + NEAR
    else:
        assert now <= shell.taken_at + timeouts.send_idle * 1.5 + NEAR
    if event is Event.OVERFLOW:
        assert linger.drained >= most
    elif event is Event.QUIET:
        assert now >= max(start, linger.last_byte) + gap - NEAR
    elif event is Event.TOTAL:
        assert now >= start + timeouts.linger_total - NEAR
    elif event is Event.VANISHED:
        assert now - shell.gone_at >= timeouts.fin_wait_1 - NEAR
    else:
        assert event is Event.STALLED
        assert linger.acked_at == inf
        assert now >= shell.taken_at + timeouts.send_idle - NEAR


@given(st.sampled_from(["ack", "timed"]), TIMEOUTS, st.floats(0, 100))
def test_a_look_that_goes_on_names_a_later_one(mode: str, timeouts: Timeouts, now: float) -> None:
    """Nothing is polled: a look that changes nothing is not due again at once."""
    linger = Lingering("timed" if mode == "timed" else "ack", 0.0, 0.0, progress_at=0.0)
    if review(linger, ALIVE, timeouts, LIMITS, now) is None:
        assert next_look(linger, timeouts, now) > now


@given(st.floats(1, 1000), st.floats(1, 1000), st.floats(0, 1e6))
def test_an_unacknowledged_one_is_asked_a_few_times_and_no_more(idle: float, gone: float, now: float) -> None:
    """What the kernel's counters say is a question to it: few a client, whatever the timeouts."""
    timeouts = replace(TIMES, send_idle=idle, fin_wait_1=gone)
    linger = Lingering("ack", 0.0, 0.0, progress_at=now)
    assert next_look(linger, timeouts, now) >= now + min(idle / 4, gone) - NEAR


@given(st.floats(1, 600), st.floats(1, 600), st.floats(0, 3600))
def test_one_that_was_silent_before_is_found_gone_within_two_seconds(
    idle: float, gone: float, silent: float
) -> None:
    """A 408 to a client that has vanished long ago: three retransmissions take 1.4 s, a look 0.25 s."""
    timeouts = replace(TIMES, send_idle=idle, fin_wait_1=gone)
    linger, now = Lingering("ack", started=0.0, last_byte=0.0, progress_at=0.0), 0.0
    while True:
        facts = kernel(3 if now >= 1.4 else 0, 0, silent + now)
        event = review(linger, facts, timeouts, LIMITS, now)
        if event is not None:
            break
        now = next_look(linger, timeouts, now, facts.silent)
    assert now <= max(1.4, gone - silent) + 0.25 + NEAR


@given(st.floats(1, 600), st.floats(1, 600))
def test_a_silent_one_is_looked_at_ever_more_rarely(idle: float, gone: float) -> None:
    """Between two probes of a window that has long been closed nothing comes; the looks grow by an eighth."""
    timeouts = replace(TIMES, send_idle=4 * idle, fin_wait_1=gone)
    linger = Lingering("ack", started=0.0, last_byte=0.0, progress_at=0.0)
    for now in (0.0, 1.0, 10.0, 100.0):
        assert next_look(linger, timeouts, now, 1e6) == now + min(idle, max(0.25, now / 8))
