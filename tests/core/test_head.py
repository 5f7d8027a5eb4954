"""Request heads that pass: what is known of them, what is forwarded, and where they end."""

import pytest

from shieldproxy.core.fields import KnownLines
from shieldproxy.core.head import CHUNKED, Fault, end_of_head, skip_blank
from tests.core.heads import HOST, get, good, read


@pytest.mark.parametrize(
    ("given", "host"),
    [
        (b"a.example", b"a.example"),
        (b"A.Example:8080", b"a.example:8080"),
        (b"a.example.", b"a.example."),
        (b"a_b", b"a_b"),
        (b"a:", b"a"),
        (b"127.0.0.1:80", b"127.0.0.1:80"),
        (b"[2001:DB8::1]:8080", b"[2001:db8::1]:8080"),
        (b"[::ffff:1.2.3.4]", b"[::ffff:1.2.3.4]"),
        (b"[v1.a:b]", b"[v1.a:b]"),
        (b"a%20b", b"a%20b"),
        (b"\t a \t", b"a"),
    ],
)
def test_good_hosts(given: bytes, host: bytes) -> None:
    head = good(b"GET /a HTTP/1.1\r\nHost:" + given + b"\r\n\r\n")
    assert head.host == host
    assert head.lines == [b"Host:" + given]


def test_host_may_be_missing_in_http_10_only() -> None:
    fault = read(b"GET /a HTTP/1.1\r\nX: y\r\n\r\n")
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (400, "host-missing")
    assert good(b"GET /a HTTP/1.0\r\n\r\n").host == b""


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_host_that_came_before_is_not_good_for_a_second_one(version: bytes) -> None:
    for _ in range(2):
        fault = read(b"GET /a HTTP/" + version + b"\r\n" + HOST + HOST + b"\r\n")
        assert isinstance(fault, Fault)
        assert (fault.status, fault.reason) == (400, "host-many")


@pytest.mark.parametrize(
    ("line", "target", "path", "host"),
    [
        (b"GET http://B.example/x?y HTTP/1.1", b"/x?y", b"/x", b"b.example"),
        (b"GET HTTP://b.example:81 HTTP/1.1", b"/", b"/", b"b.example:81"),
        (b"GET http://b.example?y HTTP/1.1", b"/?y", b"/", b"b.example"),
        (b"GET http://[::1]/x HTTP/1.1", b"/x", b"/x", b"[::1]"),
        (b"OPTIONS http://b.example HTTP/1.1", b"*", b"*", b"b.example"),
        (b"OPTIONS http://b.example/ HTTP/1.1", b"/", b"/", b"b.example"),
        (b"OPTIONS * HTTP/1.1", b"*", b"*", b"a.example"),
        (b"GET /a?b?c/#".replace(b"#", b"") + b" HTTP/1.1", b"/a?b?c/", b"/a", b"a.example"),
        (b"GET //b.example/x HTTP/1.1", b"//b.example/x", b"//b.example/x", b"a.example"),
        (b"GET /%2e%2e/x HTTP/1.1", b"/%2e%2e/x", b"/%2e%2e/x", b"a.example"),
    ],
)
def test_targets(line: bytes, target: bytes, path: bytes, host: bytes) -> None:
    head = good(get(b"", line))
    assert (head.target, head.path, head.host) == (target, path, host)
    assert head.lines[0].lower() == b"host: " + host
    assert len(head.lines) == 1


def test_absolute_target_gives_http_10_a_host() -> None:
    head = good(b"GET http://b.example/x HTTP/1.0\r\nX: y\r\n\r\n")
    assert head.lines == [b"Host: b.example", b"X: y"]


def test_absolute_target_does_not_excuse_a_missing_or_bad_host() -> None:
    for lines, reason in ((b"", "host-missing"), (b"Host: a b\r\n", "host-bad"), (HOST + HOST, "host-many")):
        fault = read(b"GET http://b.example/ HTTP/1.1\r\n" + lines + b"\r\n")
        assert isinstance(fault, Fault)
        assert fault.reason == reason


