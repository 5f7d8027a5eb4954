"""What clients and server agree on: a target says how long the server works and what it answers."""

import random
from typing import NamedTuple
from urllib.parse import parse_qs

SMALL, MIDDLE, LARGE, HUGE = 200, 64 * 1024, 1024 * 1024, 5 * 1024 * 1024
SIZES = (SMALL, MIDDLE, LARGE, HUGE)
SHARES = (120, 59, 20, 1)
"""How often each size is asked for: p99 lies among the large ones, not among the few huge ones."""
WORK = 20
"""Milliseconds that the server works at most."""
CHUNKED = 3
"""Every so manieth answer has no length, and comes in chunks of up to LONGEST bytes."""
LONGEST = 60_000
_ROOM = 1024 * 1024
_PATTERN = random.Random(4).randbytes(HUGE + _ROOM)


class Ask(NamedTuple):
    """What a target asks for."""

    kind: str
    """Who asks."""
    number: int
    work: int
    """Milliseconds."""
    size: int

    @property
    def target(self) -> str:
        """As it stands in the request line."""
        return f"/{self.kind}/{self.number}?work={self.work}&size={self.size}"


def parse(target: str) -> Ask:
    """Read a target; ValueError or KeyError if it is none of ours (somebody changes bytes on purpose)."""
    path, _, query = target.partition("?")
    _, kind, number = path.split("/")
    values = parse_qs(query)
    ask = Ask(kind, int(number), int(values["work"][0]), int(values["size"][0]))
    if ask.work > WORK or ask.size not in SIZES:
        raise ValueError(target)
    return ask


def content(number: int, size: int) -> bytes:
    """A body, of a request or a response; bodies of different numbers differ from the first byte."""
    at = number * 131 % _ROOM
    return _PATTERN[at : at + size]


def answer(ask: Ask, fields: str) -> bytes:
    """What is answered: 200, with a length or in chunks; ``fields`` are more lines of its head."""
    begin = ask.number * 131 % _ROOM
    body = memoryview(_PATTERN)[begin : begin + ask.size]
    framing = f"Content-Length: {ask.size}"
    parts: list[bytes | memoryview] = [body]
    if ask.number % CHUNKED == 0:
        framing, step = "Transfer-Encoding: chunked", LONGEST // 3 + ask.number % (LONGEST * 2 // 3)
        parts = []
        for at in range(0, len(body), step):
            piece = body[at : at + step]
            parts += (b"%x\r\n" % len(piece), piece, b"\r\n")
        parts.append(b"0\r\n\r\n")
    head = f"HTTP/1.1 200 OK\r\n{framing}\r\n{fields}\r\n".encode()
    return b"".join([head, *parts])  # one copy: whoever records is the clock, and has no time


def some(dice: random.Random, kind: str) -> Ask:
    """An ask of average size and work."""
    return Ask(kind, dice.randrange(10**6), dice.randint(0, WORK), dice.choices(SIZES, SHARES)[0])


def request(ask: Ask, upload: int = -1, *, chunked: bool = False, fields: str = "") -> bytes:
    """A request's head: GET, or POST if there is something to upload."""
    framing = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {upload}\r\n"
    start = f"{'GET' if upload < 0 else 'POST'} {ask.target} HTTP/1.1\r\nHost: quiet.example\r\n"
    return f"{start}{framing if upload >= 0 else ''}{fields}\r\n".encode()
