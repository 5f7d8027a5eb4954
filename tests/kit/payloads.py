"""Requests that servers are known to read in different ways, each with the answers that are allowed.

A row is ``Case(name, bytes, statuses)``. A refusal must leave the upstream without a whole request; a 200
(allowed only where the message has one possible reading, or one that the RFC names) must leave it with one
well-formed request. ``late`` marks faults behind a sound head: what was already streamed may have reached
the upstream, as a request that visibly breaks off.
"""

from typing import NamedTuple

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n"
HOST = b"Host: test.example\r\n"


class Case(NamedTuple):
    """One payload."""

    name: str
    data: bytes
    allowed: frozenset[int]
    late: bool = False


BAD = frozenset({400})
CODING = frozenset({400, 501})
VERSION = frozenset({400, 505})
LARGE = frozenset({400, 413})
LONG = frozenset({400, 414, 431})
ONCE = frozenset({200})
EITHER = frozenset({200, 400})


def post(fields: bytes, body: bytes = b"0\r\n\r\n" + SMUGGLED) -> bytes:
    """A POST with these field lines."""
    return b"POST /a HTTP/1.1\r\n" + HOST + fields + b"\r\n" + body


def _lengths() -> list[Case]:
    refused = {
        "plus": b"+5",
        "minus": b"-5",
        "minus zero": b"-0",
        "hex": b"0x5",
        "two words": b"5 5",
        "fraction": b"5.0",
        "exponent": b"5e0",
        "empty": b"",
        "parameter": b"5;a=b",
        "underscore": b"5_0",
        "leading underscore": b"_5",
        "quoted": b'"5"',
        "list of two": b"5, 6",
        "list of two, differing by zeros": b"5, 05x",
        "lone comma": b",",
        "trailing letter": b"5a",
        "fullwidth digit": "５".encode(),
        "arabic digit": "٥".encode(),
        "vertical tab before": b"\x0b5",
        "form feed after": b"5\x0c",
        "nbsp before": b"\xa05",
        "NUL after": b"5\x00",
        "bare CR after": b"5\r",
        "percent": b"%35",
        "infinity": b"inf",
        "nan": b"nan",
    }
    cases = [
        Case(f"length {name}", post(b"Content-Length: " + value + b"\r\n", b"hello" + SMUGGLED), BAD)
        for name, value in refused.items()
    ]
    return [
        *cases,
        Case("length huge", post(b"Content-Length: 99999999999999999999999\r\n", b"hello"), LARGE),
        Case("length 2^63", post(b"Content-Length: 9223372036854775808\r\n", b"hello"), LARGE),
        Case("length 2^64+5", post(b"Content-Length: 18446744073709551621\r\n", b"hello"), LARGE),
        Case("length leading zeros", post(b"Content-Length: 0005\r\n", b"hello"), EITHER),
        Case("length tab before", post(b"Content-Length:\t5\r\n", b"hello"), ONCE),
        Case("length no space", post(b"Content-Length:5\r\n", b"hello"), ONCE),
        Case("length upper case", post(b"CONTENT-LENGTH: 5\r\n", b"hello"), ONCE),
        Case("length blanks around", post(b"Content-Length:   5 \t \r\n", b"hello"), ONCE),
        Case("length listed twice", post(b"Content-Length: 5, 5\r\n", b"hello"), EITHER),
        Case("two equal lengths", post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), EITHER),
        Case("two lengths", post(b"Content-Length: 5\r\nContent-Length: 0\r\n", b"hello" + SMUGGLED), BAD),
        Case(
            "two lengths, 0 first",
            post(b"Content-Length: 0\r\nContent-Length: 5\r\n", b"hello" + SMUGGLED),
            BAD,
        ),
        Case("two lengths in two cases", post(b"Content-Length: 5\r\ncontent-length: 6\r\n", b"hello!"), BAD),
        Case(
            "three lengths",
            post(b"Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 6\r\n", b"hello"),
            BAD,
        ),
        Case("length blank before colon", post(b"Content-Length : 5\r\n", b"hello" + SMUGGLED), BAD),
        Case("length tab before colon", post(b"Content-Length\t: 5\r\n", b"hello" + SMUGGLED), BAD),
        Case("length folded", post(b"Content-Length:\r\n 5\r\n", b"hello" + SMUGGLED), BAD),
        Case("length folded to two", post(b"Content-Length: 5\r\n 0\r\n", b"hello" + SMUGGLED), BAD),
        Case("length after bare CR", post(b"X: y\rContent-Length: 5\r\n", b"hello" + SMUGGLED), BAD),
        Case("length after bare LF", post(b"X: y\nContent-Length: 5\r\n", b"hello" + SMUGGLED), BAD),
        Case("length with a leading blank", post(b" Content-Length: 5\r\n", b"hello" + SMUGGLED), BAD),
        Case("length after NUL", post(b"X: y\x00Content-Length: 5\r\n", b"hello" + SMUGGLED), BAD),
        Case("length on a GET", b"GET /a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", ONCE),
        Case(
            "length named by Connection",
            post(b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello"),
            EITHER,
        ),
    ]


