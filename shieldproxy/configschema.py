"""The keys of the configuration: their types, their defaults, and one line of why for each.

A table of TOML is a ``msgspec.Struct``; a key's line and its bounds stand in its ``Meta``. The reader
(configread), the page (configdoc) and the plan (configplan) all work from these Structs, so that a key is
told once. ``None`` means "not set": in ``[timeouts]`` and ``[limits]``, whose defaults are those of
``core.limits``, and in a rule, where only what is set is an effect. TOML itself has no null.
"""

from sys import maxsize
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from shieldproxy.configbounds import BuffersTable, LimitsTable, TimeoutsTable
from shieldproxy.configtypes import (
    Cidr,
    Count,
    Deny,
    FieldName,
    FieldValue,
    HostPattern,
    ListenAddress,
    Method,
    Name,
    PathPrefix,
    Pattern,
    Seconds,
    Text,
)
from shieldproxy.configupstream import HealthTable, RepairTable, UpstreamTable


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
    path: Annotated[
        PathPrefix,
        Meta(description="A prefix, by whole segments, of the path decoded and without dot segments."),
    ] = PathPrefix("/")
    request_headers: Annotated[HeadersTable, Meta(description="Fields of the request.")] | None = None
    response_headers: Annotated[HeadersTable, Meta(description="Fields of the response.")] | None = None
    request_id: (
        Annotated[
            FieldName,
            Meta(description="A field with an id of the exchange, to both sides, in our own answers too."),
        ]
        | None
    ) = None
    buffer_request: (
        Annotated[
            Literal["whole", "stream"],
            Meta(description="whole: the server sees nothing of a request before all of it is here."),
        ]
        | None
    ) = None
    buffer_response: (
        Annotated[
            Literal["whole", "stream"],
            Meta(description="whole: it is read as fast as it is sent; stream: as its client takes it."),
        ]
        | None
    ) = None
    retry_unsafe: Annotated[
        bool, Meta(description="true: also what the server may have run is sent again.")
    ] = False
    normalise_path: Annotated[
        bool, Meta(description="Dot segments and double slashes resolved; encoded slashes and NULs: 400.")
    ] = False
    max_ranges: Annotated[
        Count,
        Meta(
            description="Ranges that a request may ask for; more: its Range is dropped.",
            extra={"least": 0, "most": 10_000, "off": True},
        ),
    ] = Count(maxsize)
    max_query_duplicates: Annotated[
        Count,
        Meta(
            description="How often one name may stand in a query; more: 400.",
            extra={"least": 1, "most": 10_000, "off": True},
        ),
    ] = Count(maxsize)


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
    buffer_request: (
        Annotated[Literal["whole", "stream"], Meta(description="Effect: in place of the route's value.")]
        | None
    ) = None
    buffer_response: (
        Annotated[Literal["whole", "stream"], Meta(description="Effect: in place of the route's value.")]
        | None
    ) = None
    half_close: (
        Annotated[
            Literal["serve", "abort", "probe"],
            Meta(description="Effect: what a FIN behind the request means: go on, gone, or find out."),
        ]
        | None
    ) = None
    timeouts: Annotated[TimeoutsTable, Meta(description="Effect: see [timeouts].")] | None = None
    limits: Annotated[LimitsTable, Meta(description="Effect: see [limits].")] | None = None


TABLES: dict[str, type[Struct]] = {
    "server": ServerTable,
    "log": LogTable,
    "admin": AdminTable,
    "timeouts": TimeoutsTable,
    "limits": LimitsTable,
    "buffers": BuffersTable,
    "upstream": UpstreamTable,
    "route": RouteTable,
    "rule": RuleTable,
}
INNER: dict[str, type[Struct]] = {"upstream.health": HealthTable, "upstream.repair": RepairTable}
"""Tables inside those."""
EVERY: dict[str, type[Struct]] = {
    name: table
    for outer, found in TABLES.items()
    for name, table in {outer: found, **{k: v for k, v in INNER.items() if k.startswith(f"{outer}.")}}.items()
}
"""All of them, each inner one behind its outer one."""
MAIN_ONLY = ("server", "log", "admin", "buffers")
"""Tables that stand in the main file alone: what is included is shared, and these are this host's own."""
