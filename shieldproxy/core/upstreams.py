"""What is known of an upstream before a single connection to it exists: its servers and its bounds."""

from dataclasses import dataclass, field
from sys import maxsize
from typing import Literal

from shieldproxy.core.address import Address

Balance = Literal["least_connections", "round_robin", "client_hash"]
QueueOrder = Literal["adaptive", "fifo", "lifo"]
"""``adaptive``: first come, first served, until the line is overloaded; then the newest first."""


@dataclass(frozen=True, slots=True)
class HealthSpec:
    """Active checks of an upstream's servers. Times are in seconds."""

    path: str = "/"
    interval: float = 5.0
    timeout: float = 2.0
    """Of one check, from the connection's first packet to the last of the response's head."""
    status: tuple[int, ...] = (200,)
    """Any of these is well."""
    fall: int = 2
    """Failed checks in a row after which a server is left out."""
    rise: int = 2
    """Passed checks in a row after which it is back."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What of a server's faulty responses is mended, and what is refused; each is counted."""

    bare_lf: bool = True
    """Lines that end with LF alone are normalised (RFC 9112 section 2.2); else 502."""
    folds: bool = True
    """Folded field lines are joined (RFC 9112 section 5.2); else 502."""
    date: bool = True
    """A missing Date is added (RFC 9110 section 6.6.1)."""
    connection: bool = True
    """A response that keeps and ends its connection at once ends it; else 502. One that does not say what it
    should (HTTP/1.0, or a body until the end) ends it too, whatever stands here."""
    length_with_coding: bool = True
    """Content-Length beside Transfer-Encoding is refused with 502; else the coding counts (RFC 9112 6.3)."""
    wrong_length: bool = True
    """Bytes beyond the length end the upstream's connection; else blank lines there do not (RFC 9112 section
    2.2). A response that is too short is broken off towards the client, whatever stands here."""


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """One upstream as configured. Times are in seconds, ``math.inf`` is "off"; counts: ``maxsize``."""

    name: str
    servers: tuple[Address, ...]
    max_connections: int = 32
    """At one server; further requests wait in line."""
    connect_timeout: float = 5.0
    """From the first SYN to the connection; the resolving of a name included."""
    response_timeout: float = 60.0
    """Without progress in either direction while an exchange is upstream."""
    pool_idle: float = 30.0
    """An unused connection is given up after this."""
    queue_timeout: float = 10.0
    """A request waits in line for this long, then 503."""
    # the line
    queue_length: int = 1024
    """Requests that may wait; further ones are answered with 503 at once."""
    queue_order: QueueOrder = "adaptive"
    # which server
    weights: tuple[int, ...] = ()
    """Of `servers`, one each; empty: all the same."""
    backup: tuple[Address, ...] = ()
    """Servers that are asked only while none of `servers` is well."""
    balance: Balance = "least_connections"
    max_fails: int = 3
    """Failures within `fail_window` after which a server is left out; `maxsize` is "off"."""
    fail_window: float = 10.0
    eject: float = 5.0
    """For how long it is left out at first; twice as long each time again."""
    eject_max: float = 300.0
    health: HealthSpec | None = None
    resolve: float = 10.0
    """Seconds after which a name is looked up again."""
    # sent again
    retries: int = 1
    """How often an idempotent request is sent again, to another server if there is one."""
    retry_budget: float = 0.2
    """Requests sent again, as a share of all: at most so much more load."""
    # its manners
    abort_upstream: frozenset[bytes] = frozenset((b"GET", b"HEAD"))
    """Methods whose exchange is abandoned when the client has gone; any other is seen to its end."""
    http_version: Literal["1.0", "1.1"] = "1.1"
    keep_alive: bool = True
    """Whether its connections are used again."""
    max_requests: int = maxsize
    """On one connection."""
    host: bytes | None = None
    """The Host that it sees, whatever the client asked for."""
    header_case: Literal["as-is", "title"] = "as-is"
    max_head: int = maxsize
    """Bytes of a request's head that it takes; longer: 431."""
    source: str | None = None
    """The address that connections to it come from."""
    repair: Repair = field(default_factory=Repair)

    @property
    def full(self) -> str:
        """What is said to whom its line cannot take."""
        return f"{self.queue_length} wait already (queue_length)"

    @property
    def late(self) -> str:
        """What is said to whom its line did not serve."""
        return f"no place within {self.queue_timeout:g} s (queue_timeout)"
