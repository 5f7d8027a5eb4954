"""One exchange: the object that both lanes work on, and that is handed over when a plain one is promoted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from shieldproxy.core.head import RequestHead, ResponseHead
from shieldproxy.core.pace import Pace as Reader
from shieldproxy.core.policy import Policy, Verdict
from shieldproxy.core.retry import IDEMPOTENT
from shieldproxy.core.routes import Route
from shieldproxy.core.sending import UNSEEN
from shieldproxy.net.bell import Bell
from shieldproxy.net.pool import Group
from shieldproxy.net.record import Downstream, Upstream
from shieldproxy.net.server import Server

Bytes = bytes | memoryview
MOST: Final = 256 * 1024
"""Bytes that one step of a relay moves at most, and that an exchange then holds if nobody takes them."""


NO_HEAD: Final = RequestHead(b"", b"", b"", 1, [], 0)
"""Of an exchange whose request could not be read."""
NO_HEAD.persistent = False
NO_ROUTE: Final = Route("")


class Times:
    """When an exchange that is not plain entered the line, had its place at the server, and gave it back.

    Seconds of the worker's clock; 0: it did not, or not yet.
    """

    __slots__ = ("freed", "leased", "lined")

    def __init__(self, lined: float = 0.0, leased: float = 0.0) -> None:
        self.lined = lined
        self.leased = leased
        self.freed = 0.0


class Exchange:
    """One request and its response. Times in seconds of the worker's clock, sizes in bytes."""

    __slots__ = (
        "answered",
        "asked",
        "begun",
        "bell",
        "body_in",
        "bytes_out",
        "client",
        "continued",
        "detail",
        "discarded",
        "ending",
        "framing",
        "from_up",
        "grant",
        "granted",
        "group",
        "head",
        "head_out",
        "id",
        "intake",
        "interim_bytes",
        "interims",
        "keep",
        "lane",
        "out",
        "place",
        "policy",
        "reader",
        "rec",
        "request",
        "resp",
        "retries",
        "route",
        "server",
        "settled",
        "spool",
        "started",
        "status",
        "times",
        "to_down",
        "to_up",
        "tried",
        "up",
        "verdict",
        "whole",
    )

    intake: Any
    """The body so far, while the lobby collects it (proxy.collect)."""

    reader: Reader
    """How the client takes the response; the sender's too."""
    # the sender's
    ending: Any
    """How it ends when the last byte has gone out."""
    settled: bool
    """Whether it is known that the client is slow, and what is not needed was given back."""
    discarded: int
    """Bytes of the client that were read though nobody looks at them: of its body or behind it."""

    def __init__(self, rec: Downstream, started: float, nowhere: Group) -> None:
        self.rec = rec
        self.started = started
        self.client = rec.peer
        """Whom rules and logs see: the peer, or whom a trusted peer speaks for."""
        self.policy: Policy = rec.policy
        self.lane = "express"
        self.head = NO_HEAD
        self.verdict: Verdict | None = None
        self.route = NO_ROUTE
        self.group = nowhere
        self.up: Upstream | None = None
        self.server: Server | None = None
        """Where it went, also after the lease is over."""
        self.place: Server | None = None
        """A place granted for a fresh connection, not yet connected."""
        self.request: bytes = b""
        """The head, and if the request was whole in the buffer its body, as written to the upstream."""
        self.whole = False
        """Whether the body has been taken in full: it is part of `request`, or in `spool`."""
        self.spool: Any = None
        """The body, if it was collected and is more than memory takes."""
        self.out: Any = None
        """What of the response has come and the client has not taken, if that is more than memory takes."""
        self.body_in = 0
        """Bytes of the body that were taken from the client, as they came."""
        self.from_up: bytes = b""
        """What came of the response and is not yet parsed or sent on."""
        self.resp: ResponseHead | None = None
        self.keep = False
        self.framing = 0
        """Of the response towards the client: a length, CHUNKED or UNTIL_CLOSE."""
        self.status = 0
        self.bytes_out = 0
        self.head_out = 0
        """Of these, bytes that are no body."""
        self.retries = 0
        self.asked = 0.0
        """When it had its place at the server, if that was in the express lane; 0 before, and in a relay."""
        self.times: Times | None = None
        """None: it had its place at once, from `asked` until now."""
        self.id = ""
        self.detail = ""
        """What our answer says beside its reason, or what was left out of the request."""
        self.tried: tuple[str, ...] = ()
        """Servers that were asked, or were to be, before the one that it went to."""
        # the rest is the task's, set by `promoted`
        self.bell: Bell | None = None
        self.grant: Callable[[Any, Any], None]

    @property
    def has_begun(self) -> bool:
        """Whether a byte of the answer has gone out, as far as known; the express lane sends it in one go."""
        return self.begun if self.lane == "task" or self.rec.stage == "send" else self.status != 0

    @property
    def once(self) -> bool:
        """Whether its request is to be spared the connections that may end before it gets there.

        It must not be run twice, or is gone when sent, or the budget has nothing left to send again.
        """
        return self.unsafe or not self.whole or self.group.sparing

    @property
    def unsafe(self) -> bool:
        """Whether the server may not be given its request a second time."""
        return self.head.method not in IDEMPOTENT and not self.route.retry_unsafe

    def clocked(self) -> Times:
        """The times of an exchange that is not plain."""
        if self.times is None:
            self.times = Times()
        self.times.leased = self.times.leased or self.asked
        return self.times

    def waits(self, now: float) -> tuple[float, float]:
        """Seconds in the line, and seconds that it has had a place at the server."""
        times = self.times
        if times is None:
            return 0.0, now - self.asked if self.asked else 0.0
        leased, now = times.leased or self.asked, times.freed or now
        queued = (leased or now) - times.lined if times.lined else 0.0
        return queued, now - leased if leased else 0.0

    def promoted(self, bell: Bell, grant: Callable[[Any, Any], None], to_up: Bytes, to_down: Bytes) -> None:
        """Make it a task's: from here on its records' events ring the bell."""
        self.lane = "task"
        self.bell = bell
        self.grant = grant
        self.granted: Upstream | Server | None = None
        self.to_up = to_up
        """Bytes for the upstream that its socket has not taken."""
        self.to_down = to_down
        """Bytes for the client that its socket has not taken."""
        self.answered = bool(self.from_up) or self.resp is not None
        """Whether any byte of a response came."""
        self.interims = 0
        self.interim_bytes = 0
        self.begun = False
        """Whether a byte of the final response has gone out: a fault can no longer be told by a status."""
        self.continued = False
        """Whether the client was told to go on (100)."""
        self.reader = Reader(self.started, self.started, UNSEEN, self.started)
        self.discarded = 0

    def forget(self) -> None:
        """Drop the request's body: nothing of it will be sent again."""
        spool, self.spool = self.spool, None
        if spool is not None:
            spool.close()

    def shut(self) -> None:
        """Drop what came of the response and was not taken."""
        out, self.out = self.out, None
        if out is not None:
            out.close()


