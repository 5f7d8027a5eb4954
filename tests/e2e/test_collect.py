"""Bodies that are collected before the upstream hears of their requests, as clients and the upstream see it.

Every test runs in both lanes and must look the same. `proxy` has little memory and a small limit, so that
all of it is about a few hundred kB.
"""

import json
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Connect, MakeProxy
from tests.kit.answers import held, reply
from tests.kit.client import request
from tests.kit.proxy import Proxy
from tests.kit.upstream import Upstream

MEMORY, LIMIT = 16 * 1024, 300_000
BIG = bytes(range(256)) * 1200
TE = ["Transfer-Encoding: chunked"]
EXPECT = "Expect: 100-continue"
BUFFERS = {"request_memory": MEMORY}


def in_chunks(body: bytes, piece: int = 7000) -> bytes:
    """A body in chunks."""
    parts = [body[at : at + piece] for at in range(0, len(body), piece)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


CHUNKED = request("/a", method="POST", fields=TE)
TOO_LONG = CHUNKED + in_chunks(BIG[:LIMIT])[:-5] + b"1\r\n"


@pytest.fixture
def proxy(make_proxy: MakeProxy, upstream: Upstream) -> Proxy:
    return make_proxy(upstream, buffers=BUFFERS, limits={"body": LIMIT})


def post(size: int, path: str = "/a", *fields: str) -> bytes:
    """A head that announces so much."""
    return request(path, method="POST", fields=[f"Content-Length: {size}", *fields])


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [1, MEMORY, MEMORY + 1, LIMIT])
def test_the_upstream_hears_of_it_when_it_is_whole(
    proxy: Proxy, upstream: Upstream, connect: Connect, framing: str, size: int
) -> None:
    """No connection and no byte before; then all of it, with its length; and what is pipelined behind."""
    body = BIG[:size]
    client = connect(proxy)
    if framing == "length":
        head, data = post(size), body
    else:
        head, data = request("/a", method="POST", fields=TE), in_chunks(body)
    client.send(head + data[:-1])
    assert client.quiet(0.1)
    assert not upstream.links
    client.send(data[-1:] + request("/next"))
    assert client.response().body == b"hello"
    assert client.response().body == b"hello"
    got, behind = upstream.wait_requests(2)
    same = got.body == body  # not shown where it is not: a comparison of so many bytes takes minutes
    assert (same, got.all("content-length"), got.all("transfer-encoding")) == (True, [b"%d" % size], [])
    assert behind.target == b"/next"


def test_trailers_end_here(proxy: Proxy, upstream: Upstream, connect: Connect) -> None:
    """RFC 9110 6.5.1: a body with a length has none; nor is the Trailer field sent on."""
    client = connect(proxy)
    fields = [*TE, "Trailer: X-Sum"]
    data = request("/a", method="POST", fields=fields) + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert client.ask(data).status == 200
    got = upstream.one()
    assert (got.body, got.trailers, got.all("trailer"), got.all("x-sum")) == (b"hello", [], [], [])


