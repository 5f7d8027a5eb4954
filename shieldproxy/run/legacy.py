"""A legacy server to shield: HTTP/1.0, a few threads, each held by one connection from accept to close.

It is there to be looked at: ``make run`` and the demonstration put the proxy in front of it, tests use it as
an upstream of the old kind. It does what such servers did. A thread that has accepted a connection reads from
it until the request is whole, however slowly that comes; it answers with HTTP/1.0, keeps a connection only if
the client asks for that, and closes with a bare ``close()``, so that bytes still unread turn into a reset.
With all threads held, further connections wait in a short backlog, then in the client's SYN queue.

It never speaks chunked (a chunked request is a 411) and needs no Host. Not for production: it has no limits
beyond those that keep a demonstration alive.
"""

import argparse
import html
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from typing import Self
from urllib.parse import urlsplit

from shieldproxy.core.address import Address
from shieldproxy.run.legacy_wire import Answer, Refusal, Request, asks_to_keep, read_request, send, text

BLOCK = b"The quick brown fox jumps over the lazy dog, sixty-four bytes.\r\n" * 1024
PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>A legacy server</title>
<style>body {{ font: 16px/1.5 serif; max-width: 44em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse }} td {{ border: 1px solid #999; padding: .2em .6em; font: 13px monospace;
overflow-wrap: anywhere }}</style>
<h1>It works, and it is old</h1>
<p>This is an HTTP/1.0 server with {threads} threads, {held} of them held at this moment. {way}</p>
<p>It received <code>{request}</code> from {peer} with these fields:</p>
<table>{rows}</table>
<p>Also here: <a href="/slow?seconds=2">/slow?seconds=2</a>,
<a href="/big?size=1048576">/big?size=1048576</a>,
<a href="/stream?size=65536">/stream?size=65536</a> (no length, ends with the connection),
POST /echo, and POST /refuse?size=40000 (413, the body unread).</p>
</html>
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server has seen so far, and how many of its threads are held now."""

    accepted: int
    served: int
    held: int
    held_peak: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that became of a connection, for whoever watches the server's threads.

    ``what`` is "held" (a thread took it), "asked" (a head is read; ``text`` is its User-Agent), "answered"
    (a response is written whole; ``text`` is its status) or "released" (the thread is free again). ``at`` is
    ``time.monotonic()``, which all processes of a machine share.
    """

    what: str
    at: float
    number: int
    port: int
    text: str = ""


Watch = Callable[[Seen], None]