@dataclass(slots=True)
class Pace:
    """When each side of a relay last moved, in seconds of the lobby's clock."""

    upstream: float
    client_in: float


class Ended(Exception):
    """An exchange that cannot be finished: who ended it, where, why, and what a refusal would say."""

    def __init__(self, by: str, phase: str, reason: str, status: int = 0, detail: str = "") -> None:
        super().__init__(reason)
        self.by = by
        self.phase = phase
        self.reason = reason
        self.status = status
        self.detail = detail
        self.rest: Any = None
        """Of a relay that was left because the client had gone: what the server still sends (attend.Rest)."""
        self.whole = True
        """Of such a one: whether the request's body had been taken in full."""
        self.unsent = False
        """Of such a one: whether nothing of the request had gone to the server."""


UNHEARD: Final = "before a byte of its response"
TRUNCATED: Final = "before its response was whole"
"""When the upstream's connection ended."""


class UpstreamClosed(Ended):
    """The upstream closed before a byte of its response.

    `unrun`: as far as its kernel told, when it had had no byte of the request.
    """

    unrun = False


def phase_of(ex: Exchange, *, whole: bool) -> str:
    """Where an exchange stands; `whole`: whether its request's body has been taken in full."""
    return "relay" if ex.resp is not None else "upstream" if whole else "body"
