"""Connections that their clients end: receipts, outcomes, and what the upstream sees of it."""

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.client import request
from tests.kit.endings import outcome, page, receipt, said
from tests.kit.scene import stage
from tests.kit.sockets import cpu_share, eventually, unread
from tests.kit.watch import Watch


class TestClientEnds:
    """The client is the one that ends it."""

    def test_fin_while_idle(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        client.ask(request())
        scene.proxy.log_lines(1, kind="exchange")  # it may be answered, and not yet idle
        client.half_close()
        assert client.ending() == "fin"
        line = receipt(scene.proxy, client)
        assert said(line) == ("client", "idle")
        assert (line["client_fin"], line["exchanges"]) == (True, 1)
        assert not scene.close_waits()

    def test_fin_before_a_byte(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        client.half_close()
        assert client.ending() == "fin"
        line = receipt(scene.proxy, client)
        assert said(line) == ("client", "fresh")
        assert line["exchanges"] == 0
        assert not scene.proxy.lines("exchange", client.port)

    def test_reset_while_idle(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        client.ask(request())
        scene.proxy.log_lines(1, kind="exchange")  # it may be answered, and not yet idle
        client.reset()
        line = receipt(scene.proxy, client)
        assert said(line) == ("client", "idle")
        assert "reset" in line["reason"]
        assert line["client_fin"] is False

    @pytest.mark.parametrize("how", ["fin", "reset"])
    def test_in_a_head(self, bench: Bench, connect: Connect, how: str) -> None:
        """Nothing of it goes to the upstream, and it ends at once."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        scene.all_read()
        begun = Watch()
        if how == "fin":
            client.half_close()
        else:
            client.reset()
        line = receipt(scene.proxy, client)
        begun.took(0, 0.5)
        assert said(line) == ("client", "head")
        assert ("reset" in line["reason"]) is (how == "reset")
        assert not scene.upstream.links
        assert not scene.close_waits()

    def test_fin_in_a_body_leaves_the_upstream_a_truncated_request(
        self, bench: Bench, connect: Connect
    ) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request(method="POST", fields=["Content-Length: 100"]) + b"x" * 50)
        client.half_close()
        got = client.drain()
        assert not got.startswith(b"HTTP/1.1 2")
        line = outcome(scene.proxy, client)
        assert (line["by"], line["phase"]) == ("client", "body")
        assert line.get("status", 499) in (400, 499)
        assert receipt(scene.proxy, client)["by"] == "client"
        assert not scene.upstream.requests
        eventually(lambda: all(link.ended.is_set() for link in scene.upstream.links))
        assert not scene.upstream.violations

    def test_fin_in_a_chunked_body_leaves_the_upstream_a_truncated_request(
        self, bench: Bench, connect: Connect
    ) -> None:
        """The last chunk is never made up."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request(method="POST", fields=["Transfer-Encoding: chunked"]) + b"5\r\nhello\r\n")
        client.half_close()
        assert not client.drain().startswith(b"HTTP/1.1 2")
        assert outcome(scene.proxy, client)["by"] == "client"
        eventually(lambda: all(link.ended.is_set() for link in scene.upstream.links))
        assert not scene.upstream.requests
        for link in scene.upstream.links:
            assert not link.received.endswith(b"0\r\n\r\n")

    def test_reset_in_a_body(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request(method="POST", fields=["Content-Length: 100"]) + b"x" * 50)
        scene.all_read()
        client.reset()
        line = outcome(scene.proxy, client)
        assert (line["by"], line["phase"], line["status"]) == ("client", "body", 499)
        assert receipt(scene.proxy, client)["by"] == "client"
        assert not scene.upstream.requests

    def test_reset_while_its_request_is_worked_on(self, bench: Bench, connect: Connect) -> None:
        """Seen at once; the upstream's connection is given up, the outcome is a 499."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request("/held"))
        scene.upstream.wait_requests(1)
        begun = Watch()
        client.reset()
        line = outcome(scene.proxy, client)
        begun.took(0, 0.5)
        assert (line["status"], line["outcome"], line["by"], line["phase"]) == (
            499,
            "aborted",
            "client",
            "upstream",
        )
        last = receipt(scene.proxy, client)
        assert said(last) == ("client", "exchange")
        assert not scene.close_waits()
        scene.release.set()
        link = scene.upstream.links[0]
        assert link.ended.wait(5)

    def test_half_close_while_its_request_is_worked_on(self, bench: Bench, connect: Connect) -> None:
        """Answered whole, then closed; the FIN that waits does not spin."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request("/held"))
        scene.upstream.wait_requests(1)
        client.half_close()
        assert cpu_share(scene.proxy.pid, 0.5) < 0.05
        scene.release.set()
        assert client.response().body == b"late"
        assert client.ending() == "fin"
        line = outcome(scene.proxy, client)
        assert (line["status"], line["outcome"]) == (200, "served")
        last = receipt(scene.proxy, client)
        assert last["by"] == "client"
        assert (last["acknowledged"], last["client_fin"], last["exchanges"]) == (True, True, 1)

    def test_half_close_in_the_packet_of_the_request(self, bench: Bench, connect: Connect) -> None:
        """As printf | nc does: request and FIN together."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request())
        client.half_close()
        assert client.response().status == 200
        assert client.ending() == "fin"
        assert receipt(scene.proxy, client)["client_fin"] is True

    def test_half_close_after_two_pipelined_requests(self, bench: Bench, connect: Connect) -> None:
        """Both were whole: both are answered."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request("/1") + request("/2"))
        client.half_close()
        assert client.response().status == 200
        assert client.response().status == 200
        assert client.ending() == "fin"
        assert receipt(scene.proxy, client)["exchanges"] == 2

    def test_half_close_after_one_and_a_half_requests(self, bench: Bench, connect: Connect) -> None:
        """The whole one is answered, the half one is never forwarded."""
        scene = stage(bench)
        client = connect(scene.proxy)
        client.send(request("/1") + b"GET /2 HTTP/1.1\r\nHos")
        client.half_close()
        assert client.response().status == 200
        client.drain()
        assert receipt(scene.proxy, client)["by"] == "client"
        assert [seen.target for seen in scene.upstream.requests] == [b"/1"]

    def test_reset_while_a_response_is_relayed(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench, route={"buffer_response": "stream"})  # or it may be a slow reader by then
        scene.upstream.on("/big", page(8_000_000))
        client = connect(scene.proxy, rcvbuf=4096)
        client.send(request("/big"))
        assert eventually(lambda: unread(client.sock))
        client.reset()
        line = outcome(scene.proxy, client)
        assert (line["outcome"], line["by"], line["phase"]) == ("aborted", "client", "relay")
        assert said(receipt(scene.proxy, client)) == ("client", "exchange")
        assert eventually(lambda: all(link.ended.is_set() for link in scene.upstream.links))

    def test_reset_while_lingering(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench, timeouts={"linger_gap": "5s"})
        watch = Watch()
        client = connect(scene.proxy)
        client.ask(request(fields=["Connection: close"]))
        assert client.ending() == "fin"
        client.reset()
        line = receipt(scene.proxy, client)
        watch.took(0, 2, line.get("linger_seconds", 0.0))
        assert line["client_fin"] is False
        assert line["linger"] == "reset"
