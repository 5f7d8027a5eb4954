"""A strict recording upstream: threads and blocking sockets, answering by script.

Each connection's bytes are kept, read by the strict reader of ``kit.wire``, and every request is handed to
a handler: raw bytes, or a callable that tells the story on a ``Turn`` (``kit.link``; ready ones in
``kit.answers``). What a request does wrong lands in ``violations``; a request that was cut off in
``incomplete``; a reset by the proxy in ``resets``.
"""

import contextlib
import itertools
import socket
import threading
from collections import deque
from collections.abc import Callable

from tests.kit.answers import reply
from tests.kit.client import open_socket
from tests.kit.link import Link, Turn
from tests.kit.transcript import note_message
from tests.kit.wire import (
    Request,
    SilenceError,
    TruncatedError,
    ViolationError,
    read_request_body,
    read_request_head,
)

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
        self.greeting = b""
        """Sent on each new connection, unasked."""
        self.links: list[Link] = []
        self.peers: list[tuple[str, int]] = []
        """Where each connection came from; of a unix socket there is nothing to know."""
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
            link.over = True
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
        stuck = b""
        for link in list(self.links):
            link.over = True
            if not link.ended.is_set():
                link.finish()
        for link in list(self.links):
            if not link.ended.wait(3.0):
                stuck = stuck or link.received[-200:] or b"(nothing was sent on it)"
                link.reset()
        failures, self.failures = self.failures, []
        with self._lock:
            self._queue.clear()
            self._paths.clear()
            self.default = reply()
            self.greeting = b""
            self.links.clear()
            self.requests.clear()
            self.violations.clear()
            self.incomplete.clear()
        if stuck:
            raise SilenceError(f"the proxy kept a connection that the server had closed: {stuck!r}")
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
                note_message("request", request)
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
                sock, peer = listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(sock, next(self._numbers))
            thread = threading.Thread(target=self._serve, args=(link,), daemon=True)
            with self._lock:
                self.links.append(link)
                self.peers.append(peer)
                self._threads = [t for t in self._threads if t.is_alive()]
                self._threads.append(thread)
                self._lock.notify_all()
            thread.start()

    def _serve(self, link: Link) -> None:
        try:
            if self.greeting:
                link.send(self.greeting)
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
