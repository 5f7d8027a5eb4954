"""The clients of the demonstration: trio tasks with real sockets, the same in both halves.

Good ones and those that run into a close come at a steady rate, whatever became of the ones before them, and
end by themselves. The others are persistent: cut off, they come again; and until the half is over they close
nothing that was not closed for them, because that is their fault.

To vanish needs no root and no cable: a socket whose IP_MINTTL is above what packets on loopback carry makes
the kernel drop every one that arrives for it, acknowledgements, FINs and probes alike, and answer none. For
the other end that is a machine that was switched off.
"""

import fcntl
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final

import trio

from shieldproxy.run.demo.count import CUT, GAVE_UP, GOOD, KINDS, OTHER, SERVED, Try, agent

PATIENCE: Final = 4.0
"""Seconds after which a client that asks gives up."""
SMALL: Final = 4096
"""Receive buffer of the clients that run into a close. Loopback has no length on which a response could be
on its way; behind a small buffer, read piece by piece as from a line of 2 MB/s, it waits at the server."""
PIECE, PIECE_GAP = 2048, 0.001
PAGE: Final = 40_000
"""Bytes of a response that must be more than such a buffer."""
UPLOAD: Final = 400_000
PIPELINE: Final = 20
IP_MINTTL: Final = 21
SIOCOUTQ: Final = 0x5411

Deed = Callable[[], Awaitable[None]]

_, HEAD, BODY, STAYS, UPLOADS, PIPELINES, VANISHES = (kind.name for kind in KINDS)


