"""A strict recording upstream: threads and blocking sockets, answering by script.

Each connection's bytes are kept, read by the strict reader of ``kit.wire``, and every request is handed to
a handler: raw bytes, or a callable that tells the story on a ``Turn`` (send in pieces, wait for an event,
close, reset, stay silent; see ``kit.answers``). What a request does wrong lands in ``violations``; a request that was cut off in
``incomplete``; a reset by the proxy in ``resets``.
"""

import contextlib
import fcntl
import itertools
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

from tests.kit.answers import reply
from tests.kit.client import open_socket
from tests.kit.transcript import note
from tests.kit.wire import (
    Request,
    SilenceError,
    Stream,
    TruncatedError,
    ViolationError,
    read_request_body,
    read_request_head,
)

PATIENCE = 15.0


class Link:
    """One connection from the proxy, as the upstream sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.stream = Stream(sock)
        self.requests: list[Request] = []
        self.partial: Request | None = None
        self.ended = threading.Event()

    @property
    def received(self) -> bytes:
        """Every byte that came."""
        return bytes(self.stream.seen)

    @property
    def end(self) -> str:
        """How the proxy ended it: ``fin``, ``rst``, or the empty text while it lives."""
        return self.stream.end

    def send(self, data: bytes) -> None:
        """Send bytes, asked for or not."""
        self.sock.sendall(data)

    def finish(self) -> None:
        """Send our FIN; the proxy's end is awaited by whoever reads."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a RST."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.end = self.stream.end or "local"
        with contextlib.suppress(OSError):
            # A reader blocked in recv keeps the description open, so wake it first: SHUT_RD sends nothing.
            self.sock.shutdown(socket.SHUT_RD)
        self.sock.close()


class Turn:
    """One request and the means to answer it; lives in the connection's thread."""

    def __init__(self, link: Link, request: Request) -> None:
        self.link = link
        self.request = request

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.link.send(data)

    def pieces(self, data: bytes, size: int = 1, pause: float = 0.001) -> None:
        """Send in segments of so many bytes."""
        for at in range(0, len(data), size):
            self.link.send(data[at : at + size])
            time.sleep(pause)

    def wait(self, event: threading.Event) -> None:
        """Hold until the test releases it."""
        if not event.wait(PATIENCE):
            raise SilenceError("nobody released the upstream")

    def close(self) -> None:
        """Our FIN; the proxy's own is read afterwards."""
        self.link.finish()

    def reset(self) -> None:
        """RST."""
        self.link.reset()

    def read_body(self) -> bytes:
        """For a handler that runs at the head: read the body now."""
        read_request_body(self.link.stream, self.request)
        return self.request.body

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until the proxy's kernel has acknowledged all that was sent (SIOCOUTQ = 0)."""
        limit = time.monotonic() + timeout
        while (
            struct.unpack("i", fcntl.ioctl(self.link.sock, 0x5411, b"\0\0\0\0"))[0]
            and time.monotonic() < limit
        ):
            time.sleep(0.001)
        time.sleep(0.05)

    def gone(self) -> str:
        """Wait for the proxy to end this connection, dropping what still comes; says how."""
        self.link.stream.rest()
        return self.link.end


Handler = bytes | Callable[[Turn], None]


