"""Connections that we end: by which limit, in which phase, and how the log says so."""

import threading
import time

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import held
from tests.kit.answers import last as then_fin
from tests.kit.client import Client, request
from tests.kit.endings import DEBUG, QUICK, ends, outcome, page, receipt, said, whole
from tests.kit.scene import stage
from tests.kit.sockets import eventually
from tests.kit.watch import Watch
from tests.kit.wire import TruncatedError


class TestWeEnd:
    """The proxy is the one that ends it."""

    def test_keep_alive(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        client.ask(request())
        begun = Watch()
        assert client.ending() == "fin"
        begun.took(0.85, 1.4)
        line = receipt(scene.proxy, client)
        assert said(line) == ("proxy", "idle")
        assert "keep-alive" in line["reason"]
        assert line["exchanges"] == 1

    def test_head_while_fresh_is_closed_without_a_word(self, bench: Bench, connect: Connect) -> None:
        """Browsers open connections ahead and say nothing: no 408, no blame."""
        scene = stage(bench)
        client = connect(scene.proxy)
        begun = Watch()
        assert client.drain() == b""
        assert client.stream.end == "fin"
        begun.took(0.85, 1.4)
        line = receipt(scene.proxy, client)
        assert said(line) == ("proxy", "fresh")
        assert "head" in line["reason"]
        assert not scene.proxy.lines("exchange", client.port)

    def test_a_slow_head_is_answered_408(self, bench: Bench, connect: Connect) -> None:
        """The limit is absolute, from the first byte, whatever drips."""
        scene = stage(bench)
        client = connect(scene.proxy)
        begun = Watch()
        for byte in b"GET / HTTP/1.1\r\nHost: test.example\r\nX-Slow: aaaaaaaaaaaaaaaaaaaa\r\n\r\n":
            if not client.send_or_fail(bytes([byte])) or not client.quiet(0.05):
                break
        assert client.response().status == 408
        begun.took(0.85, 1.5)
        assert client.ending() == "fin"
        line = outcome(scene.proxy, client)
        assert (line["status"], line["outcome"], line["phase"]) == (408, "refused", "head")
        client.close()
        last = receipt(scene.proxy, client)
        assert last["acknowledged"] is True
        assert not scene.upstream.links

    def test_a_slow_second_head_is_answered_408(self, bench: Bench, connect: Connect) -> None:
        """Also on a kept connection: by head, not by keep_alive, once its first byte is there."""
        scene = stage(bench, timeouts={"keep_alive": "5s"})
        client = connect(scene.proxy)
        client.ask(request())
        client.send(b"GET ")
        begun = Watch()
        assert client.response().status == 408
        begun.took(0.85, 1.5)

    def test_body_idle(self, bench: Bench, connect: Connect) -> None:
        """A body that stops: 408, and the upstream's request looks truncated."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request(method="POST", fields=["Content-Length: 100"]) + b"x" * 10)
        begun = Watch()
        assert client.response().status == 408
        begun.took(0.85, 1.6)
        line = outcome(scene.proxy, client)
        assert (line["status"], line["phase"]) == (408, "body")
        assert "body-idle" in line["reason"]
        assert not scene.upstream.requests
        assert not scene.upstream.violations

    def test_body_idle_counts_from_the_last_byte(self, bench: Bench, connect: Connect) -> None:
        """A slow, honest upload that takes longer than body_idle in all is served."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request(method="POST", fields=["Content-Length: 8"]))
        for _ in range(8):
            time.sleep(0.2)
            client.send(b"x")
        assert client.response().status == 200

    def test_send_idle(self, bench: Bench, connect: Connect) -> None:
        """A client that reads nothing of a large response: aborted, never a clean end."""
        scene = stage(bench, timeouts={"fin_wait_1": "20s"})
        scene.upstream.on("/big", page(8_000_000))
        client = connect(scene.proxy, rcvbuf=4096)
        client.send(request("/big"))
        begun = Watch()
        line = outcome(scene.proxy, client)
        begun.took(0.85, 2.0)
        assert (line["outcome"], line["phase"]) == ("aborted", "relay")
        assert "send-idle" in line["reason"]
        last = receipt(scene.proxy, client)
        assert last["phase"] == "send"
        assert last["acknowledged"] is False
        assert whole(client) is None
        assert client.stream.end in ("rst", "fin")

    def test_send_idle_does_not_hit_a_slow_reader(self, bench: Bench, connect: Connect) -> None:
        """Reads of 20 kB with pauses of less than send_idle: whole, though it takes longer in all."""
        scene = stage(bench)
        scene.upstream.on("/big", page(400_000))
        client = connect(scene.proxy, rcvbuf=8192)
        client.send(request("/big"))
        got = b""
        begun = Watch()
        while len(got) < 400_000:
            piece = client.sock.recv(20_000)
            if not piece:
                break
            got += piece
            if begun.seconds < 2.0:
                time.sleep(0.1)
        assert len(got) >= 400_000

    def test_keep_alive_false_and_connection_close(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench, rule=[{"name": "old", "path": "/old", "keep_alive": False}])
        by_rule, by_wish = connect(scene.proxy), connect(scene.proxy)
        assert by_rule.ask(request("/old")).get("connection") == b"close"
        by_wish.ask(request("/", fields=["Connection: close"]))
        for client in (by_rule, by_wish):
            assert client.ending() == "fin"
            client.close()
        first, second = receipt(scene.proxy, by_rule), receipt(scene.proxy, by_wish)
        assert first["reason"] != second["reason"], "why a connection was not kept must be told apart"
        assert first["by"] == "proxy"
        assert second["by"] == "client"
        assert first["acknowledged"] is second["acknowledged"] is True

    def test_a_refusal_names_its_reason(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        got = client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert got.status == 400
        client.close()
        line = outcome(scene.proxy, client)
        assert (line["status"], line["outcome"], line["phase"]) == (400, "refused", "head")
        assert line["reason"]
        assert receipt(scene.proxy, client)["reason"]

    def test_response_timeout(self, connect: Connect, bench: Bench) -> None:
        """504 when nothing comes of the upstream; the connection to the client is not blamed."""
        upstream = bench.upstream()
        upstream.on("/held", held(threading.Event(), b""))
        proxy = bench.proxy(
            {"slow": {"servers": [upstream.address], "response_timeout": "700ms"}}, log=DEBUG, timeouts=QUICK
        )
        client = connect(proxy)
        begun = Watch()
        assert client.ask(request("/held")).status == 504
        begun.took(0.6, 1.3)
        line = outcome(proxy, client)
        assert (line["status"], line["outcome"], line["by"]) == (504, "failed", "upstream")
        assert "response-timeout" in line["reason"]


class TestWhereReceiptsGo:
    """Every connection has one; those without a request only at level debug."""

    def test_a_connection_without_a_request_is_silent_at_info(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench, log={"level": "info"})
        silent, speaking = connect(scene.proxy), connect(scene.proxy)
        silent.close()
        speaking.ask(request())
        assert eventually(lambda: scene.proxy.lines("exchange", speaking.port))  # answered, and idle again
        speaking.close()
        assert receipt(scene.proxy, speaking)["exchanges"] == 1
        assert not scene.proxy.lines(port=silent.port)

    def test_every_connection_has_one_receipt_and_every_exchange_one_outcome(self, bench: Bench) -> None:
        """Over a mixture of endings."""
        scene = stage(bench)
        ports = []

        def over(client: Client, count: int) -> bool:
            """Whether so many exchanges have ended for the proxy too: it sends before it ends one."""
            return eventually(lambda: len(scene.proxy.lines("exchange", client.port)) == count)

        for number in range(40):
            with Client(scene.proxy.address) as client:
                ports.append((client.port, number % 4))
                if number % 4 == 1:
                    client.send(b"GET / HT")
                if number % 4 >= 2:
                    client.send(request())
                    assert whole(client) is not None
                    assert over(client, 1)
                if number % 4 == 3:
                    client.send(request("/second"))
                    assert whole(client) is not None
                    assert over(client, 2)
                    client.reset()
        for port, kind in ports:
            assert len(ends(scene.proxy, port, "connection", 1)) == 1
            assert len(scene.proxy.lines("exchange", port)) == max(0, kind - 1)

    def test_bytes_and_times_are_right(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        data = request("/a", fields=["User-Agent: counting/1"])
        got = client.ask(data)
        line = outcome(scene.proxy, client)  # before it goes: it may be answered, and not yet idle
        client.close()
        last = receipt(scene.proxy, client)
        assert (line["in"], line["out"]) == (len(data), len(got.raw))
        assert (last["in"], last["out"]) == (len(data), len(got.raw))
        assert (line["method"], line["target"], line["host"]) == ("GET", "/a", "test.example")
        assert (line["user_agent"], line["version"], line["client"]) == ("counting/1", "1.1", "127.0.0.1")
        assert 0 <= line.get("seconds", 0.0) < 2
        assert 0 <= last.get("seconds", 0.0) < 3


def test_a_truncated_response_never_looks_whole(bench: Bench, connect: Connect) -> None:
    """The upstream ends in mid-body: the client sees a break, the log says whose fault it was."""
    scene = stage(bench, route={"buffer_response": "stream"})  # or it may be a slow reader by then
    scene.upstream.on("/cut", then_fin(page(500_000)[:300_000]))
    client = connect(scene.proxy)
    client.send(request("/cut"))
    with pytest.raises(TruncatedError):
        client.response()
    line = outcome(scene.proxy, client)
    assert (line["outcome"], line["by"]) == ("failed", "upstream")
    assert receipt(scene.proxy, client)["by"] == "upstream"
