"""What is written: heads for the upstream and for the client, forwarding fields, our own responses."""

import h11
import pytest

from shieldproxy.core.forward import (
    client_of,
    forwarded_block,
    interim_head,
    own_options,
    own_response,
    plain_address,
    request_head,
    response_head,
)
from shieldproxy.core.head import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead, read_request, read_response
from shieldproxy.core.routes import Route

ROUTE = Route(upstream="legacy")
DATE = b"Mon, 01 Jan 2024 00:00:00 GMT"


def req(lines: bytes = b"", line: bytes = b"GET /a?b HTTP/1.1") -> RequestHead:
    data = line + b"\r\n" + lines + b"\r\n"
    head = read_request(data, len(data))
    assert isinstance(head, RequestHead), head
    return head


def res(lines: bytes, line: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> ResponseHead:
    data = line + b"\r\n" + lines + b"\r\n"
    head = read_response(data, len(data), method)
    assert isinstance(head, ResponseHead), head
    return head


def to_client(resp: ResponseHead, framing: int, route: Route = ROUTE, connection: bytes = b"") -> bytes:
    return response_head(resp, route, minor10=False, framing=framing, connection=connection, date=DATE)


def test_request_head() -> None:
    head = req(b"Host: a\r\nConnection: close\r\nX: y\r\nVia: 1.0 other\r\n")
    block = forwarded_block("192.0.2.1", "http", head, False)
    assert request_head(head, ROUTE, block, 0) == (
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\nVia: 1.0 other\r\nVia: 1.1 shieldproxy\r\n"
        b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"
        b"Forwarded: for=192.0.2.1;proto=http;host=a\r\n\r\n"
    )


@pytest.mark.parametrize("route", [ROUTE, Route(upstream="legacy", request_set=((b"X", b"z"),))])
@pytest.mark.parametrize(
    ("lines", "line", "framing"),
    [
        (b"Host: a\r\nContent-Length: 7\r\nX: y\r\n", b"POST /a HTTP/1.1", 7),
        (b"Host: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n", b"POST /a HTTP/1.1", 7),
        (b"Content-Length: 7\r\n", b"POST /a HTTP/1.0", 7),
        (b"", b"GET /a HTTP/1.0", 0),
    ],
)
def test_a_head_that_was_packed_is_forwarded_as_if_it_had_not_been(
    lines: bytes, line: bytes, framing: int, route: Route
) -> None:
    head, packed = req(lines, line), req(lines, line)
    packed.pack()
    assert request_head(packed, route, b"", framing) == request_head(head, route, b"", framing)
    packed.pack()
    assert packed.lines == head.lines


def test_request_framing() -> None:
    head = req(b"Host: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n", b"POST /a HTTP/1.1")
    assert request_head(head, ROUTE, b"", CHUNKED).endswith(
        b"Trailer: X\r\nVia: 1.1 shieldproxy\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    collected = request_head(head, ROUTE, b"", 7)
    assert collected.endswith(b"Via: 1.1 shieldproxy\r\nContent-Length: 7\r\n\r\n")
    assert b"Trailer" not in collected
    sized = req(b"Host: a\r\nContent-Length: 007\r\n", b"POST /a HTTP/1.1")
    assert request_head(sized, ROUTE, b"", 7).count(b"Content-Length: 7\r\n") == 1
    with pytest.raises(ValueError, match="chunked"):
        request_head(head, ROUTE, b"", CHUNKED, minor10=True)


def test_request_versions() -> None:
    old = req(b"", b"GET /a HTTP/1.0")
    assert request_head(old, ROUTE, b"", 0, host=b"127.0.0.1:80") == (
        b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:80\r\nVia: 1.0 shieldproxy\r\n\r\n"
    )
    assert request_head(req(b"Host: a\r\n"), ROUTE, b"", 0, minor10=True).startswith(b"GET /a?b HTTP/1.0\r\n")


def test_request_edits() -> None:
    route = Route(
        upstream="legacy",
        request_set=((b"X-From", b"edge"), (b"X-New", b"1")),
        request_remove=frozenset([b"cookie"]),
        request_id=b"X-Request-Id",
    )
    head = req(b"Host: a\r\nx-from: client\r\nCookie: a\r\nCOOKIE: b\r\nX-REQUEST-ID: forged\r\nX: y\r\n")
    assert request_head(head, route, b"", 0, request_id=b"17") == (
        b"GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\nX-From: edge\r\nX-New: 1\r\nX-Request-Id: 17\r\n"
        b"Via: 1.1 shieldproxy\r\n\r\n"
    )
    assert b"forged" in request_head(head, ROUTE, b"", 0)


@pytest.mark.parametrize(
    ("client", "xff", "element"),
    [
        ("192.0.2.1", b"192.0.2.1", b"for=192.0.2.1"),
        ("2001:db8::1", b"2001:db8::1", b'for="[2001:db8::1]"'),
        ("::ffff:192.0.2.1", b"192.0.2.1", b"for=192.0.2.1"),
        ("", b"unknown", b"for=unknown"),
        ("unknown", b"unknown", b"for=unknown"),
    ],
)
def test_forwarded_block_of_strangers(client: str, xff: bytes, element: bytes) -> None:
    head = req(
        b"Host: A.example:8080\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
        b"X-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
    )
    assert forwarded_block(client, "http", head, False) == (
        b"X-Forwarded-For: " + xff + b"\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example:8080\r\n"
        b"Forwarded: " + element + b';proto=http;host="a.example:8080"\r\n'
    )


def test_forwarded_block_of_the_trusted() -> None:
    head = req(
        b"Host: a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n"
        b"X-Forwarded-Proto: https\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=192.0.2.1\r\n"
        b"X-Forwarded-Port: 443\r\n"
    )
    assert forwarded_block("10.0.0.1", "http", head, True) == (
        b"X-Forwarded-For: 192.0.2.1, 192.0.2.2, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n"
        b"Forwarded: for=192.0.2.1, for=10.0.0.1;proto=http;host=a\r\nX-Forwarded-Port: 443\r\n"
        b"X-Forwarded-Host: a\r\n"
    )
    alone = req(b"Host: a\r\n")
    assert forwarded_block("10.0.0.1", "http", alone, True) == forwarded_block(
        "10.0.0.1", "http", alone, False
    )
    assert b"Host" not in forwarded_block("10.0.0.1", "http", req(b"", b"GET / HTTP/1.0"), False)


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.9", b"X-Forwarded-For: 192.0.2.1\r\n", "203.0.113.9"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("::ffff:10.0.0.1", b"X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("10.0.0.1", b"X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", "192.0.2.1"),
        ("10.0.0.1", b"X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2\r\n", "192.0.2.1"),
        ("10.0.0.1", b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("10.0.0.1", b"X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3"),
        ("10.0.0.1", b"X-Forwarded-For: 192.0.2.1, nonsense, 10.0.0.2\r\n", "10.0.0.2"),
        ("10.0.0.1", b"X-Forwarded-For: nonsense\r\n", "10.0.0.1"),
        ("10.0.0.1", b"X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1"),
        ("10.0.0.1", b"X-Forwarded-For: [2001:db8::1]:4711\r\n", "2001:db8::1"),
        ("10.0.0.1", b'Forwarded: for=6.6.6.6, proto=http;For="[2001:db8::1]:47";by=x\r\n', "2001:db8::1"),
        ("10.0.0.1", b'Forwarded: for=192.0.2.1;host="a,b"\r\n', "192.0.2.1"),
        ("10.0.0.1", b"Forwarded: for=_hidden\r\n", "10.0.0.1"),
        ("10.0.0.1", b"Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("10.0.0.1", b"X_Forwarded_For: 6.6.6.6\r\n", "10.0.0.1"),
        ("10.0.0.1", b"X-Forwarded-For: " + b"10.0.0.2," * 500 + b"10.0.0.2\r\n", "10.0.0.2"),
    ],
)
def test_client_of(peer: str, lines: bytes, client: str) -> None:
    def trusted(address: str) -> bool:
        return address.startswith("10.")

    assert client_of(peer, req(b"Host: a\r\n" + lines), trusted) == client


def test_plain_address() -> None:
    for text in ("", "unknown", "a.example", "1.2.3", "1.2.3.4.5", "[::1", "x" * 100, "1.2.3.4%0d"):
        assert plain_address(text) in {"", "::1"}
    assert plain_address(" 1.2.3.4 ") == "1.2.3.4"


@pytest.mark.parametrize(
    ("resp", "framing", "field"),
    [
        (res(b"Content-Length: 5\r\n"), 5, b"Content-Length: 5\r\n"),
        (res(b"Content-Length: 0\r\n"), 0, b"Content-Length: 0\r\n"),
        (res(b"Transfer-Encoding: chunked\r\n"), CHUNKED, b"Transfer-Encoding: chunked\r\n"),
        (res(b"Transfer-Encoding: chunked\r\n"), UNTIL_CLOSE, b""),
        (res(b"Transfer-Encoding: chunked\r\n"), 7, b"Content-Length: 7\r\n"),
        (res(b""), CHUNKED, b"Transfer-Encoding: chunked\r\n"),
        (res(b""), UNTIL_CLOSE, b""),
        (res(b"Content-Length: 5\r\n", method=b"HEAD"), 0, b"Content-Length: 5\r\n"),
        (res(b"", method=b"HEAD"), 0, b""),
        (res(b"Content-Length: 5\r\n", b"HTTP/1.1 304 Not Modified"), 0, b"Content-Length: 5\r\n"),
        (res(b"", b"HTTP/1.1 304 Not Modified"), 0, b""),
        (res(b"Content-Length: 5\r\n", b"HTTP/1.1 204 No Content"), 0, b""),
    ],
)
def test_response_framing(resp: ResponseHead, framing: int, field: bytes) -> None:
    line = b"HTTP/1.1 %d %b\r\n" % (resp.status, resp.phrase)
    assert (
        to_client(resp, framing)
        == line + b"Via: 1.1 shieldproxy\r\n" + field + b"Date: " + DATE + b"\r\n\r\n"
    )


def test_response_head() -> None:
    resp = res(
        b"Set-Cookie: a\r\nDate: then\r\nSet-Cookie: b\r\nContent-Length: 5\r\n", b"HTTP/1.0 404 Not \xe4"
    )
    assert to_client(resp, 5, connection=b"close") == (
        b"HTTP/1.1 404 Not \xe4\r\nSet-Cookie: a\r\nDate: then\r\nSet-Cookie: b\r\nVia: 1.0 shieldproxy\r\n"
        b"Content-Length: 5\r\nConnection: close\r\n\r\n"
    )
    old = response_head(resp, ROUTE, minor10=True, framing=5, connection=b"keep-alive", date=b"")
    assert old.startswith(b"HTTP/1.0 404 ")
    assert b"\r\nConnection: keep-alive\r\n" in old


def test_response_edits() -> None:
    route = Route(
        upstream="legacy",
        response_set=((b"Server", b"edge"),),
        response_remove=frozenset([b"x-powered-by"]),
        request_id=b"X-Request-Id",
    )
    resp = res(b"server: old\r\nX-Powered-By: x\r\nDate: then\r\nContent-Length: 5\r\n")
    written = response_head(
        resp, route, minor10=False, framing=5, connection=b"", date=DATE, request_id=b"17"
    )
    assert written == (
        b"HTTP/1.1 200 OK\r\nDate: then\r\nServer: edge\r\nX-Request-Id: 17\r\nVia: 1.1 shieldproxy\r\n"
        b"Content-Length: 5\r\n\r\n"
    )


def test_interim_head() -> None:
    assert interim_head(res(b"Link: x\r\nContent-Length: 5\r\n", b"HTTP/1.1 103 Early Hints")) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nVia: 1.1 shieldproxy\r\n\r\n"
    )
    assert interim_head(res(b"", b"HTTP/1.1 100 Continue")) == (
        b"HTTP/1.1 100 Continue\r\nVia: 1.1 shieldproxy\r\n\r\n"
    )


def parsed(data: bytes, method: bytes = b"GET") -> tuple[h11.Response, bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return response, body


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (400, "bare-lf", b"http_request_error"),
        (403, "denied", b"http_request_denied"),
        (404, "no-route", b"destination_not_found"),
        (502, "status-line", b"http_protocol_error"),
        (502, "connect-refused", b"connection_refused"),
        (503, "connect-shortage", b"proxy_internal_error"),
        (503, "queue-timeout", b"connection_limit_reached"),
        (504, "connect-timeout", b"connection_timeout"),
        (504, "response-timeout", b"http_response_timeout"),
        (508, "loop", b"proxy_loop_detected"),
        (599, "odd", b"http_request_error"),
    ],
)
def test_own_response(status: int, reason: str, error: bytes) -> None:
    response, body = parsed(own_response(status, reason, 'a "b" \\ ä', connection=b"close", date=DATE))
    fields = dict(response.headers)
    assert response.status_code == status
    assert fields[b"proxy-status"] == (
        b"shieldproxy; error=" + error + b'; details="' + reason.encode() + b': a \\"b\\" \\\\ ?"'
    )
    assert fields[b"connection"] == b"close"
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"date"] == DATE
    assert body.startswith(b"%d " % status)
    assert reason.encode() in body


def test_own_response_options() -> None:
    response, body = parsed(
        own_response(503, "full", "", connection=b"", date=DATE, retry_after=5, head_only=True), b"HEAD"
    )
    fields = dict(response.headers)
    assert (fields[b"retry-after"], body) == (b"5", b"")
    assert int(fields[b"content-length"]) > 0
    assert b"connection" not in fields
    assert own_response(400, "x", "", connection=b"", date=DATE, minor10=True).startswith(b"HTTP/1.0 400 ")
    assert b"\r\nAllow: GET, HEAD" in own_response(405, "method", "", connection=b"", date=DATE)
    response, body = parsed(own_options(connection=b"close", date=DATE), b"OPTIONS")
    assert (response.status_code, body) == (200, b"")
    assert b"OPTIONS" in dict(response.headers)[b"allow"]


def test_details_cannot_split_a_head() -> None:
    data = own_response(400, "x", "a\r\nSet-Cookie: b\r\n\r\n", connection=b"", date=DATE, head_only=True)
    assert b"\r\nSet-Cookie" not in data
    assert data.count(b"\r\n\r\n") == 1
