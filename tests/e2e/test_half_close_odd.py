"""A client's FIN in odd places: pipelines, streams, spools, old versions, unix sockets, real netcats."""

import contextlib
import shutil
import signal
import subprocess

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.client import request
from tests.kit.endings import outcome
from tests.kit.killable import killable
from tests.kit.leaving import CONTINUE, WHOLE, leaving
from tests.kit.sockets import SYN_SENT, eventually, full_backlog, held_by, to_port
from tests.kit.watch import Watch


@pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
def test_a_fin_with_the_request(bench: Bench, connect: Connect, half_close: str) -> None:
    """In one batch of events."""
    scene = leaving(bench, half_close)
    client = connect(scene.proxy)
    with scene.proxy.stopped():
        client.send(request("/held")).half_close()
    if half_close == "abort":
        scene.gone(client.port, "abort", "admission")
        assert not scene.upstream.requests
        return
    if half_close == "probe":
        assert client.interim().raw.startswith(CONTINUE)
    scene.release.set()
    assert client.response().body == b"late"
    assert client.ending() == "fin"


@pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
def test_behind_two_requests(bench: Bench, connect: Connect, half_close: str) -> None:
    """Gone means gone with all it has asked for; it is probed once."""
    scene = leaving(bench, half_close)
    client = connect(scene.proxy).send(request("/held") + request())
    scene.upstream.wait_requests(1)
    client.half_close()
    if half_close == "abort":
        scene.gone(client.port, "abort", "upstream")
        scene.left_alone("GET")
        assert len(scene.upstream.requests) == 1
        return
    if half_close == "probe":
        assert client.interim().raw.startswith(CONTINUE)
    scene.release.set()
    first, second = client.response(), client.response()
    assert (first.body, second.body) == (b"late", b"hello")
    assert not first.interims
    assert not second.interims
    assert client.ending() == "fin"


@pytest.mark.parametrize("body", ["length", "chunks"])
@pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
def test_behind_a_body_that_is_streamed(bench: Bench, connect: Connect, half_close: str, body: str) -> None:
    """The FIN is there before all of the body has been read."""
    scene = leaving(bench, half_close, effects={"buffer_request": "stream"})
    field = "Content-Length: 200000" if body == "length" else "Transfer-Encoding: chunked"
    sent = WHOLE if body == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(WHOLE), WHOLE)
    client = connect(scene.proxy)
    client.send(request("/held", method="POST", fields=[field]) + sent[:1000])
    scene.upstream.wait_links(1)
    with scene.proxy.stopped():
        client.send(sent[1000:]).half_close()
    assert scene.upstream.one().body == WHOLE
    if half_close == "abort":
        scene.gone(client.port, "abort", "upstream")
        scene.left_alone("POST")
        return
    if half_close == "probe":
        assert client.interim().raw.startswith(CONTINUE)
    scene.release.set()
    assert client.response().body == b"late"


@pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
def test_behind_a_body_that_is_collected(bench: Bench, connect: Connect, half_close: str) -> None:
    scene = leaving(bench, half_close, buffers={"request_memory": "4KiB"})
    client = connect(scene.proxy)
    client.send(request("/held", method="POST", fields=["Content-Length: 200000"]) + WHOLE[:1000])
    with scene.proxy.stopped():
        client.send(WHOLE[1000:]).half_close()
    if half_close == "abort":
        scene.gone(client.port, "abort", "admission")
        assert not scene.upstream.requests
        return
    if half_close == "probe":
        assert client.interim().raw.startswith(CONTINUE)
    assert scene.upstream.one().body == WHOLE
    scene.release.set()
    assert client.response().body == b"late"


@pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
def test_in_a_body(bench: Bench, connect: Connect, half_close: str) -> None:
    """Not a whole request: refused, and nobody else hears of it."""
    scene = leaving(bench, half_close)
    client = connect(scene.proxy)
    client.send(request(method="POST", fields=["Content-Length: 100"]) + b"x").half_close()
    got = client.response()
    assert (got.status, got.interims) == (400, [])
    assert outcome(scene.proxy, client)["reason"] == "fin-in-body"
    assert not scene.upstream.links


@pytest.mark.parametrize(
    ("version", "effects"),
    [("1.0", {}), ("1.1", {"interim": "none"}), ("1.1", {"response_version": "1.0"})],
    ids=["1.0", "interim", "response_version"],
)
def test_who_cannot_be_probed_is_served(
    bench: Bench, connect: Connect, version: str, effects: dict[str, str]
) -> None:
    scene = leaving(bench, "probe", effects=effects)
    client = connect(scene.proxy).send(request("/held", version=version))
    scene.upstream.wait_requests(1)
    client.half_close()
    assert client.quiet()
    scene.release.set()
    got = client.response()
    assert (got.body, got.interims) == (b"late", [])


