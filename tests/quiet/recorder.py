"""A legacy server that watches what is done to it: ``python -m tests.quiet.recorder``, a process of its own.

It prints the port that it listens at, answers what a target asks for (``pages``), and prints one line of
JSON for each line of standard input: what it saw since the last one. It ends with its input. One epoll, no
threads, no collector: its own lateness must not look like a proxy's.

**Occupied** is a connection from a request's first byte until the last byte of its response has left this
kernel's queue of unsent bytes (SIOCOUTQNSD): on loopback, it has then arrived at the proxy's. SIOCOUTQ would
not do: the acknowledgement of a last small segment may be delayed by 40 ms. What is counted is not the time
itself but how much of it the server spent **waiting**: for the rest of a request, and for room to send.

An end is a reset or a FIN, and it has a phase: ``idle``, ``request`` (some of one had come), ``work``,
``answer``. The first end of a connection counts.
"""

import fcntl
import gc
import heapq
import json
import os
import select
import socket
import struct
import sys
import time
from contextlib import suppress

from tests.kit.wire import ViolationError
from tests.quiet.control import SOURCE
from tests.quiet.pages import SMALL, Ask, answer, parse
from tests.quiet.seen import Seen
from tests.quiet.strict import Reader, Whole

SIOCOUTQNSD = 0x894B
LOOK = 0.0005
"""Seconds after which unsent bytes are looked at again, at first."""
PIECE = 256 * 1024
OTHER = Ask("other", 0, 0, SMALL)
"""What is answered to a request that is well-formed, and not one of ours."""
TURN = 4
"""Pieces that one connection may send before others have their turn."""
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


def unsent(sock: socket.socket) -> int:
    """How many bytes have not been sent yet."""
    return int(struct.unpack("=i", fcntl.ioctl(sock, SIOCOUTQNSD, bytes(4)))[0])


class Link:
    """One connection."""

    def __init__(self, sock: socket.socket, *, control: bool) -> None:
        self.sock = sock
        self.control = control
        """Not of the proxy: ``control``."""
        self.reader = Reader()
        self.ask: Ask | None = None
        self.working = self.answering = False
        self.end = ""
        self.left = memoryview(b"")
        self.first = 0.0
        """When the request's first byte came; 0: there is none."""
        self.since = 0.0
        """Since when it waits for room to send; 0: it does not."""
        self.waited = 0.0
        self.whole = self.answered = 0.0
        """When the request was whole, and when its answer began."""
        self.timer = 0
        """The number of its timer; others of it are void."""

    @property
    def phase(self) -> str:
        """What it is doing."""
        if self.answering:
            return "answer"
        return "work" if self.working else "request" if self.reader.begun else "idle"

    @property
    def kind(self) -> str:
        """Who asks, or asked last; ``?``: not known yet."""
        if self.reader.target:
            with suppress(ValueError, KeyError):
                return parse(self.reader.target).kind
        return "?" if self.reader.begun else self.ask.kind if self.ask else "-"


