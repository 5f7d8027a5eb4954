"""Each key of an upstream's manners, as a recording server sees it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Connect, MakeProxy
from tests.kit.answers import chunked, last, reply
from tests.kit.client import request
from tests.kit.proxy import command, settings, toml
from tests.kit.upstream import Upstream

CHUNKED = ["Transfer-Encoding: chunked", "Trailer: X-T"]
PIECES = b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: y\r\n\r\n"
OLD_KEPT = reply(version="1.0", fields="Connection: keep-alive\r\n")


def legacy(upstream: Upstream, **keys: Any) -> dict[str, Any]:
    """The table of one upstream of other manners."""
    return {"legacy": {"servers": [upstream.address], **keys}}


def test_http_10_is_kept_alive_by_asking(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    upstream.default = OLD_KEPT
    client = connect(make_proxy(legacy(upstream, http_version="1.0")))
    for number in range(3):
        assert client.ask(request(f"/{number}", fields=["TE: trailers", "Connection: TE"])).body == b"hello"
    seen = upstream.wait_requests(3)
    assert [message.version for message in seen] == [b"1.0"] * 3
    assert [message.all("connection") for message in seen] == [[b"keep-alive"]] * 3
    assert seen[0].get("te") is None
    assert len(upstream.links) == 1


def test_http_10_without_keep_alive(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    upstream.default = last(reply(version="1.0"))
    client = connect(make_proxy(legacy(upstream, http_version="1.0", keep_alive=False)))
    assert [client.ask(request(f"/{number}")).status for number in range(2)] == [200, 200]
    seen = upstream.wait_requests(2)
    assert [message.get("connection") for message in seen] == [b"close"] * 2
    assert len(upstream.links) == 2


def test_http_10_takes_a_collected_body_with_its_length(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    upstream.default = OLD_KEPT
    client = connect(make_proxy(legacy(upstream, http_version="1.0")))
    assert client.ask(request("/", method="POST", fields=CHUNKED) + PIECES).status == 200
    got = upstream.one()
    assert (got.version, got.get("content-length"), got.body) == (b"1.0", b"11", b"hello world")
    assert got.get("transfer-encoding") is None
    assert got.get("trailer") is None


def test_http_10_takes_a_large_collected_body(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """Beyond memory, by way of a file; and the last request on its connection."""
    upstream.default = OLD_KEPT
    client = connect(make_proxy(legacy(upstream, http_version="1.0", max_requests=1, header_case="title")))
    pieces = b"".join(b"4e20\r\n%b\r\n" % (b"%d" % digit * 20_000) for digit in range(10)) + b"0\r\n\r\n"
    assert client.ask(request("/", method="PUT", fields=CHUNKED) + pieces).status == 200
    got = upstream.one()
    assert (got.version, got.get("content-length"), got.get("connection")) == (b"1.0", b"200000", b"close")
    assert got.body == b"".join(b"%d" % digit * 20_000 for digit in range(10))


def test_http_10_takes_no_stream_without_a_length(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    upstream.default = OLD_KEPT
    proxy = make_proxy(
        legacy(upstream, http_version="1.0"), route=[{"upstream": "legacy", "buffer_request": "stream"}]
    )
    got = connect(proxy).ask(request("/", method="POST", fields=CHUNKED) + PIECES)
    assert got.status == 411
    assert b"length-required" in (got.get("proxy-status") or b"")
    (line,) = proxy.log_lines()
    assert (line["reason"], line["status"]) == ("length-required", 411)
    assert connect(proxy).ask(request("/", method="POST", body=b"hello")).status == 200
    assert upstream.one().body == b"hello"


def test_keep_alive_is_off(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """The server is told, and the connection is parted though it would have kept it."""
    client = connect(make_proxy(legacy(upstream, keep_alive=False)))
    for number in range(3):
        assert client.ask(request(f"/{number}")).status == 200
    assert client.ask(request("/b", method="POST", body=b"x" * 100_000)).status == 200
    upstream.default = chunked(b"a", b"b")
    assert client.ask(request("/c")).body == b"ab"
    seen = upstream.wait_requests(5)
    assert [message.all("connection") for message in seen] == [[b"close"]] * 5
    assert len(upstream.links) == 5
    upstream.until(lambda: all(link.end == "fin" for link in upstream.links), "FINs")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_max_requests(make_proxy: MakeProxy, upstream: Upstream, connect: Connect, version: str) -> None:
    """The last request on a connection says so, and another one is made for the next."""
    upstream.default = OLD_KEPT if version == "1.0" else reply()
    proxy = make_proxy(legacy(upstream, max_requests=3, http_version=version))
    client = connect(proxy)
    bodies = [b"", b"x" * 10, b"y" * 100_000, b"", b"", b"z" * 10, b""]
    for number, body in enumerate(bodies):
        assert client.ask(request(f"/{number}", method="PUT", body=body)).status == 200
    seen = upstream.wait_requests(7)
    usual = [] if version == "1.1" else [b"keep-alive"]
    assert [message.all("connection") for message in seen] == [usual, usual, [b"close"]] * 2 + [usual]
    assert [message.body for message in seen] == bodies
    assert [message.connection for message in seen] == sorted(message.connection for message in seen)
    assert len(upstream.links) == 3


def test_a_last_request_that_is_sent_again_is_no_last_one(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """Its connection had ended already; on the fresh one it is the first."""
    upstream.then(reply(), lambda turn: turn.close())
    client = connect(make_proxy(legacy(upstream, max_requests=2)))
    for number in range(3):
        assert client.ask(request(f"/{number}")).status == 200
    seen = upstream.wait_requests(4)
    assert [message.target for message in seen] == [b"/0", b"/1", b"/1", b"/2"]
    assert [message.all("connection") for message in seen] == [[], [b"close"], [], [b"close"]]


def test_host(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    client = connect(make_proxy(legacy(upstream, host="app.internal:81")))
    assert client.ask(request("/", host="Shop.example:8080")).status == 200
    got = upstream.one()
    assert got.all("host") == [b"app.internal:81"]
    assert got.all("x-forwarded-host") == [b"shop.example:8080"]
    assert b'host="shop.example:8080"' in (got.get("forwarded") or b"")


def test_header_case(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    fields = ["content-type: a/b", "dnt: 1", "x-forwarded-for: 1.2.3.4", "x-mine: y", "if-none-match: z"]
    proxy = make_proxy(legacy(upstream, header_case="title"))
    client = connect(proxy)
    assert (
        client.ask(request("/", fields=["accept: */*", *fields], method="POST", body=b"hello")).status == 200
    )
    names = [name for name, _ in upstream.one().fields]
    assert names == [
        *(
            b"Host",
            b"Accept",
            b"Content-Type",
            b"DNT",
            b"X-Mine",
            b"If-None-Match",
            b"Content-Length",
            b"Via",
        ),
        *(b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded"),
    ]


def test_max_head(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """What would be sent counts, not what came; nothing is sent, and the client keeps its connection."""
    proxy = make_proxy(legacy(upstream, max_head=1024))
    client = connect(proxy)
    assert client.ask(request("/1", fields=["Cookie: " + "a" * 600])).status == 200
    got = client.ask(request("/2", fields=["Cookie: " + "a" * 990]))
    assert got.status == 431
    assert b"upstream-head-large" in (got.get("proxy-status") or b"")
    assert client.ask(request("/3")).status == 200
    assert [message.target for message in upstream.wait_requests(2)] == [b"/1", b"/3"]
    reasons = [line["reason"] for line in proxy.log_lines(3, port=client.port)]
    assert reasons == ["done", "upstream-head-large", "done"]


def test_a_unix_socket(bench: Bench, connect: Connect, tmp_path: Path) -> None:
    upstream = bench.upstream(f"unix:{tmp_path}/legacy.sock")
    client = connect(bench.proxy(upstream))
    for number in range(3):
        assert client.ask(request(f"/{number}")).status == 200
    assert client.ask(request("/b", method="POST", body=b"x" * 200_000)).status == 200
    upstream.default = reply(b"y" * 300_000)
    assert len(client.ask(request("/c")).body) == 300_000
    seen = upstream.wait_requests(5)
    assert seen[3].body == b"x" * 200_000
    assert len(upstream.links) == 1


@pytest.mark.parametrize("source", ["127.0.0.77", "127.1.2.3"])
def test_source(make_proxy: MakeProxy, upstream: Upstream, connect: Connect, source: str) -> None:
    """Connections come from there; several at a time, each by a port of its own."""
    proxy = make_proxy(legacy(upstream, source=source, keep_alive=False))
    for number in range(3):
        assert connect(proxy).ask(request(f"/{number}")).status == 200
    assert [peer[0] for peer in upstream.peers] == [source] * 3
    assert len({peer[1] for peer in upstream.peers}) == 3


def test_source_of_the_other_family(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """Of a name's addresses those are taken that can be reached from it."""
    where = upstream.address.replace("127.0.0.1", "localhost")
    proxy = make_proxy({"legacy": {"servers": [where], "source": "127.0.0.78"}})
    assert connect(proxy).ask(request()).status == 200
    assert upstream.peers[0][0] == "127.0.0.78"


def test_a_source_that_is_not_ours_is_said_at_start(upstream: Upstream, tmp_path: Path, lane: str) -> None:
    table = legacy(upstream, source="192.0.2.77")
    file = tmp_path / "proxy.toml"
    file.write_text(toml(settings(tmp_path, table, lane == "express")))
    ran = subprocess.run([*command(), str(file)], capture_output=True, text=True, timeout=20, check=False)
    assert ran.returncode == 1
    assert "upstream.legacy.source: cannot connect from 192.0.2.77: " in ran.stderr
    assert "Traceback" not in ran.stderr
