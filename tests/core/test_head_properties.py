"""Heads, generated and mutated: h11 as a second opinion, and what is forwarded reads as the same message."""

from collections.abc import Iterable

import h11
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from shieldproxy.core.forward import forwarded_block, request_head, response_head
from shieldproxy.core.head import (
    CHUNKED,
    UNTIL_CLOSE,
    Fault,
    RequestHead,
    ResponseHead,
    end_of_head,
    judge_request,
    read_request,
    read_response,
    skip_blank,
)
from shieldproxy.core.policy import Policy
from shieldproxy.core.routes import Route

ROUTE = Route(upstream="legacy")
Fields = list[tuple[bytes, bytes]]
REWRITTEN = {b"host", b"content-length", b"max-forwards"}

names = st.sampled_from(
    b"Host host Content-Length content-length Transfer-Encoding Connection Keep-Alive User-Agent Cookie "
    b"Expect TE Upgrade Via Max-Forwards X-Forwarded-For Forwarded X-A x_b !#$ Trailer Date Set-Cookie "
    b"Content_Length".split()
)
values = st.sampled_from(
    [
        *(
            b"",
            b"a",
            b"a.example",
            b"[::1]:80",
            b"5",
            b"0",
            b"05",
            b"5, 5",
            b"chunked",
            b"Chunked",
            b"gzip, chunked",
        ),
        *(
            b"close",
            b"keep-alive",
            b"X-A, close",
            b"Host",
            b"100-continue",
            b"trailers",
            b"a b",
            b"\xff",
            b"a\tb",
        ),
        *(b"Content-Length", b"for=1.2.3.4", b"1.2.3.4", b" \t5 ", b"1.1 shieldproxy"),
    ]
)


def _line(name: bytes, blank: bytes, value: bytes) -> bytes:
    return name + b":" + blank + value


