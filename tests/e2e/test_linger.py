"""The way of a close: FIN after the last byte, read and discard, until it is safe to let go; its limits."""

import time

import pytest

from tests.e2e.conftest import STREAMED, Bench, Connect
from tests.kit.client import Client, request
from tests.kit.endings import DEBUG, QUICK, dripping, early, page, receipt, whole
from tests.kit.scene import BIG, LAST, PATIENT, is_held, lingering, states
from tests.kit.sockets import (
    CLOSE_WAIT,
    FIN_WAIT1,
    FIN_WAIT2,
    TIME_WAIT,
    descriptors,
    eventually,
    facing,
    gone,
    of_port,
    read_to_end,
    tcp_info,
    unread,
)
from tests.kit.watch import Watch


def test_fin_after_the_last_byte_then_the_clients_fin_ends_it(bench: Bench, connect: Connect) -> None:
    """The common case: our FIN is there at once, the socket is held, and goes with the client's FIN."""
    proxy = lingering(bench, timeouts={"linger_gap": "10s", "linger_total": "20s"})
    client = connect(proxy)
    client.ask(LAST)
    assert client.ending() == "fin"
    eventually(lambda: states(client, proxy) == [FIN_WAIT2])
    assert states(client, proxy) == [FIN_WAIT2]
    assert is_held(client, proxy)
    closed = Watch()
    client.close()
    line = receipt(proxy, client)
    closed.took(0, 0.5)
    assert (line["by"], line["acknowledged"], line["client_fin"]) == ("client", True, True)
    assert line["exchanges"] == 1


def test_a_client_that_never_closes_is_let_go_after_the_gap(bench: Bench, connect: Connect) -> None:
    """It acknowledges and is silent: after linger_gap we let go, after fin_wait_2 the kernel does."""
    proxy = lingering(bench)
    first = connect(proxy)
    first.ask(LAST)
    first.close()
    receipt(proxy, first)
    before = descriptors(proxy.pid)
    client = connect(proxy)
    asked = Watch()
    client.ask(LAST)
    assert client.ending() == "fin"
    ended = Watch()
    line = receipt(proxy, client)
    assert asked.seconds > 0.25
    ended.took(0, 0.3 + 0.3)
    ended.took(0.25, 0.6, line.get("linger_seconds", 0.0))
    assert (line["acknowledged"], line["client_fin"]) == (True, False)
    assert not is_held(client, proxy)
    assert descriptors(proxy.pid) <= before
    assert FIN_WAIT2 in states(client, proxy)
    took = gone(lambda: facing(client.sock, proxy.pid), 4.0)
    assert took < 1 + 1, "longer than fin_wait_2 + 1 s"
    assert tcp_info(client.sock).state == CLOSE_WAIT


def test_a_paused_reader_is_not_acknowledged(bench: Bench, connect: Connect) -> None:
    """It has not taken the response when its limit ends the linger: the receipt says so."""
    proxy = lingering(bench, size=BIG)
    watch = Watch()
    client = connect(proxy, rcvbuf=4096)
    client.send(LAST)
    line = receipt(proxy, client)
    assert (line["acknowledged"], line["client_fin"]) == (False, False)
    assert line["undelivered"] > 0
    watch.took(0.9, 2.0, line.get("linger_seconds", 0.0))  # send_idle
    assert not is_held(client, proxy)
    took = gone(lambda: facing(client.sock, proxy.pid), 6.0)
    assert took < 1 + 2, "longer than fin_wait_1 + 2 s in the kernel"


