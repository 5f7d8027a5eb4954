"""What must hold for any bytes whatever: each check takes bytes and a choice, and asserts.

A message that the product takes is the message that h11 reads in the same bytes, with the same end; what the
product forwards of it is, read again by h11, the same message once and nothing behind it; and one that breaks
off is forwarded as one that breaks off. Which fields are taken out on the way is written down here a second
time, from RFC 9110 section 7.6.1 and docs/life-of-a-request.md, not asked of the product.

Called through tests/fuzz/checks.py.
"""

import re
from typing import Final, NamedTuple

from shieldproxy.core.body import BodyFault, ChunkedReader, chunk, last_chunk
from shieldproxy.core.fields import CHUNKED, UNTIL_CLOSE, Fault
from shieldproxy.core.forward import forwarded_block, interim_head, request_head, response_head
from shieldproxy.core.head import end_of_head, judge_request, read_request, skip_blank
from shieldproxy.core.limits import Limits
from shieldproxy.core.policy import Policy
from shieldproxy.core.request import RequestHead
from shieldproxy.core.response import ResponseHead, read_response
from shieldproxy.core.routes import Route
from tests.fuzz import oracle
from tests.fuzz.names import ANEW, ANEW_UP, HOP, HOP_UP, NEVER_BY_NAME, NOT_TRAILING
from tests.fuzz.oracle import Fields, Message, evened

ROUTE: Final = Route(upstream="legacy")
TIGHT: Final = Limits(head=150, fields=4, user_agent=16, body=40)
POLICIES: Final = (
    Policy(),
    Policy(accept_bare_lf=True, accept_folds=True),
    Policy(limits=TIGHT),
    Policy(accept_bare_lf=True, accept_folds=True, limits=TIGHT),
)
BODILESS: Final = frozenset((*range(100, 200), 204))
METHODS: Final = (b"GET", b"HEAD", b"POST", b"OPTIONS")


class Body(NamedTuple):
    """What the product takes of a body."""

    pieces: list[bytes]
    trailers: Fields
    whole: bool
    sound: bool
    """False: refused in the middle."""
    rest: bytes = b""

    @property
    def data(self) -> bytes:
        """The data in it."""
        return b"".join(self.pieces)


def take_body(length: int, data: bytes, *, padded: bool = False) -> Body:
    """Take a body as the relay does: by its length, by chunks, or to the end."""
    if length == UNTIL_CLOSE:
        return Body([data] if data else [], [], whole=True, sound=True)
    if length != CHUNKED:
        taken = data[:length]
        return Body([taken] if taken else [], [], len(taken) == length, sound=True, rest=data[length:])
    reader = ChunkedReader(padded=padded)
    pieces: list[bytes] = []
    try:
        for at in range(0, len(data), 97):
            pieces += reader.feed(data[at : at + 97])
    except BodyFault:
        return Body(pieces, [], whole=False, sound=False)
    return Body(pieces, reader.trailers, reader.done, sound=True, rest=reader.rest)


def framed(body: Body, framing: int, taken: frozenset[bytes]) -> bytes:
    """Write a body as the relay does; ``taken``: names that Connection gave."""
    if framing != CHUNKED:
        return body.data
    return b"".join(map(chunk, body.pieces)) + (last_chunk(body.trailers, taken) if body.whole else b"")


def named(fields: Fields) -> set[bytes]:
    """The names that a Connection field takes away."""
    options = b",".join(value for name, value in fields if name == b"connection")
    return {option.strip().lower() for option in options.split(b",")} - NEVER_BY_NAME


def dropped_up(name: bytes) -> bool:
    """Whether a request's field is not forwarded as it is."""
    dashed = name.replace(b"_", b"-")
    return (
        name in HOP_UP
        or dashed.startswith(b"x-forwarded-")
        or dashed in {b"forwarded", b"proxy", b"x-real-ip"}
    )


def may_trail(name: bytes) -> bool:
    dashed = name.replace(b"_", b"-")
    return dashed not in NOT_TRAILING and not dashed.startswith(b"x-forwarded-")


def trailing(body: Body, taken: set[bytes]) -> Fields:
    """The trailers that go on."""
    return [pair for pair in evened(body.trailers) if may_trail(pair[0]) and pair[0] not in taken]