harmless = st.sampled_from(
    [b"X-A: b", b"User-Agent: c", b"Connection: x-a", b"X-Forwarded-For: 1.2.3.4", b"Via: d"]
)
lines = harmless | st.builds(_line, names, st.sampled_from([b" ", b"", b"\t"]), values)
targets = st.just(b"/a?b=c") | st.sampled_from(
    [
        b"/",
        b"//a",
        b"/%2e%2e",
        b"*",
        b"http://a.example/x?y",
        b"http://a",
        b"http://u@a/",
        b"a",
        b"/a#b",
        b"/?",
    ]
)
methods = st.sampled_from([b"GET"] * 5 + [b"POST", b"HEAD", b"OPTIONS", b"M-SEARCH", b"CONNECT", b"TRACE"])
versions = st.sampled_from([b"HTTP/1.1"] * 5 + [b"HTTP/1.0", b"HTTP/1.3", b"HTTP/2.0"])
nasty = st.sampled_from(
    [
        *(bytes([n]) for n in b'\r\n\t\x00\x01\x0b\x7f\x80\xa0 :;,/?#@[]%"+-_0a'),
        b"\r\n",
        b"\r\n ",
        b"\n\n",
        b"",
        b"\r\n\r\n",
    ]
)
edits: st.SearchStrategy[list[tuple[int, int, bytes]]] = st.just([]) | st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), nasty), max_size=3
)


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for where, cut, put in changes:
        at = where % (len(data) + 1)
        data = data[:at] + put + data[at + cut :]
    return data


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    first = b" ".join([draw(methods), draw(targets), draw(versions)])
    host = draw(st.sampled_from([[b"Host: a.example"]] * 4 + [[]]))
    data = b"\r\n".join([first, *host, *draw(st.lists(lines, max_size=5)), b"", b""])
    return edited(data, draw(edits))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    status = draw(
        st.sampled_from(
            [b"200 OK", b"304 Not Modified", b"404", b"204 No Content", b"999 x", b"100 Continue"]
        )
    )
    first = draw(st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 "])) + status
    return edited(b"\r\n".join([first, *draw(st.lists(lines, max_size=5)), b"", b""]), draw(edits))


def pairs(data: list[bytes]) -> Fields:
    return [
        (name.lower(), b" ".join(value.split())) for name, _, value in (line.partition(b":") for line in data)
    ]


def theirs(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    return [(bytes(name), b" ".join(bytes(value).split())) for name, value in headers]


def h11_request(data: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    request = connection.next_event()
    assert isinstance(request, h11.Request), request
    return request


def read(data: bytes) -> tuple[RequestHead | Fault, int]:
    end = end_of_head(data, 0)
    assume(end >= 0)
    return read_request(data, end), end


@given(requests())
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_what_is_taken_h11_reads_the_same(data: bytes) -> None:
    head, end = read(data)
    if isinstance(head, Fault):
        event(f"fault {head.reason}")
        return
    event(f"taken, oddities {head.oddities}")
    request = h11_request(data[:end])
    assert (head.method, head.minor) == (request.method, 0 if request.http_version == b"1.0" else 1)
    if request.target.startswith((b"/", b"*")):
        assert head.target == request.target
    read_there = theirs(request.headers)
    assert head.count == len(read_there)
    untouched = [pair for pair in pairs(head.lines) if pair[0] not in REWRITTEN]
    rest = iter(read_there)
    assert all(pair in rest for pair in untouched)  # in the same order
    given_length = [value for name, value in read_there if name == b"content-length"]
    coded = [value for name, value in read_there if name == b"transfer-encoding"]
    assert head.length == (CHUNKED if coded else int(given_length[0]) if given_length else 0)
    assert not (coded and given_length)


@given(requests())
def test_what_is_forwarded_is_the_same_message_once(data: bytes) -> None:
    head, _ = read(data)
    if isinstance(head, Fault) or judge_request(head, Policy()) is not None:
        return
    block = forwarded_block("192.0.2.1", "http", head, trusted=False)
    written = request_head(head, ROUTE, block, head.length)
    assert end_of_head(written, 0) == len(written)
    again = read_request(written, len(written))
    assert isinstance(again, RequestHead), again
    assert (again.method, again.target, again.path, again.length) == (
        head.method,
        head.target,
        head.path,
        head.length,
    )
    assert again.host == (head.host or b"localhost")
    assert (again.user_agent, again.minor, again.oddities, again.persistent) == (head.user_agent, 1, 0, True)
    assert again.hops == head.hops + 1
    host = [] if head.host else [b"Host: localhost"]
    length = [line for line in head.lines if line.startswith(b"Content-Length:")]
    assert head.lines[len(head.lines) - len(length) :] == length
    lines = [*host, *head.lines[: len(head.lines) - len(length)], b"Via: 1.%d shieldproxy" % head.minor]
    assert again.lines == lines + length or head.max_forwards
    assert [name for name, _ in again.forwarded].count(b"x-forwarded-for") == 1
    request = h11_request(written)
    sent = [name for name, _ in theirs(request.headers)]
    assert sent.count(b"host") == 1
    assert sent.count(b"content-length") + sent.count(b"transfer-encoding") <= 1
    assert not {b"connection", b"keep-alive", b"te", b"upgrade", b"expect", b"proxy-connection"} & set(sent)


@given(requests(), st.lists(st.integers(1, 40), min_size=1))
def test_a_dripped_head_gets_the_same_answer(data: bytes, steps: list[int]) -> None:
    data = data[skip_blank(data) :]
    whole, end = read(data)
    buf = bytearray()
    found = at = turn = 0
    while found <= 0:
        old = len(buf)
        buf += data[at : at + steps[turn % len(steps)]]
        at, turn = len(buf), turn + 1
        found = end_of_head(buf, max(0, old - 3))
    dripped = read_request(bytes(buf), found)
    if isinstance(whole, Fault):
        assert isinstance(dripped, Fault)
        assert dripped.status == whole.status or "bare-lf" in {dripped.reason, whole.reason}
    else:
        assert found == end
        assert isinstance(dripped, RequestHead)
        assert (dripped.lines, dripped.target, dripped.size) == (whole.lines, whole.target, whole.size)


@given(st.binary(max_size=200))
def test_noise_is_never_taken(data: bytes) -> None:
    assume(b"HTTP/1." not in data)  # a head can be as short as that
    head, _ = read(data + b"\r\n\r\n")
    assert isinstance(head, Fault)
    assert isinstance(read_response(data + b"\r\n\r\n", len(data) + 4, b"GET"), Fault)


@given(responses(), st.sampled_from([b"GET", b"HEAD"]))
def test_responses_read_as_h11_reads_them(data: bytes, method: bytes) -> None:
    end = end_of_head(data, 0)
    assume(end >= 0)
    head = read_response(data, end, method)
    if isinstance(head, Fault):
        event(f"fault {head.reason}")
        return
    assume(
        b" :" not in data[:end] and b"\t:" not in data[:end]
    )  # which a proxy must put right, and h11 does not
    assume(head.status >= 200 and head.status != 204)
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data[: head.size])
    response = connection.next_event()
    assert isinstance(response, h11.Response), response
    event("taken")
    assert (head.status, head.phrase) == (response.status_code, bytes(response.reason))
    read_there = theirs(response.headers)
    assert all(pair in read_there for pair in pairs(head.lines))
    lengths = [value for name, value in read_there if name == b"content-length"]
    assert head.content_length == (int(lengths[0]) if lengths else None)


@given(responses(), st.sampled_from([b"GET", b"HEAD"]), st.booleans())
def test_a_forwarded_response_is_the_same_message_once(data: bytes, method: bytes, old: bool) -> None:
    end = end_of_head(data, 0)
    assume(end >= 0)
    head = read_response(data, end, method)
    if isinstance(head, Fault):
        return
    framing = (UNTIL_CLOSE if old else CHUNKED) if head.length < 0 else head.length
    written = response_head(head, ROUTE, minor10=old, framing=framing, connection=b"close", date=b"now")
    assert end_of_head(written, 0) == len(written)
    again = read_response(written, len(written), method)
    assert isinstance(again, ResponseHead), again
    assert (again.status, again.phrase, again.length) == (head.status, head.phrase, framing)
    assert again.content_length == head.content_length
    assert again.date
    via = [b"Via: 1.%d shieldproxy" % head.minor]
    assert again.lines == head.lines + via + ([] if head.date else [b"Date: now"])