def _codings() -> list[Case]:
    refused = {
        "twice in a list": b"chunked, chunked",
        "identity": b"identity",
        "identity first": b"identity, chunked",
        "gzip first": b"gzip, chunked",
        "gzip last": b"chunked, gzip",
        "gzip alone": b"gzip",
        "prefix": b"xchunked",
        "suffix": b"chunkedx",
        "parameter": b"chunked;q=1",
        "quoted": b'"chunked"',
        "single quotes": b"'chunked'",
        "empty": b"",
        "lone comma": b",",
        "two words": b"chunked chunked",
        "vertical tab": b"\x0bchunked",
        "form feed after": b"chunked\x0c",
        "NUL after": b"chunked\x00",
        "nbsp": b"\xa0chunked",
        "bare CR": b"\rchunked",
        "dotless": "ｃhunked".encode(),
        "colon": b": chunked",
        "cow": b"cow",
        "cow then chunked": b"cow, chunked",
        "semicolon": b"chunked;",
        "bracket": b"[chunked]",
    }
    te = b"Transfer-Encoding: chunked\r\n"
    cases = [
        Case(f"coding {name}", post(b"Transfer-Encoding: " + value + b"\r\n"), CODING)
        for name, value in refused.items()
    ]
    tail = b"0\r\n\r\n"
    return [
        *cases,
        Case("length and coding", post(b"Content-Length: 5\r\n" + te), BAD),
        Case("coding and length", post(te + b"Content-Length: 5\r\n"), BAD),
        Case("length 0 and coding", post(b"Content-Length: 0\r\n" + te), BAD),
        Case("coding and huge length", post(te + b"Content-Length: 999\r\n"), BAD),
        Case("coding and bad length", post(te + b"Content-Length: x\r\n"), BAD),
        Case("length and unknown coding", post(b"Content-Length: 5\r\nTransfer-Encoding: cow\r\n"), CODING),
        Case("coding twice", post(te + te), CODING),
        Case("coding then identity", post(te + b"Transfer-Encoding: identity\r\n"), CODING),
        Case("identity then coding", post(b"Transfer-Encoding: identity\r\n" + te), CODING),
        Case("coding blank before colon", post(b"Transfer-Encoding : chunked\r\n"), BAD),
        Case("coding tab before colon", post(b"Transfer-Encoding\t: chunked\r\n"), BAD),
        Case(
            "coding with length, blank before colon",
            post(b"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n"),
            BAD,
        ),
        Case("coding folded", post(b"Transfer-Encoding:\r\n chunked\r\n"), BAD),
        Case("coding folded with a tab", post(b"Transfer-Encoding:\r\n\tchunked\r\n"), BAD),
        Case("coding after bare CR", post(b"X: y\rTransfer-Encoding: chunked\r\n"), BAD),
        Case("coding after bare LF", post(b"X: y\nTransfer-Encoding: chunked\r\n"), BAD),
        Case("coding with a leading blank", post(b" Transfer-Encoding: chunked\r\n"), BAD),
        Case("coding name with NUL", post(b"Transfer-Encoding\x00: chunked\r\n"), BAD),
        Case("coding name with 8th bit", post(b"Transfer-Encoding\xa0: chunked\r\n"), BAD),
        Case("coding in HTTP/1.0", b"POST /a HTTP/1.0\r\n" + HOST + te + b"\r\n" + tail, CODING),
        Case(
            "coding in HTTP/1.0 kept alive",
            b"POST /a HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n" + te + b"\r\n" + tail + SMUGGLED,
            CODING,
        ),
        Case("coding capital", post(b"Transfer-Encoding: Chunked\r\n", tail), ONCE),
        Case("coding shouted", post(b"TRANSFER-ENCODING: CHUNKED\r\n", tail), ONCE),
        Case("coding blanks around", post(b"Transfer-Encoding: \t chunked \t\r\n", tail), ONCE),
        Case("coding with empty elements", post(b"Transfer-Encoding: , chunked,\r\n", tail), EITHER | CODING),
        Case("coding on a GET", b"GET /a HTTP/1.1\r\n" + HOST + te + b"\r\n" + tail, ONCE),
        Case("coding named by Connection", post(b"Connection: Transfer-Encoding\r\n" + te, tail), EITHER),
    ]


FRAMING = [*_lengths(), *_codings()]
