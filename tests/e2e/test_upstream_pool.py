"""The pool and the line: reuse, limits, waiting in order, least connections, retries, orderly ends."""

import threading
import time
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Connect, MakeProxy, Wire
from tests.kit.answers import broken, held, last, reply
from tests.kit.client import Client, request
from tests.kit.link import Turn
from tests.kit.proxy import free_address
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch


def legacy(*servers: Upstream | str, **more: Any) -> dict[str, Any]:
    """The table of one upstream."""
    return {"legacy": {"servers": [s if isinstance(s, str) else s.address for s in servers], **more}}


def test_connections_are_reused_by_all_clients(wire: Wire) -> None:
    for number in range(10):
        assert wire.client().ask(request(f"/{number}")).body == b"hello"
    assert len(wire.upstream.links) == 1


def test_connections_are_reused_after_bodies(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    client = connect(make_proxy(upstream))
    for number in range(5):
        client.ask(request(f"/{number}", method="POST", body=b"x" * 100_000))
        chunk = (
            request(f"/{number}", method="POST", fields=["Transfer-Encoding: chunked"])
            + b"1\r\nx\r\n0\r\n\r\n"
        )
        client.ask(chunk)
    assert len(upstream.links) == 1


def test_no_client_waits_while_there_is_room(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    release = threading.Event()
    upstream.default = held(release, reply())
    proxy = make_proxy(legacy(upstream, max_connections=8))
    clients = [connect(proxy) for _ in range(8)]
    for client in clients:
        client.send(request())
    upstream.wait_requests(8)
    release.set()
    assert [client.response().status for client in clients] == [200] * 8


def test_max_connections_and_the_line(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """Never more than so many at one server; the rest wait in line, first come, first served."""
    gates = {b"/%d" % n: threading.Event() for n in range(8)}

    def story(turn: Turn) -> None:
        turn.wait(gates[turn.request.target])
        turn.send(reply())

    upstream.default = story
    proxy = make_proxy(legacy(upstream, max_connections=2))
    clients = []
    for number in range(8):
        client = connect(proxy)
        client.send(request(f"/{number}"))
        clients.append(client)
        if number < 2:
            upstream.wait_requests(number + 1)
        else:
            assert client.quiet(0.05)
    for number in range(8):
        gates[b"/%d" % number].set()
        assert clients[number].response().status == 200
        upstream.wait_requests(min(8, number + 3))
    assert [r.target for r in upstream.requests] == [b"/%d" % n for n in range(8)]
    assert len(upstream.links) == 2


def test_the_line_is_not_overtaken(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """A connection that comes free goes to the head of the line, not to the client that asks first."""
    gate = threading.Event()
    upstream.on("/hold", held(gate, reply()))
    proxy = make_proxy(legacy(upstream, max_connections=1))
    eager = connect(proxy)
    eager.send(request("/hold") + request("/eager") * 3)
    upstream.wait_requests(1)
    waiting = connect(proxy)
    waiting.send(request("/waiting"))
    assert waiting.quiet(0.1)
    gate.set()
    assert waiting.response().status == 200
    for _ in range(4):
        assert eager.response().status == 200
    assert upstream.wait_requests(5)[1].target == b"/waiting"


def test_queue_timeout(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    release = threading.Event()
    upstream.then(held(release, reply(b"first")))
    proxy = make_proxy(legacy(upstream, max_connections=1, queue_timeout="400ms"))
    first, second = connect(proxy), connect(proxy)
    first.send(request("/first"))
    upstream.wait_requests(1)
    start = Watch()
    got = second.ask(request("/second"))
    start.took(0.3, 1.5)
    assert got.status == 503
    assert got.error in ("connection_limit_reached", "destination_unavailable")
    assert int(got.get("retry-after") or b"0") >= 1
    release.set()
    assert first.response().body == b"first"
    assert second.ask(request("/third")).status == 200 if got.persistent else second.ending() == "fin"


def test_a_client_that_leaves_the_line_takes_no_place(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    release = threading.Event()
    upstream.then(held(release, reply(b"first")))
    proxy = make_proxy(legacy(upstream, max_connections=1))
    first, leaver, third = connect(proxy), connect(proxy), connect(proxy)
    first.send(request("/first"))
    upstream.wait_requests(1)
    leaver.send(request("/leaver"))
    assert leaver.quiet(0.1)
    third.send(request("/third"))
    assert third.quiet(0.1)
    port = leaver.port
    leaver.reset()
    assert proxy.log_lines(1, port=port)[0]["outcome"] == "aborted"
    release.set()
    assert first.response().body == b"first"
    assert third.response().status == 200
    assert [r.target for r in upstream.wait_requests(2)] == [b"/first", b"/third"]


def test_least_connections(bench: Bench, connect: Connect) -> None:
    """The server with the fewest requests in work gets the next one."""
    release = threading.Event()
    one, two = bench.upstream(), bench.upstream()
    for server in (one, two):
        server.default = held(release, reply())
    proxy = bench.proxy(legacy(one, two))
    clients: list[Client] = []
    for number in range(6):
        clients.append(connect(proxy))
        clients[-1].send(request(f"/{number}"))
        limit = time.monotonic() + 5
        while len(one.requests) + len(two.requests) <= number and time.monotonic() < limit:
            time.sleep(0.005)
        assert abs(len(one.requests) - len(two.requests)) <= 1
    assert (len(one.requests), len(two.requests)) == (3, 3)
    release.set()
    assert [client.response().status for client in clients] == [200] * 6


def test_one_server_down_the_other_serves(bench: Bench, connect: Connect) -> None:
    """A refused connection goes on to the next server: nothing of the request was sent."""
    server = bench.upstream()
    proxy = bench.proxy(legacy(free_address(), server))
    client = connect(proxy)
    answers = [client.ask(request(method="POST", body=b"x")).status for _ in range(6)]
    assert answers.count(200) >= 5
    assert answers[-1] == 200


def test_down_at_start_and_later_up(bench: Bench, connect: Connect) -> None:
    """A 502, not an exit; and a 200 as soon as it is there."""
    server = bench.upstream(free_address(), start=False)
    proxy = bench.proxy(legacy(server))
    client = connect(proxy)
    assert client.ask(request()).status == 502
    server.start()
    client = connect(proxy)
    assert client.ask(request()).status == 200


def test_restarted_between_requests(bench: Bench, connect: Connect) -> None:
    server = bench.upstream()
    proxy = bench.proxy(legacy(server))
    assert connect(proxy).ask(request("/1", method="POST", body=b"x")).status == 200
    server.stop()
    assert server.links[0].ended.wait(5)
    assert connect(proxy).ask(request("/2")).status == 502
    server.start()
    assert connect(proxy).ask(request("/3", method="POST", body=b"x")).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_one_retry_of_an_idempotent_request(wire: Wire, method: str, how: str) -> None:
    """RFC 9112 9.3.1: a reused connection that closes before a byte; once, on a fresh one."""
    wire.may_reset = True
    body = b"x" if method == "PUT" else b""
    client = wire.client()
    assert client.ask(request("/warm")).status == 200
    asked: list[Turn] = []

    def story(turn: Turn) -> None:
        asked.append(turn)
        if len(asked) == 1:
            (turn.close if how == "fin" else turn.reset)()
        else:
            turn.send(reply(b""))

    wire.upstream.on("/again", story)
    assert client.ask(request("/again", method=method, body=body)).status == 200
    assert len(asked) == 2
    assert asked[0].link is not asked[1].link
    assert asked[0].request.body == asked[1].request.body == body
    line = wire.log(client, 2)[1]
    assert (line["retries"], line["outcome"]) == (1, "served")


def test_one_retry_and_no_more(wire: Wire) -> None:
    wire.may_reset = True
    client = wire.client()
    assert client.ask(request("/warm")).status == 200
    wire.upstream.on("/never", last(b""))
    got = client.ask(request("/never"))
    assert got.status == 502
    assert len([r for r in wire.upstream.requests if r.target == b"/never"]) == 2


def test_no_retry_on_a_fresh_connection(wire: Wire) -> None:
    wire.upstream.on("/never", last(b""))
    assert wire.client().ask(request("/never")).status == 502
    assert len(wire.upstream.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "BREW"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_never_a_retry_of_what_may_have_been_run(wire: Wire, method: str, how: str) -> None:
    """RFC 9110 9.2.2: a POST is sent once, whatever became of it."""
    wire.may_reset = True
    client = wire.client()
    assert client.ask(request("/warm")).status == 200
    wire.upstream.on("/once", last(b"") if how == "fin" else broken())
    got = client.ask(request("/once", method=method, body=b"x"))
    assert got.status == 502
    assert got.error in ("connection_terminated", "http_response_incomplete")
    assert len([r for r in wire.upstream.requests if r.target == b"/once"]) == 1


def test_no_retry_after_a_byte_of_the_response(wire: Wire) -> None:
    client = wire.client()
    assert client.ask(request("/warm")).status == 200
    wire.upstream.on("/byte", last(b"H"))
    assert client.ask(request("/byte")).status == 502
    assert len([r for r in wire.upstream.requests if r.target == b"/byte"]) == 1


def test_a_post_after_the_server_s_fin_finds_a_fresh_connection(wire: Wire) -> None:
    """The FIN of an idle pooled connection is seen at once, and it is dropped: no POST is lost to it."""
    client = wire.client()
    for number in range(5):
        assert client.ask(request(f"/{number}", method="POST", body=b"x")).status == 200
        link = wire.upstream.links[-1]
        link.finish()
        assert link.ended.wait(2)
        assert link.end == "fin"
    assert len(wire.upstream.wait_requests(5)) == 5
    assert len(wire.upstream.links) == 5


def test_pool_idle(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """An unused connection is given up, with a FIN."""
    proxy = make_proxy(legacy(upstream, pool_idle="300ms"))
    client = connect(proxy)
    assert client.ask(request()).status == 200
    start = Watch()
    assert upstream.links[0].ended.wait(5)
    start.took(0.2, 2)
    assert upstream.links[0].end == "fin"
    assert client.ask(request()).status == 200


def test_a_slow_client_holds_no_connection_of_the_upstream(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """Heads that are not whole reach nobody, and a place is free for the good."""
    proxy = make_proxy(legacy(upstream, max_connections=1))
    slow = [connect(proxy) for _ in range(5)]
    for client in slow:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n")
    assert connect(proxy).ask(request("/good")).status == 200
    assert len(upstream.requests) == 1
    for client in slow:
        assert client.ask(b"\r\n", "GET").status == 200


def test_the_upstream_is_released_before_the_client_has_read(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """A slow reader of a response that the buffers hold does not hold the server's connection."""
    proxy = make_proxy(legacy(upstream, max_connections=1, queue_timeout="3s"))
    upstream.then(reply(b"x" * 60_000))
    slow, other = connect(proxy, rcvbuf=4096), connect(proxy)
    slow.send(request("/slow"))
    slow.wait_readable()
    assert other.ask(request("/other")).body == b"hello"
    assert slow.response().body == b"x" * 60_000
