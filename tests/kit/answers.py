"""Answers of a scripted upstream: bytes, and the short stories that many tests need."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kit.link import Turn

Story = Callable[["Turn"], None]


def reply(body: bytes = b"hello", *, status: str = "200 OK", fields: str = "", version: str = "1.1") -> bytes:
    """A response with a length; ``fields`` are whole lines, each with its CRLF."""
    return f"HTTP/{version} {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode("latin-1") + body


def chunked(*pieces: bytes, fields: str = "", trailers: str = "", status: str = "200 OK") -> bytes:
    """A chunked response, a chunk for each piece."""
    head = f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n{fields}\r\n".encode("latin-1")
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + body + b"0\r\n" + trailers.encode("latin-1") + b"\r\n"


def last(data: bytes) -> Story:
    """Send, then FIN."""

    def story(turn: "Turn") -> None:
        turn.send(data)
        turn.close()

    return story


def broken(data: bytes = b"") -> Story:
    """Send, then RST (after the proxy has had time to read: a RST overtakes what is queued)."""

    def story(turn: "Turn") -> None:
        if data:
            turn.send(data)
            turn.settle()
        turn.reset()

    return story


def dripped(data: bytes, size: int = 1) -> Story:
    """Send in small segments."""
    return lambda turn: turn.pieces(data, size)


def held(release: threading.Event, data: bytes, before: bytes = b"") -> Story:
    """Send ``before``, wait for the test, send the rest."""

    def story(turn: "Turn") -> None:
        if before:
            turn.send(before)
        turn.wait(release)
        turn.send(data)

    return story


def silent(turn: "Turn") -> None:
    """Never answer; wait for the proxy to give up."""
    turn.gone()
