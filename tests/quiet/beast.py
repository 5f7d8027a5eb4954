"""One of the bestiary's lives: its dice, its connection, its tools; and the book of kinds."""

import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable

import trio

from tests.quiet.answers import Answer
from tests.quiet.pages import HUGE, Ask, some

TICK = 0.05
"""Seconds between two small pieces."""
Animal = Callable[["Beast"], Awaitable[None]]
KINDS: dict[str, Animal] = {}


def kind(name: str) -> Callable[[Animal], Animal]:
    """Enter an animal into the book under its name."""

    def enter(animal: Animal) -> Animal:
        KINDS[name] = animal
        return animal

    return enter


class Beast:
    """One life."""

    def __init__(self, name: str, where: tuple[str, int], seed: int, end: float) -> None:
        self.name, self.where, self.end = name, where, end
        self.dice = random.Random(seed)
        self.sock = trio.socket.socket()
        self.answered = 0

    async def connect(self, source: str = "", rcvbuf: int = 0) -> None:
        """Connect; small receive buffers are set before."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            await self.sock.bind((source, 0))
        await self.sock.connect(self.where)

    def ask(self, size: int | None = None, work: int | None = None) -> Ask:
        """What it asks for."""
        ask = some(self.dice, self.name)
        return ask._replace(size=ask.size if size is None else size, work=ask.work if work is None else work)

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            view = view[await self.sock.send(view) :]

    async def drip(self, data: bytes, step: int) -> None:
        """Send a few bytes at a time."""
        for at in range(0, len(data), step):
            await self.send(data[at : at + step])
            await self.pause()

    async def read(self, count: int = 1, most: int = 2 * HUGE) -> None:
        """Read so many answers, or up to so many bytes, or the end. ValueError: what comes is none."""
        data, got = bytearray(), 0
        while count and got < most:
            while (end := data.find(b"\r\n\r\n")) < 0:
                if not (piece := await self.sock.recv(65536)):
                    return
                data += piece
                got += len(piece)
            head = bytes(data[: end + 4]).lower()
            answer = Answer(head)
            answer.feed(data[end + 4 :])
            while not answer.done:
                if got >= most or not (piece := await self.sock.recv(65536)):
                    return
                answer.feed(piece)
                got += len(piece)
            data = bytearray(answer.rest)
            self.answered += b" 200 " in head[:14]
            count -= 1

    async def pause(self) -> None:
        """A moment between two small pieces; OSError when the run is over: what is not whole stays so."""
        await trio.sleep(TICK)
        if time.monotonic() > self.end:
            raise OSError("over")

    def reset(self) -> None:
        """End with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
        self.sock.close()

    async def some_time(self, most: float) -> None:
        """Wait, up to so many seconds, and not beyond the end of the run."""
        await trio.sleep(min(self.dice.uniform(0, most), max(0.0, self.end - time.monotonic())))
