"""How an exchange ended, how a connection ended, and the words for it.

Every exchange has one `Outcome` and every connection one `Receipt`; both name who ended it (`by`), where
(`phase`) and why (`reason`). The access log is these records as JSON; values that are empty are left out.
They are filled by position on the hot path: keep the order of the fields and that of the calls together.
"""

from typing import Final

import msgspec

ZERO: Final = 0.0
"""The default of times: msgspec leaves out what is this very object."""


class Outcome(msgspec.Struct, omit_defaults=True, gc=False):
    """One exchange. Sizes in bytes, times in seconds; `by` is "client", "upstream" or "proxy"."""

    kind: str
    time: str
    client: str
    port: int = 0
    listen: str = ""
    method: str = ""
    target: str = ""
    host: str = ""
    version: str = ""
    user_agent: str = ""
    status: int = 0
    outcome: str = ""
    """"served"; "refused": an answer of ours; "failed": the upstream's fault; "aborted": cut short."""
    by: str = ""
    phase: str = ""
    reason: str = ""
    upstream: str = ""
    server: str = ""
    bytes_in: int = msgspec.field(default=0, name="in")
    bytes_out: int = msgspec.field(default=0, name="out")
    seconds: float = ZERO
    queued: float = ZERO
    """Of these, in the line for the upstream."""
    upstream_seconds: float = ZERO
    """From the place at the server until the last byte of its response had come."""
    lane: str = ""
    retries: int = 0
    rules: tuple[str, ...] = ()
    id: str = ""
    detail: str = ""
    """What an answer of ours says beside its reason, or what was left out of the request."""
    tried: tuple[str, ...] = ()
    """Servers asked in vain before."""
    referer: str = ""


class Receipt(msgspec.Struct, omit_defaults=True, gc=False):
    """One connection. `acknowledged`: the client's kernel had every byte and our FIN when we let go."""

    kind: str
    time: str
    client: str
    port: int = 0
    listen: str = ""
    by: str = ""
    phase: str = ""
    """"fresh", "head", "idle", "exchange", "body", "refused" or "linger"."""
    reason: str = ""
    linger: str = ""
    """How the lingering close ended: "fin", "quiet", "total", "overflow", "stalled", "reset", ..."""
    exchanges: int = 0
    bytes_in: int = msgspec.field(default=0, name="in")
    bytes_out: int = msgspec.field(default=0, name="out")
    acknowledged: bool | None = None
    client_fin: bool | None = None
    seconds: float = ZERO
    linger_seconds: float = ZERO
    lingered_bytes: int = 0
    undelivered: int = 0
    """Bytes that the client's kernel had not acknowledged when we let go."""
    refused_body: str = ""
    """What was chosen for the rest of the last body refused before it was whole: "drain" or "close"."""
