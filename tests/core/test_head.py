"""Request heads: each refusal with its status and reason, and what a head that passes comes to."""

from dataclasses import replace

import pytest

from shieldproxy.core.fields import KnownLines
from shieldproxy.core.head import (
    BARE_LF,
    CHUNKED,
    FOLDS,
    Fault,
    RequestHead,
    end_of_head,
    judge_request,
    read_request,
    skip_blank,
    too_long,
)
from shieldproxy.core.limits import Limits
from shieldproxy.core.policy import Policy

HOST = b"Host: a.example\r\n"


def read(data: bytes) -> RequestHead | Fault:
    """Read a head that is whole."""
    end = end_of_head(data, 0)
    assert end == len(data)
    return read_request(data, end)


def good(data: bytes) -> RequestHead:
    head = read(data)
    assert isinstance(head, RequestHead), head
    return head


def get(lines: bytes, line: bytes = b"GET /a HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + lines + b"\r\n"


LINES = [
    (b"GET  /a HTTP/1.1", "request-line"),
    (b"GET /a  HTTP/1.1", "request-line"),
    (b"GET /a HTTP/1.1 ", "request-line"),
    (b" GET /a HTTP/1.1", "request-line"),
    (b"\tGET /a HTTP/1.1", "request-line"),
    (b"GET\t/a HTTP/1.1", "request-line"),
    (b"GET /a b HTTP/1.1", "request-line"),
    (b"GET", "request-line"),
    (b"G@T /a HTTP/1.1", "request-line"),
    (b"G\x00T /a HTTP/1.1", "request-line"),
    (b"GET: /a HTTP/1.1", "request-line"),
    (b"GET HTTP/1.1", "request-line"),
    (b"GET /a", "version"),
    (b"GET /a HTTP/0.9", "version"),
    (b"GET /a HTTP/2.0", "version"),
    (b"GET /a HTTP/2.7", "version"),
    (b"PRI * HTTP/2.0", "version"),
    (b"GET /a HTTP/1.10", "version"),
    (b"GET /a HTTP/1.", "version"),
    (b"GET /a HTTP/11", "version"),
    (b"GET /a HTTP/1.1x", "version"),
    (b"GET /a http/1.1", "version"),
    (b"GET /a HTTP/1.\xd9\xa1", "version"),
    (b"GET /a\rb HTTP/1.1", "bare-cr"),
    (b"GET /a HTTP/1.1\r", "bare-cr"),
    (b"GET /a#b HTTP/1.1", "target"),
    (b"GET /a?b#c HTTP/1.1", "target"),
    (b"GET /\xe4 HTTP/1.1", "target"),
    (b"GET /a?\xe4 HTTP/1.1", "target"),
    (b"GET /\x00 HTTP/1.1", "target"),
    (b"GET /\x7f HTTP/1.1", "target"),
    (b"GET /a\tb HTTP/1.1", "target"),
    (b"GET a HTTP/1.1", "target"),
    (b"GET ?a HTTP/1.1", "target"),
    (b"GET * HTTP/1.1", "target"),
    (b"OPTIONS *a HTTP/1.1", "target"),
    (b"GET a.example:80 HTTP/1.1", "target"),
    (b"GET ftp://a.example/ HTTP/1.1", "target"),
    (b"GET file:///etc/passwd HTTP/1.1", "target"),
    (b"GET http:/a HTTP/1.1", "target"),
    (b"GET http://a/#b HTTP/1.1", "target"),
    (b"GET http:///a HTTP/1.1", "host-bad"),
    (b"GET http://?a HTTP/1.1", "host-bad"),
    (b"GET http://u@a.example/ HTTP/1.1", "host-bad"),
    (b"GET http://u:p@a.example/ HTTP/1.1", "host-bad"),
    (b"GET http://a:b/ HTTP/1.1", "host-bad"),
    (b"GET http://a\\b/ HTTP/1.1", "host-bad"),
]


@pytest.mark.parametrize(("line", "reason"), LINES, ids=repr)
def test_bad_request_lines(line: bytes, reason: str) -> None:
    fault = read(get(b"", line))
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (400, reason)


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
@pytest.mark.parametrize("target", [b"/a", b"a.example:443", b"*", b"http://a.example/"])
def test_connect_and_trace_are_refused(method: bytes, target: bytes) -> None:
    fault = read(get(b"", method + b" " + target + b" HTTP/1.1"))
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (405, "method")


def test_https_target_is_misdirected() -> None:
    fault = read(get(b"", b"GET https://a.example/ HTTP/1.1"))
    assert isinstance(fault, Fault)
    assert fault.status == 421  # RFC 9110 section 7.4


FIELDS = [
    (b"X : y", "space-before-colon"),
    (b"X\t: y", "space-before-colon"),
    (b"Content-Length : 5", "space-before-colon"),
    (b"X", "field-name"),
    (b": y", "field-name"),
    (b"X Y: z", "field-name"),
    (b"X\x00: y", "field-name"),
    (b"X\xa0: y", "field-name"),
    (b'"X": y', "field-name"),
    (b"X(: y", "field-name"),
    (b"Content_Length: 5", "field-name"),
    (b"transfer_encoding: chunked", "field-name"),
    (b"Transfer_Encoding: chunked", "field-name"),
    (b"X: a\x00b", "field-value"),
    (b"X: a\x01b", "field-value"),
    (b"X: a\x1fb", "field-value"),
    (b"X: a\x7fb", "field-value"),
    (b"X: a\x0bb", "field-value"),
    (b"X: a\rb", "bare-cr"),
    (b"X: a\r", "bare-cr"),
    (b"X\r: a", "bare-cr"),
    (b"X: a\r\r", "bare-cr"),
    (b"Host: b.example", "host-many"),
    (b"HOST: a.example", "host-many"),
    (b"Content-Length: +5", "length-bad"),
    (b"Content-Length: -5", "length-bad"),
    (b"Content-Length: 5 5", "length-bad"),
    (b"Content-Length: 0x5", "length-bad"),
    (b"Content-Length:", "length-bad"),
    (b"Content-Length: 5.0", "length-bad"),
    (b"Content-Length: 5_0", "length-bad"),
    (b"Content-Length: \xb2", "length-bad"),
    (b"Content-Length: 1234567890123456789", "length-bad"),
    (b"Content-Length: 5, 5", "length-many"),
    (b"Content-Length: 5, 6", "length-many"),
    (b"Content-Length: ,", "length-many"),
    (b"Content-Length: 5\r\nContent-Length: 5", "length-many"),
    (b"Content-Length: 5\r\ncontent-length: 6", "length-many"),
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked", "length-and-coding"),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5", "length-and-coding"),
    (b"Transfer-Encoding: gzip\r\nContent-Length: 5", "length-and-coding"),
    (b"Transfer-Encoding: chunked\r\nContent-Length: x", "length-and-coding"),
    (b"Transfer-Encoding: chunked, chunked", "coding-bad"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "coding-bad"),
    (b"Transfer-Encoding: chunked, gzip", "coding-bad"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "coding-bad"),
    (b"Transfer-Encoding: chunked;q=1", "coding-bad"),
    (b"Transfer-Encoding: chunked;", "coding-bad"),
    (b"Transfer-Encoding: chunked chunked", "coding-bad"),
    (b'Transfer-Encoding: "chunked"', "coding-bad"),
    (b"Transfer-Encoding: chunked,", "coding-bad"),
    (b"Transfer-Encoding: \xa0chunked", "coding-bad"),
    (b"Transfer-Encoding:", "coding-bad"),
]


