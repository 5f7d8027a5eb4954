"""The line before a server: its length, its order, and when those may come again who are sent away."""

import threading
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import held, reply
from tests.kit.client import Client, request
from tests.kit.link import Turn
from tests.kit.proxy import Proxy
from tests.kit.upstream import Upstream


def proxy_of(bench: Bench, upstream: Upstream, **table: Any) -> Proxy:
    return bench.proxy({"legacy": {"servers": [upstream.address], "max_connections": 1, **table}})


def waiting(connect: Connect, proxy: Proxy, target: str) -> Client:
    """A client in the line."""
    client = connect(proxy)
    client.send(request(target))
    assert client.quiet(0.1)
    return client


def test_beyond_the_line_s_length_there_is_a_503_at_once(
    bench: Bench, upstream: Upstream, connect: Connect
) -> None:
    release = threading.Event()
    upstream.then(held(release, reply()))
    proxy = proxy_of(bench, upstream, queue_length=2)
    first = connect(proxy)
    first.send(request("/0"))
    upstream.wait_requests(1)
    line = [waiting(connect, proxy, f"/{n}") for n in (1, 2)]
    late = connect(proxy)
    got = late.ask(request("/late"))
    assert (got.status, got.error) == (503, "connection_limit_reached")
    assert int(got.get("retry-after") or b"0") >= 1
    (row,) = proxy.log_lines(1, port=late.port)
    assert (row["outcome"], row["phase"], row["reason"]) == ("refused", "admission", "queue-full")
    gone = line[0].port
    line[0].reset()
    assert proxy.log_lines(1, port=gone)[0]["outcome"] == "aborted"
    again = waiting(connect, proxy, "/3")
    release.set()
    assert [client.response().status for client in (first, line[1], again)] == [200] * 3
    assert [r.target for r in upstream.wait_requests(3)] == [b"/0", b"/2", b"/3"]


def test_no_line_at_all(bench: Bench, upstream: Upstream, connect: Connect) -> None:
    release = threading.Event()
    upstream.then(held(release, reply()))
    proxy = proxy_of(bench, upstream, queue_length=0)
    first = connect(proxy)
    first.send(request("/0"))
    upstream.wait_requests(1)
    assert connect(proxy).ask(request("/1")).status == 503
    release.set()
    assert first.response().status == 200
    assert connect(proxy).ask(request("/2")).status == 200


@pytest.mark.parametrize(
    ("order", "due"),
    [("fifo", [b"/1", b"/2", b"/3"]), ("lifo", [b"/3", b"/2", b"/1"]), ("adaptive", [b"/1", b"/2", b"/3"])],
)
def test_the_order(bench: Bench, upstream: Upstream, connect: Connect, order: str, due: list[bytes]) -> None:
    gate = threading.Event()
    upstream.then(held(gate, reply()))
    proxy = proxy_of(bench, upstream, queue_order=order, queue_timeout="60s")
    first = connect(proxy)
    first.send(request("/0"))
    upstream.wait_requests(1)
    line = [waiting(connect, proxy, f"/{n}") for n in (1, 2, 3)]
    gate.set()
    assert [client.response().status for client in (first, *line)] == [200] * 4
    assert [r.target for r in upstream.wait_requests(4)[1:]] == due


def test_an_overloaded_line_serves_the_newest_first(
    bench: Bench, upstream: Upstream, connect: Connect
) -> None:
    """Its head has waited for half of queue_timeout: whoever has just come can be served in time."""
    gate = threading.Event()
    upstream.then(held(gate, reply()))
    proxy = proxy_of(bench, upstream, queue_order="adaptive", queue_timeout="3s")
    first = connect(proxy)
    first.send(request("/0"))
    upstream.wait_requests(1)
    old = waiting(connect, proxy, "/old")
    assert old.quiet(1.6)
    new = waiting(connect, proxy, "/new")
    gate.set()
    assert [client.response().status for client in (first, new, old)] == [200] * 3
    assert [r.target for r in upstream.wait_requests(3)[1:]] == [b"/new", b"/old"]


def test_retry_after_comes_from_the_line_s_pace(bench: Bench, upstream: Upstream, connect: Connect) -> None:
    """A place every 0.5 s, and four who wait for one: not before 2 s."""
    gates = [threading.Event() for _ in range(20)]

    def story(turn: Turn) -> None:
        turn.wait(gates[int(turn.request.target[1:])])
        turn.send(reply())

    upstream.default = story
    proxy = proxy_of(bench, upstream, queue_length=4, queue_order="fifo", queue_timeout="30s")
    clients = [connect(proxy)]
    clients[0].send(request("/0"))
    upstream.wait_requests(1)
    clients += [waiting(connect, proxy, f"/{n}") for n in range(1, 5)]
    for number in range(4):
        assert clients[-1].quiet(0.5)
        gates[number].set()
        assert clients[number].response().status == 200
        upstream.wait_requests(number + 2)
        clients.append(waiting(connect, proxy, f"/{number + 5}"))
    got = connect(proxy).ask(request("/late"))
    assert got.status == 503
    assert 3 <= int(got.get("retry-after") or b"0") <= 8
    for gate in gates:
        gate.set()
    assert [client.response().status for client in clients[4:]] == [200] * 5
