"""The server's side: deadlines, the line before it, and idle connections that it closes."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import held, reply
from tests.kit.client import request
from tests.kit.endings import DEBUG, QUICK, ends, outcome, receipt
from tests.kit.link import Turn
from tests.kit.proxy import Proxy, free_address
from tests.kit.scene import no_close_wait, stage
from tests.kit.sockets import (
    CLOSE_WAIT,
    ESTABLISHED,
    cpu_share,
    eventually,
    full_backlog,
    to_port,
)
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch


@pytest.fixture(autouse=True)
def reaped(bench: Bench) -> Iterator[None]:
    """After each test, when its clients have closed, nothing of ours waits for a close."""
    yield
    no_close_wait(bench.proxies, bench.upstreams)


def before(bench: Bench, *servers: str, **table: Any) -> Proxy:
    """A proxy whose upstream has this table."""
    return bench.proxy({"legacy": {"servers": list(servers), **table}}, log=DEBUG, timeouts=QUICK)


class TestIdle:
    """Connections in the pool."""

    def test_the_servers_fin_is_seen_at_once(self, bench: Bench, connect: Connect) -> None:
        """Dropped before anybody uses it: no CLOSE_WAIT, no retry."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.ask(request())
        link = scene.upstream.links[0]
        link.finish()
        assert link.ended.wait(0.5), "our FIN is the answer to the server's"
        assert link.end == "fin"
        assert not to_port(scene.server, CLOSE_WAIT, ESTABLISHED, pid=scene.proxy.pid)
        client.ask(request())
        assert len(scene.upstream.links) == 2
        assert [line.get("retries", 0) for line in ends(scene.proxy, client, "exchange", 2)] == [0, 0]

    def test_the_servers_reset_is_seen_at_once(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        client.ask(request())
        scene.upstream.links[0].reset()
        assert eventually(lambda: not to_port(scene.server, ESTABLISHED, pid=scene.proxy.pid))
        assert client.ask(request()).status == 200
        assert [line.get("retries", 0) for line in ends(scene.proxy, client, "exchange", 2)] == [0, 0]

    def test_unasked_bytes_poison_it(self, bench: Bench, connect: Connect) -> None:
        """A response that nobody asked for never reaches the next client."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.ask(request())
        scene.upstream.links[0].send(reply(b"poison"))
        assert scene.upstream.links[0].ended.wait(2)
        assert client.ask(request()).body == b"hello"
        assert len(scene.upstream.links) == 2

    def test_pool_idle_ends_it_in_an_orderly_way(self, bench: Bench, connect: Connect) -> None:
        upstream = bench.upstream()
        proxy = before(bench, upstream.address, pool_idle="600ms")
        connect(proxy).ask(request())
        begun = Watch()
        assert upstream.links[0].ended.wait(3)
        assert upstream.links[0].end == "fin"
        begun.took(0.5, 1.2)

    def test_use_keeps_it(self, bench: Bench, connect: Connect) -> None:
        """Unused is what counts."""
        upstream = bench.upstream()
        proxy = before(bench, upstream.address, pool_idle="500ms")
        client = connect(proxy)
        for _ in range(6):
            client.ask(request())
            time.sleep(0.2)
        assert len(upstream.links) == 1

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_pool_idle_does_not_end_a_lease(self, bench: Bench, connect: Connect, method: str) -> None:
        """Whoever works on a connection of the pool may take longer than that."""
        upstream = bench.upstream()
        upstream.on("/slow", lambda turn: turn.pieces(reply(b"x" * 10), 8, 0.2))
        proxy = before(bench, upstream.address, pool_idle="300ms")
        client = connect(proxy)
        client.ask(request())
        assert (
            client.ask(request("/slow", method=method, body=b"x" if method == "POST" else b"")).status == 200
        )
        assert len(upstream.links) == 1

    def test_a_drain_ends_it_in_an_orderly_way(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        connect(scene.proxy).ask(request())
        assert scene.proxy.terminate() == 0
        assert scene.upstream.links[0].ended.wait(2)
        assert scene.upstream.links[0].end == "fin"


class TestDeadlines:
    """What is not answered in time."""

    def test_connect_timeout(self, bench: Bench, connect: Connect) -> None:
        """A server that answers no SYN: 504 in time."""
        listener, fillers = full_backlog()
        try:
            host, port = listener.getsockname()
            proxy = before(bench, f"{host}:{port}", connect_timeout="500ms")
            client = connect(proxy)
            begun = Watch()
            assert client.ask(request()).status == 504
            begun.took(0.4, 1.2)
            line = outcome(proxy, client)
            assert (line["by"], line["phase"], line["outcome"]) == ("upstream", "connect", "failed")
            assert "connect-timeout" in line["reason"]
        finally:
            for sock in (*fillers, listener):
                sock.close()

    def test_nobody_listens(self, bench: Bench, connect: Connect) -> None:
        """Down at start is a 502, not an exit; and at once."""
        proxy = before(bench, free_address())
        client = connect(proxy)
        begun = Watch()
        assert client.ask(request()).status == 502
        begun.took(0, 0.5)
        line = outcome(proxy, client)
        assert (line["by"], line["phase"], line["outcome"]) == ("upstream", "connect", "failed")

    def test_response_timeout_counts_progress(self, bench: Bench, connect: Connect) -> None:
        """A response that comes slowly, and never pauses for so long, is whole."""
        upstream = bench.upstream()
        upstream.on("/", lambda turn: turn.pieces(reply(b"x" * 10), 8, 0.2))
        proxy = before(bench, upstream.address, response_timeout="600ms")
        begun = Watch()
        assert connect(proxy).ask(request()).body == b"x" * 10
        assert begun.seconds > 0.8

    def test_a_response_that_stops_half_way_is_aborted(self, bench: Bench, connect: Connect) -> None:
        """The head has gone out: the client must see that the rest is missing."""
        upstream = bench.upstream()
        upstream.on("/", held(threading.Event(), b"", before=reply(b"x" * 500_000)[:200_000]))
        proxy = before(bench, upstream.address, response_timeout="600ms")
        client = connect(proxy)
        client.send(request())
        client.truncated()
        line = outcome(proxy, client)
        assert (line["outcome"], line["by"], line["phase"]) == ("failed", "upstream", "relay")
        assert "response-timeout" in line["reason"]

    def test_response_timeout_gives_the_connection_up(self, bench: Bench, connect: Connect) -> None:
        """The late response is nobody's: it must not answer the next request."""
        upstream = bench.upstream()
        release = threading.Event()
        upstream.on("/late", held(release, reply(b"late")))
        proxy = before(bench, upstream.address, response_timeout="400ms", max_connections=1)
        client = connect(proxy)
        assert client.ask(request("/late")).status == 504
        release.set()
        other = connect(proxy)
        assert other.ask(request("/next")).body == b"hello"


class TestLine:
    """One connection at the server; the rest wait."""

    def busy(
        self, bench: Bench, connect: Connect, queue: str = "5s"
    ) -> tuple[Proxy, Upstream, threading.Event]:
        upstream, release = bench.upstream(), threading.Event()
        upstream.on("/held", held(release, reply(b"late")))
        proxy = before(bench, upstream.address, max_connections=1, queue_timeout=queue)
        connect(proxy).send(request("/held"))
        upstream.wait_requests(1)
        return proxy, upstream, release

    def test_queue_timeout(self, bench: Bench, connect: Connect) -> None:
        """503 with Retry-After; whoever holds the place is not touched."""
        proxy, upstream, release = self.busy(bench, connect, "500ms")
        client = connect(proxy)
        begun = Watch()
        got = client.ask(request())
        assert (got.status, bool(got.get("retry-after"))) == (503, True)
        begun.took(0.4, 1.1)
        line = outcome(proxy, client)
        assert (line["outcome"], line["phase"], line["by"]) == ("refused", "admission", "proxy")
        assert "queue-timeout" in line["reason"]
        release.set()
        assert len(upstream.requests) == 1

    def test_served_in_the_order_of_their_coming(self, bench: Bench, connect: Connect) -> None:
        proxy, upstream, release = self.busy(bench, connect)
        waiting = []
        for number in range(4):
            waiting.append(connect(proxy).send(request(f"/{number}")))
            assert waiting[-1].quiet(0.05)
        release.set()
        for client in waiting:
            assert client.response().status == 200
        assert [seen.target for seen in upstream.requests] == [b"/held", b"/0", b"/1", b"/2", b"/3"]
        assert len(upstream.links) == 1

    def test_a_client_that_resets_loses_its_place(self, bench: Bench, connect: Connect) -> None:
        """Seen at once, and its request never goes out."""
        proxy, upstream, release = self.busy(bench, connect)
        first = connect(proxy).send(request("/first"))
        assert first.quiet(0.1)
        second = connect(proxy).send(request("/second"))
        assert second.quiet(0.05)
        first.reset()
        line = outcome(proxy, first)
        assert (line["status"], line["by"], line["phase"]) == (499, "client", "admission")
        assert receipt(proxy, first)["by"] == "client"
        release.set()
        assert second.response().status == 200
        assert [seen.target for seen in upstream.requests] == [b"/held", b"/second"]

    def test_a_half_closed_client_keeps_its_place(self, bench: Bench, connect: Connect) -> None:
        proxy, _, release = self.busy(bench, connect)
        client = connect(proxy).send(request("/second"))
        client.half_close()
        assert client.quiet(0.1)
        assert cpu_share(proxy.pid, 0.4) < 0.05
        release.set()
        assert client.response().status == 200
        assert client.ending() == "fin"

    def test_a_broken_place_is_given_on(self, bench: Bench, connect: Connect) -> None:
        """The server ends the connection of the one in front: the next in line gets a new one."""
        proxy, upstream, _ = self.busy(bench, connect)
        client = connect(proxy).send(request("/second"))
        assert client.quiet(0.1)
        upstream.links[0].reset()
        assert client.response().status == 200


def test_the_upstream_is_released_before_the_client_has_read(bench: Bench, connect: Connect) -> None:
    """A slow reader holds no connection of a server that has sent all, where that fits the buffers."""
    upstream = bench.upstream()
    upstream.on("/page", reply(b"x" * 60_000))
    proxy = before(bench, upstream.address, max_connections=1)
    slow = connect(proxy, rcvbuf=4096).send(request("/page"))
    upstream.wait_requests(1)
    begun = Watch()
    assert connect(proxy).ask(request()).status == 200
    begun.took(0, 0.5)
    assert len(slow.response().body) == 60_000


def test_an_aborted_exchange_gives_the_server_an_orderly_end(bench: Bench, connect: Connect) -> None:
    """The client resets while the server works: what the server sees is our FIN."""
    scene = stage(bench)
    seen: list[str] = []

    def watch(turn: Turn) -> None:
        seen.append(turn.gone())

    scene.upstream.on("/watched", watch)
    client = connect(scene.proxy)
    client.send(request("/watched"))
    scene.upstream.wait_requests(1)
    client.reset()
    assert eventually(lambda: seen) == ["fin"]
