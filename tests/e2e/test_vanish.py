"""Clients that vanish, told from clients that read slowly; on a wire of our own that can be cut and mended.

The proxy and its upstream live in one network namespace, the client in another (tests.kit.netns).
"""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.net import pipes
from tests.e2e.conftest import Bench
from tests.kit.client import Client, request
from tests.kit.endings import DEBUG, early, give_up, outcome, page, receipt, whole
from tests.kit.netns import SERVER, Wire, missing, wire
from tests.kit.proxy import Proxy, free_address
from tests.kit.scene import LAST, PATIENT
from tests.kit.sockets import (
    FIN_WAIT2,
    descriptors,
    eventually,
    facing,
    gone,
    held_by,
    of_port,
    table,
    unread,
    unsent,
)
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch

LACK = missing()
apart = pytest.mark.skipif(bool(LACK), reason=LACK or "namespaces can be had")
GONE = {**PATIENT, "fin_wait_1": "2s", "fin_wait_2": "1s", "body_idle": "20s"}
"""Only fin_wait_1 ends anything here."""
UPLOAD = request("/up", method="POST", fields=["Content-Length: 200000"])


@pytest.fixture
def line() -> Iterator[Wire]:
    """A wire without delay."""
    with wire() as joined:
        yield joined


class Stage:
    """Proxy and upstream at one end of the wire, clients at the other."""

    def __init__(self, bench: Bench, line: Wire, **tables: Any) -> None:
        self.line = line
        self.upstream: Upstream = line.server.run(bench.upstream)
        self.upstream.on("/big", page(4_000_000))
        tables = {"log": DEBUG, "timeouts": GONE, **tables}
        self.proxy: Proxy = line.server.run(partial(self._proxy, bench, tables))
        self.port = int(self.proxy.address.rpartition(":")[2])

    def _proxy(self, bench: Bench, tables: dict[str, Any]) -> Proxy:
        behind = {"legacy": {"servers": [self.upstream.address], "pool_idle": "500ms"}}
        return bench.proxy(behind, server={"listen": [free_address(SERVER)]}, **tables)

    def client(self, **options: Any) -> Client:
        """Connect from the other end."""
        return self.line.client.run(partial(Client, self.proxy.address, **options))

    def state(self) -> str:
        """What there is, for a test that fails."""
        held = [str(row) for row in table(self.proxy.pid) if row.inode in held_by(self.proxy.pid)]
        return "\n".join([*held, *self.descriptors(), self.proxy.stderr()])

    def descriptors(self) -> list[str]:
        """Every descriptor of the proxy."""
        return [str(entry.readlink()) for entry in Path(f"/proc/{self.proxy.pid}/fd").iterdir()]

    def acknowledged(self, client: Client) -> bool:
        """Whether the client's kernel has all that was sent so far, and the proxy's knows."""
        return [row.unsent for row in facing(client.sock, self.proxy.pid)] == [0]

    def left(self) -> list[Any]:
        """What the proxy's kernel still holds of its clients."""
        return list(of_port(self.port, pid=self.proxy.pid))


@apart
@pytest.mark.root
class TestVanished:
    """The client's kernel answers no more."""

    def test_in_mid_response(self, line: Wire, bench: Bench) -> None:
        """Gone within fin_wait_1 + 2 s, and the reason says what happened."""
        scene = Stage(bench, line)
        with scene.client() as client:
            client.send(request("/big"))
            client.sock.recv(1000)
            line.cut()
            cut = time.monotonic()
            told = outcome(scene.proxy, client)
            assert time.monotonic() - cut < 2 + 2
            assert (told["outcome"], told["by"], told["phase"]) == ("aborted", "client", "relay")
            assert "vanish" in told["reason"]
            ended = receipt(scene.proxy, client)
            assert (ended["by"], ended["phase"], ended["acknowledged"]) == ("client", "send", False)
            gone(scene.left, 2 + 2)
            assert eventually(scene.upstream.links[0].ended.is_set)

    def test_in_a_linger(self, line: Wire, bench: Bench) -> None:
        """The response's last bytes and our FIN are never acknowledged."""
        scene = Stage(bench, line)
        scene.upstream.on("/page", page(14_000))
        with scene.client(rcvbuf=4096) as client:
            client.send(request("/page", fields=["Connection: close"]))
            assert eventually(lambda: unread(client.sock))
            line.cut()
            client.sock.setblocking(False)
            client.sock.recv(3000)  # opens the window: but nobody hears of it
            cut = time.monotonic()
            ended = receipt(scene.proxy, client)
            assert time.monotonic() - cut < 2 + 2
            assert (ended["linger"], ended["acknowledged"]) == ("vanished", False)
            gone(scene.left, 2 + 2)

    def test_after_the_acknowledgement(self, line: Wire, bench: Bench) -> None:
        """It had everything: the gap ends it, and the kernel's record goes with fin_wait_2."""
        scene = Stage(bench, line, timeouts={**GONE, "linger_gap": "500ms"})
        with scene.client() as client:
            client.ask(LAST)
            assert client.ending() == "fin"
            assert eventually(lambda: [row.state for row in scene.left()] == [FIN_WAIT2])
            line.cut()
            assert receipt(scene.proxy, client)["acknowledged"] is True
            gone(scene.left, 1 + 1.5)

    def test_while_idle(self, line: Wire, bench: Bench) -> None:
        """keep_alive ends it; our FIN is never answered: the kernel gives up after fin_wait_1."""
        scene = Stage(bench, line, timeouts={**GONE, "keep_alive": "500ms"})
        with scene.client() as client:
            client.ask(request())
            assert eventually(lambda: scene.acknowledged(client))  # else it is lingered for
            line.cut()
            assert "linger" not in receipt(scene.proxy, client)
            gone(scene.left, 2 + 2)

    def test_in_a_head_and_in_a_body(self, line: Wire, bench: Bench) -> None:
        """Their own deadlines end them; the 408 that nobody acknowledges is given up after fin_wait_1."""
        scene = Stage(bench, line, timeouts={**GONE, "head": "500ms", "body_idle": "500ms"})
        assert eventually(lambda: scene.proxy.lines("connection"))  # it has started in full
        before = descriptors(scene.proxy.pid)
        with scene.client() as head, scene.client() as body:
            head.send(b"GET / HTTP/1.1\r\n")
            body.send(request(method="POST", fields=["Content-Length: 100"]) + b"x")
            assert eventually(lambda: not (unsent(head.sock) or unsent(body.sock)))
            line.cut()
            cut = time.monotonic()
            for client in (head, body):
                receipt(scene.proxy, client)
            assert time.monotonic() - cut < 0.5 + 2 + 2
            gone(scene.left, 2 + 2)
            assert eventually(lambda: descriptors(scene.proxy.pid) <= before), scene.state()

    def test_fifty_at_a_time_leave_nothing(self, line: Wire, bench: Bench) -> None:
        """Descriptors and sockets are as before, but for the pipes that are kept."""
        scene = Stage(bench, line, timeouts={**GONE, "keep_alive": "1s"})
        with scene.client() as first:
            first.ask(request())
        assert eventually(lambda: len(scene.proxy.lines("connection")) == 2)
        before = descriptors(scene.proxy.pid)
        watch = Watch()
        with ExitStack() as closing:
            for number in range(50):
                client = closing.enter_context(scene.client(rcvbuf=4096))
                client.send(request("/big") if number % 2 else request("/"))
                client.wait_readable()
            line.cut()
            probed = (
                3 * watch.seconds
            )  # a window closed for so long is probed as rarely, and two probes it takes
            kept = 2 * pipes.KEPT
            closed = 2 + 3 + probed + 2 * pipes.REST
            assert eventually(lambda: descriptors(scene.proxy.pid) <= before + kept, closed), scene.state()
            gone(scene.left, 2 + 3)