def test_the_same_reader_is_acknowledged_once_it_has_read(bench: Bench, connect: Connect) -> None:
    """Its linger lasts while it pauses, and ends linger_gap after the acknowledgement."""
    proxy = lingering(bench, size=BIG, timeouts={"send_idle": "8s", "fin_wait_1": "8s"})
    client = connect(proxy, rcvbuf=4096)
    client.send(LAST)
    assert eventually(lambda: states(client, proxy) == [FIN_WAIT1])
    assert not proxy.lines("connection", client.port)
    client.sock.settimeout(5)
    assert whole(client) is not None
    assert client.ending() == "fin"
    read = Watch()
    line = receipt(proxy, client)
    read.took(0, 0.3 + 0.3)
    assert (line["acknowledged"], line["client_fin"]) == (True, False)
    assert "undelivered" not in line


def test_a_pause_longer_than_the_gap_and_total_loses_nothing(bench: Bench, connect: Connect) -> None:
    """linger_gap and linger_total count from the acknowledgement: they do not cut off a pause."""
    proxy = lingering(
        bench, size=BIG, timeouts={"linger_gap": "100ms", "linger_total": "800ms", "send_idle": "5s"}
    )
    client = connect(proxy, rcvbuf=4096)
    client.send(LAST)
    assert eventually(lambda: states(client, proxy) == [FIN_WAIT1])
    time.sleep(1.2)  # the pause itself
    assert is_held(client, proxy)
    got = whole(client)
    assert got is not None
    assert len(got.body) == BIG
    assert receipt(proxy, client)["acknowledged"] is True


def test_a_client_that_sends_for_ever_ends_at_linger_total(bench: Bench, connect: Connect) -> None:
    """Never silent for the gap: linger_total ends it, and its next bytes are answered with a reset."""
    proxy = lingering(bench, timeouts={"linger_total": "1s"})
    watch = Watch()
    client = connect(proxy)
    client.ask(LAST)
    assert client.ending() == "fin"
    with dripping(client) as refused:
        line = receipt(proxy, client)
        assert refused.wait(3)
    watch.took(0.9, 1.4, line.get("linger_seconds", 0.0))
    assert line["lingered_bytes"] >= 10
    assert (line["acknowledged"], line["client_fin"]) == (True, False)


def test_a_client_that_pauses_less_than_the_gap_is_held(bench: Bench, connect: Connect) -> None:
    """The gap is counted from its last byte, not from our FIN."""
    proxy = lingering(bench, timeouts={"linger_total": "10s"})
    watch = Watch()
    client = connect(proxy)
    client.ask(LAST)
    assert client.ending() == "fin"
    with dripping(client, pause=0.1):
        time.sleep(0.9)  # three gaps long
        assert is_held(client, proxy)
        assert not proxy.lines("connection", client.port)
    line = receipt(proxy, client)
    watch.took(0.9, 2.0, line.get("linger_seconds", 0.0))
    assert line["lingered_bytes"] >= 5


def test_limits_linger_ends_a_flood(bench: Bench, connect: Connect) -> None:
    """Bytes beyond limits.linger end it, not far beyond."""
    limit = 1_000_000
    proxy = lingering(bench, limits={"linger": limit}, timeouts={"linger_gap": "5s", "linger_total": "20s"})
    watch = Watch()
    client = connect(proxy)
    client.ask(LAST)
    sent = 0
    while client.send_or_fail(b"x" * 65536) and sent < 64_000_000:
        sent += 65536
    line = receipt(proxy, client)
    assert limit <= line["lingered_bytes"] <= limit + 17 * 65536
    watch.took(0, 3, line.get("linger_seconds", 0.0))
    assert sent < 64_000_000


@pytest.mark.parametrize("seconds", [1, 2])
def test_fin_wait_2_bounds_the_kernels_record(bench: Bench, connect: Connect, seconds: int) -> None:
    """After our close() of an idle connection the kernel keeps FIN_WAIT2 for so long and no longer."""
    proxy = lingering(bench, timeouts={"keep_alive": "200ms", "fin_wait_2": f"{seconds}s"})
    client = connect(proxy)
    client.ask(request())
    assert client.ending() == "fin"
    assert eventually(lambda: not is_held(client, proxy))
    assert eventually(lambda: states(client, proxy) == [FIN_WAIT2])
    took = gone(lambda: facing(client.sock, proxy.pid), seconds + 3.0)
    assert seconds - 0.8 < took < seconds + 1


