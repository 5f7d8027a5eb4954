"""Request heads: read, judged, and made fit to be forwarded (RFC 9110, RFC 9112 sections 2 to 6).

It decides whether a head is exactly one well-formed request and where its body ends; a head that two servers
could read in two ways is refused. It never decides what to do with the request: that is the policy's. The
lobby and both lanes call it for every request, so it is written for speed: one compiled pattern takes or
leaves the request line, one loop looks each field line up among those that came before, and only the few that
mean something to a proxy are read. What is left goes to diagnose, which normalises it or names its fault;
both ways end in ``_build``.
"""

import re
from typing import TYPE_CHECKING, Final

from shieldproxy.core import fields
from shieldproxy.core.blocks import REQUEST_BLOCKS, keep_request, without_changing, without_length
from shieldproxy.core.diagnose import (
    BARE_LF,
    FOLDS,
    fields_of,
    request_line,
    request_target,
    split_lines,
)
from shieldproxy.core.ending import end_of_head, skip_blank, too_long
from shieldproxy.core.fields import (
    CHUNKED,
    PLAIN_FIELD,
    UNTIL_CLOSE,
    Fault,
    Field,
    OddLine,
    read_connection,
    read_host,
)
from shieldproxy.core.framing import is_length, request_length
from shieldproxy.core.request import RequestHead
from shieldproxy.core.response import ResponseHead, read_response

if TYPE_CHECKING:
    from shieldproxy.core.policy import Policy

__all__ = [
    "BARE_LF",
    "CHUNKED",
    "FOLDS",
    "UNTIL_CLOSE",
    "Fault",
    "RequestHead",
    "ResponseHead",
    "end_of_head",
    "judge_request",
    "read_request",
    "read_response",
    "skip_blank",
    "too_long",
]

_plain: Final = re.compile(
    rb"(" + fields.TOKEN + rb") ((/[!-\"$->@-~]*+)(?:\?[!-\"$-~]*+)?+) HTTP/1\.([01])\r\n"
).match
_value: Final = re.compile(fields.VALUE).fullmatch
_known_block: Final = REQUEST_BLOCKS.get
_DIGITS: Final = len(b"\r\nContent-Length: ")

# Past this many passages through a shieldproxy, a request is going round in circles (RFC 9110 section 7.6).
_MAX_HOPS: Final = 8


def read_request(data: bytes, end: int) -> RequestHead | Fault:
    """Read the head ``data[:end]``, its blank line included, into one request, or say why it is none.

    A head of bare LFs may be shorter than ``end``, with CRLFs in the body: ``size`` says where it ended.
    """
    match = _plain(data, 0, end)
    if match is not None and data[end - 4 : end] == b"\r\n\r\n":
        method, target, path, minor = match.groups()
        if method == b"CONNECT" or method == b"TRACE":  # noqa: PLR1714 - a set costs twice as much here
            return _read_slowly(data[: end_of_head(data, 0)])
        start = match.end()
        kept, length = (data, b"") if method == b"GET" else without_length(data, start, end)
        block, one, first, two, second = without_changing(kept, start, end - len(length) - 4)
        known = _known_block(block)
        if (
            known is not None
            and known[0] == one
            and known[1] == two
            and minor == b"1"
            and _value(second)
            and _value(first)
        ):
            head = RequestHead(method, target, path, 1, None, end)
            _, _, before, between, behind, head.count, head.host, head.user_agent, head.persistent = known
            head.kin = known
            head.block = before + first + between + second + behind
            if length:
                head.block += length
                head.count += 1
                head.length = int(length[_DIGITS:])
            return head
        lines = data[start : end - 4].split(b"\r\n")
        try:
            head = RequestHead(method, target, path, 1 if minor == b"1" else 0, lines, end)
            read = _build(head, b"", length[2:])
        except OddLine:
            pass
        else:
            if isinstance(read, RequestHead) and read.news == bool(first) + bool(second) and read.minor:
                keep_request(block, one, first, two, second, read, framed=bool(length))
            return read
    data = bytes(data[:end])
    return _read_slowly(data[: end_of_head(data, 0)])