@pytest.mark.parametrize(("lines", "reason"), FIELDS, ids=repr)
def test_bad_fields(lines: bytes, reason: str) -> None:
    fault = read(get(lines + b"\r\n", b"POST /a HTTP/1.1"))
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (400, reason)


@pytest.mark.parametrize(
    "value", [b"gzip", b"gzip, chunked", b"identity", b"xchunked", b"cow, chunked", b"gzip;q=1, chunked"]
)
def test_unknown_codings_are_not_implemented(value: bytes) -> None:
    fault = read(get(b"Transfer-Encoding: " + value + b"\r\n", b"POST /a HTTP/1.1"))
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (501, "coding-unknown")


def test_coding_in_http_10() -> None:
    fault = read(get(b"Transfer-Encoding: chunked\r\n", b"POST /a HTTP/1.0"))
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (400, "coding-version")


BAD_HOSTS = [
    *(
        b"a b",
        b"a,b",
        b"a, a",
        b"a/b",
        b"u@a",
        b"a:b",
        b"a:80:80",
        b"a:-1",
        b"a:+80",
        b"a:65536",
        b"a:123456",
    ),
    *(b"[::1", b"::1]", b"::1", b"[a b]", b"[::1]x", b"[1.2.3.4]", b"[::1%25eth0]", b"[:::1]", b"[]"),
    *(b"a?b", b"a#b", b"http://a/", b"<b>", b'a"b', b"a\\b", b"a\tb", b"a^b", b"a|b", b"{a}", b"", b":80"),
    *(b"\xc3\xa4", b"a%2", b"a%zz", b"a" * 300),
]


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_bad_hosts(host: bytes, version: bytes) -> None:
    fault = read(b"GET /a HTTP/" + version + b"\r\nHost: " + host + b"\r\n\r\n")
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (400, "host-bad")


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


