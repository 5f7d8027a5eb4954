"""Answers to clients, for both lanes: what of the upstream's response goes on, and refusals of our own."""

from typing import Final

from shieldproxy.core import forward
from shieldproxy.core.fields import Fault
from shieldproxy.core.head import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead, end_of_head, read_response
from shieldproxy.net.record import FIN, has_input
from shieldproxy.proxy.house import House
from shieldproxy.proxy.manners import mended
from shieldproxy.proxy.state import Exchange

FITS: Final = 64 * 1024
"""A response body of a known length up to this is collected, and sent in one piece with its head."""


def speaks_10(ex: Exchange, head: RequestHead) -> bool:
    """Whether the request counts as an HTTP/1.0 one."""
    return head.minor == 0 or ex.policy.request_version == "1.0"


def may_keep(house: House, ex: Exchange) -> bool:
    """Whether the client's connection may serve another request after this one."""
    head, policy = ex.head, ex.policy
    if not head.persistent or not policy.keep_alive or house.draining:
        return False
    rec = ex.rec
    if rec.latch & FIN and not rec.buf and not has_input(rec):
        return False  # half-closed, and this was its last request
    return policy.request_version is None or head.minor == 0


def _connection(ex: Exchange) -> bytes:
    """What our Connection field says; an HTTP/1.1 client takes silence for persistence."""
    if not ex.keep:
        return b"close"
    return b"keep-alive" if ex.head.minor == 0 or ex.policy.response_version is not None else b""


def parse(ex: Exchange, data: bytes, method: bytes) -> tuple[ResponseHead, int] | Fault | None:
    """Read a response head at the start of `data`.

    Returns:
        The head and where the body begins; a fault, to be answered with 502; None if more is needed.
    """
    end = data.find(b"\r\n\r\n") + 4
    if end == 3:
        end = end_of_head(data, 0)
    limit = ex.policy.limits.response_head
    if end < 0:
        return Fault(502, "response-head-large", "") if len(data) > limit else None
    if end > limit:
        return Fault(502, "response-head-large", "")
    group = ex.group
    resp = read_response(data, end, method, group.spec.repair)
    if isinstance(resp, Fault):
        if resp.reason == "length-and-coding":
            group.repairs["length_with_coding"] += 1
        return resp
    if resp.status == 101:
        return Fault(502, "unasked-upgrade", "")
    return resp, resp.size


def compose(house: House, ex: Exchange, head: RequestHead, resp: ResponseHead, whole: bool) -> bytes:
    """Decide framing and persistence towards the client and return the response's head for it.

    Args:
        house: the worker's.
        ex: its `keep`, `framing` and `status` are set.
        head: of the request.
        resp: of the upstream.
        whole: whether the request's body has been taken in full; if not, the connection has to end.
    """
    framing = resp.length
    keep = whole and may_keep(house, ex)
    old = ex.policy.response_version is not None
    if framing < 0:
        if speaks_10(ex, head) or old:
            framing, keep = UNTIL_CLOSE, False
        else:
            framing = CHUNKED
    ex.keep = keep
    ex.framing = framing
    ex.status = resp.status
    connection = b"" if keep and head.minor and not old else _connection(ex)
    date = b""
    if resp.odd:
        connection, date = mended(ex, resp, connection, house.journal.date)
    out = forward.response_head(
        resp,
        ex.route,
        framing,
        connection,
        date,
        ex.id.encode() if ex.id else None,
        old,
    )
    ex.head_out += len(out)
    return out


def note_short(ex: Exchange) -> None:
    """Count a response that ended short of its length; `ex.from_up`: what came of one not taken yet."""
    resp = ex.resp
    if resp is None and ex.from_up:
        parsed = parse(ex, ex.from_up, ex.head.method)
        if isinstance(parsed, tuple) and not isinstance(parsed, Fault):
            resp = parsed[0]
    if resp is not None and resp.length > 0 and ex.group.spec.repair.wrong_length:
        ex.group.repairs["wrong_length"] += 1


def refusal(
    house: House, ex: Exchange, status: int, reason: str, detail: str = "", *, retry_after: int | None = None
) -> bytes:
    """Return an answer of our own and note it in the exchange. `ex.keep` is the caller's to set before."""
    head = ex.head
    old = ex.policy.response_version is not None
    ex.status = status
    ex.detail = detail
    out = forward.own_response(
        status,
        reason,
        detail,
        connection=_connection(ex),
        date=house.journal.date(),
        head_only=head.method == b"HEAD",
        minor10=old,
        retry_after=retry_after,
        request_id=(ex.route.request_id, ex.id.encode()) if ex.id and ex.route.request_id else None,
    )
    ex.head_out += out.index(b"\r\n\r\n") + 4
    return out


def options(house: House, ex: Exchange) -> bytes:
    """Return our answer to an OPTIONS that may go no further (RFC 9110 section 7.6.2); `ex.keep` is set."""
    ex.status = 200
    out = forward.own_options(
        connection=_connection(ex),
        date=house.journal.date(),
        minor10=ex.policy.response_version is not None,
    )
    ex.head_out += len(out)
    return out


def may_continue(ex: Exchange) -> bool:
    """Whether the client waits for a 100, and may be sent one (RFC 9110 section 10.1.1: not in HTTP/1.0)."""
    return ex.head.expect and not speaks_10(ex, ex.head) and ex.policy.response_version is None


def forwards_interim(ex: Exchange, head: RequestHead, status: int) -> bool:
    """Whether this client is shown an interim response (RFC 9110 section 15.2)."""
    if speaks_10(ex, head) or ex.policy.response_version is not None:
        return False
    if status == 100:
        return ex.policy.interim != "none" and not head.expect  # who expects one has had ours
    return ex.policy.interim == "all"