def _read_slowly(data: bytes) -> RequestHead | Fault:
    cut = split_lines(data, 400)
    if isinstance(cut, Fault):
        return cut
    raw, oddities = cut
    if not data.endswith(b"\r\n\r\n") and data[: data.find(b"\n")].endswith(b"\r"):
        # With more behind it in the same piece, this would be a blank line inside the head: the same answer.
        return Fault(400, "bare-lf", "a head that begins with CRLF and ends with LF")
    if not raw:
        return Fault(400, "request-line", "no request line")
    first = request_line(raw[0])
    if isinstance(first, Fault):
        return first
    if first.method in {b"CONNECT", b"TRACE"}:
        return Fault(405, "method", f"{first.method.decode('ascii')} is not served here")
    where = request_target(first.method, first.target)
    if isinstance(where, Fault):
        return where
    read = fields_of(raw[1:], 400)
    if isinstance(read, Fault):
        return read
    lines, folds = read
    head = RequestHead(first.method, where.target, where.path, first.minor, lines, len(data))
    head.oddities = oddities | folds
    return _build(head, where.authority)


def _build(head: RequestHead, authority: bytes, framing: bytes = b"") -> RequestHead | Fault:
    """Give each field its meaning, and drop what is not to be forwarded.

    ``authority``: of an absolute target. ``framing``: the line with the length, in its plainest form.
    """
    hosts: list[tuple[bytes, bytes]] = []
    connection: bytes | None = None
    drop: list[bytes] = []
    rare: list[tuple[bytes, Field]] = []
    known = fields.REQUEST_LINES.get
    news = 0
    for line in head.lines:
        field = known(line)
        if field is None:
            field = fields.REQUEST_LINES.learn(line)
            news += line != framing
        if field is not PLAIN_FIELD:
            kind, _, value = field
            if kind == fields.HOST:
                hosts.append((line, value))
            elif kind == fields.USER_AGENT:
                head.user_agent = head.user_agent or value
            elif kind == fields.CONNECTION:
                connection = value if connection is None else connection + b"," + value
                drop.append(line)
            else:
                rare.append((line, field))
    fault = (_read_rare(head, rare, drop) if rare else None) or _read_host(head, hosts, authority)
    if fault is not None:
        return fault
    if drop:
        head.lines = _dropped(head.lines, drop)
    if connection is not None:
        options = read_connection(connection)
        if options.close:
            head.persistent = False
        elif options.keep_alive:
            head.persistent = True
        if options.named:
            head.named = options.named
            head.lines = fields.without(head.lines, options.named)
            return head
    if not rare or (len(rare) == 1 and rare[0][0] == framing):
        head.news = news
    return head


def _dropped(lines: list[bytes], drop: list[bytes]) -> list[bytes]:
    if len(drop) <= 4:
        for line in drop:
            lines.remove(line)
        return lines
    gone = set(drop)
    return [line for line in lines if line not in gone]


def _read_host(head: RequestHead, hosts: list[tuple[bytes, bytes]], authority: bytes) -> Fault | None:
    """Find the host (RFC 9112 sections 3.2 and 3.3): an absolute target wins over the Host field."""
    if len(hosts) != 1:
        if hosts:
            return Fault(400, "host-many", "more than one Host field")
        if head.minor:
            return Fault(400, "host-missing", "no Host field")
        if authority:
            head.lines.insert(0, b"Host: " + authority)
            head.host = read_host(authority) or b""
        return None
    line, value = hosts[0]
    host = read_host(value)
    if host is None:
        return Fault(400, "host-bad", "a malformed Host field")
    if authority:
        head.lines[head.lines.index(line)] = b"Host: " + authority
        host = read_host(authority) or b""
    head.host = host
    return None


