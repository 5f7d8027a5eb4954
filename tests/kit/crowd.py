"""Hundreds of odd clients at a time, a server that can make them wait, and when each was gone.

`Patience` is the server: one thread and one epoll for thousands of connections, where the scripted upstream
would need thousands of threads. `Watchtower` looks at the proxy's sockets, and remembers of each client when
the process was last seen to hold it, and when the kernel.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from tests.kit.diagnosis import Diagnosis
from tests.kit.sockets import LISTEN, NAMES, TIME_WAIT, reset

BODY: Final = 250_000
"""Bytes of "/big"."""
FIRST: Final = 20_000
"""Bytes of it that come at once."""
ALIVE: Final = tuple(state for state in NAMES if state not in (LISTEN, TIME_WAIT))


class Patience:
    """A server that answers "/" at once, "/late" and most of "/big" after `release`, and "/up" never."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.address = "127.0.0.1:" + str(self._listener.getsockname()[1])
        self.port: int = self._listener.getsockname()[1]
        self.asked: dict[bytes, int] = {}
        """Target -> how often it was asked for."""
        self._links: dict[int, socket.socket] = {}
        self._heads: dict[int, bytes] = {}
        self._waiting: dict[int, bytes] = {}
        self._unsent: dict[int, memoryview] = {}
        self._released = False
        self._over = False
        self._bell = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Answer those that wait, and from now on everybody."""
        self._released = True
        os.eventfd_write(self._bell, 1)

    def again(self) -> None:
        """Make them wait again, and count anew."""
        self._released = False
        self.asked.clear()

    def close(self) -> None:
        """End everything."""
        self._over = True
        os.eventfd_write(self._bell, 1)
        self._thread.join(5)
        os.close(self._bell)

    def _run(self) -> None:
        with select.epoll() as epoll, self._listener:
            epoll.register(self._bell, select.EPOLLIN)
            epoll.register(self._listener, select.EPOLLIN)
            while not self._over:
                for number, _ in epoll.poll():
                    if number == self._bell:
                        os.eventfd_read(self._bell)
                        for waiting in list(self._waiting) if self._released else ():
                            self._answer(waiting)
                    elif number == self._listener.fileno():
                        self._accept(epoll)
                    elif number in self._links:  # or it has ended in this batch
                        self._serve(number)
            for link in self._links.values():
                link.close()

    def _accept(self, epoll: select.epoll) -> None:
        with suppress(BlockingIOError):
            while True:
                link, _ = self._listener.accept()
                link.setblocking(False)
                self._links[link.fileno()] = link
                epoll.register(link, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def _serve(self, number: int) -> None:
        self._send(number)
        try:
            data = self._links[number].recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._links.pop(number).close()
            for table in (self._heads, self._waiting, self._unsent):
                table.pop(number, None)
            return
        head = self._heads.pop(number, b"") + data
        if b"\r\n\r\n" not in head:
            self._heads[number] = head
            return
        words = head.split(b" ", 2)
        if words[0] not in (b"GET", b"POST"):
            return  # more of a body
        target = words[1]
        self.asked[target] = self.asked.get(target, 0) + 1
        self._waiting[number] = target
        if target == b"/big":
            self._put(number, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY + bytes(FIRST))
        if target == b"/" or self._released:
            self._answer(number)

    def _answer(self, number: int) -> None:
        target = self._waiting.pop(number)
        if target == b"/big":
            self._put(number, bytes(BODY - FIRST))
        elif target != b"/up":
            self._put(number, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    def _put(self, number: int, data: bytes) -> None:
        self._unsent[number] = memoryview(bytes(self._unsent.get(number, b"")) + data)
        self._send(number)

    def _send(self, number: int) -> None:
        left = self._unsent.pop(number, memoryview(b""))
        with suppress(OSError):
            while left:
                left = left[self._links[number].send(left) :]
        if left:
            self._unsent[number] = left


class Watchtower:
    """Looks at the sockets of one port, again and again.

    Args:
        diagnosis: made in the network namespace of the proxy.
        port: where the proxy listens.
    """

    def __init__(self, diagnosis: Diagnosis, port: int) -> None:
        self._diagnosis = diagnosis
        self._port = port
        self.held: dict[int, float] = {}
        """Client's port -> when the process was last seen to hold its connection."""
        self.kept: dict[int, float] = {}
        """Client's port -> when the kernel was last seen to know it, TIME_WAIT apart."""

    def look(self) -> int:
        """Look once; how many the kernel knows."""
        rows = [row for row in self._diagnosis.sockets(*ALIVE) if row.local == self._port]
        now = time.monotonic()
        for row in rows:
            self.kept[row.remote] = now
            if row.inode:
                self.held[row.remote] = now
        return len(rows)

    def until_gone(self, limit: float, also: Callable[[], object] = lambda: None, step: float = 0.1) -> None:
        """Look until nothing is left; AssertionError after `limit` seconds.

        Args:
            limit: seconds.
            also: called before each look; it may wait.
            step: seconds between two looks.
        """
        end = time.monotonic() + limit
        while True:
            also()
            left = self.look()
            if not left:
                return
            assert time.monotonic() < end, f"{left} sockets are still there after {limit} s"
            time.sleep(step)


class Crowd:
    """Raw clients in named groups."""

    def __init__(self) -> None:
        self.groups: dict[str, list[socket.socket]] = {}
        self.ports: dict[str, list[int]] = {}

    def enter(self, group: str, address: str, count: int, data: bytes = b"") -> None:
        """So many connect, and send."""
        host, _, port = address.rpartition(":")
        for _ in range(count):
            client = socket.create_connection((host, int(port)), 10)
            self.groups.setdefault(group, []).append(client)
            self.ports.setdefault(group, []).append(client.getsockname()[1])
            if data:
                client.sendall(data)

    def send(self, group: str, data: bytes) -> None:
        """Each of a group sends."""
        for client in self.groups[group]:
            client.sendall(data)

    def latest(self, seen: dict[int, float], group: str) -> float:
        """When the last of a group was seen."""
        return max(seen[port] for port in self.ports[group])

    def leave(self) -> None:
        """All reset: nothing of them stays."""
        for clients in self.groups.values():
            for client in clients:
                reset(client)
        self.groups.clear()
        self.ports.clear()


class Fins:
    """When the other side's FIN came to each client."""

    def __init__(self, clients: Iterable[socket.socket]) -> None:
        self._epoll = select.epoll()
        self._ports = {}
        for client in clients:
            self._ports[client.fileno()] = client.getsockname()[1]
            self._epoll.register(client, select.EPOLLRDHUP | select.EPOLLET)
        self.seen: dict[int, float] = {}

    def look(self) -> None:
        """Note those that have come."""
        for number, _ in self._epoll.poll(0):
            self.seen.setdefault(self._ports[number], time.monotonic())

    def close(self) -> None:
        """Look no more."""
        self._epoll.close()
