"""The keys of ``[timeouts]``, ``[limits]`` and ``[buffers]``: numbers whose defaults are in ``core.limits``.

As ``configschema``, whose tables they are among; ``None`` means "not set".
"""

from typing import Annotated

from msgspec import Meta, Struct

from shieldproxy.configtypes import DiskSize, Rate, Seconds, Size, Text, WholeSeconds


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
    body_min_rate: (
        Annotated[Rate, Meta(description="Slowest upload, averaged from its start, after a grace.")] | None
    ) = None
    body_total: Annotated[Seconds, Meta(description="A request body as a whole.")] | None = None
    send_idle: (
        Annotated[Seconds, Meta(description="Between two pieces of a response that the client acknowledges.")]
        | None
    ) = None
    send_min_rate: (
        Annotated[Rate, Meta(description="Slowest download, of what is acknowledged, averaged.")] | None
    ) = None
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


class BuffersTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of bodies is held, so that no server waits for a client: in memory, then in unlinked files."""

    request_memory: (
        Annotated[
            Size,
            Meta(
                description="Of one request's body; longer: a file, up to limits.body.",
                extra={"least": 1024, "most": 1 << 30},
            ),
        ]
        | None
    ) = None
    response_memory: (
        Annotated[
            Size,
            Meta(
                description="Of one response that its client has not taken; longer: a file.",
                extra={"least": 1024, "most": 1 << 30},
            ),
        ]
        | None
    ) = None
    response_file: (
        Annotated[DiskSize, Meta(description="Of one response in its file; then its server has to wait.")]
        | None
    ) = None
    disk_total: Annotated[DiskSize, Meta(description="Of all files; full: 503 to what needs one.")] | None = (
        None
    )
    directory: (
        Annotated[Text, Meta(description="Where the files are; by default the system's for temporary files.")]
        | None
    ) = None