def test_a_lingering_client_that_uploads_at_full_speed_is_read_to_its_end(
    bench: Bench, connect: Connect
) -> None:
    """A whole upload of 8 MB behind an early refusal is taken, and its client closes by itself."""
    upstream = bench.upstream()
    upstream.on("/streamed", early(page(2000, "413 Content Too Large")), at="head")
    proxy = bench.proxy(upstream, log=DEBUG, timeouts=QUICK, route=[STREAMED])
    client = connect(proxy)
    size = 8_000_000
    head = request("/streamed", method="POST", fields=[f"Content-Length: {size}"])
    client.send(head)
    client.send(b"x" * size)
    assert client.response("POST").status == 413
    client.close()
    line = receipt(proxy, client)
    assert line["client_fin"] is True
    assert line["in"] == len(head) + size, "in the exchange, and after it"
    assert line["lingered_bytes"] > 0


def test_an_idle_connection_that_we_end_needs_no_linger(bench: Bench, connect: Connect) -> None:
    """FIN and close() at once: nothing of ours can be lost."""
    proxy = lingering(bench, timeouts={"keep_alive": "200ms", "linger_gap": "10s", "linger_total": "20s"})
    client = connect(proxy)
    client.ask(request())
    assert client.ending() == "fin"
    line = receipt(proxy, client)
    assert line["seconds"] < 5.0  # half the gap; the machine may be busy
    assert line.get("linger_seconds", 0) < 0.1
    assert eventually(lambda: not is_held(client, proxy))


def test_a_response_without_persistence_ends_with_one_fin(bench: Bench, connect: Connect) -> None:
    """HTTP/1.0, Connection: close and keep_alive = false end in the same way."""
    upstream = bench.upstream()
    rule = [{"name": "old", "user_agent": "^old", "keep_alive": False}]
    proxy = bench.proxy(upstream, log=DEBUG, timeouts=QUICK, rule=rule)
    for data in (request(version="1.0"), LAST, request(fields=["User-Agent: old"])):
        client = connect(proxy)
        got = client.ask(data)
        assert not got.persistent
        assert client.ending() == "fin"
        client.close()
        line = receipt(proxy, client)
        assert (line["acknowledged"], line["client_fin"], line["exchanges"]) == (True, True, 1)


def test_nothing_of_a_closed_client_is_left(bench: Bench) -> None:
    """A hundred closes later there are no more descriptors than before, and no socket but TIME_WAIT."""
    proxy = lingering(bench)
    address = proxy.address
    with Client(address) as first:
        first.ask(request())
    before = descriptors(proxy.pid)
    for _ in range(100):
        client = Client(address)
        client.send(LAST)
        assert read_to_end(client.sock, 5)[1] == "fin"
        client.close()
    port = int(address.rpartition(":")[2])
    assert eventually(lambda: descriptors(proxy.pid) <= before), descriptors(proxy.pid)
    gone(lambda: [row for row in of_port(port, pid=proxy.pid) if row.state != TIME_WAIT], 3.0)


def test_a_client_that_reads_nothing_costs_little_kernel_memory(bench: Bench, connect: Connect) -> None:
    """TCP_NOTSENT_LOWAT bounds what send() takes, whatever the size of the response."""
    size = 8_000_000
    proxy = lingering(bench, size=size, timeouts=PATIENT)
    client = connect(proxy, rcvbuf=4096)
    client.send(LAST)
    assert eventually(lambda: unread(client.sock) > 0)
    seen = []
    for _ in range(10):
        seen += [row.unsent for row in facing(client.sock, proxy.pid)]
        time.sleep(0.02)
    assert seen
    assert max(seen) < 2 * 131072, "send() took more than the kernel should hold for such a client"
