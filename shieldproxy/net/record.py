"""The records that the lobby holds: one for each descriptor, small, without a task.

A record says which function gets its events (`on_event`) and its deadline (`on_due`), and latches what
an edge-triggered epoll says only once. Its owner is whoever set `on_event`; nobody else reads or writes
its socket.
"""

import socket
from collections.abc import Callable
from math import inf
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from typing import Any, Final, TypeAlias

from shieldproxy.core.closing import Lingering, State
from shieldproxy.core.limits import Limits, Timeouts
from shieldproxy.core.policy import Policy

IN: Final = EPOLLIN
OUT: Final = EPOLLOUT
FIN: Final = EPOLLRDHUP
ERROR: Final = EPOLLERR
HUP: Final = EPOLLHUP
ENDS: Final = EPOLLRDHUP | EPOLLERR | EPOLLHUP
"""Events that say that the other side has ended, in one way or the other."""
ABORTED: Final = 1 << 24
"""Latched by us, no event: a client's FIN that counts as its going (core.half)."""
PROBED: Final = 1 << 25
"""Latched by us: it has been asked by a 100 whether it is still there."""
GONE: Final = EPOLLERR | EPOLLHUP | ABORTED
"""Nobody waits for the answer any more."""
NEWS: Final = EPOLLIN | ENDS
"""Events that want a read."""
LAST: Final = 1 << 20
"""No event of epoll's: latched in an upstream's record whose request is the last on its connection."""
WATCHED: Final = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET

OnEvent: TypeAlias = Callable[[Any, int], None]
OnDue: TypeAlias = Callable[[Any], None]


def ignore(record: "Record", events: int) -> None:
    """Latch only: the owner looks for itself."""
    record.latch |= events


class Record:
    """One registered descriptor."""

    __slots__ = ("due", "fd", "latch", "on_due", "on_event", "slot", "sock")

    def __init__(self, sock: socket.socket, on_event: OnEvent, on_due: OnDue) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.latch = 0
        self.on_event = on_event
        self.on_due = on_due
        self.due = inf
        self.slot = inf


class Door:
    """One listening address, and what every connection of it shares."""

    __slots__ = ("listen", "sock", "unix")

    def __init__(self, listen: str, sock: socket.socket) -> None:
        self.listen = listen
        self.sock = sock
        self.unix = sock.family == socket.AF_UNIX


class Downstream(Record):
    """One client's connection. Times in seconds of the worker's clock, sizes in bytes."""

    __slots__ = (
        "born",
        "buf",
        "door",
        "exchange",
        "got",
        "linger",
        "peer",
        "policy",
        "port",
        "refused_body",
        "sent",
        "served",
        "since",
        "stage",
        "state",
        "why",
    )

    def __init__(
        self,
        sock: socket.socket,
        on_event: OnEvent,
        on_due: OnDue,
        door: Door,
        peer: str,
        port: int,
        now: float,
    ) -> None:
        super().__init__(sock, on_event, on_due)
        self.door = door
        self.peer = peer
        self.port = port
        self.born = now
        self.since = now
        """Since when it is in its present phase (in a head: since the head's first byte)."""
        self.policy: Policy
        self.state = State.IDLE
        self.stage = ""
        """Of an exchange that the lobby holds: "body": its request comes; "send": its response goes."""
        self.buf: bytes | bytearray = b""
        """The head so far, or what was read past the request that is served."""
        self.exchange: Any = None
        """proxy's exchange, while a request of this client is served."""
        self.linger: Lingering | None = None
        self.got = 0
        self.sent = 0
        self.served = 0
        self.refused_body = ""
        """What was chosen for the rest of the last refused body: "drain" or "close" (core.readout)."""
        self.why: tuple[str, str, str] = ("", "", "")
        """By whom, in which phase and why it ends, once that is known."""

    @property
    def phase(self) -> str:
        """Where it stands: "fresh", "head", "idle", "exchange" (or its `stage`) or "linger"."""
        if self.state is State.LINGER:
            return "linger"
        if self.state is not State.IDLE:
            return self.stage or "exchange"
        return "head" if self.buf else "idle" if self.served else "fresh"

    def first(self, share: int) -> bytes:
        """Take the first bytes of what was read too far."""
        data, self.buf = bytes(self.buf[:share]), bytes(self.buf[share:])
        return data

    @property
    def timeouts(self) -> Timeouts:
        """The timeouts in force."""
        return self.policy.timeouts

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.policy.limits


def has_input(record: Record) -> bool:
    """Whether a byte can be read now; looks, and takes nothing."""
    try:
        return bool(record.sock.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


class Upstream(Record):
    """One connection to a legacy server: idle in its pool, or leased to one exchange."""

    __slots__ = ("asked", "exchange", "server", "since", "uses")

    def __init__(
        self, sock: socket.socket, on_event: OnEvent, on_due: OnDue, server: Any, now: float
    ) -> None:
        super().__init__(sock, on_event, on_due)
        self.server = server
        self.exchange: Any = None
        self.since = now
        """When it was last given back."""
        self.asked = -inf
        """When its last request went out at the earliest: whatever came from the server came later."""
        self.uses = 0