@apart
@pytest.mark.root
class TestAlive:
    """Whoever only reads slowly, or was away for a moment, is served whole."""

    def test_pauses_of_three_times_fin_wait_1(self, line: Wire, bench: Bench) -> None:
        """In mid-response and in a linger: windows are closed, but a kernel answers every probe."""
        scene = Stage(bench, line)
        scene.upstream.on("/page", page(14_000))
        with scene.client(rcvbuf=4096) as reading, scene.client(rcvbuf=4096) as lingering:
            reading.send(request("/big"))
            lingering.send(request("/page", fields=["Connection: close"]))
            assert eventually(lambda: unread(reading.sock) and unread(lingering.sock))
            time.sleep(6.0)  # the pause itself
            for client in (reading, lingering):
                assert not scene.proxy.lines("connection", client.port)
            reading.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # the rest may come faster
            for client, size in ((reading, 4_000_000), (lingering, 14_000)):
                got = whole(client)
                assert got is not None
                assert len(got.body) == size
        assert receipt(scene.proxy, lingering)["acknowledged"] is True

    def test_a_cut_that_is_mended_in_time(self, line: Wire, bench: Bench) -> None:
        """Less than fin_wait_1 without an answer is weather."""
        scene = Stage(bench, line, timeouts={**GONE, "fin_wait_1": "6s"})
        with scene.client() as client:
            client.send(request("/big"))
            client.sock.recv(1000)
            line.cut()
            time.sleep(1.0)  # the bad weather
            line.mend()
            rest = 0
            while piece := client.sock.recv(1 << 20):
                rest += len(piece)
                if rest >= 3_999_000:
                    break
        assert rest >= 3_999_000

    def test_a_line_of_56_kbit(self, line: Wire, bench: Bench) -> None:
        """A modem: 7,000 B/s and 100 ms; slow in every respect, and served."""
        scene = Stage(bench, line)
        line.set(rate=7000, delay=0.05)
        scene.upstream.on("/page", page(30_000))
        with scene.client(timeout=15) as client:
            got = whole(client.send(request("/page", fields=["Connection: close"])))
            assert got is not None
            assert len(got.body) == 30_000
            assert client.ending() == "fin"
        assert receipt(scene.proxy, client)["acknowledged"] is True


@apart
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize(
    ("linger", "size", "least"), [("ack", 200, 0), ("ack", 60_000, 0), ("off", 60_000, 20)]
)
def test_the_lost_response(
    line: Wire, bench: Bench, transcript: list[str], linger: str, size: int, least: int
) -> None:
    """100 ms round trip, 1 % loss, 200 kB into an early 413: none lost; without a linger most are."""
    scene = Stage(
        bench, line, timeouts={}, rule=[{"name": "all", "linger": linger, "buffer_request": "stream"}]
    )
    scene.upstream.on("/up", early(page(size, "413 Content Too Large")), at="head")
    line.set(delay=0.05, loss=0.01)

    def attempt(number: int) -> bool:
        with scene.client(timeout=20) as client:
            got = give_up(client, UPLOAD, 200_000)
            return got is not None and len(got.body) == size

    with ThreadPoolExecutor(max_workers=12) as many:
        lost = sum(not good for good in many.map(attempt, range(24)))
    transcript.clear()
    if least:
        assert lost >= least
    else:
        assert lost == 0
