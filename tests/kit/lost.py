"""How many responses are lost when a server ends a connection whose client still sends.

A *cell* is one situation: who answers, how much, and how much the client sends behind its head. A cell is
tried a hundred times. The clients are of two kinds, half and half: one *gives up* when sending fails, as
many HTTP libraries do, and never looks for an answer; the other is *patient* and reads what is there all the
same. A response is lost when its client did not get every byte of it.

The servers behind the proxy answer at the head and call ``close()`` with the upload unread, as old servers
do. They stand beside the proxy, so that what is lost is lost on the way to the client.

Every way of closing has a path of its own (``/ack``, ``/off``, ...) on one proxy: `tables` makes its rules.

On the wire (`place`) the proxy's kernel takes a whole response at once. With the buffers that Linux begins
with, 60 kB take it a round trip or two, in which the proxy reads on; then half of the clients survive a bare
``close()``, and a test of closing shows less than it could.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit.client import Client, request
from tests.kit.endings import page, whole
from tests.kit.netns import Wire, wire
from tests.kit.wire import Response

MODES = ("ack", "timed", "kernel", "off")
TRIES = 100
AT_ONCE = 50
PIECE = 16384
LIMIT = 1024
"""Of bodies under ``/<mode>/small``: any upload of a cell is too large there."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A situation: ``path`` below the way's own, the status, and the sizes in bytes."""

    name: str
    path: str
    status: int
    request: int
    """Bytes behind the head: a body, or (method GET) pipelined requests behind one that closes."""
    response: int = 0
    """Bytes of the response's body; 0: a short one of the proxy's own."""
    method: str = "POST"

    @property
    def sizes(self) -> str:
        """``60 kB / 200 kB``: response and request."""
        return f"{_size(self.response) if self.response else 'own'} / {_size(self.request)}"

    def head(self, way: str) -> bytes:
        """The request's head."""
        fields = [f"Content-Length: {self.request}"] if self.method == "POST" else ["Connection: close"]
        return request(f"/{way}/{self.path}", method=self.method, fields=fields)

    def rest(self) -> bytes:
        """What the client sends behind it."""
        if self.method == "POST":
            return bytes(self.request)
        one = request(f"/next/{'x' * 100}")
        return one * (self.request // len(one) + 1)


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    return f"{count // 1000} kB"


REFUSALS = (
    Cell("413", "small", 413, 2_000),
    Cell("413", "small", 413, 200_000),
    Cell("413", "small", 413, 500_000),
    Cell("403", "denied", 403, 200_000),
    Cell("404", "nowhere", 404, 200_000),
)
"""The proxy's own answers."""

EARLY = (
    Cell("early 413", "early/413/200", 413, 200_000, 200),
    Cell("early 413", "early/413/60000", 413, 200_000, 60_000),
    Cell("early 413", "early/413/60000", 413, 2_000, 60_000),
    Cell("early 200", "early/200/200", 200, 200_000, 200),
    Cell("early 200", "early/200/60000", 200, 200_000, 60_000),
)
"""The server's answers to requests that it has not read, whereupon it closes."""

PIPELINED = (
    Cell("pipelined", "page/200/200", 200, 200_000, 200, "GET"),
    Cell("pipelined", "page/200/60000", 200, 200_000, 60_000, "GET"),
    Cell("pipelined", "page/200/60000", 200, 2_000, 60_000, "GET"),
)
"""``Connection: close``, and more requests behind it."""


def tables(modes: Sequence[str] = MODES) -> dict[str, Any]:
    """The product's configuration: a way of closing for each path, and what is refused below it."""
    rules: list[dict[str, Any]] = []
    for mode in modes:
        rules += [
            {"name": mode, "path": f"/{mode}", "linger": mode},
            {"name": f"{mode}-small", "path": f"/{mode}/small", "limits": {"body": LIMIT}},
            {"name": f"{mode}-denied", "path": f"/{mode}/denied", "deny": 403},
        ]
    routes = [
        {"upstream": "legacy", "path": f"/{mode}/{path}", "buffer_request": "stream"}
        for mode in modes
        for path in ("small", "denied", "early", "page")
    ]
    return {"rule": rules, "route": routes}


class Hasty:
    """A server that answers at the head, ``/.../<status>/<size>``; after an upload's head it closes at once.

    Its kernel takes little of an upload: nobody has sent all of it when the answer comes.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((host, 0), backlog=512)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(60)
            while head := self._head(sock):
                method, target, _ = head.split(b" ", 2)
                status, size = target.decode().rsplit("/", 2)[1:]
                last = method != b"GET"
                sock.sendall(page(int(size), f"{status} Early", "Connection: close\r\n" if last else ""))
                if last:
                    return

    def _head(self, sock: socket.socket) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(1024)
            if not data:
                return b""
            head += data
        return head

    def close(self) -> None:
        """Accept no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def patient(address: str) -> Client:
    """A client that waits longer than a lossy wire ever stalls."""
    return Client(address, timeout=20)


def narrow(address: str) -> Client:
    """A client whose kernel holds little: of a response that is not read, and of what is to be sent."""
    client = Client(address, rcvbuf=4096, timeout=20)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    return client


@contextlib.contextmanager
def place(*, ample: bool = True) -> Iterator[Wire]:
    """A wire of 100 ms and 1 % loss; ``ample``: the proxy's kernel takes a whole response at once."""
    with wire(delay=0.05, loss=0.01) as line:
        if ample:
            line.server.run(lambda: Path("/proc/sys/net/ipv4/tcp_wmem").write_text("4096 262144 4194304"))
        yield line


def attempt(connect: Callable[[], Client], head: bytes, rest: bytes, *, patient: bool) -> Response | None:
    """One client: it sends all it has, then reads. None: its response, or a part of it, is lost."""
    with connect() as client:
        sent = client.send_or_fail(head)
        for at in range(0, len(rest), PIECE):
            sent = sent and client.send_or_fail(rest[at : at + PIECE])
        return whole(client, head.split(b" ", 1)[0].decode()) if sent or patient else None


@dataclass(slots=True)
class Count:
    """What became of a cell's tries."""

    tries: int
    gave_up: int = 0
    """Lost by clients that give up when sending fails."""
    patient: int = 0
    """Lost by clients that read what is there."""
    others: list[bytes] = field(default_factory=list)
    """Whole responses, but not the one that was due: the beginning of each."""

    @property
    def lost(self) -> int:
        """Clients without the response that was due to them."""
        return self.gave_up + self.patient + len(self.others)


def run(executor: Executor, connect: Callable[[], Client], cell: Cell, way: str, tries: int = TRIES) -> Count:
    """Try a cell so many times, as many at a time as the executor has threads."""
    head, rest = cell.head(way), cell.rest()
    jobs = [executor.submit(attempt, connect, head, rest, patient=bool(turn % 2)) for turn in range(tries)]
    count = Count(tries)
    for turn, job in enumerate(jobs):
        got = job.result()
        if got is None:
            count.patient += turn % 2
            count.gave_up += 1 - turn % 2
        elif got.status != cell.status or (cell.response and len(got.body) != cell.response):
            count.others.append(got.raw[:200])
    return count
