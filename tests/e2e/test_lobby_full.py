"""More clients than places, more clients than descriptors, and clients that nobody reads."""

import resource
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import broken
from tests.kit.client import Client, request
from tests.kit.endings import QUICK, dripping, give_up, outcome, page, receipt, whole
from tests.kit.proxy import Proxy
from tests.kit.scene import BIG, LAST, PATIENT, Scene, no_close_wait, stage, states
from tests.kit.sockets import (
    FIN_WAIT1,
    FIN_WAIT2,
    cpu_share,
    descriptors,
    eventually,
    unread,
)
from tests.kit.watch import Watch


@pytest.fixture(autouse=True)
def reaped(bench: Bench) -> Iterator[None]:
    """After each test, when its clients have closed, nothing of ours waits for a close."""
    yield
    no_close_wait(bench.proxies, bench.upstreams)


def ended(proxy: Proxy, clients: dict[str, Client]) -> list[str]:
    """Which of the clients have a receipt, in the order of the log."""
    names = {client.port: name for name, client in clients.items()}
    return [names[line["port"]] for line in proxy.lines("connection") if line["port"] in names]


def seven(scene: Scene, connect: Connect) -> dict[str, Client]:
    """A client in each state that can be evicted, and a head too young for it."""
    proxy = scene.proxy
    scene.upstream.on("/big", page(BIG))
    pausing = connect(proxy, rcvbuf=4096).send(request("/big", fields=["Connection: close"]))
    read, older, newer = connect(proxy), connect(proxy), connect(proxy)
    for client, data in ((read, LAST), (older, request()), (newer, request())):
        client.ask(data)
    assert eventually(lambda: states(pausing, proxy) == [FIN_WAIT1])
    assert eventually(lambda: states(read, proxy) == [FIN_WAIT2])
    old = connect(proxy).send(b"GET / HTTP/1.1\r\n")
    time.sleep(1.6)  # a quarter of head, and more
    young = connect(proxy).send(b"GET / HTTP/1.1\r\n")
    scene.all_read()
    return {
        "acknowledged": read,
        "unacknowledged": pausing,
        "old head": old,
        "older idle": older,
        "newer idle": newer,
        "fresh": connect(proxy),
        "young head": young,
    }


def test_who_is_evicted_first(bench: Bench, connect: Connect) -> None:
    """Lingering and acknowledged, lingering, old heads, idle by age, fresh; then nobody, and 503."""
    scene = stage(bench, server={"max_connections": 7}, timeouts={**PATIENT, "head": "6s"})
    scene.empty()
    clients = seven(scene, connect)
    intruders = []
    for name in ("acknowledged", "unacknowledged", "old head", "older idle", "newer idle", "fresh"):
        if name == "fresh":  # the young head is served meanwhile: nothing to be had there
            clients["young head"].send(b"Host: a\r\n\r\n")
            assert clients["young head"].response().status == 200
            clients["young head"].send(request("/held"))
            scene.upstream.wait_requests(11)
        before = len(scene.upstream.requests)
        intruders.append(connect(scene.proxy).send(request("/held")))
        scene.upstream.wait_requests(before + 1)
        line = receipt(scene.proxy, clients[name], timeout=3)
        assert "evicted" in (line["reason"], line["linger"])
    assert ended(scene.proxy, clients) == list(clients)[:6]
    late = connect(scene.proxy)
    got = late.ask(request())
    assert got.status == 503
    assert got.get("retry-after")
    assert late.ending() == "fin"
    scene.release.set()
    for intruder in intruders:
        assert intruder.response().status == 200


def test_a_full_house_refuses_with_503_and_lingers(bench: Bench, connect: Connect) -> None:
    """Whole also for a client that uploads and gives up at a send error; then there is room again."""
    scene = stage(bench, server={"max_connections": 2}, timeouts=PATIENT)
    scene.empty()
    busy = [connect(scene.proxy).send(request("/held")) for _ in range(2)]
    scene.upstream.wait_requests(2)
    for _ in range(10):
        with Client(scene.proxy.address) as late:
            got = give_up(late, request(method="POST", fields=["Content-Length: 300000"]), 300_000)
        assert got is not None, "the 503 was lost"
        assert got.status == 503
    line = outcome(scene.proxy, late)
    assert (line["status"], line["outcome"], line["phase"]) == (503, "refused", "admission")
    scene.release.set()
    for client in busy:
        assert client.response().status == 200
        client.close()
    with Client(scene.proxy.address) as next_one:
        assert eventually(lambda: whole(next_one.send(request())) is not None)