@pytest.mark.parametrize("half_close", ["serve", "probe"])
def test_over_a_unix_socket_a_close_is_told_from_a_fin(
    bench: Bench, connect: Connect, half_close: str
) -> None:
    where = f"unix:{bench.directory}/proxy.sock"
    scene = leaving(bench, half_close, server={"listen": [where]})
    client = connect(scene.proxy).send(request("/held"))
    scene.upstream.wait_requests(1)
    client.half_close()
    assert client.quiet()
    client.close()
    scene.left_alone("GET")


@pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
def test_a_netcat(bench: Bench, half_close: str) -> None:
    """``printf ... | nc -N``: it closes its direction at the end of its input, and reads on."""
    if shutil.which("nc") is None:
        pytest.skip("nc (netcat-openbsd) is missing")
    scene = leaving(bench, half_close)
    host, _, port = scene.proxy.address.rpartition(":")
    with subprocess.Popen(["nc", "-N", host, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as netcat:
        assert netcat.stdin is not None
        assert netcat.stdout is not None
        netcat.stdin.write(request("/held"))
        netcat.stdin.flush()
        scene.upstream.wait_requests(1)
        netcat.stdin.close()
        if half_close == "abort":
            assert netcat.stdout.read() == b""
            scene.left_alone("GET")
            return
        if half_close == "probe":
            assert netcat.stdout.read(len(CONTINUE)) == CONTINUE
        scene.release.set()
        got = netcat.stdout.read()
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got.endswith(b"late")


@pytest.mark.parametrize("half_close", ["serve", "abort", "probe"])
def test_while_connecting(bench: Bench, connect: Connect, half_close: str) -> None:
    """The server does not take connections: nobody waits for one who has gone."""
    listener, fillers = full_backlog()
    with contextlib.ExitStack() as ends:
        for sock in (listener, *fillers):
            ends.callback(sock.close)
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        scene = leaving(bench, half_close, {"servers": [where], "connect_timeout": "1500ms"})
        client = connect(scene.proxy).send(request())
        assert client.quiet()
        client.half_close()
        if half_close == "abort":
            scene.gone(client.port, "abort", "connect")
            return
        if half_close == "probe":
            assert client.interim().raw.startswith(CONTINUE)
        assert client.response().status == 504


@pytest.mark.parametrize("half_close", ["abort", "probe"])
def test_killed_while_connecting(bench: Bench, half_close: str) -> None:
    listener, fillers = full_backlog()
    with contextlib.ExitStack() as ends:
        for sock in (listener, *fillers):
            ends.callback(sock.close)
        port = listener.getsockname()[1]
        scene = leaving(bench, half_close, {"servers": [f"127.0.0.1:{port}"], "connect_timeout": "20s"})
        with killable(scene.proxy.address, request()) as client:
            pid = scene.proxy.pid  # the fillers are in SYN_SENT too
            assert eventually(lambda: {row.inode for row in to_port(port, SYN_SENT)} & held_by(pid))
            client.kill()
            scene.gone(client.port, "abort" if half_close == "abort" else "reset", "connect")


class TestDrain:
    """TERM while a request without a client is at the server."""

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_it_is_waited_for(self, bench: Bench, connect: Connect, when: str) -> None:
        scene = leaving(bench, "abort", server={"drain_timeout": "10s"})
        client = connect(scene.proxy).send(request("/held", method="POST", body=b"a body"))
        scene.upstream.wait_requests(1)
        if when == "before":
            client.half_close()
            scene.gone(client.port, "abort", "upstream")
        scene.proxy.signal(signal.SIGTERM)
        assert eventually(lambda: "draining: 1 exchange" in scene.proxy.stderr())
        client.close()
        scene.still_asked()
        assert scene.proxy.process.poll() is None
        begun = Watch()
        scene.release.set()
        assert scene.proxy.process.wait(5) == 0
        begun.took(0, 2)
        assert scene.upstream.links[0].ended.wait(5)
        assert scene.upstream.links[0].end == "fin"
        assert "drained" in scene.proxy.stderr()

    def test_and_cut_when_its_time_is_over(self, bench: Bench, connect: Connect) -> None:
        """In an orderly way even then."""
        scene = leaving(bench, "abort", server={"drain_timeout": "500ms"})
        client = connect(scene.proxy).send(request("/held", method="POST", body=b"a body"))
        scene.upstream.wait_requests(1)
        client.half_close()
        scene.gone(client.port, "abort", "upstream")
        begun = Watch()
        assert scene.proxy.terminate() == 0
        begun.took(0.4, 3)
        assert "cut off: 1 exchange" in scene.proxy.stderr()
        scene.left_alone("GET")