class Upstream:
    """The server behind the proxy. ``address`` is what goes into the configuration."""

    def __init__(self, address: str = "127.0.0.1:0", *, start: bool = True, backlog: int = 256) -> None:
        self._lock = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._queue: deque[tuple[Handler, bool]] = deque()
        self._paths: dict[bytes, tuple[Handler, bool]] = {}
        self._numbers = itertools.count()
        self._closed = False
        self._listener: socket.socket | None = None
        self._backlog = backlog
        self.default: Handler = reply()
        self.links: list[Link] = []
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.incomplete: list[Request] = []
        self.failures: list[BaseException] = []
        self.address = address
        if start:
            self.start()

    def start(self) -> None:
        """Begin to listen; after ``stop`` at the same address."""
        listener, where = open_socket(self.address)
        if listener.family != socket.AF_UNIX:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(self._backlog)
        name = listener.getsockname()
        if listener.family == socket.AF_INET:
            self.address = f"{name[0]}:{name[1]}"
        elif listener.family == socket.AF_INET6:
            self.address = f"[{name[0]}]:{name[1]}"
        self._listener = listener
        thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Listen no more, and end every connection."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for link in list(self.links):
            if not link.ended.is_set():
                link.finish()

    def close(self) -> None:
        """Stop, wait for the threads, raise what a handler raised."""
        self._closed = True
        self.stop()
        for link in list(self.links):
            if not link.ended.wait(2.0):
                with contextlib.suppress(OSError):
                    link.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2.0)
        if self.failures:
            raise self.failures[0]

    def then(self, *handlers: Handler, at: str = "end") -> None:
        """Answer the next requests by these, in order; ``at="head"``: before the body is read."""
        with self._lock:
            self._queue.extend((handler, at == "head") for handler in handlers)

    def on(self, path: str, handler: Handler, *, at: str = "end") -> None:
        """Answer every request for this target so."""
        self._paths[path.encode()] = (handler, at == "head")

    def reset_scripts(self) -> None:
        """Forget scripts and records, and see the proxy drop every pooled connection (for a shared proxy)."""
        for link in list(self.links):
            if not link.ended.is_set():
                link.finish()
        for link in list(self.links):
            if not link.ended.wait(5.0):
                raise SilenceError(
                    f"the proxy kept a pooled connection that the server closed: {link.received[-200:]!r}"
                )
        failures, self.failures = self.failures, []
        with self._lock:
            self._queue.clear()
            self._paths.clear()
            self.default = reply()
            self.links.clear()
            self.requests.clear()
            self.violations.clear()
            self.incomplete.clear()
        if failures:
            raise failures[0]

    def wait_requests(self, count: int, timeout: float = 8.0) -> list[Request]:
        """Wait until so many whole requests have come; more are an error."""
        self.until(lambda: len(self.requests) >= count, f"{count} requests", timeout)
        if len(self.requests) > count:
            raise ViolationError(
                f"{len(self.requests)} requests where {count} were due: {[r.raw for r in self.requests]}"
            )
        for request in self.requests:
            if not request.noted:
                request.noted = True
                note("request", request.raw)
        return list(self.requests)

    def wait_links(self, count: int, timeout: float = 8.0) -> list[Link]:
        """Wait until so many connections have come."""
        self.until(lambda: len(self.links) >= count, f"{count} connections", timeout)
        return list(self.links)

    def until(self, true: Callable[[], bool], what: str, timeout: float = 8.0) -> None:
        """Wait for a condition on what was recorded."""
        with self._lock:
            if not self._lock.wait_for(true, timeout):
                raise SilenceError(
                    f"waited {timeout} s for {what}: {len(self.requests)} requests, "
                    f"{len(self.links)} connections, violations {self.violations}"
                )

    def one(self, timeout: float = 8.0) -> Request:
        """The one request that must have come."""
        return self.wait_requests(1, timeout)[0]

    @property
    def resets(self) -> list[Link]:
        """Connections that the proxy reset."""
        return [link for link in self.links if link.end == "rst"]

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(sock, next(self._numbers))
            thread = threading.Thread(target=self._serve, args=(link,), daemon=True)
            with self._lock:
                self.links.append(link)
                self._threads = [t for t in self._threads if t.is_alive()]
                self._threads.append(thread)
                self._lock.notify_all()
            thread.start()

    def _serve(self, link: Link) -> None:
        try:
            while self._turn(link):
                pass
        except ViolationError as fault:
            with self._lock:
                self.violations.append(str(fault))
        except TruncatedError:
            with self._lock:
                if link.partial is not None:
                    self.incomplete.append(link.partial)
        except OSError:
            pass
        except BaseException as fault:  # noqa: BLE001 - handed to the test that closes us
            self.failures.append(fault)
        finally:
            if link.end in ("", "fin"):
                with contextlib.suppress(OSError):
                    link.sock.shutdown(socket.SHUT_RDWR)
            link.sock.close()
            link.ended.set()
            with self._lock:
                self._lock.notify_all()

    def _turn(self, link: Link) -> bool:
        request = read_request_head(link.stream)
        if request is None:
            return False
        link.partial = request
        request.connection = link.number
        with self._lock:
            handler, early = self._pick(request)
            self._lock.notify_all()
        if not early:
            read_request_body(link.stream, request)
            self._whole(link, request)
        if isinstance(handler, bytes):
            link.send(handler)
        else:
            handler(Turn(link, request))
        if early and link.end != "local":
            self._whole(link, request)
        return not link.end

    def _whole(self, link: Link, request: Request) -> None:
        with self._lock:
            link.partial = None
            request.serial = len(self.requests)
            link.requests.append(request)
            self.requests.append(request)
            self._lock.notify_all()

    def _pick(self, request: Request) -> tuple[Handler, bool]:
        named = self._paths.get(request.target)
        if named is not None:
            return named
        if self._queue:
            return self._queue.popleft()
        return self.default, False
