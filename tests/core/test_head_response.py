"""Response heads: what is passed on, what is put right, and what becomes a 502."""

import pytest

from shieldproxy.core.head import CHUNKED, UNTIL_CLOSE, Fault, ResponseHead, end_of_head, read_response

OK = b"HTTP/1.1 200 OK\r\n"


def read(data: bytes, method: bytes = b"GET") -> ResponseHead | Fault:
    end = end_of_head(data, 0)
    assert end == len(data)
    return read_response(data, end, method)


def good(data: bytes, method: bytes = b"GET") -> ResponseHead:
    head = read(data, method)
    assert isinstance(head, ResponseHead), head
    return head


@pytest.mark.parametrize(
    "line",
    [
        *(b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/1.10 200 OK", b"http/1.1 200 OK", b"HTTP/1.1200 OK"),
        *(
            b"HTTP/1.1  200 OK",
            b" HTTP/1.1 200 OK",
            b"HTTP/1.1\t200 OK",
            b"HTTP 200 OK",
            b"ICY 200 OK",
            b"200 OK",
        ),
        *(
            b"HTTP/1.1",
            b"HTTP/1.1 ",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1 0200 OK",
            b"HTTP/1.1 -20 OK",
        ),
        *(
            b"HTTP/1.1 099 OK",
            b"HTTP/1.1 600 OK",
            b"HTTP/1.1 2x0 OK",
            b"HTTP/1.1 200OK",
            b"HTTP/1.1 \xb200 OK",
        ),
        *(
            b"HTTP/1.1 200 O\x00K",
            b"HTTP/1.1 200 O\rK",
            b"HTTP/1.1 200 OK\r",
            b"HTTP/1.1 200 O\x01K",
            b"<html>",
        ),
    ],
)
def test_bad_status_lines(line: bytes) -> None:
    fault = read(line + b"\r\nContent-Length: 0\r\n\r\n")
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (502, "status-line")


@pytest.mark.parametrize(
    ("line", "minor", "status", "phrase"),
    [
        (b"HTTP/1.1 200 OK", 1, 200, b"OK"),
        (b"HTTP/1.1 200 ", 1, 200, b""),
        (b"HTTP/1.1 200", 1, 200, b""),
        (b"HTTP/1.0 404 Not \xe4 Found", 0, 404, b"Not \xe4 Found"),
        (b"HTTP/1.1 599 \t", 1, 599, b"\t"),
        (b"HTTP/1.2 200 OK", 1, 200, b"OK"),
    ],
)
def test_status_lines(line: bytes, minor: int, status: int, phrase: bytes) -> None:
    for end in (b"\r\n", b"\n"):
        head = good(line + end + b"Content-Length: 0" + end + end)
        assert (head.minor, head.status, head.phrase) == (minor, status, phrase)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", "length-and-coding"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", "length-and-coding"),
        (b"Content-Length : 5\r\nTransfer-Encoding : chunked", "length-and-coding"),
        (b"Content-Length: 5\r\nContent-Length: 6", "length-many"),
        (b"Content-Length: 5, 6", "length-many"),
        (b"Content-Length: 5\r\ncontent-length: 05", "length-many"),
        (b"Content-Length: +5", "length-bad"),
        (b"Content-Length: -1", "length-bad"),
        (b"Content-Length: 0x5", "length-bad"),
        (b"Content-Length: 5 5", "length-bad"),
        (b"Content-Length: 1234567890123456789", "length-bad"),
        (b"Content-Length:", "length-bad"),
        (b"Transfer-Encoding: gzip", "coding-unknown"),
        (b"Transfer-Encoding: gzip, chunked", "coding-unknown"),
        (b"Transfer-Encoding: chunked, chunked", "coding-unknown"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "coding-unknown"),
        (b"Transfer-Encoding: chunked, identity", "coding-unknown"),
        (b"Transfer-Encoding: identity", "coding-unknown"),
        (b"Transfer-Encoding:", "coding-unknown"),
        (b"Transfer-Encoding: xchunked", "coding-unknown"),
        (b"X: a\x00b", "field-value"),
        (b"X: a\x01b", "field-value"),
        (b"X: a\x7fb", "field-value"),
        (b"X: a\rSet-Cookie: b", "bare-cr"),
        (b"X: a\r", "bare-cr"),
        (b"X", "field-name"),
        (b"X\r\n : y", "field-name"),
        (b"X\r\n y", "field-name"),
        (b"Transfer-Encoding\r\n\t: chunked", "field-name"),
        (b"X\r\r\n : y", "bare-cr"),
        (b": y", "field-name"),
        (b"X Y: z", "field-name"),
        (b"X\x00: z", "field-name"),
    ],
)
def test_faults(lines: bytes, reason: str) -> None:
    for method in (b"GET", b"HEAD"):
        fault = read(OK + lines + b"\r\n\r\n", method)
        assert isinstance(fault, Fault)
        assert (fault.status, fault.reason) == (502, reason)