class Recorder:
    """The server."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.epoll = select.epoll()
        self.epoll.register(self.listener, select.EPOLLIN)
        self.epoll.register(sys.stdin, select.EPOLLIN)
        self.links: dict[int, Link] = {}
        self.timers: list[tuple[float, int, Link]] = []
        self.count = 0
        self.controls = 0
        self.ready: list[Link] = []
        self.seen = Seen(0)

    def run(self) -> None:
        """Serve until standard input ends."""
        while True:
            wait = max(0.0, self.timers[0][0] - time.monotonic()) if self.timers else -1
            events = self.epoll.poll(0 if self.ready else wait, 4096)
            now = time.monotonic()
            welcome = False
            for number, event in events:
                if number in self.links:
                    self.look(self.links[number], event, now)
                elif number == self.listener.fileno():
                    welcome = True
                elif number == sys.stdin.fileno() and not self.command():
                    return
            again, self.ready = self.ready, []
            for link in again:
                if link.sock.fileno() >= 0:
                    self.send(link, now)
            while self.timers and self.timers[0][0] <= time.monotonic():
                _, number, link = heapq.heappop(self.timers)
                if number == link.timer:
                    self.due(link)
            if welcome:
                self.welcome()

    def command(self) -> bool:
        """Report for each line; False at the end."""
        data = os.read(sys.stdin.fileno(), 4096)
        for _ in range(data.count(b"\n")):
            begun = sum(link.reader.begun for link in self.links.values())
            print(json.dumps(self.seen.report(begun)), flush=True)
            self.seen = Seen(len(self.links) - self.controls)
        return bool(data)

    def welcome(self) -> None:
        """Accept all that wait; first see the ends of others that came before them."""
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.listener.accept())
        now = time.monotonic()
        for number, event in self.epoll.poll(0, 4096):
            if number in self.links:
                self.look(self.links[number], event, now)
        for sock, (address, _) in found:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.links[sock.fileno()] = Link(sock, control=address == SOURCE)
            self.controls += address == SOURCE
            self.epoll.register(sock, EVENTS)
        self.seen.connections += len(found)
        self.seen.most = max(self.seen.most, len(self.links) - self.controls)

    def look(self, link: Link, event: int, now: float) -> None:
        """Something happened on a connection."""
        if event & GONE and link.answering and not link.left:
            self.sent(link, now)  # an end behind the last byte is none of the answer's
        if event & GONE and not link.end and (link.working or link.answering):
            error = link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.ended(link, "rst" if error or event & select.EPOLLERR else "fin")
        if link.end and event & (select.EPOLLHUP | select.EPOLLERR):
            self.close(link)
        elif link.answering:
            if event & select.EPOLLOUT:
                self.send(link, now)
        elif not link.working:
            self.read(link, now)

    def read(self, link: Link, now: float) -> None:
        """Read while nothing is being answered; nothing is read ahead of an answer."""
        try:
            while not link.working:
                data = link.sock.recv(PIECE)
                if not data:
                    self.ended(link, "fin")
                    self.close(link)
                    return
                link.first = link.first or now
                for whole in link.reader.feed(data):
                    self.ask(link, whole)
        except BlockingIOError:
            pass
        except ViolationError as fault:
            self.seen.faults.append(str(fault)[:300])
            link.end = "ours"
            self.close(link)
        except OSError:
            self.ended(link, "rst")
            self.close(link)

    def ask(self, link: Link, whole: Whole) -> None:
        """A request is whole: work."""
        try:
            ask = parse(whole.target)
        except (ValueError, KeyError):
            ask = OTHER
        if link.working:
            raise ViolationError(f"{whole.target}: sent before the answer to another")
        self.seen.requests[ask.kind] += 1
        link.ask, link.working = ask, True
        now = time.monotonic()
        link.left = memoryview(answer(ask, f"X-Sum: {whole.sum:08x}\r\n"))
        link.waited, link.whole = now - link.first, now
        self.after(link, now + ask.work / 1000)

    def after(self, link: Link, when: float) -> None:
        """Have a connection looked at."""
        self.count += 1
        link.timer = self.count
        heapq.heappush(self.timers, (when, self.count, link))

    def due(self, link: Link) -> None:
        """The work is done, or unsent bytes are to be looked at."""
        if link.sock.fileno() < 0:
            return
        now = time.monotonic()
        if link.working:
            link.working, link.answering, link.answered = False, True, now
            self.send(link, now)
        elif link.answering and not link.left:
            self.sent(link, now)

    def send(self, link: Link, now: float) -> None:
        """Send what there is room for."""
        if link.since and link.left:
            link.waited += now - link.since
            link.since = 0.0
        try:
            for _ in range(TURN):
                if not link.left:
                    break
                link.left = link.left[link.sock.send(link.left[:PIECE]) :]
            else:
                if link.left:
                    self.ready.append(link)
                    return
        except BlockingIOError:
            link.since = time.monotonic()
            return
        except OSError:
            self.ended(link, "rst")
            self.close(link)
            return
        if not link.left:
            link.since = link.since or time.monotonic()
            self.sent(link, time.monotonic())

    def sent(self, link: Link, now: float) -> None:
        """The kernel has all of the answer: has the proxy's?"""
        try:
            if unsent(link.sock):
                self.after(link, now + max(LOOK, (now - link.since) / 20))
                return
        except OSError:
            return
        waited = (link.waited + now - link.since) * 1000
        spans = ((link.first, link.whole), (link.answered, now))
        self.seen.wait(waited, spans, link.ask.target if link.ask else "", control=link.control)
        link.answering, link.first, link.since = False, 0.0, 0.0
        if link.end:
            self.close(link)
        else:
            self.read(link, now)

    def ended(self, link: Link, how: str) -> None:
        """The proxy's end of a connection was seen."""
        if link.end:
            return
        link.end = how
        self.seen.ends[f"{how} {link.phase} {link.kind}"] += 1
        if link.reader.begun:
            self.seen.cut += 1

    def close(self, link: Link) -> None:
        """Let go of a connection."""
        if link.sock.fileno() >= 0:
            del self.links[link.sock.fileno()]
            self.controls -= link.control
            link.sock.close()


def main() -> None:
    """Listen, say where, serve."""
    gc.disable()
    recorder = Recorder()
    print(recorder.port, flush=True)
    recorder.run()


if __name__ == "__main__":
    main()