def h11_knows(body: bytes, trailers: Fields) -> bool:
    """Whether h11 can be asked about a chunked body.

    It refuses white space before an extension (RFC 9112 section 7.1.1 wants it taken) and reads framing
    fields among the trailers as if they framed.
    """
    odd = b" ;" in body or b"\t;" in body
    return not odd and not {name for name, _ in evened(trailers)} & {b"content-length", b"transfer-encoding"}


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for each, value in fields if each == name]


# requests


def check_requests(choice: int, data: bytes) -> None:
    """A stream of requests: each one that is taken and forwarded is one and the same to h11."""
    for _ in range(4):
        rest = _request(choice, data)
        if rest is None:
            return
        data = rest


def _request(choice: int, data: bytes) -> bytes | None:
    data = data[skip_blank(data) :]
    end = end_of_head(data, 0)
    if end < 0:
        return None
    head = read_request(data, end)
    if isinstance(head, Fault):
        assert head.status in {400, 405, 417, 421, 501, 508}, head
        return None
    if judge_request(head, POLICIES[choice & 1]) is not None:
        return None
    body = take_body(head.length, data[end:])
    original = oracle.request(data[:end])
    assert original is not None, "h11 sees no whole head"
    assert head.count == len(original.fields)
    if body.sound and h11_knows(data[end:], body.trailers):
        original = oracle.request(data)
        assert original is not None
        assert (original.whole, original.body) == (body.whole, body.data)
        if body.whole:
            assert (original.trailers, original.rest) == (evened(body.trailers), body.rest)
    _forwarded_request(head, body, original, collected=bool(choice & 2))
    return body.rest if body.whole else None


def _forwarded_request(head: RequestHead, body: Body, original: Message, *, collected: bool) -> None:
    """What goes to the server; ``collected``: as HTTP/1.0, with a length."""
    framing = head.length
    if collected and framing == CHUNKED:
        if not body.whole:
            return
        framing = len(body.data)
    written = request_head(
        head,
        ROUTE,
        forwarded_block("192.0.2.1", "http", head, trusted=False),
        framing,
        minor10=collected,
    ) + framed(body, framing, head.named)
    again = oracle.request(written)
    assert again is not None, written
    target, authority = _origin(original.first)
    assert again.first == (original.first[0], target, b"1.0" if collected else b"1.1")
    assert (again.whole, again.body, again.rest) == (body.whole, body.data, b"")
    if framing == CHUNKED and body.whole:
        assert again.trailers == trailing(body, named(original.fields))
    _same_request_fields(original, again, head, framing, authority)


