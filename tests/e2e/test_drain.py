"""TERM and INT: stop accepting, close who waits, finish what is served, end in time whatever clients do."""

import signal
import socket
import threading
import time
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.client import request
from tests.kit.endings import dripping, page, receipt, whole
from tests.kit.proxy import Proxy
from tests.kit.scene import LAST, PATIENT, Scene, stage, states
from tests.kit.sockets import FIN_WAIT1, eventually, unread
from tests.kit.sockets import connect as plug
from tests.kit.watch import Watch
from tests.kit.wire import Stream, TruncatedError, read_response_body, read_response_head


def scene_of(bench: Bench, drain: str = "5s", **tables: Any) -> Scene:
    """Clients may stay for long: only the drain ends them."""
    return stage(bench, server={"drain_timeout": drain}, timeouts=PATIENT, **tables)


def refused(proxy: Proxy) -> bool:
    """Whether nobody listens any more."""
    host, _, port = proxy.address.rpartition(":")
    try:
        plug((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def ends(proxy: Proxy, most: float, least: float = 0) -> None:
    """Wait for the end of the process, within so many seconds from here on. Exit status 0."""
    begun = Watch()
    while proxy.process.poll() is None and begun.seconds < 20:
        begun.waited()
        time.sleep(0.02)
    begun.took(least, most)
    assert proxy.process.returncode == 0, proxy.stderr()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_waits_is_closed_and_what_is_served_is_finished(
    bench: Bench, connect: Connect, number: signal.Signals
) -> None:
    """Who waits gets a FIN at once; the held request is answered whole, then the process ends."""
    scene = scene_of(bench)
    proxy = scene.proxy
    idle, fresh, busy = connect(proxy), connect(proxy), connect(proxy)
    idle.ask(request())
    busy.send(request("/held"))
    scene.upstream.until(lambda: len(scene.upstream.requests) == 2, "the held request")
    begun = Watch()
    proxy.signal(number)
    assert idle.ending() == "fin"
    assert fresh.ending() == "fin"
    begun.took(0, 1.0)
    assert eventually(lambda: refused(proxy))
    assert proxy.process.poll() is None
    scene.release.set()
    got = busy.response()
    assert got.body == b"late"
    assert not got.persistent, "a drained connection says that it ends"
    assert busy.ending() == "fin"
    busy.close()
    ends(proxy, 1.0)
    for client in (idle, fresh):
        line = receipt(proxy, client)
        assert line["by"] == "proxy"
        assert "drain" in line["reason"]
    assert receipt(proxy, busy)["exchanges"] == 1


def test_nothing_to_do_ends_at_once(bench: Bench, connect: Connect) -> None:
    scene = scene_of(bench)
    connect(scene.proxy).ask(request())
    scene.proxy.signal(signal.SIGTERM)
    ends(scene.proxy, 0.7)


def test_a_client_that_never_reads_does_not_hold_it_up(bench: Bench, connect: Connect) -> None:
    scene = scene_of(bench, "1s")
    scene.upstream.on("/big", page(4_000_000))
    client = connect(scene.proxy, rcvbuf=4096).send(request("/big"))
    assert eventually(lambda: unread(client.sock))
    scene.proxy.signal(signal.SIGTERM)
    ends(scene.proxy, 1.8, least=0.8)
    line = receipt(scene.proxy, client)
    assert line["by"] == "proxy"
    assert "drain" in line["reason"]


def test_every_kind_of_awkward_client_at_once(bench: Bench, connect: Connect) -> None:
    """Held at the server, paused, dripping a head, a body, into a linger: drain_timeout, and no more."""
    scene = scene_of(bench, "1s")
    proxy = scene.proxy
    scene.upstream.on("/big", page(4_000_000))
    clients = {name: connect(proxy, rcvbuf=4096) for name in ("held", "paused", "head", "body", "linger")}
    clients["held"].send(request("/held"))
    clients["paused"].send(request("/big"))
    clients["head"].send(b"GET / HTTP/1.1\r\nX: ")
    clients["body"].send(request("/body", method="POST", fields=["Content-Length: 100000"]))
    clients["linger"].ask(LAST)
    assert eventually(lambda: unread(clients["paused"].sock))
    scene.upstream.until(lambda: len(scene.upstream.requests) >= 3, "requests")
    with dripping(clients["head"]), dripping(clients["body"]), dripping(clients["linger"]):
        proxy.signal(signal.SIGTERM)
        ends(proxy, 1.8)
    for client in clients.values():
        assert receipt(proxy, client)["reason"]
    assert "Traceback" not in proxy.stderr()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(bench: Bench, connect: Connect, number: signal.Signals) -> None:
    scene = scene_of(bench, "20s", route={"buffer_response": "stream"})  # or it may be a reader by then
    scene.upstream.on("/big", page(4_000_000))
    client = connect(scene.proxy, rcvbuf=4096).send(request("/big"))
    other = connect(scene.proxy).send(request("/held"))
    assert eventually(lambda: unread(client.sock))
    scene.upstream.wait_requests(2)
    scene.proxy.signal(number)
    assert eventually(lambda: refused(scene.proxy))
    scene.proxy.signal(number)
    ends(scene.proxy, 0.7)
    for late in (client, other):
        assert receipt(scene.proxy, late)["reason"]


def test_a_response_on_its_way_is_not_lost(bench: Bench, connect: Connect) -> None:
    """A lingering client that has not read yet has the drain's time to do so."""
    scene = scene_of(bench, "4s")
    scene.upstream.on("/page", page(14_000))
    client = connect(scene.proxy, rcvbuf=4096).send(request("/page", fields=["Connection: close"]))
    assert eventually(lambda: states(client, scene.proxy) == [FIN_WAIT1])
    scene.proxy.signal(signal.SIGTERM)
    assert eventually(lambda: refused(scene.proxy))
    got = whole(client)
    assert got is not None
    assert len(got.body) == 14_000
    client.close()
    ends(scene.proxy, 4.5)


def test_a_kept_connection_with_an_unread_response_is_not_cut_off(bench: Bench, connect: Connect) -> None:
    """It is idle for us, but not for the client, which reads later than fin_wait_1."""
    scene = stage(bench, server={"drain_timeout": "5s"}, timeouts={**PATIENT, "fin_wait_1": "500ms"})
    scene.upstream.on("/page", page(14_000))
    client = connect(scene.proxy, rcvbuf=4096).send(request("/page"))
    assert eventually(lambda: unread(client.sock))
    scene.proxy.signal(signal.SIGTERM)
    assert eventually(lambda: refused(scene.proxy))
    time.sleep(1.5)  # the reader's pause
    got = whole(client)
    assert got is not None
    assert len(got.body) == 14_000
    client.close()
    ends(scene.proxy, 5.5)


def test_an_upload_in_progress_is_finished(bench: Bench, connect: Connect) -> None:
    """A body half sent when TERM comes is still taken and answered."""
    scene = scene_of(bench)
    client = connect(scene.proxy)
    client.send(request("/up", method="POST", fields=["Content-Length: 10"]) + b"12345")
    scene.all_read()
    assert not scene.upstream.links
    scene.proxy.signal(signal.SIGTERM)
    assert eventually(lambda: refused(scene.proxy))
    client.send(b"67890")
    assert client.response().status == 200
    client.close()
    ends(scene.proxy, 1.5)
    assert scene.upstream.requests[0].body == b"1234567890"


def plug_or_none(proxy: Proxy) -> socket.socket | None:
    """Connect; None when nobody listens any more."""
    host, _, port = proxy.address.rpartition(":")
    try:
        return plug((host, int(port)), timeout=5)
    except ConnectionError:
        return None


def answered_whole(stream: Stream, data: bytes, broken: list[str]) -> bool:
    """Ask once more. False where the connection ended as the request was on its way: it was never taken."""
    try:
        stream.sock.sendall(data)
    except ConnectionError:
        return False
    if not stream.fill():
        return False
    try:
        response = read_response_head(stream)
        read_response_body(stream, response, "GET")
    except TruncatedError as cut:
        broken.append(str(cut))
        return False
    return True


def test_no_request_that_was_taken_is_lost_under_load(bench: Bench) -> None:
    """Eight clients at full speed: each request that the server saw was answered whole, and is in the log."""
    scene = scene_of(bench)
    answered: list[int] = [0] * 8
    broken: list[str] = []

    def load(number: int) -> None:
        while plugged := plug_or_none(scene.proxy):
            with plugged as sock:
                stream = Stream(sock)
                while answered_whole(stream, request(f"/{number}"), broken):
                    answered[number] += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: sum(answered) > 500, 10)
    scene.proxy.signal(signal.SIGTERM)
    ends(scene.proxy, 3)
    for thread in threads:
        thread.join(10)
    assert not broken
    assert sum(answered) == len(scene.upstream.requests)
    served = [line for line in scene.proxy.lines("exchange") if line["outcome"] == "served"]
    assert len(served) == sum(answered)
