"""The rest of a body whose request was refused: read out and the connection kept, or closed upon.

Every test runs in both lanes and must look the same; the receipt names the choice (`refused_body`).
"""

import threading
from typing import Any

import pytest

from tests.e2e.conftest import STREAMED, Connect, MakeProxy
from tests.kit.answers import held, reply
from tests.kit.client import Client, request
from tests.kit.proxy import Proxy
from tests.kit.sockets import eventually
from tests.kit.upstream import Upstream

LIMIT = 300_000
BIG = bytes(range(256)) * 1200
TE = ["Transfer-Encoding: chunked"]
EXPECT = "Expect: 100-continue"


def post(size: int, path: str = "/a", *fields: str) -> bytes:
    """A head that announces so much."""
    return request(path, method="POST", fields=[f"Content-Length: {size}", *fields])


DENIED: dict[str, Any] = {"rule": [{"name": "denied", "path": "/denied", "deny": 403}]}


def receipt(proxy: Proxy, client: Client) -> dict[str, Any]:
    (line,) = proxy.log_lines(1, kind="connection", port=client.port)
    return line


def test_a_short_rest_is_read_out(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    proxy = make_proxy(upstream, **DENIED)
    client = connect(proxy)
    client.send(post(200_000, "/denied") + BIG[:1000])
    got = client.response()
    assert (got.status, got.persistent) == (403, True)
    client.send(BIG[1000:200_000] + request("/next"))
    assert client.response().body == b"hello"
    assert eventually(lambda: len(proxy.lines("exchange", client.port)) == 2)  # answered, and idle again
    client.close()
    line = receipt(proxy, client)
    assert (line["refused_body"], line["exchanges"]) == ("drain", 2)
    assert [seen.target for seen in upstream.requests] == [b"/next"]


@pytest.mark.parametrize("how", ["long", "chunked", "last"])
def test_a_rest_that_is_not_worth_it(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, how: str
) -> None:
    proxy = make_proxy(upstream, **DENIED)
    client = connect(proxy)
    heads = {
        "long": post(10_000_000, "/denied"),
        "chunked": request("/denied", method="POST", fields=TE),
        "last": post(1000, "/denied", "Connection: close"),
    }
    client.send(heads[how])
    got = client.response()
    assert (got.status, got.get("connection")) == (403, b"close")
    assert client.ending() == "fin"
    client.close()
    assert receipt(proxy, client)["refused_body"] == "close"
    assert not upstream.links


@pytest.mark.parametrize("end", ["fin", "reset", "silence"])
def test_a_client_that_sends_no_more_of_it(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, end: str
) -> None:
    """It is not waited for without end."""
    proxy = make_proxy(upstream, timeouts={"body_idle": "300ms", "linger_gap": "100ms"}, **DENIED)
    client = connect(proxy)
    assert client.ask(post(1000, "/denied") + BIG[:100], "POST").status == 403
    if end == "fin":
        client.close()
    elif end == "reset":
        client.reset()
    else:
        assert client.ending() == "fin"
        client.close()
    line = receipt(proxy, client)
    reason = {"fin": "fin-in-body", "reset": "reset", "silence": "body-rest"}[end]
    assert (line["refused_body"], line["phase"], line["reason"], line["by"]) == (
        "drain", "refused", reason, "client"
    )  # fmt: skip


def test_who_waits_for_a_100_may_send_none_of_it(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """Go's net/http up to 1.22.4 goes on with its next request, which must not be taken for the body."""
    client = connect(make_proxy(upstream, **DENIED))
    nested = request("/smuggled")
    victim = request("/victim", method="POST", fields=[f"Content-Length: {len(nested)}"])
    got = client.ask(post(len(victim), "/denied", EXPECT), "POST")
    assert (got.status, got.get("connection")) == (403, b"close")
    client.send_or_fail(victim + nested)
    assert client.ending() == "fin"
    client.close()
    assert not upstream.links


def test_who_asks_for_a_100_and_does_not_wait(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """Its body is on its way: it is read out."""
    client = connect(make_proxy(upstream, **DENIED))
    assert client.ask(post(2000, "/denied", EXPECT) + BIG[:1000], "POST").persistent
    client.send(BIG[1000:2000] + request("/next"))
    assert client.response().body == b"hello"
    assert upstream.one().target == b"/next"


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("cut", [True, False], ids=["head alone", "whole"])
def test_a_body_for_our_own_answer_is_no_request(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, framing: str, cut: bool
) -> None:
    """`Max-Forwards: 0`: answered here, with or without a body, and nothing of that body is a request."""
    client = connect(make_proxy(upstream))
    nested = request("/smuggled")
    field = TE[0] if framing == "chunked" else f"Content-Length: {len(nested)}"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(nested), nested) if framing == "chunked" else nested
    head = request("/", method="OPTIONS", fields=["Max-Forwards: 0", field])
    got = client.ask(head if cut else head + body, "OPTIONS")
    keeps = got.get("connection") != b"close"
    assert (got.status, keeps) == (200, framing == "length")
    client.send_or_fail((body if cut else b"") + request("/next"))
    if keeps:
        assert client.response().body == b"hello"
        assert upstream.one().target == b"/next"
    else:
        assert client.ending() == "fin"
        assert not upstream.links


def test_a_413_is_read_out_too(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    client = connect(make_proxy(upstream, limits={"body": LIMIT}))
    client.send(post(LIMIT + 1))
    got = client.response()
    assert (got.status, got.persistent) == (413, True)
    client.send(BIG[: LIMIT + 1] + request("/next"))
    assert client.response().status == 200
    assert upstream.one().target == b"/next"


def test_a_streamed_body_whose_request_waited_in_vain(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """503 after queue_timeout, in the task lane: what came meanwhile is thrown away, and what is to come."""
    release = threading.Event()
    server = {"servers": [upstream.address], "max_connections": 1, "queue_timeout": "300ms"}
    proxy = make_proxy({"legacy": server}, route=[STREAMED])
    upstream.then(held(release, reply(b"first")))
    first, client = connect(proxy), connect(proxy)
    first.send(request("/streamed/first"))
    upstream.one()
    client.send(post(100_000, "/streamed") + BIG[:90_000])
    got = client.response()
    assert (got.status, got.persistent, b"queue-timeout" in got.body) == (503, True, True)
    release.set()
    assert first.response().body == b"first"
    client.send(BIG[90_000:100_000] + request("/streamed/next"))
    assert client.response().status == 200
    assert eventually(lambda: len(proxy.lines("exchange", client.port)) == 2)  # answered, and idle again
    client.close()
    assert receipt(proxy, client)["refused_body"] == "drain"
    assert [seen.target for seen in upstream.requests] == [b"/streamed/first", b"/streamed/next"]
