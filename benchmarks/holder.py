"""The client that holds connections: a process of its own, ``python -m benchmarks.holder``.

Arguments: port, state, count, source address. It opens the connections one after the other, prints one JSON
line (``{"open": n, "failed": n}``), and holds them until its standard input ends. The states are those that
a server knows: ``fresh`` (nothing sent), ``idle`` (one request answered), ``large`` (the same, of 1 MiB),
``head`` (half a head sent), ``linger`` (the server has answered and closed its side, the client never
closes), ``line`` (a request sent, no answer awaited), and ``drip`` (a head without end, a byte a
second, opened again when the server gives up).
"""

import json
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from benchmarks.browser import browser_head

WAIT = 10.0
"""Seconds that a connection may take to come into its state."""
TICK = 0.02
IP_BIND_ADDRESS_NO_PORT = 24


class NotHeldError(Exception):
    """The server did not do what the state needs."""


def connect(port: int, source: str, window: int = 0) -> socket.socket:
    """A socket connected from ``source``; its port is chosen at connect: quick though many are taken.

    ``window`` is its receive buffer, bytes; 0: as the kernel has it.
    """
    client = socket.socket()
    try:
        if window:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        client.settimeout(WAIT)
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((source, 0))
        client.connect(("127.0.0.1", port))
    except OSError:
        client.close()
        raise
    return client


def fresh(_client: socket.socket, _number: int) -> None:
    """Send nothing."""


def head(client: socket.socket, number: int) -> None:
    """Send half of a head."""
    data = browser_head(number).encode()
    client.sendall(data[: len(data) // 2])


def idle(client: socket.socket, number: int) -> None:
    """Send a request, read its response, stay."""
    client.sendall(browser_head(number).encode())
    read_response(client)


def large(client: socket.socket, number: int) -> None:
    """The same with 1 MiB."""
    client.sendall(browser_head(number, path="/large").encode())
    read_response(client)


def linger(client: socket.socket, number: int) -> None:
    """Ask for a close, read the response and the server's FIN, stay."""
    client.sendall(browser_head(number, close=True).encode())
    while client.recv(65536):
        pass


def line(client: socket.socket, number: int) -> None:
    """Send a whole request, wait for nothing."""
    client.sendall(browser_head(number).encode())


def read_response(client: socket.socket) -> None:
    """Read a 200 with a Content-Length to its end.

    Raises:
        NotHeldError: the server closed, or answered something else.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(client)
    start, _, body = data.partition(b"\r\n\r\n")
    lines = start.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), None)
    if b" 200" not in lines[0] or length is None:
        raise NotHeldError(start[:80].decode("latin-1"))
    left = length - len(body)
    while left > 0:
        left -= len(receive(client))


def receive(client: socket.socket) -> bytes:
    """What is there; the server's close is an error here."""
    data = client.recv(65536)
    if not data:
        raise NotHeldError("closed")
    return data


STATES: dict[str, Callable[[socket.socket, int], None]] = {
    "fresh": fresh,
    "idle": idle,
    "large": large,
    "head": head,
    "linger": linger,
    "line": line,
    "drip": fresh,
}


def hold(port: int, state: str, count: int, source: str) -> tuple[list[socket.socket], int]:
    """Open ``count`` connections and bring each into its state; those held, and how many failed."""
    held, failed = [], 0
    for number in range(count):
        try:
            client = connect(port, source)
        except OSError:
            failed += 1
            continue
        try:
            STATES[state](client, number)
        except (OSError, NotHeldError):
            client.close()
            failed += 1
        else:
            held.append(client)
    return held, failed


def drip(clients: list[socket.socket], port: int, source: str) -> None:
    """Send each client's head a byte a second, spread evenly, until standard input ends."""
    data = browser_head(1).encode()[:-4] + b"\r\nX-Slow: " + b"x" * 100_000
    sent = [0] * len(clients)
    for client in clients:
        client.setblocking(False)
    at, began, steps = 0, time.monotonic(), 0
    while not select.select([sys.stdin], [], [], TICK)[0]:
        due = int((time.monotonic() - began) * len(clients)) - steps
        for _ in range(min(due, len(clients))):
            try:
                clients[at].send(data[sent[at] : sent[at] + 1])
                sent[at] += 1
            except OSError:
                clients[at].close()
                # The next turn, a second later, tries again.
                with suppress(OSError):
                    clients[at] = connect(port, source)
                    clients[at].setblocking(False)
                sent[at] = 0
            at = (at + 1) % len(clients)
        steps += max(due, 0)


def main() -> None:
    """Hold, report, wait."""
    port, state, count, source = sys.argv[1:]
    clients, failed = hold(int(port), state, int(count), source)
    sys.stdout.write(json.dumps({"open": len(clients), "failed": failed}) + "\n")
    sys.stdout.flush()
    if state == "drip" and clients:
        drip(clients, int(port), source)
    else:
        sys.stdin.read()


if __name__ == "__main__":
    main()