def request(kind: str, target: str, *fields: str, method: str = "GET") -> bytes:
    """Write a request."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: demo.example",
        f"User-Agent: {agent(kind)}",
        *fields,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status_if_whole(data: bytes | bytearray) -> int:
    """The status of a response that is all there by its Content-Length; 0 if it is not."""
    head, blank, body = bytes(data).partition(b"\r\n\r\n")
    if not blank:
        return 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(head.split()[1]) if len(body) >= int(value) else 0
    return 0


class Crowd:
    """All clients of one half.

    Args:
        port: on 127.0.0.1, where they go.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.tries: list[Try] = []
        self.silent_only = False
        """This system cannot drop packets for us: who vanishes only falls silent."""
        self._kinds: dict[int, str] = {}
        self._kept: list[trio.socket.SocketType] = []

    def kind_at(self, port: int) -> str:
        """The kind of the client that has, or last had, this port."""
        return self._kinds.get(port, "")

    async def play(self, seconds: float, after: float) -> None:
        """Let them all come for so many seconds, then be silent for the rest; sockets stay open.

        Args:
            seconds: during which they come.
            after: during which those that end by themselves may do so, and the others do nothing.
        """
        calm = seconds / 6
        with trio.move_on_after(seconds + after):
            async with trio.open_nursery() as honest:
                with trio.move_on_after(seconds):
                    async with trio.open_nursery() as coming:
                        self._invite(coming, honest, calm)
            await trio.sleep_forever()
        for one in self.tries:  # a safeguard: all have given up long before
            if one.ended == inf and not one.verdict:
                one.verdict = GAVE_UP

    def _invite(self, coming: trio.Nursery, honest: trio.Nursery, calm: float) -> None:
        page = request(GOOD, "/slow?seconds=0.1", "Connection: close")
        upload = request(UPLOADS, f"/refuse?size={PAGE}", f"Content-Length: {UPLOAD}", method="POST") + bytes(
            UPLOAD
        )
        cookie = "Cookie: " + "x" * 600
        pipeline = PIPELINE * request(PIPELINES, f"/big?size={PAGE}", cookie)
        every = partial(self._every, honest)
        coming.start_soon(every, 0.0, 1 / 15, partial(self.ask, GOOD, page))
        coming.start_soon(every, 0.3, 0.9, partial(self.ask, UPLOADS, upload, due=413, rcvbuf=SMALL))
        coming.start_soon(every, 0.5, 0.9, partial(self.ask, PIPELINES, pipeline, rcvbuf=SMALL))
        for number in range(3):
            coming.start_soon(self._slow_head, calm + 0.3 * number)
            coming.start_soon(self._slow_body, calm + 0.3 * number + 0.1)
        coming.start_soon(every, calm + 0.2, 2.0, self._stay)
        for number in range(3):
            coming.start_soon(every, calm + 1.2 * number, 3.6, partial(self._vanish, number))

    async def _every(self, nursery: trio.Nursery, first: float, gap: float, deed: Deed) -> None:
        """Start a client every so often, whatever became of the ones before."""
        when = trio.current_time() + first
        while True:
            await trio.sleep_until(when)
            nursery.start_soon(deed)
            when += gap

    def close(self) -> None:
        """End every connection that is still there, with a reset: nobody is to wait for these."""
        for sock in self._kept:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
            sock.close()
        self._kept.clear()

    def _open(self, one: Try, rcvbuf: int = 0) -> trio.socket.SocketType:
        """Make a socket, whose port is known from now on as that of this kind."""
        raw = socket.socket()
        raw.bind(("127.0.0.1", 0))
        sock = trio.socket.from_stdlib_socket(raw)
        self._kept.append(sock)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        one.port = sock.getsockname()[1]
        self._kinds[one.port] = one.kind
        return sock

    def _begin(self, kind: str) -> Try:
        one = Try(kind, time.monotonic())
        self.tries.append(one)
        return one

    def _drop(self, sock: trio.socket.SocketType) -> None:
        sock.close()
        self._kept.remove(sock)

    # those that ask

    async def ask(self, kind: str, data: bytes, *, due: int = 200, rcvbuf: int = 0) -> None:
        """Send all of a request, read its response, close."""
        one = self._begin(kind)
        sock = self._open(one, rcvbuf)
        await self._try(one, sock, data, due, rcvbuf)
        self._drop(sock)

    async def _try(
        self, one: Try, sock: trio.socket.SocketType, data: bytes, due: int, rcvbuf: int = 0
    ) -> None:
        """Ask and read, within what patience there is; the socket stays open."""
        verdict = GAVE_UP
        with trio.move_on_after(PATIENCE):
            try:
                await sock.connect(("127.0.0.1", self.port))
                with suppress(OSError):  # reset while sending: what has arrived is read all the same
                    await send_all(sock, data)
                verdict = await read_response(sock, due, near=not rcvbuf)
            except OSError:
                verdict = CUT
        one.ended, one.verdict = time.monotonic(), verdict

    async def _stay(self) -> None:
        """Ask, read, and close for nobody."""
        one = self._begin(STAYS)
        await self._try(one, self._open(one), request(STAYS, "/", "Connection: keep-alive"), 200)

    # those that never ask for anything in whole

    async def _slow_head(self, wait: float) -> None:
        await trio.sleep(wait)
        head = request(HEAD, "/", *[f"X-Slow-{number}: yes" for number in range(20)])
        await self._drip(HEAD, head[:4], head[4:], 0.25)

    async def _slow_body(self, wait: float) -> None:
        await trio.sleep(wait)
        head = request(BODY, "/echo", "Content-Length: 100000", method="POST")
        await self._drip(BODY, head + b"a", b"b" * 1000, 3.0)

    async def _drip(self, kind: str, start: bytes, rest: bytes, gap: float) -> None:
        """Send byte by byte; once cut off, close and come again."""
        while True:
            one = self._begin(kind)
            sock = self._open(one)
            with suppress(OSError):
                await sock.connect(("127.0.0.1", self.port))
                await send_all(sock, start)
                for at in range(len(rest)):
                    if await ends_within(sock, gap):
                        break
                    await sock.send(rest[at : at + 1])
            one.ended = time.monotonic()
            self._drop(sock)
            await trio.sleep(1.0)

    async def _vanish(self, number: int) -> None:
        """Send some, and answer no packet from then on: in a head, in a body, or in a response."""
        one = self._begin(VANISHES)
        data = (
            request(VANISHES, "/")[:-2],
            request(VANISHES, "/echo", "Content-Length: 1000", method="POST") + b"a",
            request(VANISHES, "/big?size=1000000"),
        )[number]
        sock = self._open(one, SMALL)
        with suppress(OSError):
            await sock.connect(("127.0.0.1", self.port))
            await send_all(sock, data)
            if number == 2:
                with trio.move_on_after(PATIENCE):
                    await sock.recv(1000)
            for _ in range(100):
                if not outstanding(sock):
                    break
                await trio.sleep(0.01)
            try:
                sock.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 255)
            except OSError:
                self.silent_only = True


async def send_all(sock: trio.socket.SocketType, data: bytes) -> None:
    """Send all of it; OSError if the peer has gone."""
    rest = memoryview(data)
    while rest:
        rest = rest[await sock.send(rest) :]


async def read_response(sock: trio.socket.SocketType, due: int, *, near: bool) -> str:
    """Read until the response is whole, or the connection over: the verdict. Who is not near reads slower."""
    got = bytearray()
    while not (status := status_if_whole(got)):
        try:
            if not near:
                await trio.sleep(PIECE_GAP)
            piece = await sock.recv(65536 if near else PIECE)
        except OSError:
            return CUT
        if not piece:
            return CUT
        got += piece
    return SERVED if status == due else OTHER


async def ends_within(sock: trio.socket.SocketType, seconds: float) -> bool:
    """Wait so long, or until the other side ends the connection."""
    with trio.move_on_after(seconds):
        while await sock.recv(65536):
            pass
        return True
    return False


def outstanding(sock: trio.socket.SocketType) -> int:
    """Bytes that the peer's kernel has not acknowledged."""
    return int(struct.unpack("=i", fcntl.ioctl(sock.fileno(), SIOCOUTQ, bytes(4)))[0])
