"""What the log says of an exchange's time: in the line, at the server, and with its client."""

import threading
import time
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import held, last, reply
from tests.kit.client import Client, request
from tests.kit.link import Turn
from tests.kit.proxy import Proxy
from tests.kit.upstream import Upstream

LONG, BIG = 0.4, 3 * 1024 * 1024


def one_place(bench: Bench, upstream: Upstream, **legacy: Any) -> Proxy:
    return bench.proxy({"legacy": {"servers": [upstream.address], "max_connections": 1, **legacy}})


def times(proxy: Proxy, client: Client) -> tuple[float, float, float]:
    """Of the client's one exchange: in all, in the line, at the server."""
    (line,) = proxy.log_lines(1, port=client.port)
    return line["seconds"], line.get("queued", 0.0), line.get("upstream_seconds", 0.0)


@pytest.mark.parametrize(("keep_alive", "size"), [(True, 5), (True, BIG), (False, 5)])
def test_the_line_and_the_server(
    bench: Bench, upstream: Upstream, connect: Connect, keep_alive: bool, size: int
) -> None:
    """The first waits for the server alone, the second for its place, over a kept connection or a new one."""
    release = threading.Event()
    upstream.then(held(release, reply()))
    upstream.on("/second", reply(b"x" * size))
    proxy = one_place(bench, upstream, keep_alive=keep_alive)
    first, second = connect(proxy), connect(proxy)
    first.send(request("/first"))
    upstream.wait_requests(1)
    second.send(request("/second"))
    time.sleep(LONG)
    release.set()
    assert first.response().status == second.response().status == 200
    whole, queued, server = times(proxy, first)
    assert queued == 0
    assert LONG <= server <= whole
    whole, queued, server = times(proxy, second)
    assert LONG / 2 < queued < whole
    assert server > 0
    assert queued + server <= whole + 0.001


def test_who_waits_in_vain(bench: Bench, upstream: Upstream, connect: Connect) -> None:
    release = threading.Event()
    upstream.then(held(release, reply()))
    proxy = one_place(bench, upstream, queue_timeout="300ms")
    first, second = connect(proxy), connect(proxy)
    first.send(request("/first"))
    upstream.wait_requests(1)
    assert second.ask(request("/second")).status == 503
    whole, queued, server = times(proxy, second)
    assert 0.3 <= queued <= whole
    assert server == 0
    release.set()
    assert first.response().status == 200


@pytest.mark.parametrize(("size", "its"), [(100_000, LONG / 2), (BIG, 1.5 * LONG)])
def test_a_slow_client_s_time_is_not_the_server_s(
    bench: Bench, upstream: Upstream, connect: Connect, size: int, its: float
) -> None:
    """An upload that drips, an answer that is read late: neither is the server's time.

    A short answer is out when the kernel has it.
    """
    upstream.on("/big", reply(b"x" * size))
    proxy = one_place(bench, upstream)
    client = connect(proxy, rcvbuf=4096)
    client.send(request("/big", method="POST", fields=["Content-Length: 10"]))
    time.sleep(LONG)
    client.send(b"0123456789")
    client.wait_readable()
    time.sleep(LONG)
    assert len(client.response().body) == size
    whole, queued, server = times(proxy, client)
    assert queued == 0
    assert 0 < server < whole - its


def test_nor_is_it_where_the_server_breaks_off(bench: Bench, upstream: Upstream, connect: Connect) -> None:
    """What came goes on as far as it came, and may be read late."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BIG + 1)
    upstream.on("/big", last(head + b"x" * BIG))
    proxy = one_place(bench, upstream)
    client = connect(proxy, rcvbuf=4096)
    client.send(request("/big"))
    client.wait_readable()
    time.sleep(LONG)
    client.truncated()
    whole, _, server = times(proxy, client)
    assert 0 < server < whole - LONG / 2


@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_a_large_upload_has_the_server_from_its_place_on(
    bench: Bench, upstream: Upstream, connect: Connect, size: int
) -> None:
    """Over a kept connection, whose socket takes the small one at once and the large one in part."""
    proxy = one_place(bench, upstream)
    assert connect(proxy).ask(request("/first")).status == 200

    def story(turn: Turn) -> None:
        time.sleep(LONG)
        turn.send(reply())

    upstream.then(story)
    client = connect(proxy)
    assert client.ask(request("/up", method="POST", body=b"x" * size)).status == 200
    whole, queued, server = times(proxy, client)
    assert queued == 0
    assert LONG <= server <= whole
