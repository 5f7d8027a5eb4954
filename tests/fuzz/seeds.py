"""Where the search begins: the payloads that the end-to-end tests send, and the words of the protocol."""

from collections.abc import Iterator

from tests.fuzz.checks import CHECKS
from tests.kit import payloads_responses as responses
from tests.kit.answers import chunked, reply
from tests.kit.payloads import FRAMING
from tests.kit.payloads_chunks import CHUNKS
from tests.kit.payloads_fields import FIELDS, HOSTS
from tests.kit.payloads_lines import LINES

LARGEST = 4096
"""Bytes of an input: larger ones slow the search, and find nothing that smaller ones do not."""

REQUESTS = [
    *(case.data for case in [*FRAMING, *CHUNKS, *FIELDS, *HOSTS, *LINES]),
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\nTE: trailers\r\n\r\n",
]
RESPONSES = [
    *(line + b"\r\nContent-Length: 5\r\n\r\nhello" for line in responses.BAD_LINES.values()),
    *(responses.OK + head for head in responses.BAD_HEADS.values()),
    *(responses.CHUNKED + body for body in responses.BAD_CHUNKS.values()),
    *responses.CUTS.values(),
    *responses.UNSOLICITED.values(),
    reply(),
    reply(status="204 No Content"),
    reply(version="1.0", fields="Connection: keep-alive, x-a\r\nX-A: b\r\nDate: c\r\n"),
    chunked(b"hello", b"world", fields="Trailer: X-Sum\r\n", trailers="X-Sum: 1\r\n"),
    b"HTTP/1.1 103 Early\nLink: </a>\n\nHTTP/1.1 200\nA : b\n\tc\n\nhello",
    b"HTTP/1.0 304 Not Modified\r\nContent-Length: 5, 5\r\nTE: a\r\n\r\n",
]
BODIES = [data.partition(b"\r\n\r\n")[2] for data in [*(case.data for case in CHUNKS), *RESPONSES]]

WORDS = [
    *b"Host: |Content-Length: |Transfer-Encoding: chunked|Connection: close, |Connection: keep-alive".split(
        b"|"
    ),
    *b"Expect: 100-continue|TE: trailers|Upgrade: |Max-Forwards: 1|Via: 1.1 shieldproxy|Trailer: ".split(
        b"|"
    ),
    *b"X-Forwarded-For: |Forwarded: for=|Content_Length: |Date: |GET |POST |HEAD |OPTIONS |CONNECT ".split(
        b"|"
    ),
    *b" HTTP/1.1| HTTP/1.0|HTTP/1.1 200 |HTTP/1.1 204 |HTTP/1.1 304 |HTTP/1.1 100 |http://a|https://".split(
        b"|"
    ),
    *b"\r\n|\n|\r|\r\n\r\n|\n\n|\n\r\n|\r\n |\r\n\t| :|:|;a=b|;|0\r\n\r\n|5\r\nhello\r\n|, |,|*|/?".split(
        b"|"
    ),
    *[b"\x00", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xa0", b"\xff", b"\t", b" "],
]
"""A dictionary for the mutations."""

_OF = {
    "requests": REQUESTS,
    "dripped request": REQUESTS,
    "responses": RESPONSES,
    "dripped response": RESPONSES,
    "readers": [*REQUESTS, *RESPONSES],
    "memory": [*REQUESTS, *RESPONSES],
    "chunks": BODIES,
}


def inputs() -> Iterator[bytes]:
    """Every seed, as an input of the search."""
    for number, name in enumerate(CHECKS):
        for index, data in enumerate(_OF[name]):
            yield bytes([number, index % 256]) + data[: LARGEST - 2]


def dictionary() -> str:
    """The words in the form that libFuzzer reads."""
    lines = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
    return "".join(f'"{line}"\n' for line in lines)
