"""The close table under anything that can happen to a connection, in any order and at any time.

One connection, which asks and is answered, half-closes, resets, sends on, takes the response slowly or not at
all, acknowledges, vanishes; and a house that ends, evicts and drains. The shell is that of `net.linger`, on
numbers: it knows of bytes and acknowledgements by events, and looks at the kernel only when `next_look` says
so. However it is driven, the connection ends in CLOSED or RESET, no later than its limits say, with at most
`limits.linger` bytes and the last read taken after our FIN, and with exactly one action that gives the
descriptor up.
"""

import random
from collections import Counter
from collections.abc import Callable
from math import inf

from hypothesis import event as count
from hypothesis import given, settings
from hypothesis import strategies as st

from shieldproxy.core.closing import (
    END,
    FINAL,
    STEADY,
    TABLE,
    Action,
    Event,
    Kernel,
    Lingering,
    State,
    next_look,
    review,
    step,
)
from shieldproxy.core.limits import Limits, Timeouts

LETS_GO = {Action.CLOSE, Action.ORPHAN, Action.KERNEL, Action.RST}
NEAR = 1e-6
"""Seconds by which sums of floats may differ."""
LARGEST_READ = 50_000


class Connection:
    """One client's connection, and what its kernel would say."""

    def __init__(self, timeouts: Timeouts, limits: Limits, rtt: float) -> None:
        self.timeouts, self.limits, self.rtt = timeouts, limits, rtt
        self.state = State.IDLE
        self.now = self.began = self.taken_at = 0.0
        self.given_up: list[Action] = []
        self.steps: list[tuple[State, Event]] = []
        self.linger: Lingering | None = None
        self.due = timeouts.keep_alive
        self.size = self.taken = 0
        self.gone_at = inf
        self.fin = self.acked = False

    def happen(self, event: Event) -> None:
        """The table's step, and what the shell does for it."""
        self.steps.append((self.state, event))
        self.state, actions = step(self.state, event)
        self.given_up += [action for action in actions if action in LETS_GO]
        if Action.FIN in actions:
            mode = event is Event.END_TIMED
            self.linger = Lingering(
                "timed" if mode else "ack", self.now, self.now, began=self.began, progress_at=self.now
            )
            self.fin = self.acked = False
            self.look()

    def look(self) -> None:
        """What `net.linger` does when something has come or is due."""
        linger, kernel = self.linger, None
        silent = self.now - self.gone_at if self.gone_at < inf else 0.0
        assert linger is not None
        if linger.acked_at == inf:
            if self.acked and self.gone_at == inf:
                linger.acked_at, linger.rtt = self.now, self.rtt
            else:
                kernel = Kernel(4, 5 if silent > 5 else 0, 0, silent, self.taken, self.rtt)
                if self.taken > linger.progress:
                    linger.progress, linger.progress_at = self.taken, self.now
        event = review(linger, kernel, self.timeouts, self.limits, self.now)
        if event is not None:
            self.happen(event)
        else:
            self.due = next_look(linger, self.timeouts, self.now, silent)
            assert self.due > self.now, "polled"

    # the client, whose packets arrive until it has vanished

    def asks(self, size: int) -> None:
        if self.state is State.IDLE:
            self.happen(Event.REQUEST)
            self.began, self.size, self.taken, self.taken_at = self.now, size * 3, 0, self.now
            self.due = inf

    def closes(self, _size: int) -> None:
        linger = self.linger
        if linger is None:
            if not self.fin:
                self.fin = True
                self.happen(Event.PEER_FIN)
        elif linger.mode == "timed" or linger.acked_at < inf:
            self.happen(Event.PEER_FIN)
        elif not linger.fin:
            linger.fin = True
            self.happen(Event.PEER_FIN_FIRST)
            self.look()

    def resets(self, size: int) -> None:
        if size % 4 == 0:
            self.happen(Event.PEER_RESET)

    def sends_on(self, size: int) -> None:
        if self.linger is not None:
            self.linger.drained += size
            self.linger.last_byte = self.now
            self.happen(Event.BYTES)
            self.look()

    def takes_some(self, size: int) -> None:
        """Of which no event tells."""
        if self.taken < self.size:
            self.taken = min(self.size, self.taken + size)
            self.taken_at = self.now

    def takes_all(self, _size: int) -> None:
        linger = self.linger
        if linger is None or self.acked:
            return
        self.taken, self.acked, self.taken_at = self.size, True, self.now
        if linger.mode == "ack" and linger.fin:
            linger.acked_at = self.now
            self.happen(Event.PEER_FIN)
        elif linger.mode == "ack":
            self.happen(Event.ACKNOWLEDGED)
            self.look()

    def vanishes(self, _size: int) -> None:
        self.gone_at = self.now

    # the house

    def answers(self, size: int) -> None:
        if self.state is not State.ACTIVE:
            return
        ends = [Event.KEEP, *END.values(), Event.END_ACK, Event.END_ACK, Event.END_TIMED, Event.TRUNCATED]
        event = ends[size % len(ends)]
        if event is Event.KEEP and self.fin:
            event = Event.END_ACK
        self.happen(event)
        if event is Event.KEEP:
            self.due = self.now + self.timeouts.keep_alive

    def gives_up(self, size: int) -> None:
        """An answer that does not get out."""
        if self.state is State.ACTIVE:
            self.happen(Event.STALLED if size % 2 else Event.VANISHED)

    def evicts(self, size: int) -> None:
        if size % 4 == 0:
            self.happen(Event.EVICTED)

    def stops(self, size: int) -> None:
        if size % 4 == 0:
            self.happen(Event.STOPPED)

    # time

    def wait(self, until: float) -> None:
        """Let time pass, with a look whenever one is due."""
        while self.state not in FINAL and self.due <= until:
            self.now = self.due
            if self.state is State.IDLE:
                self.happen(Event.EXPIRED)
            else:
                self.look()
            self.within_limits()
        if self.state not in FINAL:
            self.now = until

    # what holds

    def within_limits(self) -> None:
        """The descriptor goes once, with the end; and a lingering close is not longer than it may be."""
        assert len(self.given_up) == (self.state in FINAL)
        linger = self.linger
        if linger is not None:
            assert linger.drained < self.limits.linger + LARGEST_READ
            assert self.now <= self.longest(linger) + NEAR
            if self.state is State.LINGER:
                assert linger.drained < self.limits.linger

    def longest(self, linger: Lingering) -> float:
        """The latest end that the limits allow, as docs/closing.md states them."""
        times = self.timeouts
        if linger.mode == "timed":
            return min(linger.last_byte + times.linger_gap, linger.started + times.linger_total)
        if linger.acked_at < inf:
            gap = max(times.linger_gap, 4 * self.rtt)
            return min(max(linger.acked_at, linger.last_byte) + gap, linger.acked_at + times.linger_total)
        late = times.send_idle / 4  # between two looks: what was taken is seen late, and so is the end
        idle = max(self.taken_at, linger.started) + times.send_idle + 2 * late
        return max(idle, self.began + self.taken / STEADY + late)


