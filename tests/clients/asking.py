"""Requests to a real server and to the proxy before it, and what must be equal in the answers."""

import http.client
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.kit.diagnosis import Diagnosis
from tests.kit.sockets import CLOSE_WAIT, ESTABLISHED

CLIENTS, EACH = 16, 8
HOP = frozenset(["connection", "keep-alive", "transfer-encoding", "via", "date", "content-length"])
"""Fields of a hop, of the moment, or of the framing; the body's length is compared by the body."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``again``: it asks whether what it has is still good."""

    method: str
    path: str
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=dict)
    again: bool = False
    chunked: bool = False

    @property
    def closes(self) -> bool:
        """Whether it asks for the connection's end."""
        return self.fields.get("Connection") == "close"

    def __str__(self) -> str:
        """Name it in a table."""
        extra = (
            " again" if self.again else " chunked" if self.chunked else "".join(f" {k}" for k in self.fields)
        )
        return f"{self.method} {self.path}{extra}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: status, reason, end-to-end fields, body; and how the hop behaved."""

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    version: int = field(compare=False, default=11)
    framing: str = field(compare=False, default="")


def _send(link: http.client.HTTPConnection, ask: Ask, since: str) -> http.client.HTTPResponse:
    fields = dict(ask.fields)
    if ask.again:
        fields |= {"If-Modified-Since": since}
    body: bytes | Iterator[bytes] = iter([ask.body]) if ask.chunked else ask.body
    link.request(ask.method, ask.path, body or None, fields, encode_chunked=ask.chunked)
    return link.getresponse()


def answer(address: str, ask: Ask) -> Answer:
    """Ask on a connection of its own."""
    link = http.client.HTTPConnection(address, timeout=20)
    try:
        since = ""
        if ask.again:
            first = _send(link, Ask("HEAD", ask.path), "")
            first.read()
            since = first.headers["Last-Modified"]
            link.close()
        got = _send(link, ask, since)
        body = got.read()
        framing = "chunked" if got.chunked else "length" if got.headers["Content-Length"] else "until close"
        if got.status == 304 or ask.method == "HEAD":
            framing = ""
        fields = sorted((name.lower(), value) for name, value in got.getheaders() if name.lower() not in HOP)
        return Answer(got.status, got.reason, tuple(fields), body, got.version, framing)
    finally:
        link.close()


class Peak:
    """The most connections that the server surely had at a time.

    A look at the kernel's table takes milliseconds, and connections come and go meanwhile. Whatever stands
    in two looks, one after the other, was there at the moment between them.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.most = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        kernel = Diagnosis()
        before: set[int] = set()
        while not self._end.wait(0.001):
            now = {found.remote for found in kernel.look(ESTABLISHED, CLOSE_WAIT) if found.local == self.port}
            self.most = max(self.most, len(now & before))
            before = now
        kernel.close()

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()


def crowd(address: str, asks: Sequence[Ask], expected: Sequence[Answer]) -> Iterator[str]:
    """Many clients at a time, each on a kept connection; yields what was wrong."""
    wrong: list[str] = []

    def client(number: int) -> None:
        link = http.client.HTTPConnection(address, timeout=60)
        try:
            for turn in range(EACH):
                at = (number + turn) % len(asks)
                got = _send(link, asks[at], "")
                if got.read() != expected[at].body or got.status != expected[at].status:
                    wrong.append(f"{asks[at]} in a crowd: {got.status}")
        except (OSError, http.client.HTTPException) as error:
            wrong.append(f"in a crowd: {error!r}")
        finally:
            link.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield from wrong


def brief(got: Answer) -> str:
    """An answer in a line."""
    return f"{got.status} {got.reason} {got.fields} {len(got.body)} bytes {got.body[:60]!r}"