@pytest.mark.parametrize(
    ("data", "end", "status", "reason"),
    [
        pytest.param(post(100) + b"x" * 99, "fin", 400, "fin-in-body", id="fin"),
        pytest.param(post(LIMIT) + BIG[: LIMIT - 1], "fin", 400, "fin-in-body", id="fin in a large one"),
        pytest.param(CHUNKED + b"5\r\nhel", "fin", 400, "fin-in-body", id="chunk"),
        pytest.param(CHUNKED + b"5\r\nhelloX", "", 400, "chunk-end", id="framing"),
        pytest.param(post(100) + b"x", "", 408, "body-idle", id="silence"),
        pytest.param(post(LIMIT + 1) + b"x", "", 413, "body-long", id="announced too long"),
        pytest.param(TOO_LONG, "", 413, "body-long", id="a byte too long"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_never_forwarded(
    make_proxy: MakeProxy,
    upstream: Upstream,
    connect: Connect,
    data: bytes,
    end: str,
    status: int,
    reason: str,
) -> None:
    proxy = make_proxy(upstream, buffers=BUFFERS, limits={"body": LIMIT}, timeouts={"body_idle": "400ms"})
    client = connect(proxy)
    client.send(data)
    if end:
        client.half_close()
    got = client.response()
    assert got.status == status
    assert reason.encode() in got.body
    client.close()
    (line,) = proxy.log_lines(1, port=client.port)
    assert (line["status"], line["reason"], line["outcome"]) == (status, reason, "refused")
    assert not upstream.links


def test_a_reset_in_a_body(proxy: Proxy, upstream: Upstream, connect: Connect) -> None:
    client = connect(proxy)
    client.send(post(100_000) + BIG[:50_000])
    time.sleep(0.05)
    client.reset()
    (line,) = proxy.log_lines(1, port=client.port)
    assert (line["status"], line["outcome"], line["phase"], line["reason"]) == (
        499,
        "aborted",
        "body",
        "reset",
    )
    assert not upstream.links


def test_spooled_bytes_are_counted(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """The files' bytes are above 0 while a body waits in its file, and gone at the end."""
    proxy = make_proxy(upstream, buffers=BUFFERS)
    client, body = connect(proxy), 10 * BIG
    client.send(post(len(body)) + body[:1_500_000])
    time.sleep(0.2)
    client.send(body[1_500_000:])
    assert client.response().status == 200
    assert upstream.one().body == body
    client.close()
    proxy.finish()
    (counters,) = [json.loads(line) for line in proxy.stderr().splitlines() if '"kind":"counters"' in line]
    assert counters["spool"]["most"] > 0
    assert counters["spool"]["used"] == counters["spool"]["files"] == 0


def test_no_directory(make_proxy: MakeProxy, upstream: Upstream, connect: Connect, tmp_path: Path) -> None:
    """Memory only: what is more is refused for now, and the proxy goes on."""
    buffers = {**BUFFERS, "directory": str(tmp_path / "none")}
    proxy = make_proxy(upstream, buffers=buffers)
    client = connect(proxy)
    client.send(post(len(BIG)) + BIG[:200_000])
    got = client.response()
    assert (got.status, b"spool-full" in got.body) == (503, True)
    assert int(got.get("retry-after") or 0) > 0
    assert connect(proxy).ask(post(MEMORY) + BIG[:MEMORY]).status == 200
    assert upstream.one().body == BIG[:MEMORY]


def test_200_slow_uploads_and_one_place(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    server = {"servers": [upstream.address], "max_connections": 1, "queue_timeout": "1s"}
    proxy = make_proxy({"legacy": server})
    slow = [connect(proxy).send(post(10_000) + b"x" * 500) for _ in range(200)]
    good = connect(proxy)
    for _ in range(10):
        assert good.ask(request("/good")).status == 200
    assert len(upstream.links) == 1
    assert {seen.target for seen in upstream.requests} == {b"/good"}
    for client in slow:
        client.send(b"x" * 9_500)
    for client in slow:
        assert client.response().status == 200
    assert len(upstream.links) == 1


# Expect


def test_100_when_it_would_have_a_place_in_line(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """The only connection is in use: the line has room, so the body may come; no slot is taken for it."""
    release = threading.Event()
    proxy = make_proxy({"legacy": {"servers": [upstream.address], "max_connections": 1}})
    upstream.then(held(release, reply(b"first")))
    first, second = connect(proxy), connect(proxy)
    first.send(request("/first"))
    upstream.one()
    second.send(post(5, "/second", EXPECT))
    assert second.interim().status == 100
    second.send(b"hello")
    assert second.quiet(0.1)
    release.set()
    assert first.response().body == b"first"
    assert second.response().status == 200
    assert upstream.wait_requests(2)[1].body == b"hello"


def test_no_100_when_the_line_is_full(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    release = threading.Event()
    server = {"servers": [upstream.address], "max_connections": 1, "queue_length": 1}
    proxy = make_proxy({"legacy": server})
    upstream.then(held(release, reply(b"first")))
    first, waits, second = connect(proxy), connect(proxy), connect(proxy)
    first.send(request("/first"))
    upstream.one()
    waits.send(request("/waits"))
    assert waits.quiet(0.1)
    got = second.ask(post(5, "/second", EXPECT))
    assert (got.status, got.interims, b"queue-full" in got.body) == (503, [], True)
    assert int(got.get("retry-after") or 0) > 0
    assert got.get("connection") == b"close", "it may send no body now"
    release.set()
    assert first.response().body == b"first"
    assert waits.response().status == 200
    assert second.ending() == "fin"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_100_and_a_large_body(proxy: Proxy, upstream: Upstream, connect: Connect, framing: str) -> None:
    client = connect(proxy)
    body = BIG[:LIMIT]
    if framing == "length":
        client.send(post(LIMIT, "/a", EXPECT))
    else:
        client.send(request("/a", method="POST", fields=[*TE, EXPECT]))
    assert client.interim().status == 100
    assert not upstream.links
    client.send(body if framing == "length" else in_chunks(body))
    got = client.response()
    assert (got.status, got.interims) == (200, [])
    assert upstream.one().body == body


@pytest.mark.parametrize("size", [60_000, 600_000])
def test_a_large_one_meets_the_end_of_a_kept_connection(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, size: int
) -> None:
    """It comes fast, and is still there to be sent again: an idempotent request has no 502 from that race."""
    data = bytes(range(250)) * (size // 250)
    client = connect(make_proxy(upstream))
    assert client.ask(request()).body == b"hello"
    upstream.then(lambda turn: turn.reset(), at="head")
    upstream.then(reply(b"stored"))
    got = client.ask(request("/file", method="PUT", body=data))
    assert (got.status, got.body) == (200, b"stored")
    assert upstream.requests[-1].body == data
    assert len(upstream.links) == 2
