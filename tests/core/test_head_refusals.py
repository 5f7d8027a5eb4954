"""Request heads that are refused: each fault with its status and reason, oddities and limits by policy."""

from dataclasses import replace

import pytest

from shieldproxy.core.head import BARE_LF, FOLDS, Fault, judge_request, too_long
from shieldproxy.core.limits import Limits
from shieldproxy.core.policy import Policy
from tests.core.heads import get, good, read

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
    (b"Transfer-Encoding: gzip", "coding-bad"),
    (b"Transfer-Encoding: identity", "coding-bad"),
    (b"Transfer-Encoding: xchunked", "coding-bad"),
    (b"Transfer-Encoding: gzip, chunked;q=1", "coding-bad"),
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
    "value", [b"gzip, chunked", b"identity, chunked", b"gzip, cow, chunked", b"gzip;q=1, chunked"]
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
        (b"GET /a HTTP/1.1\r\nHost\r\n : a\r\n\r\n", "field-name"),
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
