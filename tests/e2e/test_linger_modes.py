"""The other ways to let go: "timed", "kernel" and "off"."""

from contextlib import ExitStack

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.client import Client, request
from tests.kit.endings import DEBUG, QUICK, dripping, p99_at_most_twice, page, receipt, side_by_side, whole
from tests.kit.scene import BIG, LAST, is_held, lingering, states
from tests.kit.sockets import FIN_WAIT1, FIN_WAIT2, eventually, unread
from tests.kit.watch import Watch


def test_timed_does_not_wait_for_the_acknowledgement(bench: Bench, connect: Connect) -> None:
    """A paused reader is let go after the gap, with its response undelivered: that is what "ack" is for."""
    proxy = lingering(bench, size=BIG, linger="timed", timeouts={"send_idle": "10s"})
    watch = Watch()
    client = connect(proxy, rcvbuf=4096)
    client.send(LAST)
    line = receipt(proxy, client)
    watch.took(0.25, 0.7, line.get("linger_seconds", 0.0))
    assert (line["acknowledged"], line["client_fin"]) == (False, False)


def test_timed_ends_with_the_clients_fin_and_at_the_total(bench: Bench, connect: Connect) -> None:
    """The rest of it is as with "ack"."""
    proxy = lingering(bench, linger="timed", timeouts={"linger_total": "1s"})
    watch = Watch()
    polite, rude = connect(proxy), connect(proxy)
    polite.ask(LAST)
    polite.close()
    assert receipt(proxy, polite)["client_fin"] is True
    with dripping(rude.send(LAST)):
        line = receipt(proxy, rude)
    watch.took(0.9, 1.4, line.get("linger_seconds", 0.0))
    assert line["client_fin"] is False


def test_kernel_closes_with_so_linger(bench: Bench, connect: Connect) -> None:
    """The response reaches a client that reads within linger_kernel."""
    proxy = lingering(bench, size=BIG, linger="kernel", timeouts={"linger_kernel": "5s"})
    client = connect(proxy, rcvbuf=4096)
    client.send(LAST)
    assert eventually(lambda: states(client, proxy) in ([FIN_WAIT1], [FIN_WAIT2]))
    got = whole(client)
    assert got is not None
    assert len(got.body) == BIG
    receipt(proxy, client)
    assert eventually(lambda: not is_held(client, proxy))


def test_kernel_gives_up_on_a_paused_reader(bench: Bench, connect: Connect) -> None:
    """close() blocks its thread for linger_kernel, and nobody else."""
    proxy = lingering(bench, size=BIG, linger="kernel", timeouts={"linger_kernel": "1s"})
    client = connect(proxy, rcvbuf=4096)
    client.send(LAST)
    assert eventually(lambda: unread(client.sock) > 0)
    other = connect(proxy)
    begun = Watch()
    other.ask(request())
    begun.took(0, 0.5)
    line = receipt(proxy, client)
    assert line["acknowledged"] is False
    assert eventually(lambda: not is_held(client, proxy), 3.0)


def test_off_closes_at_once(bench: Bench, connect: Connect) -> None:
    """No linger: our socket is gone with the response, and a client that sends on is reset."""
    proxy = lingering(bench, linger="off")
    client = connect(proxy)
    client.ask(LAST)
    line = receipt(proxy, client)
    assert line.get("linger_seconds", 0) < 0.05
    assert eventually(lambda: not is_held(client, proxy))  # the receipt is written before the batch ends
    client.send_or_fail(b"x")
    assert client.ending() in ("fin", "rst")
    assert eventually(lambda: not client.send_or_fail(b"x"))


@pytest.mark.slow
def test_fifty_kernel_closes_do_not_slow_the_others(bench: Bench) -> None:
    """At most eight of them block a thread; good clients beside them: p99 at most 2 x a calm proxy's."""
    upstream = bench.upstream()
    upstream.on("/stuck", page(BIG))
    rule = [{"name": "stuck", "path": "/stuck", "linger": "kernel"}]
    timeouts = {**QUICK, "linger_kernel": "10s"}
    calm, proxy = (bench.proxy(upstream, log=DEBUG, timeouts=timeouts, rule=rule) for _ in range(2))

    def fifty() -> tuple[list[float], list[float]]:
        with ExitStack() as closing:
            stuck = [closing.enter_context(Client(proxy.address, rcvbuf=4096)) for _ in range(50)]
            for client in stuck:
                client.send(request("/stuck", fields=["Connection: close"]))
            for client in stuck:
                client.wait_readable()
            found = side_by_side(calm.address, proxy.address, 400)
            blocked = sum(states(client, proxy) == [FIN_WAIT1] for client in stuck)
        assert blocked >= 8, "the closes did not last as long as the measurement"
        return found

    p99_at_most_twice(fifty)
