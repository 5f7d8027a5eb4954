"""Many clients with every kind of exchange at once: each gets its own answer, and nothing is left over.

The mix crosses both lanes, the line of waiting clients, pipelines and connections that come and go; the seeds
are fixed, the interleaving is not. What is asserted holds for every interleaving.
"""

import hashlib
import random
import re
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import chunked, reply
from tests.kit.client import Client, request
from tests.kit.link import Turn
from tests.kit.sockets import eventually
from tests.kit.transcript import NOTES

CLIENTS = 16
ROUNDS = 25
CHUNKED = ["Transfer-Encoding: chunked"]


def mark(target: str, body: bytes) -> bytes:
    """What the upstream answers to a request: nobody else's answer looks like it."""
    digest = hashlib.sha256(target.encode() + body).hexdigest().encode()
    size = re.search(r"size=(\d+)", target)
    return (digest * (int(size.group(1)) // len(digest) + 1))[: int(size.group(1))] if size else digest


def answer(turn: Turn) -> None:
    """Answer as the target says."""
    target = turn.request.target.decode()
    kind = target.split("/")[1]
    body = b"" if kind == "empty" else mark(target, turn.request.body)
    if turn.request.method == b"HEAD":
        turn.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    elif kind == "chunked":
        turn.send(chunked(body[:7], body[7:], trailers="X-T: 1\r\n"))
    elif kind == "interim":
        turn.send(b"HTTP/1.1 103 X\r\n\r\n" + reply(body))
    elif kind == "dripped":
        turn.pieces(reply(body), max(40, len(body) // 20), 0.0005)
    elif kind == "last":
        turn.send(reply(body, fields="Connection: close\r\n"))
        turn.close()
    elif kind == "until-close":
        turn.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        turn.close()
    elif kind == "empty":
        turn.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    else:
        turn.send(reply(body))


KINDS = ["plain"] * 6 + ["chunked", "interim", "dripped", "last", "until-close", "empty"]


class Visitor:
    """One client after another, each with a few requests."""

    def __init__(self, name: str, seed: int, connect: Callable[[], Client]) -> None:
        self.random = random.Random(seed)
        self.name = name
        self.connect = connect
        self.count = 0
        self.failure: BaseException | None = None

    def one(self) -> tuple[bytes, str, bytes | None]:
        """A request, its method, and what must come back."""
        dice = self.random
        self.count += 1
        size = f"&size={dice.choice([1, 500, 70_000, 300_000])}" if dice.random() < 0.3 else ""
        kind = dice.choice(KINDS)
        target = f"/{kind}/{self.name}?n={self.count}{size}"
        method = dice.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT"])
        body = dice.randbytes(dice.choice([1, 300, 90_000])) if method in ("POST", "PUT") else b""
        wanted = None if method == "HEAD" else b"" if kind == "empty" else mark(target, body)
        if body and dice.random() < 0.4:
            middle = len(body) // 2
            parts = [part for part in (body[:middle], body[middle:]) if part]
            coded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
            return request(target, method=method, fields=CHUNKED) + coded, method, wanted
        return request(target, method=method, body=body), method, wanted

    def visit(self) -> None:
        """Rounds of requests, alone or pipelined, in one segment or several."""
        client = self.connect()
        for _ in range(ROUNDS):
            batch = [self.one() for _ in range(self.random.choice([1, 1, 1, 2, 5]))]
            data = b"".join(part[0] for part in batch)
            if self.random.random() < 0.3:
                cut = self.random.randrange(1, len(data))
                sender = threading.Thread(target=client.send_pieces, args=([data[:cut], data[cut:]],))
            else:
                sender = threading.Thread(target=client.send, args=(data,))
            sender.start()
            for _, method, wanted in batch:
                got = client.response(method)
                assert got.status in (200, 204), got.raw[:500]
                assert wanted is None or got.body == wanted, f"another's answer: {got.body[:100]!r}"
                assert got.persistent
            sender.join()
            if self.random.random() < 0.3:
                client.close()
                client = self.connect()
        client.close()

    def run(self) -> None:
        """Visit, and keep what went wrong."""
        try:
            self.visit()
        except BaseException as fault:  # noqa: BLE001 - raised again in the test's own thread
            self.failure = fault


@pytest.mark.parametrize("places", [3, 12])
def test_everybody_gets_their_own_answer(bench: Bench, connect: Connect, places: int) -> None:
    """With few places at the upstream nearly everybody waits in line, with many hardly anybody."""
    server = bench.upstream()
    server.default = answer
    table = {"servers": [server.address], "max_connections": places, "queue_timeout": "30s"}
    proxy = bench.proxy({"legacy": table})
    visitors = [
        Visitor(f"v{number}", 1000 + number, lambda: connect(proxy, timeout=25.0))
        for number in range(CLIENTS)
    ]
    threads = [threading.Thread(target=visitor.run) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for visitor in visitors:
        if visitor.failure is not None:
            raise visitor.failure
    NOTES.clear()
    asked = sum(visitor.count for visitor in visitors)
    assert not server.violations
    assert not server.incomplete
    assert not server.resets
    assert len(server.requests) == asked
    lines = eventually(lambda: found if len(found := proxy.lines("exchange")) >= asked else None, 20.0)
    assert lines is not None
    assert Counter(line["outcome"] for line in lines) == {"served": asked}
    lanes = {line["lane"] for line in lines}
    assert lanes == ({"express", "task"} if bench.express else {"task"})
    alive = [link for link in server.links if not link.ended.is_set()]
    assert len(alive) <= places