def _read_rare(head: RequestHead, rare: list[tuple[bytes, Field]], drop: list[bytes]) -> Fault | None:
    """Read the fields that few requests have; ``drop`` collects the lines that are not forwarded."""
    lengths: list[tuple[bytes, bytes]] = []
    codings: list[bytes] = []
    expects: list[bytes] = []
    forwards: list[tuple[bytes, bytes]] = []
    forwarded: list[tuple[bytes, bytes]] = []
    for line, (kind, name, value) in rare:
        if kind == fields.LENGTH:
            lengths.append((line, value))
            continue
        if kind == fields.MAX_FORWARDS:
            forwards.append((line, value))
            continue
        if kind == fields.VIA:
            head.hops += value.count(b"shieldproxy")
            continue
        if kind == fields.LOOKALIKE:
            return Fault(400, "field-name", "a field name that a server could take for another")
        drop.append(line)
        if kind == fields.CODING:
            codings.append(value)
        elif kind == fields.EXPECT:
            expects.append(value)
        elif kind == fields.TE:
            head.trailers = head.trailers or b"trailers" in fields.members(value)
        elif kind == fields.UPGRADE:
            head.upgrade = True
        elif kind == fields.FORWARDING:
            forwarded.append((name, value))
    if forwarded:
        head.forwarded = tuple(forwarded)
    return (
        (_read_length(head, lengths, codings) if lengths or codings else None)
        or (_read_expect(head, expects) if expects else None)
        or (_read_forwards(head, forwards) if forwards else None)
        or (Fault(508, "loop", "the request goes round in circles") if head.hops >= _MAX_HOPS else None)
    )


def _read_length(head: RequestHead, given: list[tuple[bytes, bytes]], codings: list[bytes]) -> Fault | None:
    """Find where the body ends; a length is forwarded in its plainest form, as the last line."""
    length = request_length([value for _, value in given], codings, head.minor)
    if isinstance(length, Fault):
        return length
    head.length = length
    if given:
        head.lines.remove(given[0][0])
        head.lines.append(b"Content-Length: %d" % length)
    return None


def _read_expect(head: RequestHead, expects: list[bytes]) -> Fault | None:
    """Read Expect (RFC 9110 section 10.1.1); HTTP/1.0 has none, and without a body nobody waits."""
    if head.minor == 0:
        return None
    if fields.members(b",".join(expects)) - {b""} != {b"100-continue"}:
        return Fault(417, "expect", "an expectation that is not known here")
    head.expect = head.length != 0
    return None


def _read_forwards(head: RequestHead, given: list[tuple[bytes, bytes]]) -> Fault | None:
    """Count Max-Forwards down for OPTIONS (RFC 9110 section 7.6.2); for other methods it has no meaning."""
    if head.method != b"OPTIONS":
        return None
    line, value = given[0]
    if len(given) > 1 or not is_length(value):
        return Fault(400, "field-value", "Max-Forwards is not one decimal number")
    head.max_forwards = int(value)
    if head.max_forwards:
        head.lines[head.lines.index(line)] = b"Max-Forwards: %d" % (head.max_forwards - 1)
    return None


def judge_request(head: RequestHead, policy: "Policy") -> Fault | None:
    """Hold a request against its policy: limits of the head and the announced body, and oddities."""
    limits = policy.limits
    if head.size > limits.head:
        if len(head.target) > limits.head:
            return Fault(414, "target-long", f"longer than limits.head, {limits.head} bytes")
        return Fault(431, "head-long", f"longer than limits.head, {limits.head} bytes")
    if head.count > limits.fields:
        return Fault(431, "too-many-fields", f"more than limits.fields, {limits.fields}")
    if len(head.user_agent) > limits.user_agent:
        return Fault(431, "user-agent-long", f"longer than limits.user_agent, {limits.user_agent} bytes")
    if head.oddities:
        if head.oddities & BARE_LF and not policy.accept_bare_lf:
            return Fault(400, "bare-lf", "a line that ends with LF alone")
        if head.oddities & FOLDS and not policy.accept_folds:
            return Fault(400, "obs-fold", "a field that is continued on a second line")
    if head.length > limits.body:
        return Fault(413, "body-long", f"longer than limits.body, {limits.body} bytes")
    return None
