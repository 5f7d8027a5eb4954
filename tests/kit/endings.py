"""Clients that end oddly, and what the log says of their ends."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.kit.answers import reply
from tests.kit.client import Client, request
from tests.kit.link import Turn
from tests.kit.proxy import Proxy
from tests.kit.sockets import eventually
from tests.kit.transcript import note_line
from tests.kit.upstream import Handler
from tests.kit.wire import Response, SilenceError, TruncatedError, read_response_body, read_response_head

DEBUG = {"level": "debug"}
"""A connection that never made a request leaves a receipt only so."""

QUICK = {
    "head": "1s",
    "keep_alive": "1s",
    "body_idle": "1s",
    "send_idle": "1s",
    "linger_gap": "300ms",
    "linger_total": "2s",
    "linger_kernel": "1s",
    "fin_wait_1": "1s",
    "fin_wait_2": "1s",
}
"""Deadlines under which every way of ending takes about a second."""


def ends(
    proxy: Proxy, client: Client | int, kind: str, count: int, timeout: float = 8.0
) -> list[dict[str, Any]]:
    """So many log lines of one connection; how much was undelivered is a matter of packets, and not noted."""
    port = client if isinstance(client, int) else client.port
    found = eventually(lambda: proxy.lines(kind, port)[count - 1 :] and proxy.lines(kind, port), timeout)
    assert len(found) == count, f"{len(found)} {kind} lines, not {count}: {found}; {proxy.stderr()[-2000:]}"
    for line in found:
        note_line({key: value for key, value in line.items() if key not in ("undelivered", "listen")})
    return found


def receipt(proxy: Proxy, client: Client | int, timeout: float = 8.0) -> dict[str, Any]:
    """The one receipt of a connection. False is left out of the log: it is put back here."""
    line = ends(proxy, client, "connection", 1, timeout)[0]
    return {"acknowledged": False, "client_fin": False, "exchanges": 0, "lingered_bytes": 0, **line}


def outcome(proxy: Proxy, client: Client | int, timeout: float = 8.0) -> dict[str, Any]:
    """The outcome of a connection's one exchange."""
    return ends(proxy, client, "exchange", 1, timeout)[0]


def page(size: int, status: str = "200 OK", fields: str = "") -> bytes:
    """A response with a body of so many bytes that differ by place."""
    line = b"0123456789abcdef" * 64
    return reply((line * (size // len(line) + 1))[:size], status=status, fields=fields)


def early(response: bytes) -> Handler:
    """An orderly server: it answers at the head, then reads the body that still comes."""

    def answer(turn: Turn) -> None:
        turn.send(response)
        turn.read_body()

    return answer


def give_up(client: Client, head: bytes, size: int, *, chunked: bool = False) -> Response | None:
    """Upload, then read the answer; as in many HTTP libraries a send error ends it all. None: lost."""
    piece = b"x" * 16384
    framed = b"4000\r\n" + piece + b"\r\n" if chunked else piece
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    sent = client.send_or_fail(head)
    for at in range(0, size, len(piece)):
        sent = sent and client.send_or_fail(framed if chunked else piece[: size - at])
    if chunked:
        sent = sent and client.send_or_fail(b"0\r\n\r\n")
    return whole(client, head.split(b" ", 1)[0].decode("latin-1")) if sent else None


def whole(client: Client, method: str = "GET") -> Response | None:
    """Read a final response; None if it is cut off. What was read is not noted: it may be large."""
    with contextlib.suppress(TruncatedError, SilenceError):
        response = read_response_head(client.stream)
        while response.status < 200:
            response = read_response_head(client.stream)
        read_response_body(client.stream, response, method)
        return response
    return None


def lost(tries: int, one: Callable[[], bool]) -> int:
    """How many of so many tries did not get their whole response."""
    return sum(not one() for _ in range(tries))


@contextlib.contextmanager
def dripping(client: Client, piece: bytes = b"x", pause: float = 0.05) -> Iterator[threading.Event]:
    """Send a piece again and again beside the test; the event tells that the other end took no more."""
    stop, refused = threading.Event(), threading.Event()

    def drip() -> None:
        while not stop.wait(pause):
            if not client.send_or_fail(piece):
                refused.set()
                return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield refused
    finally:
        stop.set()
        thread.join(5)


def _time(client: Client) -> float:
    start = time.monotonic()
    client.send(request())
    assert whole(client) is not None
    return time.monotonic() - start


def times(address: str, count: int) -> list[float]:
    """The seconds that each of so many requests takes, one after the other on one connection."""
    with Client(address) as client:
        return [_time(client) for _ in range(count)]


def side_by_side(calm: str, other: str, count: int) -> tuple[list[float], list[float]]:
    """The same for each of two proxies, asked in turns: the machine disturbs both alike."""
    with Client(calm) as first, Client(other) as second:
        pairs = [(_time(first), _time(second)) for _ in range(count)]
    return [one for one, _ in pairs], [two for _, two in pairs]


def p99_at_most_twice(measure: Callable[[], tuple[list[float], list[float]]], tries: int = 6) -> None:
    """See that p99 of the second times is at most 2 x that of the first.

    A percentile of one measurement is a handful of samples, and chance may favour either side: where it is
    more than twice, it is measured again, and all samples together count as well. What slows us does so in
    each try.
    """
    firsts: list[float] = []
    seconds: list[float] = []
    tried = []
    for _ in range(tries):
        one, two = measure()
        firsts += one
        seconds += two
        tried.append(f"{p99(one) * 1000:.2f} ms : {p99(two) * 1000:.2f} ms")
        if p99(two) <= 2 * p99(one) or p99(seconds) <= 2 * p99(firsts):
            return
    raise AssertionError("p99 more than twice, each time: " + ", ".join(tried))


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return sorted(seconds)[min(len(seconds) - 1, len(seconds) * 99 // 100)]


def said(line: dict[str, Any]) -> tuple[str, str]:
    """Who ended it and in which phase; a reason must be there."""
    assert line["reason"], line
    return line["by"], line["phase"]