def blocks(size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes of readable filling."""
    for start in range(0, size, len(BLOCK)):
        yield BLOCK[: size - start]


class LegacyServer:
    """The server: ``start()``, then ``counts()`` at any time, then ``stop()``; or as a context manager.

    Args:
        address: where to listen; port 0 takes a free one, found in ``.address`` after ``start()``.
        threads: connections that are served at a time.
        backlog: connections that the kernel holds beside those.
        patience: seconds that a thread waits for the next bytes of a client (Apache 1.3 waited 300).
        keep_alive: seconds that a thread waits for the next request on a kept connection (Apache 1.3: 15).
        watch: called with all that becomes of connections, from their threads.
    """

    def __init__(
        self,
        address: Address,
        *,
        threads: int = 4,
        backlog: int = 4,
        patience: float = 300.0,
        keep_alive: float = 15.0,
        watch: Watch = lambda _: None,
    ) -> None:
        if address.is_unix:
            raise ValueError(f"{address}: this server speaks TCP only")
        self.address = address
        self._threads = threads
        self._backlog = backlog
        self._patience = patience
        self._keep_alive = keep_alive
        self._watch = watch
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._stopped = threading.Event()
        self._workers: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._accepted = self._served = self._peak = 0

    def start(self) -> Self:
        """Bind, listen and start the threads. OSError if the address cannot be had."""
        family = socket.AF_INET6 if ":" in self.address.host else socket.AF_INET
        listener = socket.create_server(
            (self.address.host, self.address.port), family=family, backlog=self._backlog
        )
        self.address = Address(self.address.host, listener.getsockname()[1], "")
        self._listener = listener
        for number in range(self._threads):
            worker = threading.Thread(
                target=self._work, args=(listener,), name=f"legacy-{number}", daemon=True
            )
            worker.start()
            self._workers.append(worker)
        return self

    def stop(self) -> None:
        """End every connection where it stands, and the threads."""
        self._stopped.set()
        if self._listener is not None:
            with suppress(OSError):  # wakes the threads in accept()
                self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for worker in self._workers:
            worker.join()
        if self._listener is not None:
            self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def counts(self) -> Counts:
        """What it has seen so far."""
        with self._lock:
            return Counts(self._accepted, self._served, len(self._open), self._peak)

    def _work(self, listener: socket.socket) -> None:
        """One thread: take a connection, serve it to its end, take the next."""
        while not self._stopped.is_set():
            try:
                connection, peer = listener.accept()
            except OSError:
                if self._stopped.wait(0.05):  # out of descriptors, or woken to stop
                    return
                continue
            host, port = str(peer[0]), int(peer[1])
            with self._holding(connection, port) as note, connection, suppress(OSError):
                self._serve(connection, host, note)

    @contextmanager
    def _holding(self, connection: socket.socket, port: int) -> Iterator[Callable[[str, str], None]]:
        """Count a connection while a thread is held by it; gives what notes its progress."""
        with self._lock:
            number = next(self._numbers)
            self._accepted += 1
            self._open.add(connection)
            self._peak = max(self._peak, len(self._open))
        note = partial(self._note, number, port)
        note("held")
        try:
            yield note
        finally:
            with self._lock:
                self._open.discard(connection)
            note("released")

    def _note(self, number: int, port: int, what: str, words: str = "") -> None:
        self._watch(Seen(what, time.monotonic(), number, port, words))

    def _serve(self, connection: socket.socket, peer: str, note: Callable[[str, str], None]) -> None:
        """Answer the requests of a connection, as long as it is kept."""
        connection.settimeout(self._patience)
        with connection.makefile("rb") as reader:
            keep = True
            while keep and not self._stopped.is_set():
                try:
                    request = read_request(
                        reader, peer, lambda asked: note("asked", asked.value("user-agent"))
                    )
                    if request is None:
                        return
                    answer = self._answer(request)
                except Refusal as refusal:
                    request, answer = None, text(refusal.status, refusal.why)
                keep = asks_to_keep(request) and answer.length is not None
                send(
                    connection, answer, keep=keep, head_only=request is not None and request.method == "HEAD"
                )
                note("answered", str(answer.status))
                with self._lock:
                    self._served += 1
                if keep:
                    connection.settimeout(self._keep_alive)
                    reader.peek(1)
                    connection.settimeout(self._patience)

    def _answer(self, request: Request) -> Answer:
        """Choose the page."""
        path = urlsplit(request.target).path
        if path == "/slow":
            seconds = request.number("seconds", 2.0, 60.0)
            self._stopped.wait(seconds)
            return text(200, f"that took {seconds:g} s")
        if path in ("/big", "/stream"):
            size = int(request.number("size", 1024 * 1024, 1024**3))
            return Answer(200, blocks(size), size if path == "/big" else None)
        if path == "/echo":
            return Answer(
                200, [request.body], len(request.body), request.value("content-type") or "text/plain"
            )
        if path != "/":
            raise Refusal(404, "there is nothing here")
        body = self._page(request).encode()
        return Answer(200, [body], len(body), "text/html; charset=utf-8")

    def _page(self, request: Request) -> str:
        """The page for a browser: what this is, and what the request looked like from here."""
        via = request.value("via")
        rows = (f"<tr><td>{html.escape(k)}<td>{html.escape(v)}" for k, v in request.fields)
        return PAGE.format(
            threads=self._threads,
            held=self.counts().held,
            way=f"You reached it through a proxy ({html.escape(via)})."
            if via
            else "You reached it directly.",
            request=html.escape(f"{request.method} {request.target} {request.version}"),
            peer=html.escape(request.peer),
            rows="\n".join(rows),
        )


class Printer:
    """Prints what is seen, a JSON object on a line. Who no longer reads it does not stop the server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, seen: Seen) -> None:
        """Print one."""
        with self._lock, suppress(OSError):
            print(json.dumps(asdict(seen)), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until INT or TERM."""
    parser = argparse.ArgumentParser(
        prog="python -m shieldproxy.run.legacy", description="A small HTTP/1.0 server."
    )
    parser.add_argument("--listen", default="127.0.0.1:9000", metavar="ADDR")
    parser.add_argument("--threads", type=int, default=4, help="connections served at a time (4)")
    parser.add_argument(
        "--watch", action="store_true", help="print what becomes of connections, as JSON lines"
    )
    options = parser.parse_args(arguments)
    watch = Printer() if options.watch else lambda _: None
    try:
        address = Address.parse(options.listen)
        server = LegacyServer(address, threads=options.threads, watch=watch).start()
    except (OSError, ValueError) as fault:
        parser.exit(2 if isinstance(fault, ValueError) else 1, f"legacy server: {options.listen}: {fault}\n")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(f"legacy server: http://{server.address}/ with {options.threads} threads", flush=True)
    stop.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