CLIENT = ["asks", "closes", "resets", "sends_on", "takes_some", "takes_all", "vanishes"]
HOUSE = ["answers", "gives_up", "evicts", "stops"]
NAMES = [*CLIENT, *HOUSE, "asks", "asks", "answers", "answers", "sends_on", "takes_some", "takes_some"]
PAUSES = [0.0, 0.0, 0.01, 0.1, 0.5, 2.0, 10.0]
Moves = list[tuple[float, str, int]]
MOVES = st.lists(
    st.tuples(
        st.sampled_from(PAUSES) | st.floats(0, 20), st.sampled_from(NAMES), st.integers(1, LARGEST_READ)
    ),
    max_size=40,
)
TIMEOUTS = st.builds(
    Timeouts,
    keep_alive=st.floats(5, 60),
    linger_gap=st.floats(0.1, 5),
    linger_total=st.floats(0.1, 60),
    fin_wait_1=st.floats(0.5, 60),
    send_idle=st.floats(0.5, 60),
)


def drive(connection: Connection, ended: Event | None, moves: Moves) -> None:
    """Let it all happen, then leave the connection alone: it ends by itself."""
    if ended is not None:
        connection.asks(LARGEST_READ)
        connection.happen(ended)
    for pause, name, size in moves:
        connection.wait(connection.now + pause)
        if connection.state in FINAL:
            break
        if name in HOUSE or connection.gone_at == inf:
            move: Callable[[int], None] = getattr(connection, name)
            move(size)
            connection.within_limits()
            if connection.state in FINAL:
                break
    if connection.state is State.ACTIVE:  # whose time is the exchange's: it is answered at some time
        connection.happen(Event.END_ACK)
    connection.wait(connection.now + 10_000)
    assert connection.state in FINAL, "it holds its place for hours"
    connection.within_limits()


STARTS = [None, None, Event.END_ACK, Event.END_TIMED]


@given(TIMEOUTS, st.integers(1, 200_000), st.floats(0, 2), st.sampled_from(STARTS), MOVES)
@settings(max_examples=300)
def test_every_connection_ends_within_its_limits(
    timeouts: Timeouts, most: int, rtt: float, ended: Event | None, moves: Moves
) -> None:
    connection = Connection(timeouts, Limits(linger=most), rtt)
    drive(connection, ended, moves)
    count(f"{connection.state.name} by {connection.given_up[0].name}")


def test_every_step_of_the_table_is_taken_on_such_ways() -> None:
    """The same by dice, 3,000 times: long ways, and into every corner."""
    dice = random.Random(1)
    seen: Counter[tuple[State, Event]] = Counter()
    for _ in range(3000):
        times = Timeouts(
            linger_gap=dice.choice([0.1, 2.0]),
            linger_total=dice.choice([0.1, 3.0, 30.0]),
            fin_wait_1=dice.choice([0.5, 20.0]),
            send_idle=dice.choice([0.5, 30.0]),
        )
        moves = [(dice.choice(PAUSES), dice.choice(NAMES), dice.randint(1, LARGEST_READ)) for _ in range(40)]
        connection = Connection(times, Limits(linger=dice.choice([1, 60_000, 10**7])), dice.random())
        drive(connection, dice.choice(STARTS), moves)
        seen.update(connection.steps)
    assert set(seen) == set(TABLE), set(TABLE) - set(seen)
