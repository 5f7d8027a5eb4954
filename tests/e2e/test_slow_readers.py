"""Slow readers: the server is done with them at its last byte, and they end as they should, without a task.

As long as a client reads nothing its kernel keeps to its first window, and ours to TCP_NOTSENT_LOWAT: they
take less than 400 KiB together. The server has one connection: it is seen at once if it waits for a client.
"""

import signal
import threading
import time
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import broken, chunked, last, reply
from tests.kit.client import Client, request
from tests.kit.endings import outcome, page, receipt
from tests.kit.link import Turn
from tests.kit.proxy import Proxy
from tests.kit.sockets import eventually
from tests.kit.upstream import Handler, Upstream
from tests.kit.wire import read_response_body

MIB = 1024 * 1024


def body(size: int) -> bytes:
    line = b"".join(b"%07x\n" % number for number in range(size // 8 + 1))
    return line[:size]


def one_place(bench: Bench, upstream: Upstream, **tables: Any) -> Proxy:
    """A proxy before a server that has one connection."""
    server = {"servers": [upstream.address], "max_connections": 1, "queue_timeout": "20s"}
    return bench.proxy({"legacy": server}, **tables)


def slow(connect: Connect, proxy: Proxy, data: bytes = b"", rcvbuf: int = 0) -> Client:
    client = connect(proxy, rcvbuf=rcvbuf, timeout=20.0)
    client.send(data or request("/big"))
    client.wait_readable()
    return client


SHAPES: dict[str, Any] = {
    "length": reply,
    "chunked": lambda data: chunked(*(data[at : at + 50_000] for at in range(0, len(data), 50_000))),
    "close": lambda data: last(b"HTTP/1.1 200 OK\r\n\r\n" + data),
}


class TestTheServerDoesNotWait:
    @pytest.mark.parametrize(
        ("shape", "size"), [("length", MIB), ("chunked", MIB), ("close", MIB), ("length", 20 * MIB)]
    )
    def test_its_connection_is_free(
        self, bench: Bench, connect: Connect, upstream: Upstream, shape: str, size: int
    ) -> None:
        """While a client has not read a byte, another is served over the one connection."""
        data = body(size)
        upstream.on("/big", SHAPES[shape](data))
        proxy = one_place(bench, upstream)
        first = slow(connect, proxy)
        upstream.until(lambda: len(upstream.requests) == 1, "the first request")
        assert connect(proxy, timeout=20.0).ask(request("/other")).body == b"hello"
        assert first.response().body == data
        assert first.ask(request("/again")).body == b"hello", "its connection is kept"
        assert len(upstream.links) == (2 if shape == "close" else 1)

    def test_a_pipelined_request_is_next(self, bench: Bench, connect: Connect, upstream: Upstream) -> None:
        data = body(4 * MIB)
        upstream.on("/big", reply(data))
        proxy = one_place(bench, upstream)
        client = slow(connect, proxy, request("/big") + request("/next", method="POST", body=b"abc"))
        assert connect(proxy, timeout=20.0).ask(request("/other")).body == b"hello"
        assert client.response().body == data
        assert client.response().status == 200
        assert [seen.target for seen in upstream.requests] == [b"/big", b"/other", b"/next"]
        assert upstream.requests[2].body == b"abc"

    def test_what_has_no_body_has_none(self, bench: Bench, connect: Connect, upstream: Upstream) -> None:
        """A HEAD, a 204 and a 304 behind a slow response, in their order."""
        data = body(2 * MIB)
        upstream.on("/big", reply(data))
        upstream.on("/204", b"HTTP/1.1 204 No Content\r\n\r\n")
        upstream.on("/304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n")
        upstream.on("/head", b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n")
        proxy = one_place(bench, upstream)
        head = request("/head", method="HEAD")
        client = slow(connect, proxy, request("/big") + head + request("/204") + request("/304") + request())
        assert client.response().body == data
        assert client.response("HEAD").get("content-length") == b"5000000"
        assert client.response().status == 204
        assert client.response().status == 304
        assert client.response().body == b"hello"

    def test_our_own_answers_wait_for_nobody(
        self, bench: Bench, connect: Connect, upstream: Upstream
    ) -> None:
        """Refusals behind a response that is not read; each is whole."""
        upstream.on("/big", page(300_000))
        proxy = one_place(bench, upstream, rule=[{"name": "no", "path": "/no", "deny": 403}])
        client = slow(connect, proxy, request("/big") + request("/no") * 3)
        assert connect(proxy, timeout=20.0).ask(request("/other")).body == b"hello"
        assert client.response().status == 200
        assert [client.response().status for _ in range(3)] == [403] * 3


class TestBackPressure:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fields", "tables"),
        [
            ("X-Accel-Buffering: no\r\n", {}),
            ("Content-Type: text/event-stream; charset=utf-8\r\n", {}),
            ("", {"rule": [{"name": "stream", "path": "/big", "buffer_response": "stream"}]}),
            ("", {"buffers": {"response_file": "1MiB"}}),
            ("", {"buffers": {"disk_total": 0}}),
        ],
        ids=["accel", "events", "rule", "file full", "no file"],
    )
    @pytest.mark.parametrize("shape", ["length", "chunked"])
    def test_the_server_is_slowed_and_nothing_is_lost(
        self,
        bench: Bench,
        connect: Connect,
        shape: str,
        fields: str,
        tables: dict[str, Any],
        upstream: Upstream,
    ) -> None:
        data, sent = body(20 * MIB), threading.Event()
        raw = SHAPES[shape](data).replace(b"\r\n", b"\r\n" + fields.encode(), 1)

        def story(turn: Turn) -> None:
            turn.send(raw)
            sent.set()

        upstream.on("/big", story)
        proxy = one_place(bench, upstream, **tables)
        client = slow(connect, proxy)
        assert not sent.wait(1.0), "somebody has swallowed it"
        assert client.response().body == data
        assert client.responses[0].get("x-accel-buffering") is None
        assert sent.wait(5.0)

    def test_events_are_flushed_one_by_one(self, bench: Bench, connect: Connect, upstream: Upstream) -> None:
        """Each is there before the server sends the next, also in a response of a known length."""
        seen = [threading.Event() for _ in range(5)]

        def story(turn: Turn) -> None:
            turn.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for event in seen:
                turn.send(b"9\r\ndata: x\n\n\r\n")
                turn.wait(event)
            turn.send(b"0\r\n\r\n")

        def known(turn: Turn) -> None:
            turn.send(b"HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 10\r\n\r\n")
            for event in seen:
                turn.send(b"ab")
                turn.wait(event)

        proxy = bench.proxy(upstream)
        client = connect(proxy)
        for handler, piece in ((story, b"9\r\ndata: x\n\n\r\n"), (known, b"ab")):
            for event in seen:
                event.clear()
            upstream.then(handler)
            client.send(request())
            client.response_head()
            for event in seen:
                assert client.stream.exactly(len(piece), "an event") == piece
                event.set()
            if handler is story:
                assert client.stream.exactly(5, "the end") == b"0\r\n\r\n"


class TestTheirEnds:
    @pytest.mark.parametrize("size", [3 * MIB, 20 * MIB], ids=["sent", "throttled"])
    def test_one_that_stops_reading(
        self, bench: Bench, connect: Connect, upstream: Upstream, size: int
    ) -> None:
        """Within send_idle, whether the server is done or held up; and the server is freed."""
        upstream.on("/big", reply(body(size)))
        proxy = one_place(bench, upstream, timeouts={"send_idle": "1s"}, buffers={"response_file": "2MiB"})
        client = slow(connect, proxy, rcvbuf=4096)
        line = outcome(proxy, client)
        assert (line["outcome"], line["by"], line["phase"], line["reason"]) == (
            "aborted", "client", "relay", "send-idle",
        )  # fmt: skip
        end = receipt(proxy, client)
        assert (end["phase"], end["reason"], end["acknowledged"]) == ("send", "send-idle", False)
        assert connect(proxy).ask(request("/other")).status == 200

    def test_one_that_reads_on_slowly_is_served(
        self, bench: Bench, connect: Connect, upstream: Upstream
    ) -> None:
        data = body(600_000)
        upstream.on("/big", reply(data))
        proxy = one_place(bench, upstream, timeouts={"send_idle": "1s"})
        client = slow(connect, proxy, rcvbuf=8192)
        head = client.response_head()
        end = time.monotonic() + 2.5
        while time.monotonic() < end:  # more than twice send_idle
            client.stream.buffer += client.sock.recv(4096)
            time.sleep(0.05)
        read_response_body(client.stream, head, "GET")
        assert head.body == data
        assert outcome(proxy, client)["outcome"] == "served"

    @pytest.mark.parametrize("shape", ["length", "chunked"])
    def test_one_that_resets(self, bench: Bench, connect: Connect, upstream: Upstream, shape: str) -> None:
        upstream.on("/big", SHAPES[shape](body(3 * MIB)))
        proxy = one_place(bench, upstream)
        client = slow(connect, proxy)
        assert connect(proxy).ask(request("/other")).status == 200
        client.reset()
        line = outcome(proxy, client)
        assert (line["outcome"], line["by"], line["phase"], line["reason"], line["status"]) == (
            "aborted", "client", "relay", "reset", 200,
        )  # fmt: skip
        assert receipt(proxy, client)["phase"] == "send"
        assert len(upstream.links) == 1

    def test_one_that_has_half_closed_gets_everything(
        self, bench: Bench, connect: Connect, upstream: Upstream
    ) -> None:
        data = body(3 * MIB)
        upstream.on("/big", reply(data))
        proxy = one_place(bench, upstream)
        client = slow(connect, proxy)
        assert connect(proxy).ask(request("/other")).status == 200
        client.half_close()
        assert client.response().body == data
        assert client.ending() == "fin"
        end = receipt(proxy, client)
        assert (end["by"], end["reason"], end["acknowledged"]) == ("client", "half-close", True)

    def test_one_that_still_sends_gets_everything(
        self, bench: Bench, connect: Connect, upstream: Upstream
    ) -> None:
        """Its body was refused, and it reads nothing before it has sent all."""
        upstream.on("/big", page(900_000, status="403 Forbidden"), at="head")
        proxy = one_place(bench, upstream, rule=[{"name": "s", "path": "/big", "buffer_request": "stream"}])
        client = slow(connect, proxy, request("/big", method="POST", fields=["Content-Length: 4000000"]))
        client.send(b"x" * 4_000_000)
        got = client.response()
        assert (got.status, len(got.body)) == (403, 900_000)
        assert client.ending() == "fin"

    @pytest.mark.parametrize(
        ("shape", "how"),
        [
            ("length", "fin"),
            ("length", "reset"),
            ("chunked", "fin"),
            ("chunked", "reset"),
            ("close", "reset"),
        ],
    )
    def test_what_the_server_broke_off_arrives_as_far_as_it_came(
        self, bench: Bench, connect: Connect, upstream: Upstream, shape: str, how: str
    ) -> None:
        data = body(2 * MIB)
        start = {
            "length": b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + data,
            "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n"
            % (len(data), data),
            "close": b"HTTP/1.1 200 OK\r\n\r\n" + data,
        }[shape]
        handler: Handler = last(start) if how == "fin" else broken(start)
        upstream.on("/big", handler)
        proxy = one_place(bench, upstream)
        client = slow(connect, proxy)
        upstream.until(lambda: bool(upstream.links) and upstream.links[0].ended.is_set(), "the end", 10.0)
        cut = client.truncated()
        assert cut.end == "rst"
        line = outcome(proxy, client)
        assert (line["outcome"], line["by"], line["reason"]) == ("failed", "upstream", "upstream-truncated")
        assert line["out"] >= len(data)


class TestDrain:
    def test_it_is_waited_for(self, bench: Bench, connect: Connect, upstream: Upstream) -> None:
        data = body(3 * MIB)
        upstream.on("/big", reply(data))
        proxy = one_place(bench, upstream, server={"drain_timeout": "10s"})
        client = slow(connect, proxy)
        assert connect(proxy).ask(request("/other")).status == 200
        proxy.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "draining" in proxy.stderr())
        assert client.response().body == data
        assert client.ending() == "fin"
        client.close()
        assert proxy.process.wait(5.0) == 0
        assert receipt(proxy, client)["reason"] == "drain"

    def test_but_not_for_ever(self, bench: Bench, connect: Connect, upstream: Upstream) -> None:
        upstream.on("/big", reply(body(3 * MIB)))
        proxy = one_place(bench, upstream, server={"drain_timeout": "300ms"})
        client = slow(connect, proxy)
        assert connect(proxy).ask(request("/other")).status == 200
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(5.0) == 0
        assert client.truncated().end == "rst"
        line = outcome(proxy, client)
        assert (line["outcome"], line["phase"], line["reason"]) == ("aborted", "send", "drain-timeout")
        assert receipt(proxy, client)["phase"] == "send"


def test_its_place_is_given_away(bench: Bench, connect: Connect, upstream: Upstream) -> None:
    """With every place taken a client that reads nothing leaves for a newcomer, one that reads does not."""
    upstream.on("/big", reply(body(3 * MIB)))
    timeouts = {"send_idle": "4s", "send_min_rate": "off"}
    proxy = one_place(bench, upstream, server={"max_connections": 1}, timeouts=timeouts)
    client = slow(connect, proxy, rcvbuf=8192)
    time.sleep(1.8)  # a quarter of send_idle is everybody's
    assert connect(proxy).ask(request("/other")).status == 200
    line = outcome(proxy, client)
    assert (line["outcome"], line["reason"]) == ("aborted", "evicted")
