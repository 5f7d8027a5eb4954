"""A client's FIN behind its request: served, taken for its end, or probed; and what the server sees of it.

Each of ``half_close = "serve" | "abort" | "probe"``, by clients that have only ended their own direction and
by clients that are killed, in the line, at the server, and in the response.
"""

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.client import request
from tests.kit.endings import outcome
from tests.kit.killable import killable
from tests.kit.leaving import BEGUN, CONTINUE, WHOLE, Leaving, leaving

METHODS = {"GET": b"", "POST": b"a body"}


def asking(target: str, method: str) -> bytes:
    return request(target, method=method, body=METHODS[method])


def in_line(scene: Leaving, connect: Connect) -> None:
    """Somebody has the one place."""
    connect(scene.proxy).send(request("/held"))
    scene.upstream.wait_requests(1)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestInLine:
    """While it waits for a place."""

    @pytest.mark.parametrize("half_close", ["serve", "probe"])
    def test_half_closed_and_served(self, bench: Bench, connect: Connect, half_close: str) -> None:
        scene = leaving(bench, half_close)
        in_line(scene, connect)
        client = connect(scene.proxy).send(request()).half_close()
        if half_close == "probe":
            assert client.interim().raw.startswith(CONTINUE)
        assert client.quiet()
        scene.release.set()
        assert client.response().body == b"hello"
        assert client.ending() == "fin"
        assert outcome(scene.proxy, client)["outcome"] == "served"

    def test_half_closed_and_gone(self, bench: Bench, connect: Connect) -> None:
        scene = leaving(bench, "abort")
        in_line(scene, connect)
        client = connect(scene.proxy).send(request()).half_close()
        scene.gone(client.port, "abort", "admission")
        assert client.drain() == b""
        scene.release.set()
        scene.serves_on()

    def test_killed_and_served(self, bench: Bench, connect: Connect) -> None:
        """The server never learns that nobody waits for its answer."""
        scene = leaving(bench, "serve")
        in_line(scene, connect)
        with killable(scene.proxy.address, request()) as client:
            client.kill()
        scene.release.set()
        assert outcome(scene.proxy, client.port)["outcome"] == "served"
        assert [seen.target for seen in scene.upstream.requests] == [b"/held", b"/"]

    @pytest.mark.parametrize(("half_close", "reason"), [("abort", "abort"), ("probe", "reset")])
    def test_killed_and_gone(self, bench: Bench, connect: Connect, half_close: str, reason: str) -> None:
        scene = leaving(bench, half_close)
        in_line(scene, connect)
        with killable(scene.proxy.address, request()) as client:
            client.kill()
            scene.gone(client.port, reason, "admission")
        scene.release.set()
        scene.serves_on()


class TestAtTheServer:
    """While the server works on it."""

    @pytest.mark.parametrize("half_close", ["serve", "probe"])
    def test_half_closed_and_served(
        self, bench: Bench, connect: Connect, half_close: str, method: str
    ) -> None:
        scene = leaving(bench, half_close)
        client = connect(scene.proxy).send(asking("/held", method))
        scene.upstream.wait_requests(1)
        client.half_close()
        if half_close == "probe":
            assert client.interim().raw.startswith(CONTINUE)
        assert client.quiet()
        scene.release.set()
        got = client.response()
        assert (got.body, got.interims) == (b"late", [])
        assert client.ending() == "fin"
        assert outcome(scene.proxy, client)["outcome"] == "served"
        scene.serves_on()

    def test_half_closed_and_gone(self, bench: Bench, connect: Connect, method: str) -> None:
        scene = leaving(bench, "abort")
        client = connect(scene.proxy).send(asking("/held", method))
        scene.upstream.wait_requests(1)
        client.half_close()
        scene.gone(client.port, "abort", "upstream")
        assert client.drain() == b""
        scene.left_alone(method)

    def test_killed_and_served(self, bench: Bench, method: str) -> None:
        scene = leaving(bench, "serve")
        with killable(scene.proxy.address, asking("/held", method)) as client:
            scene.upstream.wait_requests(1)
            client.kill()
        assert not scene.upstream.links[0].ended.wait(0.2)
        scene.release.set()
        assert outcome(scene.proxy, client.port)["outcome"] == "served"
        scene.serves_on()

    @pytest.mark.parametrize(("half_close", "reason"), [("abort", "abort"), ("probe", "reset")])
    def test_killed_and_gone(self, bench: Bench, half_close: str, reason: str, method: str) -> None:
        scene = leaving(bench, half_close)
        with killable(scene.proxy.address, asking("/held", method)) as client:
            scene.upstream.wait_requests(1)
            client.kill()
            scene.gone(client.port, reason, "upstream")
        scene.left_alone(method)

    def test_a_reset_is_never_a_half_close(self, bench: Bench, connect: Connect, method: str) -> None:
        scene = leaving(bench, "serve")
        client = connect(scene.proxy).send(asking("/held", method))
        scene.upstream.wait_requests(1)
        client.reset()
        scene.gone(client.port, "reset", "upstream")
        scene.left_alone(method)


class TestInTheResponse:
    """When a part of the answer has gone out."""

    @pytest.mark.parametrize("half_close", ["serve", "probe"])
    def test_half_closed_and_served(self, bench: Bench, connect: Connect, half_close: str) -> None:
        """No 100 in the middle of it."""
        scene = leaving(bench, half_close)
        client = connect(scene.proxy).send(request("/half"))
        assert client.stream.exactly(len(BEGUN) // 2, "half of what there is")
        client.half_close()
        assert not client.stream.end
        scene.release.set()
        rest = client.drain()
        assert rest.endswith(WHOLE[-1000:])
        assert CONTINUE not in rest
        assert outcome(scene.proxy, client)["outcome"] == "served"

    def test_half_closed_and_gone(self, bench: Bench, connect: Connect, method: str) -> None:
        scene = leaving(bench, "abort")
        client = connect(scene.proxy).send(asking("/half", method))
        assert client.stream.exactly(len(BEGUN) // 2, "half of what there is")
        client.half_close()
        scene.gone(client.port, "abort", "relay", 200)
        client.drain()
        assert client.stream.end == "rst"
        scene.left_alone(method)

    @pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
    def test_killed(self, bench: Bench, half_close: str, method: str) -> None:
        """It had more in its socket than it had read: its kernel resets, and that tells in any case."""
        scene = leaving(bench, half_close)
        with killable(scene.proxy.address, asking("/half", method), reads=1000) as client:
            client.has_read()
            client.kill()
            scene.gone(client.port, "reset", "relay", 200)
        scene.left_alone(method)

    @pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
    def test_in_what_is_left_of_it(self, bench: Bench, connect: Connect, half_close: str) -> None:
        """The server has sent it all; the client reads slowly, as a record of the lobby."""
        scene = leaving(bench, half_close)
        page = WHOLE * 20
        scene.upstream.on("/large", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
        client = connect(scene.proxy, rcvbuf=4096).send(request("/large"))
        scene.upstream.wait_requests(1)
        scene.serves_on()
        client.half_close()
        if half_close == "abort":
            scene.gone(client.port, "abort", "relay", 200)
            client.drain()
            assert client.stream.end == "rst"
            return
        assert client.response().body == page
        assert client.ending() == "fin"