def test_max_connections_beyond_the_descriptors_is_clamped(
    bench: Bench, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And said so at start; the limit is raised to the hard one by ourselves."""
    monkeypatch.setenv(
        "SHIELDPROXY_TEST_COMMAND", f"prlimit --nofile=100:300 {sys.executable} -m shieldproxy run"
    )
    scene = stage(bench, server={"max_connections": 20000})
    assert eventually(lambda: "max_connections" in scene.proxy.stderr())
    assert resource.prlimit(scene.proxy.pid, resource.RLIMIT_NOFILE) == (300, 300)
    for _ in range(290):
        connect(scene.proxy)
    got = connect(scene.proxy).ask(request())  # the oldest that are fresh make room
    assert got.status == 200
    assert descriptors(scene.proxy.pid) < 300


def test_no_descriptor_left_backs_off_without_spinning(bench: Bench, connect: Connect) -> None:
    """EMFILE in accept: no turn of the loop is spent on it, and who is inside is served."""
    scene = stage(bench, timeouts=PATIENT)
    inside = connect(scene.proxy)
    inside.ask(request())
    hard = resource.prlimit(scene.proxy.pid, resource.RLIMIT_NOFILE)
    low = descriptors(scene.proxy.pid)
    resource.prlimit(scene.proxy.pid, resource.RLIMIT_NOFILE, (low, hard[1]))
    waiting = [connect(scene.proxy).send(request()) for _ in range(5)]
    assert cpu_share(scene.proxy.pid, 1.0) < 0.05
    assert inside.ask(request()).status == 200
    assert all(client.quiet(0.01) for client in waiting)
    resource.prlimit(scene.proxy.pid, resource.RLIMIT_NOFILE, hard)
    for client in waiting:
        assert client.response().status == 200
    assert "pause" in scene.proxy.stderr() or "descriptor" in scene.proxy.stderr()


class TestNobodyReads:
    """Connections with something to say that nobody listens to must not turn the loop."""

    def test_half_closed_with_unread_input(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench, timeouts=PATIENT)
        client = connect(scene.proxy)
        client.send(request("/held"))
        scene.upstream.wait_requests(1)
        client.send(request("/next") + b"GET /half")
        client.half_close()
        assert cpu_share(scene.proxy.pid) < 0.05
        scene.release.set()
        assert client.response().body == b"late"
        assert client.response().status == 200

    def test_paused_in_a_response_with_unread_input_and_a_fin(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench, timeouts=PATIENT)
        scene.upstream.on("/big", page(4_000_000))
        client = connect(scene.proxy, rcvbuf=4096)
        client.send(request("/big"))
        assert eventually(lambda: unread(client.sock))
        client.send(b"x" * 2000)
        client.half_close()
        assert cpu_share(scene.proxy.pid) < 0.05

    def test_reset_with_unread_input_while_worked_on(self, bench: Bench, connect: Connect) -> None:
        scene = stage(bench, timeouts=PATIENT)
        client = connect(scene.proxy)
        client.send(request("/held"))
        scene.upstream.wait_requests(1)
        client.send(b"x" * 2000)
        client.reset()
        assert cpu_share(scene.proxy.pid) < 0.05
        assert receipt(scene.proxy, client)["by"] == "client"

    def test_an_upstream_that_is_not_read_because_the_client_does_not(
        self, bench: Bench, connect: Connect
    ) -> None:
        """Back-pressure on a server that keeps on sending and then resets."""
        scene = stage(bench, timeouts=PATIENT)
        scene.upstream.on("/big", broken(page(4_000_000)))
        client = connect(scene.proxy, rcvbuf=4096)
        client.send(request("/big"))
        assert eventually(lambda: unread(client.sock))
        assert cpu_share(scene.proxy.pid) < 0.05


def test_connections_that_come_and_go_within_a_turn_are_not_mistaken(bench: Bench) -> None:
    """Descriptors are reused at once: nobody gets another client's end or another client's answer."""
    scene = stage(bench)
    scene.upstream.default = page(10)
    for number in range(30):
        scene.upstream.on(f"/{number}", page(100 + number))
    faults: list[str] = []

    def churn(number: int) -> None:
        for turn in range(60):
            with Client(scene.proxy.address) as client:
                if turn % 3 == 0:
                    client.send(b"GET /")
                    client.reset()
                    continue
                got = whole(client.send(request(f"/{number}")))
                if got is None or len(got.body) != 100 + number:
                    faults.append(f"client {number} in turn {turn}: {got and got.raw[:200]!r}")

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not faults


def test_a_slow_head_beside_dripping_heads(bench: Bench, connect: Connect) -> None:
    """Many dripping heads at once end each at its own time."""
    scene = stage(bench, timeouts={**QUICK, "head": "800ms"})
    begun = Watch()
    clients = [connect(scene.proxy) for _ in range(20)]
    for client in clients:
        client.send(b"G")
    with dripping(clients[0], b"E", 0.02), dripping(clients[1], b"E", 0.02):
        for client in clients:
            assert client.response().status == 408
    begun.took(0.7, 1.6)