ODD = [
    (b"GET /a HTTP/1.1\nHost: a\n\n", BARE_LF, [b"Host: a"]),
    (b"GET /a HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", BARE_LF, [b"Host: a", b"X: y"]),
    (b"GET /a HTTP/1.1\nHost: a\n\r\n", BARE_LF, [b"Host: a"]),
    (b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", FOLDS, [b"Host: a", b"X: y z"]),
    (b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\t \tz \r\n\tw\r\n\r\n", FOLDS, [b"Host: a", b"X: y z w"]),
    (b"GET /a HTTP/1.1\nHost:\n a\n\n", BARE_LF | FOLDS, [b"Host: a"]),
    (b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n \r\n\r\n", FOLDS, [b"Host: a", b"X: y "]),
]


@pytest.mark.parametrize(("data", "oddities", "lines"), ODD)
def test_oddities_are_normalised_and_the_policy_decides(
    data: bytes, oddities: int, lines: list[bytes]
) -> None:
    head = good(data)
    assert (head.oddities, head.lines) == (oddities, lines)
    for lf in (False, True):
        for folds in (False, True):
            fault = judge_request(head, replace(Policy(), accept_bare_lf=lf, accept_folds=folds))
            accepted = (lf or not oddities & BARE_LF) and (folds or not oddities & FOLDS)
            assert (fault is None) is accepted
            assert fault is None or fault.reason in {"bare-lf", "obs-fold"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET /a HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", "obs-fold"),
        (b"GET /a HTTP/1.1\r\n \r\nHost: a\r\n\r\n", "obs-fold"),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\n\n", "bare-lf"),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\n\r\n", "bare-lf"),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\n\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", "bare-lf"),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n 0\r\n\r\n", "length-bad"),
        (b"GET /a HTTP/1.1\nHost: a\nX: a\x00b\n\n", "field-value"),
        (b"GET /a HTTP/1.1\nHost: a\nX: a\r\r\n\n", "bare-cr"),
        (b"GET /a HTTP/1.1\n\rHost: a\r\n\r\n", "bare-cr"),
        (b"\r\n\r\n", "request-line"),
    ],
)
def test_what_no_policy_accepts(data: bytes, reason: str) -> None:
    fault = read(data)
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (400, reason)


def test_limits() -> None:
    policy = replace(Policy(), limits=replace(Limits(), head=200, fields=3, user_agent=10, body=100))

    def judged(data: bytes) -> tuple[int, str] | None:
        fault = judge_request(good(data), policy)
        return fault and fault[:2]

    assert judged(get(b"")) is None
    assert judged(get(b"A: b\r\nA: c\r\n")) is None
    assert judged(get(b"A: b\r\nA: c\r\nConnection: close\r\n")) == (431, "too-many-fields")
    assert judged(get(b"User-Agent: 0123456789\r\n")) is None
    assert judged(get(b"User-Agent: 01234567890\r\n")) == (431, "user-agent-long")
    assert judged(get(b"X: " + b"x" * 200 + b"\r\n")) == (431, "head-long")
    assert judged(get(b"", b"GET /" + b"x" * 200 + b" HTTP/1.1")) == (414, "target-long")
    assert judged(get(b"Content-Length: 100\r\n")) is None
    assert judged(get(b"Content-Length: 101\r\n")) == (413, "body-long")
    assert judged(get(b"Transfer-Encoding: chunked\r\n")) is None
    assert too_long(b"GET /aaaaaaaaaa")[:2] == (414, "target-long")
    assert too_long(b"GET /a HTTP/1.1\r\nX: aaaaaaaa")[:2] == (431, "head-long")


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
