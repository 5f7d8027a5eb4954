"""Fields and content that an intermediary leaves alone, by the section of RFC 9110."""

import pytest

from tests.e2e.conftest import Wire
from tests.kit.answers import chunked, reply
from tests.kit.client import request

Pairs = list[tuple[bytes, bytes]]


def pairs(lines: list[str]) -> Pairs:
    """Field lines as the kit reads them."""
    split = [line.split(": ", 1) for line in lines]
    return [(name.encode(), value.encode("latin-1")) for name, value in split]


def same(fields: Pairs, lines: list[str]) -> None:
    """These lines, their order, values and number, and no others of their names."""
    wanted = pairs(lines)
    names = {name.lower() for name, _ in wanted}
    assert [field for field in fields if field[0].lower() in names] == wanted


REQUEST = {
    "5.1 unknown": ["X-Unknown: 1", 'Sec-Odd: a;b="c"', "x: 2"],
    "7.7 endpoints": ["User-Agent: Lynx/2.8", "From: a@b.example", "Accept-Language: de, en;q=0.5"],
    "10.1.3": ["Referer: http://test.example/page?a=b"],
    "11.6.2": ['Authorization: Digest username="a", realm="b, c", response="d"'],
    "11.7.2": ["Proxy-Authorization: Basic YTpi"],
    "12.5": ["Accept: text/html;q=0.5, */*;q=0.001", "Accept-Encoding: x-gzip, , br"],
    "13.1": [
        'If-Match: "a", W/"b"',
        "If-None-Match: *",
        "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",
        "If-Unmodified-Since: Sun Nov  6 08:49:37 1994",
        'If-Range: "a"',
    ],
    "14.2": ["Range: bytes=0-0,-1, 99999999999999999999-", 'If-Range: "x"'],
    "14.2 unit": ["Range: lines=1-5"],
    "14.4": ["Content-Range: bytes 0-4/10", "Content-Type: text/plain", "Content-Encoding: x-gzip"],
    "5.6.1 list": ["Accept: a/b,, c/d ,", "Cache-Control: no-cache, no-transform"],
    "6.6.1": ["Date: yesterday"],
}
"""Section -> lines of a request."""


@pytest.mark.parametrize("section", list(REQUEST))
@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_request_fields_go_up_as_they_came(wire: Wire, section: str, method: str) -> None:
    """RFC 9110 5.1, 5.6.1.2, 7.7, 10.1.3, 11.6.2, 11.7.2, 12.5, 13.1, 13.2.1, 14.2, 14.4: not one byte else.

    Conditions are neither evaluated nor dropped, of whatever method: the server's answer is the answer.
    """
    body = b"hello" if method == "PUT" else b""
    client = wire.client()
    assert client.ask(request(method=method, fields=REQUEST[section], body=body)).status == 200
    same(wire.upstream.one().fields, REQUEST[section])


RESPONSE = {
    "5.1 unknown": (["X-Unknown: 1", 'Sec-Odd: a;b="c"', "x: 2"], "200 OK"),
    "5.3 order": (["Set-Cookie: a=1", "Link: <a>", "Set-Cookie: b=2", "Link: <b>"], "200 OK"),
    "6.6.1": (["Date: yesterday"], "200 OK"),
    "7.7 state": (
        [
            "Server: old/1.0 (a \\(b\\))",
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            'ETag: W/"a\\b"',
            "Content-Location: /b",
            "Content-Language: de",
            "Expires: 0",
            "Age: 7",
        ],
        "200 OK",
    ),
    "10.2.1": (["Allow: GET,  BREW,"], "405 Method Not Allowed"),
    "10.2.2": (["Location: //other.example/a#b"], "302 Found"),
    "11.6.1": (
        ['WWW-Authenticate: Basic realm="a, b"', 'WWW-Authenticate: Newauth x="1", Digest y=2'],
        "401 Unauthorized",
    ),
    "11.7.1": (['Proxy-Authenticate: Basic realm="a"'], "407 Proxy Authentication Required"),
    "12.5.5": (["Vary: Accept-Encoding", "Vary: Cookie"], "200 OK"),
    "12.5.5 star": (["Vary: *"], "200 OK"),
    "14.4": (["Content-Range: bytes 0-4/*"], "206 Partial Content"),
    "14.4 unit": (["Content-Range: lines 1-5/9"], "206 Partial Content"),
    "15.3.7.2": (["Content-Type: multipart/byteranges; boundary=X"], "206 Partial Content"),
    "15.5.17": (["Content-Range: bytes */47022"], "416 Range Not Satisfiable"),
    "15.5.13": (['ETag: "a"'], "412 Precondition Failed"),
    "15.6.4": (["Retry-After: 120"], "503 Service Unavailable"),
}
"""Section -> lines of a response, and its status."""


