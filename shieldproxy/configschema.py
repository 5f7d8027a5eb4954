"""The keys of the configuration: their types, their defaults, and one line of why for each.

A table of TOML is a ``msgspec.Struct``; a key's line and its bounds stand in its ``Meta``. The reader
(configread), the page (configdoc) and the plan (configplan) all work from these Structs, so that a key is
told once. ``None`` means "not set": in ``[timeouts]`` and ``[limits]``, whose defaults are those of
``core.limits``, and in a rule, where only what is set is an effect. TOML itself has no null.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from shieldproxy.configtypes import (
    Cidr,
    Deny,
    FieldName,
    FieldValue,
    HostPattern,
    ListenAddress,
    Method,
    Name,
    PathPrefix,
    Pattern,
    Rate,
    Seconds,
    ServerAddress,
    Size,
    Text,
    WholeSeconds,
)


class ServerTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where clients come in, and how many."""

    listen: Annotated[
        list[ListenAddress],
        Meta(description="Addresses to listen on; a container listens on 0.0.0.0.", extra={"some": True}),
    ] = field(default_factory=lambda: [ListenAddress("127.0.0.1:8080")])
    workers: Annotated[
        int, Meta(ge=0, le=1024, description="Processes; 0 is one for each core. Not honoured yet: always 1.")
    ] = 1
    max_connections: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Clients at once; beyond that waiting ones are evicted.")
    ] = 20_000
    drain_timeout: Annotated[
        Seconds, Meta(description="After TERM, what is being served may take this long.")
    ] = Seconds(30)
    trusted: Annotated[
        list[Cidr], Meta(description="Peers (CIDRs) whose X-Forwarded-* and Forwarded are believed.")
    ] = []
    express: Annotated[
        bool,
        Meta(description="Serve plain exchanges without a task; false is slower and otherwise the same."),
    ] = True


class LogTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where lines go. USR1 opens files anew."""

    access: Annotated[
        Text, Meta(description='One line for each exchange: "stdout", "stderr", "none" or a path.')
    ] = Text("stdout")
    format: Annotated[
        Literal["json", "combined"],
        Meta(description="JSON lines tell everything; combined is what old tools read."),
    ] = "json"
    error: Annotated[
        Text, Meta(description='What the proxy says of itself: "stderr", "stdout", "none" or a path.')
    ] = Text("stderr")
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="debug also gives a receipt for each connection that never made a request."),
    ] = "info"


class AdminTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page for operators; absent: off. Not honoured yet."""

    listen: Annotated[ListenAddress, Meta(description="Its address; not one that clients reach.")]


class TimeoutsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long each phase may last. A rule changes single ones: ``timeouts = { head = "5s" }``."""

    head: (
        Annotated[
            Seconds,
            Meta(description="A whole head, from its first byte (from accept, while there is none)."),
        ]
        | None
    ) = None
    keep_alive: Annotated[Seconds, Meta(description="An idle connection between two requests.")] | None = None
    body_idle: Annotated[Seconds, Meta(description="Between two pieces of a request body.")] | None = None
    body_min_rate: Annotated[Rate, Meta(description="Slowest upload. Not honoured yet.")] | None = None
    send_idle: (
        Annotated[Seconds, Meta(description="Between two pieces of a response that the client acknowledges.")]
        | None
    ) = None
    send_min_rate: Annotated[Rate, Meta(description="Slowest download. Not honoured yet.")] | None = None
    linger_gap: (
        Annotated[Seconds, Meta(description="Silence after the acknowledgement that ends a lingering close.")]
        | None
    ) = None
    linger_total: (
        Annotated[Seconds, Meta(description="A lingering close as a whole, from the acknowledgement.")] | None
    ) = None
    linger_kernel: Annotated[WholeSeconds, Meta(description='SO_LINGER of linger = "kernel".')] | None = None
    fin_wait_1: Annotated[Seconds, Meta(description="A client whose kernel no longer answers.")] | None = None
    fin_wait_2: (
        Annotated[
            WholeSeconds, Meta(description="A client that acknowledges our FIN and never sends its own.")
        ]
        | None
    ) = None


class LimitsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a message may weigh. A rule changes single ones: ``limits = { body = "1MiB" }``."""

    head: (
        Annotated[
            Size, Meta(description="A request's head; larger: 431.", extra={"least": 64, "most": 1 << 20})
        ]
        | None
    ) = None
    response_head: (
        Annotated[
            Size, Meta(description="A response's head; larger: 502.", extra={"least": 64, "most": 1 << 20})
        ]
        | None
    ) = None
    fields: (
        Annotated[int, Meta(ge=1, le=10_000, description="Header fields of a message; more: 431.")] | None
    ) = None
    user_agent: (
        Annotated[
            Size,
            Meta(
                description="Patterns run on this field, so it is kept short; longer: 431.",
                extra={"least": 1, "most": 8192},
            ),
        ]
        | None
    ) = None
    body: Annotated[Size, Meta(description="A request's body; larger: 413.")] | None = None
    linger: (
        Annotated[Size, Meta(description="What is read and thrown away during a lingering close.")] | None
    ) = None


class UpstreamTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One application: ``[upstream.NAME]``."""

    servers: Annotated[
        list[ServerAddress],
        Meta(
            description="Its servers, least connections first; names are resolved when needed.",
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


class HeadersTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Header fields that a route sets or removes."""

    put: Annotated[
        dict[FieldName, FieldValue], Meta(description="Fields to put in the place of the sender's.")
    ] = field(default_factory=dict, name="set")
    remove: Annotated[list[FieldName], Meta(description="Fields to leave out.")] = []


class RouteTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[route]]``: the most specific wins by listen, then host, then longest path; none: 404."""

    upstream: Annotated[Name, Meta(description="The NAME of an [upstream.NAME].")]
    listen: (
        Annotated[ListenAddress, Meta(description="One of server.listen; without it: all of them.")] | None
    ) = None
    host: Annotated[HostPattern, Meta(description='Exact, "*.example" or "*".')] = HostPattern("*")
    path: Annotated[PathPrefix, Meta(description="A prefix, by whole segments.")] = PathPrefix("/")
    request_headers: Annotated[HeadersTable, Meta(description="Fields of the request.")] | None = None
    response_headers: Annotated[HeadersTable, Meta(description="Fields of the response.")] | None = None
    request_id: (
        Annotated[
            FieldName,
            Meta(description="A field that carries an id of the exchange, to the server and to the client."),
        ]
        | None
    ) = None


class RuleTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[rule]]``: all that match apply in order, later ones win; without a condition: for everybody."""

    name: Annotated[Name, Meta(description="Shown in logs and by explain.")]
    why: Annotated[Text, Meta(description="What is wrong with these clients.")] = Text("")
    source: Annotated[Text, Meta(description="Where that is known from.")] = Text("")
    user_agent: (
        Annotated[Pattern, Meta(description="Condition: an RE2 pattern, found anywhere in User-Agent.")]
        | None
    ) = None
    client: Annotated[list[Cidr], Meta(description="Condition: the client's address.")] = []
    method: Annotated[list[Method], Meta(description="Condition: the request's method.")] = []
    path: Annotated[PathPrefix, Meta(description="Condition: as in a route.")] | None = None
    host: Annotated[HostPattern, Meta(description="Condition: as in a route.")] | None = None
    version: (
        Annotated[Literal["1.0", "1.1"], Meta(description="Condition: the client's HTTP version.")] | None
    ) = None
    keep_alive: Annotated[bool, Meta(description="Effect: false closes after each response.")] | None = None
    linger: (
        Annotated[
            Literal["ack", "timed", "kernel", "off"],
            Meta(description="Effect: a close waits for the acknowledgement, by time, by SO_LINGER, or not."),
        ]
        | None
    ) = None
    response_version: (
        Annotated[Literal["1.0", "1.1"], Meta(description="Effect: the version that responses carry.")] | None
    ) = None
    request_version: (
        Annotated[
            Literal["1.0", "1.1"], Meta(description="Effect: the version that the request is taken for.")
        ]
        | None
    ) = None
    interim: (
        Annotated[
            Literal["all", "100", "none"], Meta(description="Effect: which 1xx responses are forwarded.")
        ]
        | None
    ) = None
    accept_folds: (
        Annotated[bool, Meta(description="Effect: folded header lines are mended, not refused.")] | None
    ) = None
    accept_bare_lf: Annotated[bool, Meta(description="Effect: lines may end with LF alone.")] | None = None
    deny: Annotated[Deny, Meta(description="Effect: answer with this status.")] | None = None
    timeouts: Annotated[TimeoutsTable, Meta(description="Effect: see [timeouts].")] | None = None
    limits: Annotated[LimitsTable, Meta(description="Effect: see [limits].")] | None = None


TABLES: dict[str, type[Struct]] = {
    "server": ServerTable,
    "log": LogTable,
    "admin": AdminTable,
    "timeouts": TimeoutsTable,
    "limits": LimitsTable,
    "upstream": UpstreamTable,
    "route": RouteTable,
    "rule": RuleTable,
}
MAIN_ONLY = ("server", "log", "admin")
"""Tables that stand in the main file alone: what is included is shared, and these are this host's own."""
