"""How a client's connection ends: one table, and the arithmetic of a lingering close.

A server that calls ``close()`` while input is unread, or while a client still sends, makes its kernel
answer with a reset, and the reset destroys the response on its way (RFC 9112 section 9.6). So a response
that ends a connection is followed by a FIN, and the socket is held and read until it is safe to let go.

What this decides: the state that follows an event (`step`), the I/O that the shell has to do for it, and
when a lingering close is over (`review`). What it never does: touch a socket or a clock; `now` and what
the kernel said are arguments. `net.linger` calls it, and docs/closing.md is drawn from its table.

Events that change nothing but a note of the shell's (REQUEST, KEEP, BYTES, ACKNOWLEDGED, a FIN while ACTIVE)
stand in the table for completeness and for its drawing; the shell makes the same change by itself.

A connection is IDLE while it waits (fresh, in a head, or kept alive), ACTIVE while a request of it is
answered, LINGER between our FIN and the end, and CLOSED or RESET when no descriptor is left.
"""

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final, Literal

from shieldproxy.core.limits import Limits, Timeouts


class State(Enum):
    """Where a connection stands."""

    ACTIVE = "active"
    IDLE = "idle"
    LINGER = "linger"
    CLOSED = "closed"
    RESET = "reset"


class Event(Enum):
    """What may happen to a connection."""

    REQUEST = "a request is whole"
    KEEP = "response sent, connection kept"
    END_ACK = 'response sent, connection ends (linger = "ack")'
    END_TIMED = 'response sent, connection ends (linger = "timed")'
    END_KERNEL = 'response sent, connection ends (linger = "kernel")'
    END_OFF = 'response sent, connection ends (linger = "off")'
    TRUNCATED = "the response cannot be finished"
    PEER_FIN = "the client's FIN"
    PEER_RESET = "the client's reset"
    PEER_FIN_FIRST = "the client's FIN, before it has acknowledged everything"
    BYTES = "the client still sends"
    ACKNOWLEDGED = "the client's kernel has acknowledged our FIN"
    QUIET = "acknowledged, and silent for the gap"
    TOTAL = "linger_total is over"
    OVERFLOW = "limits.linger is reached"
    STALLED = "nothing acknowledged for send_idle"
    VANISHED = "the client's kernel no longer answers"
    EXPIRED = "the deadline of a waiting connection"
    EVICTED = "the place is needed"
    STOPPED = "the drain is over"


class Action(Enum):
    """What the shell does about it."""

    NOTE = "note the half-close: the response still goes out"
    FIN = "shutdown(SHUT_WR)"
    DRAIN = "read and discard"
    GAP = "start the gap"
    CLOSE = "close()"
    ORPHAN = "close() with TCP_LINGER2 and TCP_USER_TIMEOUT"
    KERNEL = "close() with SO_LINGER, in a thread"
    RST = "close() with a reset"


Step = tuple[State, tuple[Action, ...]]

_A, _I, _L = State.ACTIVE, State.IDLE, State.LINGER

TABLE: Final[dict[tuple[State, Event], Step]] = {
    (_I, Event.REQUEST): (State.ACTIVE, ()),
    (_I, Event.PEER_FIN): (State.CLOSED, (Action.ORPHAN,)),
    (_I, Event.PEER_RESET): (State.RESET, (Action.CLOSE,)),
    (_I, Event.EXPIRED): (State.CLOSED, (Action.ORPHAN,)),
    (_I, Event.EVICTED): (State.CLOSED, (Action.ORPHAN,)),
    (_I, Event.STOPPED): (State.CLOSED, (Action.ORPHAN,)),
    (_A, Event.KEEP): (State.IDLE, ()),
    (_A, Event.PEER_FIN): (State.ACTIVE, (Action.NOTE,)),
    (_A, Event.PEER_RESET): (State.RESET, (Action.CLOSE,)),
    (_A, Event.END_ACK): (State.LINGER, (Action.FIN, Action.DRAIN)),
    (_A, Event.END_TIMED): (State.LINGER, (Action.FIN, Action.DRAIN)),
    (_A, Event.END_KERNEL): (State.CLOSED, (Action.KERNEL,)),
    (_A, Event.END_OFF): (State.CLOSED, (Action.ORPHAN,)),
    (_A, Event.TRUNCATED): (State.RESET, (Action.RST,)),
    (_A, Event.STALLED): (State.RESET, (Action.RST,)),
    (_A, Event.VANISHED): (State.RESET, (Action.RST,)),
    (_A, Event.EVICTED): (State.RESET, (Action.RST,)),
    (_A, Event.STOPPED): (State.RESET, (Action.RST,)),
    (_L, Event.BYTES): (State.LINGER, (Action.DRAIN,)),
    (_L, Event.ACKNOWLEDGED): (State.LINGER, (Action.GAP,)),
    (_L, Event.PEER_FIN): (State.CLOSED, (Action.CLOSE,)),
    (_L, Event.PEER_FIN_FIRST): (State.LINGER, (Action.NOTE,)),
    (_L, Event.PEER_RESET): (State.RESET, (Action.CLOSE,)),
    (_L, Event.QUIET): (State.CLOSED, (Action.ORPHAN,)),
    (_L, Event.TOTAL): (State.CLOSED, (Action.ORPHAN,)),
    (_L, Event.OVERFLOW): (State.CLOSED, (Action.ORPHAN,)),
    (_L, Event.STALLED): (State.CLOSED, (Action.ORPHAN,)),
    (_L, Event.VANISHED): (State.RESET, (Action.RST,)),
    (_L, Event.EVICTED): (State.CLOSED, (Action.ORPHAN,)),
    (_L, Event.STOPPED): (State.CLOSED, (Action.ORPHAN,)),
}