@pytest.mark.parametrize("section", list(RESPONSE))
def test_response_fields_come_down_as_they_came(wire: Wire, section: str) -> None:
    """RFC 9110 5.1, 5.3, 6.6.1, 7.7, 10.2.1, 11.6.1, 12.5.5, 14.4, 15.3.7: not one byte else."""
    lines, status = RESPONSE[section]
    wire.upstream.then(reply(status=status, fields="".join(f"{line}\r\n" for line in lines)))
    got = wire.client().ask(request())
    assert (f"{got.status} {got.phrase.decode()}", got.body) == (status, b"hello")
    same(got.fields, lines)


def test_a_304_and_its_validators_reach_the_client(wire: Wire) -> None:
    """RFC 9110 15.4.5, 8.6: to who asked conditionally, with the length of what was not sent."""
    lines = ['ETag: "a"', "Vary: Cookie", "Cache-Control: max-age=5", "Content-Location: /a", "Expires: 0"]
    fields = "".join(f"{line}\r\n" for line in [*lines, "Content-Length: 500"])
    wire.upstream.then(f"HTTP/1.1 304 Not Modified\r\n{fields}\r\n".encode())
    client = wire.client()
    got = client.ask(request(fields=['If-None-Match: "a"']))
    assert (got.status, got.get("content-length"), got.body) == (304, b"500", b"")
    same(got.fields, lines)
    assert client.ask(request("/again")).status == 200


CODED = bytes(range(256)) * 3


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_content_is_never_changed(wire: Wire, framing: str, method: str) -> None:
    """RFC 9110 7.7: with no-transform or without; codings, types and ranges stay what they were."""
    lines = ["Content-Encoding: gzip", "Content-Type: a/b; c=d", "Cache-Control: no-transform"]
    fields = "".join(f"{line}\r\n" for line in lines)
    wire.upstream.then(reply(CODED, fields=fields) if framing == "length" else chunked(CODED, fields=fields))
    got = wire.client().ask(request(method=method, fields=lines, body=CODED if method == "POST" else b""))
    seen = wire.upstream.one()
    assert got.body == CODED
    assert seen.body == (CODED if method == "POST" else b"")
    same(got.fields, lines)
    same(seen.fields, lines)


def test_the_fields_of_a_head_are_those_of_a_get(wire: Wire) -> None:
    """RFC 9110 9.3.2, 8.6: the length too, which is the server's to know."""
    wire.upstream.default = lambda turn: turn.send(
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\nX: y\r\nDate: now\r\n\r\n'
        + (b"" if turn.request.method == b"HEAD" else b"hello")
    )
    client = wire.client()
    head, get = client.ask(request(method="HEAD")), client.ask(request())
    assert head.fields == get.fields
    assert (head.body, get.body) == (b"", b"hello")


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_no_max_forwards_that_was_not_there(wire: Wire, method: str) -> None:
    """RFC 9110 9.3.7: not generated on the way."""
    assert wire.client().ask(request(method=method)).status == 200
    assert "max-forwards" not in wire.upstream.one()


def test_forwarded_requests_carry_nothing_that_only_clients_say(wire: Wire) -> None:
    """RFC 9110 2.2, 10.1.5: no User-Agent, Server or Accept of ours is put in."""
    got = wire.client().ask(request())
    names = set(wire.upstream.one().names())
    assert names == {"host", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"}
    assert set(got.names()) == {"content-length", "via", "date"}