@pytest.mark.parametrize(("version", "minor"), [(b"1.0", 0), (b"1.1", 1), (b"1.2", 1), (b"1.9", 1)])
def test_versions(version: bytes, minor: int) -> None:
    assert good(get(b"", b"GET /a HTTP/" + version)).minor == minor


@pytest.mark.parametrize(
    ("version", "lines", "persistent"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Close\r\n", False),
        (b"1.1", b"Connection: keep-alive, close\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\nConnection: x,close\r\n", False),
        (b"1.1", b"Connection: closed\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
        (b"1.0", b"Proxy-Connection: keep-alive\r\n", False),
    ],
)
def test_persistence(version: bytes, lines: bytes, persistent: bool) -> None:
    assert good(get(lines, b"GET /a HTTP/" + version)).persistent is persistent


def test_hop_by_hop_fields_go() -> None:
    head = good(
        get(
            b"Connection: upgrade, HTTP2-Settings, X-Mine, te\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAM\r\nTE: trailers, deflate\r\nX-Mine: 1\r\n"
            b"x-mine: 2\r\nX-Yours: 3\r\n"
            b"Expect: 100-continue\r\nProxy: http://evil\r\n"
        )
    )
    assert head.lines == [b"Host: a.example", b"X-Yours: 3"]
    assert (head.upgrade, head.trailers, head.count) == (True, True, 12)


@pytest.mark.parametrize(
    ("value", "takes"),
    [
        (b"trailers", True),
        (b"gzip;q=0.5,, Trailers ", True),
        (b"gzip\r\nTE: trailers", True),
        (b"gzip", False),
        (b"xtrailers", False),
        (b"", False),
    ],
)
def test_who_takes_trailers(value: bytes, takes: bool) -> None:
    assert good(get(b"TE: " + value + b"\r\n")).trailers is takes


@pytest.mark.parametrize(
    "name",
    [
        b"Host",
        b"Content-Length",
        b"Content-Type",
        b"Cache-Control",
        b"Via",
        b"Max-Forwards",
        b"Content-Encoding",
    ],
)
def test_connection_cannot_take_away_what_the_message_is(name: bytes) -> None:
    lines = b"Content-Length: 5\r\nContent-Type: a\r\nCache-Control: b\r\nVia: c\r\n"
    lines += b"Max-Forwards: 1\r\nContent-Encoding: d\r\n"
    plain = good(get(lines, b"POST /a HTTP/1.1"))
    head = good(get(b"Connection: " + name + b", " + name.lower() + b"\r\n" + lines, b"POST /a HTTP/1.1"))
    assert head.lines == plain.lines
    assert head.length == 5


def test_connection_naming_the_coding_changes_nothing() -> None:
    head = good(get(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", b"POST /a HTTP/1.1"))
    assert head.length == CHUNKED


def test_forwarding_fields_are_taken_out() -> None:
    head = good(
        get(
            b"X-Forwarded-For: 1.2.3.4\r\nx-forwarded-host: b\r\nForwarded: for=1.2.3.4\r\n"
            b"X_Forwarded_For: 5.6.7.8\r\n"
            b"X-Real-IP: 9.9.9.9\r\nX-Forwarded-Port: 1\r\nX-Forwarding: 2\r\n"
        )
    )
    assert head.lines == [b"Host: a.example", b"X-Forwarding: 2"]
    assert (b"x-forwarded-for", b"1.2.3.4") in head.forwarded
    assert (b"x-forwarded-host", b"b") in head.forwarded
    assert len(head.forwarded) == 6


def test_lengths() -> None:
    assert good(get(b"")).length == 0
    head = good(get(b"Content-Length: \t 0005 \r\n", b"POST /a HTTP/1.1"))
    assert head.length == 5
    assert head.lines == [b"Host: a.example", b"Content-Length: 5"]
    assert good(get(b"content-length:123456789012345678\r\n")).length == 123456789012345678
    for value in (b"chunked", b"Chunked", b"CHUNKED", b" \tchunked \t"):
        head = good(get(b"Transfer-Encoding:" + value + b"\r\n", b"POST /a HTTP/1.1"))
        assert head.length == CHUNKED
        assert head.lines == [b"Host: a.example"]


@pytest.mark.parametrize("lines", [b"Expect: tea\r\n", b"Expect: 100-continue, tea\r\n", b"Expect:\r\n",
                                   b"Expect: 100-continue\r\nExpect: tea\r\n"])  # fmt: skip
def test_unknown_expectations(lines: bytes) -> None:
    fault = read(get(lines))
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (417, "expect")
    assert not good(get(lines, b"GET /a HTTP/1.0")).expect


def test_expect() -> None:
    expect = b"Expect: 100-Continue\r\n"
    assert good(get(expect + b"Content-Length: 1\r\n")).expect
    assert good(get(expect + b"Transfer-Encoding: chunked\r\n")).expect
    assert good(get(b"Expect: ,100-continue,, 100-CONTINUE\r\nContent-Length: 1\r\n")).expect
    assert not good(get(expect)).expect
    assert not good(get(expect + b"Content-Length: 1\r\n", b"POST /a HTTP/1.0")).expect


def test_max_forwards() -> None:
    head = good(get(b"Max-Forwards: 3\r\n", b"OPTIONS /a HTTP/1.1"))
    assert head.max_forwards == 3
    assert head.lines == [b"Host: a.example", b"Max-Forwards: 2"]
    assert good(get(b"Max-Forwards: 0\r\n", b"OPTIONS * HTTP/1.1")).max_forwards == 0
    head = good(get(b"Max-Forwards: x\r\n"))
    assert head.max_forwards is None
    assert head.lines == [b"Host: a.example", b"Max-Forwards: x"]
    for lines in (b"Max-Forwards: x\r\n", b"Max-Forwards: -1\r\n", b"Max-Forwards: 1\r\nMax-Forwards: 1\r\n"):
        assert isinstance(read(get(lines, b"OPTIONS /a HTTP/1.1")), Fault)


def test_loops_end() -> None:
    via = b"Via: 1.1 shieldproxy\r\n"
    assert good(get(via * 7)).hops == 7
    for lines in (via * 8, b"Via: " + b", ".join([b"1.1 shieldproxy"] * 8) + b"\r\n"):
        fault = read(get(lines))
        assert isinstance(fault, Fault)
        assert (fault.status, fault.reason) == (508, "loop")


def test_user_agent() -> None:
    assert good(get(b"USER-AGENT:\t Mozilla/3.01 \xff \r\n")).user_agent == b"Mozilla/3.01 \xff"
    assert good(get(b"")).user_agent == b""
    assert good(get(b"User-Agent: a\r\nUser-Agent: b\r\n")).user_agent == b"a"


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"A\r\nB\r\n\r\n", 8),
        (b"A\r\nB\r\n\r\nC\r\n\r\n", 8),
        (b"A\nB\n\nC\r\n\r\n", 5),
        (b"A\nB\n\r\nC\n\n", 6),
        (b"A\nB\r\n\r\nC\n\n", 7),
        (b"A\r\nB\r\n", -1),
        (b"A\r\nB\r\n\r", -1),
        (b"", -1),
        (b"A", -1),
    ],
)
def test_end_of_head(data: bytes, end: int) -> None:
    assert end_of_head(data, 0) == end
    assert end_of_head(bytearray(data), 0) == end


@pytest.mark.parametrize(
    ("data", "skipped"),
    [
        (b"", 0),
        (b"GET", 0),
        (b"\r\nGET", 2),
        (b"\n\r\n\nGET", 4),
        (b"\r\n\r", 2),
        (b"\rGET", 0),
        (b" \r\n", 0),
    ],
)
def test_blank_lines_are_skipped(data: bytes, skipped: int) -> None:
    assert skip_blank(data) == skipped


def test_lines_that_came_before_are_remembered_within_bounds_and_secrets_never() -> None:
    known = KnownLines(len)
    field = known.learn(b"Abc: \t x ")
    assert field == (3, b"abc", b"x")
    assert known.get(b"Abc: \t x ") == field
    for line in (b"Cookie: a", b"cookie: a", b"COOKIE: a", b"Authorization: b", b"X: " + b"x" * 200):
        known.learn(line)
        assert known.get(line) is None
    for n in range(3 * known.ROOM):
        known.learn(b"X: %d" % n)
        assert len(known) <= known.ROOM
    assert known.learn(b"Abc: \t x ") == field