def test_white_space_before_the_first_field() -> None:
    fault = read(OK + b" X: y\r\n\r\n")
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (502, "obs-fold")


def test_coding_in_http_10() -> None:
    fault = read(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (502, "coding-version")


@pytest.mark.parametrize(
    ("line", "lines", "method", "length", "announced"),
    [
        (OK, b"", b"GET", UNTIL_CLOSE, None),
        (OK, b"Content-Length: 5\r\n", b"GET", 5, 5),
        (OK, b"Content-Length: 0\r\n", b"GET", 0, 0),
        (OK, b"Content-Length: 5\r\ncontent-length: 5\r\n", b"GET", 5, 5),
        (OK, b"Content-Length: 5 ,5\r\n", b"GET", 5, 5),
        (OK, b"Transfer-Encoding: Chunked\r\n", b"GET", CHUNKED, None),
        (OK, b"Content-Length: 5\r\n", b"HEAD", 0, 5),
        (OK, b"Transfer-Encoding: chunked\r\n", b"HEAD", 0, None),
        (OK, b"", b"HEAD", 0, None),
        (b"HTTP/1.1 304 Not Modified\r\n", b"Content-Length: 5\r\n", b"GET", 0, 5),
        (b"HTTP/1.1 304 Not Modified\r\n", b"", b"GET", 0, None),
        (b"HTTP/1.1 204 No Content\r\n", b"Content-Length: 5\r\n", b"GET", 0, None),
        (b"HTTP/1.1 204 No Content\r\n", b"Transfer-Encoding: chunked\r\n", b"GET", 0, None),
        (b"HTTP/1.1 100 Continue\r\n", b"Content-Length: 5\r\n", b"GET", 0, None),
        (b"HTTP/1.1 103 Early Hints\r\n", b"Link: x\r\n", b"GET", 0, None),
    ],
)
def test_lengths(line: bytes, lines: bytes, method: bytes, length: int, announced: int | None) -> None:
    head = good(line + lines + b"\r\n", method)
    assert (head.length, head.content_length) == (length, announced)
    assert not [
        line for line in head.lines if line.lower().startswith((b"content-length", b"transfer-encoding"))
    ]


@pytest.mark.parametrize(
    ("data", "persistent"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", False),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_persistence(data: bytes, persistent: bool) -> None:
    assert good(data).persistent is persistent


def test_fields() -> None:
    head = good(
        OK
        + b"Set-Cookie: a=1\r\nConnection: X-Hop, Content-Type, set-cookie\r\nSet-Cookie: b=2\r\nx-hop: 1\r\n"
        b"Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nContent-Type: a/b\r\n"
        b"date: now\r\n\r\n"
    )
    assert head.lines == [b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"Content-Type: a/b", b"date: now"]
    assert head.date
    assert not good(OK + b"\r\n").date


def test_harmless_oddities_are_put_right() -> None:
    head = good(b"HTTP/1.0 200 OK\nX : y\n  z\nSet-Cookie\t: a\nContent-Length : 5\n\n")
    assert head.lines == [b"X: y z", b"Set-Cookie: a"]
    assert head.length == 5


def test_a_head_of_mixed_line_ends_stops_at_its_first_blank_line() -> None:
    data = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\n\nbody\r\n\r\nmore"
    head = read_response(data, end_of_head(data, 0), b"GET")
    assert isinstance(head, ResponseHead)
    assert data[head.size :] == b"body\r\n\r\nmore"
    assert head.lines == [b"Content-Type: text/plain"]
    assert good(OK + b"\r\n").size == len(OK) + 2