def _origin(first: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The target as a server is to see it, and the authority of an absolute one."""
    method, target = first[:2]
    if target[:1] == b"/" or target == b"*":
        return target, b""
    authority, _, _ = target.partition(b"://")[2].partition(b"?")[0].partition(b"/")
    rest = target.partition(b"://")[2][len(authority) :]
    if not rest and method == b"OPTIONS":
        return b"*", authority
    return rest if rest[:1] == b"/" else b"/" + rest, authority


def _same_request_fields(
    original: Message, again: Message, head: RequestHead, framing: int, authority: bytes
) -> None:
    gone = named(original.fields)
    if framing != head.length:
        gone = gone | {b"trailer"}
    kept = [pair for pair in original.fields if not dropped_up(pair[0]) and pair[0] not in gone]
    ours = [*values(again.fields, b"x-forwarded-for"), *values(again.fields, b"forwarded")]
    assert ours[0] == b"192.0.2.1"
    assert len(ours) == 2
    assert not {name for name, _ in again.fields if dropped_up(name)} - ANEW_UP
    others = [pair for pair in again.fields if not dropped_up(pair[0])]
    via = (b"via", b"1.%d shieldproxy" % head.minor)
    assert others == [*kept, via], "other fields are forwarded than came"
    hosts = values(original.fields, b"host")
    assert values(again.fields, b"host") == ([authority] if authority else hosts or [b"localhost"])
    assert len(values(again.fields, b"transfer-encoding")) == (framing == CHUNKED)
    lengths = [int(value) for value in values(again.fields, b"content-length")]
    said = values(original.fields, b"content-length")
    assert lengths == ([framing] if framing != CHUNKED and (said or head.length == CHUNKED) else [])
    if head.max_forwards:
        assert values(again.fields, b"max-forwards") == [b"%d" % (head.max_forwards - 1)]
    elif head.method != b"OPTIONS" and b"max-forwards" not in gone:
        assert values(again.fields, b"max-forwards") == values(original.fields, b"max-forwards")


# responses


def check_responses(choice: int, data: bytes) -> None:
    """Interim responses and a final one: what is taken and forwarded is one and the same to h11."""
    method = METHODS[choice & 3]
    for _ in range(4):
        end = data.find(b"\r\n\r\n") + 4
        if end == 3:
            end = end_of_head(data, 0)
        if end < 0:
            return
        head = read_response(data, end, method)
        if isinstance(head, Fault):
            assert head.status == 502
            return
        if head.status == 101:  # nobody has asked for it: refused by proxy.answer
            return
        if head.status >= 200:
            _final(choice, head, method, data)
            return
        _interim(head, data)
        data = data[head.size :]


def h11_reads(head: ResponseHead, data: bytes) -> bool:
    """Whether h11 can be asked about a response head.

    It refuses white space before a colon, which a proxy has to remove (RFC 9112 section 5.1), and framing
    fields of a response that has no body and needs none.
    """
    raw = data[: head.size]
    if head.status in BODILESS and re.search(rb"(?i)content-length|transfer-encoding", raw):
        return False
    return not any(line.partition(b":")[0][-1:] in {b" ", b"\t"} for line in raw.split(b"\n")[1:])


def _interim(head: ResponseHead, data: bytes) -> None:
    written = interim_head(head)
    again = oracle.response(written, b"GET", closed=False)
    assert again is not None
    assert again.whole
    assert again.first[:2] == (b"1.1", b"%d" % head.status)
    if h11_reads(head, data):
        original = oracle.response(data[: head.size], b"GET", closed=False)
        assert original is not None
        _same_response_fields(original, again, head, dated=True)


def _final(choice: int, head: ResponseHead, method: bytes, data: bytes) -> None:
    body = take_body(head.length, data[head.size :], padded=True)
    original: Message | None = None
    if h11_reads(head, data):
        known = body.sound and (head.length != CHUNKED or h11_knows(data[head.size :], body.trailers))
        sent = data if known else data[: head.size]
        original = oracle.response(sent, method, closed=known and head.length == UNTIL_CLOSE)
        assert original is not None, "h11 sees no whole head"
        if known:
            assert (original.whole, original.body) == (body.whole, body.data)
            if body.whole:
                assert (original.trailers, original.rest) == (evened(body.trailers), body.rest)
    old, spoken10 = bool(choice & 4), bool(choice & 8)
    framing = head.length if head.length >= 0 else UNTIL_CLOSE if old or spoken10 else CHUNKED
    written = response_head(
        head, ROUTE, minor10=old, framing=framing, connection=b"close" if old else b"", date=b"now"
    ) + framed(body, framing, head.named)
    again = oracle.response(written, method, closed=framing == UNTIL_CLOSE)
    assert again is not None, written
    assert again.first == (b"1.0" if old else b"1.1", b"%d" % head.status, head.phrase)
    assert (again.body, again.rest) == (body.data, b"")
    assert again.whole == (body.whole or framing == UNTIL_CLOSE)  # which is aborted, where it is not whole
    if original is not None:
        if framing == CHUNKED and body.whole:
            assert again.trailers == trailing(body, named(original.fields))
        _same_response_fields(original, again, head, dated=head.date)


def _same_response_fields(original: Message, again: Message, head: ResponseHead, *, dated: bool) -> None:
    gone = named(original.fields)
    kept = [pair for pair in original.fields if pair[0] not in HOP and pair[0] not in gone]
    if not dated:
        kept.append((b"date", b"now"))
    assert not {name for name, _ in again.fields if name in HOP} - ANEW
    others = [pair for pair in again.fields if pair[0] not in HOP]
    via = (b"via", b"1.%d shieldproxy" % head.minor)
    assert via in others
    others.reverse()
    others.remove(via)  # ours is the last
    others.reverse()
    assert others == kept, "other fields are forwarded than came"
    said = values(original.fields, b"content-length")
    lengths = values(again.fields, b"content-length")
    assert len(values(again.fields, b"transfer-encoding")) + len(lengths) <= 1
    if head.status in BODILESS:
        assert not lengths
    else:
        assert [int(length) for length in lengths] == [int(length) for length in said[:1]]
