"""The keys of ``[upstream.NAME]``: servers, the line before them, their health, their manners.

As ``configschema``, whose tables they are among. Defaults are those of ``core.upstreams``; a test holds the
two together.
"""

from sys import maxsize
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from shieldproxy.configtypes import (
    Count,
    HostValue,
    IpAddress,
    Method,
    Seconds,
    ServerAddress,
    Share,
    Size,
    Target,
)

DAY = 86_400.0


class ServerEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of ``servers``: a text, or a table where there is more to say of it."""

    address: Annotated[ServerAddress, Meta(description="Where it is; a name is resolved.")]
    weight: Annotated[int, Meta(ge=1, le=1000, description="Its share: 3 gets three times what 1 gets.")] = 1
    backup: Annotated[bool, Meta(description="Asked only while none of the others is well.")] = False


class HealthTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[upstream.NAME.health]``: each server is asked for a page now and then; absent: it is not."""

    path: Annotated[Target, Meta(description="What is asked for, with GET.")] = Target("/")
    interval: Annotated[
        Seconds, Meta(description="Between two checks of one server.", extra={"least": 0.1, "most": DAY})
    ] = Seconds(5)
    timeout: Annotated[
        Seconds,
        Meta(
            description="For a check, from connecting to its head's end.",
            extra={"least": 0.01, "most": 3600.0},
        ),
    ] = Seconds(2)
    status: Annotated[
        list[Annotated[int, Meta(ge=200, le=599)]],
        Meta(
            description="Answers that tell that it is well: one, or a list.",
            extra={"some": True, "one": True},
        ),
    ] = field(default_factory=lambda: [200])
    fall: Annotated[int, Meta(ge=1, le=100, description="Failed checks in a row that leave it out.")] = 2
    rise: Annotated[int, Meta(ge=1, le=100, description="Passed checks in a row that take it back.")] = 2


class RepairTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[upstream.NAME.repair]``: what of faulty responses is mended or refused, and counted."""

    bare_lf: Annotated[bool, Meta(description="Lines that end with LF alone are mended; false: 502.")] = True
    folds: Annotated[bool, Meta(description="Folded header lines are joined; false: 502.")] = True
    date: Annotated[bool, Meta(description="A missing Date is added.")] = True
    connection: Annotated[
        bool,
        Meta(description="Connection says two things: it is the end of the connection; false: 502."),
    ] = True
    length_with_coding: Annotated[
        bool,
        Meta(description="Content-Length beside Transfer-Encoding: 502; false: the coding counts."),
    ] = True
    wrong_length: Annotated[
        bool,
        Meta(description="Bytes beyond the length end the connection; false: but for blank lines."),
    ] = True


class UpstreamTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One application: ``[upstream.NAME]``."""

    servers: Annotated[
        list[Annotated[ServerEntry, Meta(extra={"short": "address"})]],
        Meta(
            description='Its servers: "HOST:PORT", or { address = "HOST:PORT", weight = 3, backup = true }.',
            extra={"some": True},
        ),
    ]
    max_connections: Annotated[
        int, Meta(ge=1, le=100_000, description="At one server; further requests wait in line.")
    ] = 32
    connect_timeout: Annotated[Seconds, Meta(description="To reach a server; then 504.")] = Seconds(5)
    response_timeout: Annotated[
        Seconds, Meta(description="No progress in either direction while the exchange is upstream.")
    ] = Seconds(60)
    pool_idle: Annotated[Seconds, Meta(description="An unused connection is given up after this.")] = Seconds(
        30
    )
    queue_timeout: Annotated[Seconds, Meta(description="In line for this long: 503 with Retry-After.")] = (
        Seconds(10)
    )
    queue_length: Annotated[
        Count,
        Meta(
            description="Requests that may wait; further ones get 503 at once.",
            extra={"least": 0, "most": 1_000_000, "off": True},
        ),
    ] = Count(1024)
    queue_order: Annotated[
        Literal["adaptive", "fifo", "lifo"],
        Meta(description="Who is next; adaptive: the first come, under overload the newest."),
    ] = "adaptive"
    balance: Annotated[
        Literal["least_connections", "round_robin", "client_hash"],
        Meta(description="Which server; client_hash: one client's requests go to one server."),
    ] = "least_connections"
    max_fails: Annotated[
        Count,
        Meta(
            description="Failures within fail_window that leave a server out.",
            extra={"least": 1, "most": 1000, "off": True},
        ),
    ] = Count(3)
    fail_window: Annotated[
        Seconds, Meta(description="For how long a failure counts.", extra={"least": 0.1, "most": DAY})
    ] = Seconds(10)
    eject: Annotated[
        Seconds,
        Meta(
            description="How long it is left out at first; each time again twice as long.",
            extra={"least": 0.1, "most": DAY},
        ),
    ] = Seconds(5)
    eject_max: Annotated[Seconds, Meta(description="And at most.", extra={"least": 0.1, "most": DAY})] = (
        Seconds(300)
    )
    health: Annotated[HealthTable, Meta(description="Active checks; absent: none.")] | None = None
    resolve: Annotated[
        Seconds,
        Meta(
            description="A server's name is looked up again after this.",
            extra={"least": 0.1, "most": DAY, "off": True},
        ),
    ] = Seconds(10)
    retries: Annotated[
        int,
        Meta(ge=0, le=10, description="How often an idempotent request is sent again, to another server."),
    ] = 1
    retry_budget: Annotated[Share, Meta(description="Requests sent again, at most, as a share of all.")] = (
        Share(0.2)
    )
    abort_upstream: Annotated[
        list[Method],
        Meta(description="Methods that are abandoned when the client has gone; []: none."),
    ] = field(default_factory=lambda: [Method("GET"), Method("HEAD")])
    http_version: Annotated[
        Literal["1.0", "1.1"], Meta(description="What it is spoken to in; 1.0: never chunked.")
    ] = "1.1"
    keep_alive: Annotated[bool, Meta(description="false: a new connection for each request.")] = True
    max_requests: Annotated[
        Count,
        Meta(
            description="On one connection, which is then closed.",
            extra={"least": 1, "most": 1_000_000_000, "off": True},
        ),
    ] = Count(maxsize)
    host: Annotated[HostValue, Meta(description="The Host that it sees; absent: the client's.")] | None = None
    header_case: Annotated[
        Literal["as-is", "title"], Meta(description="title: Field-Names-Like-This, for old parsers.")
    ] = "as-is"
    max_head: Annotated[
        Size,
        Meta(
            description="Of a request's head that it takes; longer: 431.",
            extra={"least": 64, "most": 1 << 20, "off": True},
        ),
    ] = Size(maxsize)
    source: (
        Annotated[IpAddress, Meta(description="The address of this host that connections come from.")] | None
    ) = None
    repair: Annotated[RepairTable, Meta(description="What of its faults is mended.")] = RepairTable()
