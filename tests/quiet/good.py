"""Good clients: ``python -m tests.quiet.good ADDRESS SECONDS SEED COUNT``, a process of its own.

Each keeps a connection and asks some ten times a second, GET and POST, and compares every byte. One line of
JSON at the end: how many answers, their times (ms), and what was wrong.
"""

import json
import random
import socket
import sys
import time
import zlib

import trio

from tests.quiet.answers import Answer
from tests.quiet.pages import LARGE, MIDDLE, SMALL, content, request, some
from tests.quiet.seen import share

PATIENCE = 20.0
"""Seconds that an answer may take."""
PAUSE = 0.1
"""Seconds between two requests of one client, on average."""
UPLOADS = (SMALL, 5 * SMALL, MIDDLE, 2 * MIDDLE, LARGE)
FIELDS = "User-Agent: good\r\nAccept: */*\r\nAccept-Language: en\r\n"


class WrongError(Exception):
    """An answer is not what it should be."""


class Client:
    """One of them."""

    def __init__(self, address: str, seed: int, told: "Told") -> None:
        host, _, port = address.rpartition(":")
        self.where = (host, int(port))
        self.dice = random.Random(seed)
        self.told = told
        self.sock: trio.socket.SocketType | None = None

    async def live(self, end: float) -> None:
        """Ask until the end, a time of the clock."""
        await trio.sleep(self.dice.uniform(0, PAUSE))
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                with trio.fail_after(PATIENCE):
                    size = await self.ask()
                self.told.times.append((time.monotonic() - began, size))
            except (OSError, WrongError, trio.TooSlowError) as fault:
                self.told.errors.append(f"{fault!r}"[:200])
                self.close()
            await trio.sleep(self.dice.uniform(0, 2 * PAUSE))
        self.close()

    def close(self) -> None:
        """Ask the next on a new connection."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    async def connection(self) -> trio.socket.SocketType:
        """The one that is kept, or a new one."""
        if self.sock is None:
            self.sock = trio.socket.socket()
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.sock.connect(self.where)
        return self.sock

    async def ask(self) -> int:
        """One exchange; bytes of the answer. WrongError: it is not the right one."""
        ask, body = some(self.dice, "good"), b""
        if self.dice.random() < 0.3:
            body = content(ask.number, self.dice.choice(UPLOADS))
            head = request(ask, len(body), fields=FIELDS)
        else:
            head = request(ask, fields=FIELDS)
        sock = await self.connection()
        view = memoryview(head + body)
        while view:
            view = view[await sock.send(view) :]
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += await self.more(sock)
        lower = bytes(data[: end + 4]).lower()
        fields = lower.decode("latin-1").split("\r\n")
        del data[: end + 4]
        if not fields[0].startswith("http/1.1 200 "):
            raise WrongError(f"{fields[0]} for {ask.target}")
        if f"x-sum: {zlib.crc32(body):08x}" not in fields:
            raise WrongError("the server got another body")
        self.compare(ask.number, await self.body(sock, lower, data), ask.size)
        if "connection: close" in fields:
            self.close()
        return ask.size

    async def body(self, sock: trio.socket.SocketType, head: bytes, data: bytearray) -> bytes:
        """The rest of an answer."""
        try:
            answer = Answer(head)
            answer.feed(data)
            while not answer.done:
                answer.feed(await self.more(sock))
        except ValueError as fault:
            raise WrongError(str(fault)) from fault
        if answer.rest:
            raise WrongError("more than was asked for")
        return bytes(answer.body)

    async def more(self, sock: trio.socket.SocketType) -> bytes:
        """What comes next; there must be something."""
        if not (data := await sock.recv(256 * 1024)):
            raise WrongError("closed before the answer was whole")
        return data

    def compare(self, number: int, body: bytes, size: int) -> None:
        """Every byte."""
        if body != content(number, size):
            raise WrongError(f"{len(body)} bytes, not the {size} of {number}")


class Told:
    """What is told at the end."""

    def __init__(self) -> None:
        self.times: list[tuple[float, int]] = []
        self.errors: list[str] = []

    def report(self) -> dict[str, object]:
        """As plain values; p99 also for small answers alone."""
        every = sorted(seconds * 1000 for seconds, _ in self.times)
        small = sorted(seconds * 1000 for seconds, size in self.times if size == SMALL)
        return {
            "answers": len(every),
            "errors": len(self.errors),
            "faults": self.errors[:10],
            "p50": share(every, 50),
            "p99": share(every, 99),
            "worst": share(every, 100),
            "small_p99": share(small, 99),
        }


async def live(address: str, seconds: float, seed: int, count: int) -> Told:
    """So many clients for so long."""
    told, end = Told(), time.monotonic() + seconds
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(Client(address, seed * 1000 + number, told).live, end)
    return told


def main() -> None:
    """Live, then tell."""
    address, seconds, seed, count = sys.argv[1:]
    print(json.dumps(trio.run(live, address, float(seconds), int(seed), int(count)).report()), flush=True)


if __name__ == "__main__":
    main()