FINAL: Final = frozenset({State.CLOSED, State.RESET})

END: Final[dict[str, Event]] = {
    "ack": Event.END_ACK,
    "timed": Event.END_TIMED,
    "kernel": Event.END_KERNEL,
    "off": Event.END_OFF,
}


def step(state: State, event: Event) -> Step:
    """Return the state that follows, and what the shell does for it.

    Raises:
        KeyError: the event cannot happen in this state; a defect of the caller.
    """
    return TABLE[state, event]


@dataclass(slots=True)
class Lingering:
    """What is known of one lingering close. Times in seconds of the worker's clock, sizes in bytes."""

    mode: Literal["ack", "timed"]
    started: float
    last_byte: float
    """When the client last sent something (at first: when the linger began)."""
    acked_at: float = inf
    """When its kernel had acknowledged every byte and our FIN; inf until then."""
    began: float = -inf
    """When the response began that it follows."""
    base: int = 0
    """bytes_acked before that response."""
    rtt: float = 0.0
    """The smoothed round trip when it was acknowledged."""
    fin: bool = False
    """Whether the client's FIN has come before the acknowledgement."""
    hole: bool = False
    """Whether something of the client's has arrived behind bytes that have not: it sends those again."""
    drained: int = 0
    """Bytes read and thrown away."""
    progress: int = 0
    """bytes_acked of TCP_INFO at the last look."""
    progress_at: float = 0.0
    """When bytes_acked was last seen to grow."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What TCP_INFO says of a client (facts that `vanished` and `review` need)."""

    state: int
    retransmits: int
    probes: int
    silent: float
    """Seconds since anything of the client arrived, acknowledgements included."""
    bytes_acked: int
    rtt: float


STEADY: Final = 16 * 1024
"""Bytes a second: a client ahead of this average is not idle, however long its window stays closed."""


HOLE_GAPS: Final = 4
"""Gaps for which a silent client is waited for that has a hole to fill: its kernel doubles its pauses."""

SOON: Final = 0.25
"""Seconds between two looks at a client that may just have been found gone."""


def stalled_at(progress_at: float, began: float, taken: int, timeouts: Timeouts) -> float:
    """Return when a client that takes nothing more counts as idle.

    A slow reader's kernel takes megabytes at once and then closes its window until much of that is read
    (seen: curl at 20 kB/s, silent for more than 30 s while reading). So what was taken ahead is credit.

    Args:
        progress_at: when something was last acknowledged.
        began: when the response began.
        taken: bytes of it that the client's kernel has acknowledged.
        timeouts: of the client's policy.
    """
    return max(progress_at + timeouts.send_idle, began + taken / STEADY)


def vanished(kernel: Kernel, timeouts: Timeouts) -> bool:
    """Tell a client whose kernel is gone from one that reads slowly.

    A closed window is answered by the client's kernel (retransmits 0, probes at most 1); a dead one
    answers nothing, and the counters climb.
    """
    return kernel.silent >= timeouts.fin_wait_1 and (kernel.retransmits >= 3 or kernel.probes >= 2)


def next_look(linger: Lingering, timeouts: Timeouts, now: float, silent: float = 0.0) -> float:
    """Return when to look at a lingering close again, if nothing happens before.

    The acknowledgement is an event; only how far an unacknowledged client has come must be asked for. One
    that has long been silent is found gone as soon as it has left a few packets unanswered, so it is looked
    at again soon; but the rarer, the longer this has gone on.

    Args:
        linger: what was seen so far.
        timeouts: of the client's policy.
        now: seconds of the worker's clock.
        silent: seconds since anything of the client arrived.
    """
    if linger.mode == "ack" and linger.acked_at == inf:
        left = timeouts.fin_wait_1 - silent
        again = max(SOON, left if left > 0 else (now - linger.started) / 8)
        return now + min(timeouts.send_idle / 4, again)
    return linger_due(linger, timeouts)


def linger_due(linger: Lingering, timeouts: Timeouts) -> float:
    """Return when a lingering close is over, if nothing happens before."""
    if linger.mode == "timed":
        return min(linger.last_byte + timeouts.linger_gap, linger.started + timeouts.linger_total)
    if linger.acked_at == inf:
        return stalled_at(linger.progress_at, linger.began, linger.progress - linger.base, timeouts)
    gap = max(timeouts.linger_gap, 4 * linger.rtt) * (HOLE_GAPS if linger.hole else 1)
    return min(max(linger.acked_at, linger.last_byte) + gap, linger.acked_at + timeouts.linger_total)


def review(
    linger: Lingering, kernel: Kernel | None, timeouts: Timeouts, limits: Limits, now: float
) -> Event | None:
    """Return the event that ends a lingering close now, or None to go on.

    Args:
        linger: what was seen so far.
        kernel: TCP_INFO, read for this look; needed only before the acknowledgement.
        timeouts: of the client's policy.
        limits: of the client's policy.
        now: seconds of the worker's clock.
    """
    if linger.drained >= limits.linger:
        return Event.OVERFLOW
    if linger.mode == "ack" and linger.acked_at == inf:
        if kernel is not None and vanished(kernel, timeouts):
            return Event.VANISHED
        return Event.STALLED if now >= linger_due(linger, timeouts) else None
    start = linger.started if linger.mode == "timed" else linger.acked_at
    if now >= start + timeouts.linger_total:
        return Event.TOTAL
    return Event.QUIET if now >= linger_due(linger, timeouts) else None
