"""The client that uploads or reads slowly on many connections: ``python -m benchmarks.trickler``.

Arguments and protocol are those of `benchmarks.holder`; the states are ``upload`` (a body of 1 MiB is
announced, a first piece of 72 KiB is sent at once), ``small`` (the same, but 1 KiB) and ``reader`` (1 MiB is
asked for, its head is read). From then on each connection moves a little more, again and again, until
standard input ends: too fast to be given up, too slow ever to be done. For each line of standard input it
says what it has moved since the last one, and what it should have, bytes: clients that do not move are a
light burden.
"""

import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable

from benchmarks.browser import browser_head
from benchmarks.holder import TICK, NotHeldError, connect
from benchmarks.peers import LARGE

FIRST = 72 * 1024
"""Bytes of an upload that are sent at once: more than is kept in memory."""
LITTLE = 1024
"""The same, of an upload that stays in memory."""
EVERY = 2.0
"""Seconds between two pieces of one connection."""
PIECE = bytes(1500)
WINDOW = 4096
"""The slow reader's receive buffer, bytes: what waits for it waits at the proxy."""


def upload(client: socket.socket, number: int) -> None:
    """Announce much, send some."""
    client.sendall(browser_head(number, method="POST", path="/upload", body=LARGE).encode() + bytes(FIRST))


def small(client: socket.socket, number: int) -> None:
    """Announce much, send little."""
    client.sendall(browser_head(number, method="POST", path="/upload", body=LARGE).encode() + bytes(LITTLE))


def reader(client: socket.socket, number: int) -> None:
    """Ask for much, read the head."""
    client.sendall(browser_head(number, path="/large").encode())
    if not client.recv(1024).startswith(b"HTTP/1.1 200 "):
        raise NotHeldError("refused")


def send(client: socket.socket) -> int:
    """One more piece up; bytes."""
    return client.send(PIECE)


def receive(client: socket.socket) -> int:
    """One more piece down; bytes."""
    return len(client.recv(len(PIECE)))


STATES: dict[str, tuple[Callable[[socket.socket, int], None], Callable[[socket.socket], int], int]] = {
    "upload": (upload, send, 0),
    "small": (small, send, 0),
    "reader": (reader, receive, WINDOW),
}


class Trickle:
    """Moves a piece of each connection every two seconds, spread evenly."""

    def __init__(self, move: Callable[[socket.socket], int]) -> None:
        self.clients: list[socket.socket] = []
        self.lost = self.moved = 0
        self.since = time.monotonic()
        self._move = move
        self._at = 0
        self._last = time.monotonic()

    def turn(self) -> None:
        """Move what is due since the last turn."""
        now = time.monotonic()
        due = int((now - self._last) / EVERY * len(self.clients))
        if not due:
            return
        self._last = now
        for _ in range(min(due, len(self.clients))):
            self._at = (self._at + 1) % len(self.clients)
            try:
                self.moved += self._move(self.clients[self._at])
            except BlockingIOError:
                continue
            except OSError:
                self.lost += 1

    def report(self) -> dict[str, float]:
        """What was moved since the last report, and what was to be, bytes."""
        now = time.monotonic()
        plan = (now - self.since) / EVERY * len(self.clients) * len(PIECE)
        found = {"moved": self.moved, "plan": plan, "lost": self.lost}
        self.moved, self.since = 0, now
        return found


def main() -> None:
    """Hold, report, trickle."""
    port, state, count, source = sys.argv[1:]
    begin, move, window = STATES[state]
    trickle, failed = Trickle(move), 0
    for number in range(int(count)):
        try:
            client = connect(int(port), source, window)
            begin(client, number)
        except (OSError, NotHeldError):
            failed += 1
            continue
        client.setblocking(False)
        trickle.clients.append(client)
        trickle.turn()
    print(json.dumps({"open": len(trickle.clients), "failed": failed}), flush=True)
    trickle.report()
    while True:
        while not select.select([sys.stdin], [], [], TICK)[0]:
            trickle.turn()
        if not os.read(sys.stdin.fileno(), 1):
            return
        print(json.dumps(trickle.report()), flush=True)


if __name__ == "__main__":
    main()
