"""More than one server: shares, clients that stay, backups, those left out and back, checks, and retries."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from shieldproxy.core.retry import FLOOR, WINDOW
from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import broken, last, reply, silent
from tests.kit.client import Client, request
from tests.kit.link import Turn
from tests.kit.proxy import Proxy, free_address
from tests.kit.sockets import eventually
from tests.kit.upstream import Upstream

Entry = Upstream | str | dict[str, Any]


def over(bench: Bench, *servers: Entry, **table: Any) -> Proxy:
    """A proxy before some servers; `rule`, `server` and `route` are tables of their own."""
    entries = [server.address if isinstance(server, Upstream) else server for server in servers]
    outer = {name: table.pop(name) for name in ("route", "server", "timeouts") if name in table}
    return bench.proxy({"legacy": {"servers": entries, **table}}, **outer)


def named(bench: Bench, *names: str) -> list[Upstream]:
    """Servers that answer with their names."""
    servers = [bench.upstream() for _ in names]
    for server, name in zip(servers, names, strict=True):
        server.default = reply(name.encode())
    return servers


def asked(client: Client, count: int, method: str = "GET") -> str:
    """The names of those that answered, in order."""
    return "".join(client.ask(request(method=method)).body.decode() for _ in range(count))


def noted(proxy: Proxy, *words: str) -> Callable[[], bool]:
    """Whether a line of the proxy's own log has all these words."""
    return lambda: any(all(word in line for word in words) for line in proxy.stderr().splitlines())


# the choice


def test_round_robin_by_weight(bench: Bench, connect: Connect) -> None:
    a, b, c = named(bench, "a", "b", "c")
    heavy = {"address": a.address, "weight": 5}
    proxy = over(bench, heavy, b, c, balance="round_robin")
    client = connect(proxy)
    assert asked(client, 14) == 2 * "aabacaa"


def test_least_connections_by_weight(bench: Bench, connect: Connect) -> None:
    release = threading.Event()
    a, b = bench.upstream(), bench.upstream()

    def story(turn: Turn) -> None:
        turn.wait(release)
        turn.send(reply())

    a.default = b.default = story
    proxy = over(bench, {"address": a.address, "weight": 3}, b)
    clients = [connect(proxy) for _ in range(8)]
    for number, client in enumerate(clients):
        client.send(request(f"/{number}"))
        assert eventually(lambda due=number + 1: len(a.requests) + len(b.requests) == due, 5)  # type: ignore[misc]
    assert (len(a.requests), len(b.requests)) == (6, 2)
    release.set()
    assert [client.response().status for client in clients] == [200] * 8


def test_a_client_stays_with_its_server_while_that_is_there(
    bench: Bench, connect: Connect, transcript: list[str]
) -> None:
    a, b, c = named(bench, "a", "b", "c")
    proxy = over(
        bench, a, b, c, balance="client_hash", max_fails=1, eject="60s", server={"trusted": ["127.0.0.1/32"]}
    )

    def home(number: int) -> str:
        client = connect(proxy)
        fields = [f"X-Forwarded-For: 192.0.2.{number}"]
        bodies = [client.ask(request(fields=fields)).body.decode() for _ in range(2)]
        client.close()
        assert bodies[0] == bodies[1]
        return bodies[0]

    before = [home(number) for number in range(30)]
    assert {*before} == {"a", "b", "c"}
    assert [home(number) for number in range(30)] == before
    b.stop()
    after = [home(number) for number in range(30)]
    stayed = [(new, old) for new, old in zip(after, before, strict=True) if old != "b"]
    assert all(new == old for new, old in stayed)
    assert {new for new, old in zip(after, before, strict=True) if old == "b"} <= {"a", "c"}
    transcript.clear()  # which one it is, is chance


def test_a_backup_serves_only_while_no_other_is_well(
    bench: Bench, connect: Connect, transcript: list[str]
) -> None:
    a, b, spare = named(bench, "a", "b", "s")
    backup = {"address": spare.address, "backup": True}
    proxy = over(bench, a, b, backup, max_fails=1, eject="300ms", eject_max="300ms")
    client = connect(proxy)
    assert set(asked(client, 6)) == {"a", "b"}
    a.stop()
    assert "s" not in asked(client, 6)
    b.stop()
    assert set(asked(client, 6)) == {"s"}
    a.start()
    assert eventually(lambda: asked(client, 1) == "a", 5)
    time.sleep(0.35)
    assert "s" not in asked(client, 6)
    transcript.clear()  # which one it is, is chance


# left out, and back


def test_a_server_that_fails_is_left_out_and_probed_by_one_request(bench: Bench, connect: Connect) -> None:
    good, bad = bench.upstream(), bench.upstream()
    gate, sick = threading.Event(), threading.Event()
    sick.set()

    def story(turn: Turn) -> None:
        if sick.is_set():
            turn.close()
            return
        turn.wait(gate)
        turn.send(reply(b"bad"))

    bad.default = story
    proxy = over(bench, good, bad, max_fails=3, eject="3s", balance="round_robin")
    client = connect(proxy)
    while len(bad.requests) < 3:
        assert client.ask(request()).status == 200, "sent again to the other one"
    assert asked(client, 10) == 10 * "hello"
    assert len(bad.requests) == 3
    assert eventually(noted(proxy, bad.address, "left out", "3 s"), 5)
    sick.clear()
    time.sleep(3.1)
    probes = [connect(proxy) for _ in range(6)]
    for probe in probes:
        probe.send(request())
    assert eventually(lambda: len(good.requests) >= 3 + 10 + 5, 5)
    assert eventually(lambda: len(bad.requests) == 4, 5), "one probe, and everybody else keeps away"
    gate.set()
    assert sorted(probe.response().body for probe in probes) == [b"bad"] + [b"hello"] * 5
    assert eventually(noted(proxy, bad.address, "is back"), 5)
    assert "bad" in asked(client, 4)


def test_if_all_are_left_out_they_are_asked_all_the_same(bench: Bench, connect: Connect) -> None:
    a, b = named(bench, "a", "b")
    proxy = over(bench, a, b, max_fails=1, eject="60s")
    client = connect(proxy)
    assert client.ask(request()).status == 200
    a.stop()
    b.stop()
    assert [client.ask(request()).status for _ in range(3)] == [502] * 3
    b.start()
    assert asked(client, 3) == "bbb"


def test_an_answer_that_does_not_come_in_time_counts(bench: Bench, connect: Connect) -> None:
    good, slow = named(bench, "g", "s")
    slow.default = silent
    proxy = over(bench, good, slow, max_fails=1, eject="60s", response_timeout="300ms", balance="round_robin")
    client = connect(proxy)
    statuses = [client.ask(request()).status for _ in range(6)]
    assert sorted(statuses) == [200] * 5 + [504]


def test_the_log_has_who_was_tried_before(bench: Bench, connect: Connect) -> None:
    (good,) = named(bench, "g")
    dead = free_address()
    proxy = over(bench, dead, {"address": good.address, "backup": True})
    client = connect(proxy)
    assert client.ask(request()).status == 200
    (line,) = proxy.log_lines(1, port=client.port)
    assert (line["tried"], line["server"]) == ([dead], good.address)


# active checks


def test_checks_leave_a_server_out_and_take_it_back(bench: Bench, connect: Connect) -> None:
    a, b = named(bench, "a", "b")
    b.on("/health", reply(status="503 Busy"))
    check = {"path": "/health", "interval": "100ms", "timeout": "1s", "status": 200, "fall": 2, "rise": 2}
    proxy = over(bench, a, b, health=check, balance="round_robin")
    assert eventually(noted(proxy, b.address, "left out by its checks: status 503, not 200"), 5)
    client = connect(proxy)
    assert asked(client, 8) == 8 * "a"
    b.on("/health", reply())
    assert eventually(noted(proxy, b.address, "is back"), 5)
    assert set(asked(client, 8)) == {"a", "b"}
    checks = [r for r in a.requests if r.target == b"/health"]
    assert len({r.connection for r in checks}) == len(checks), "a connection each"


def test_a_check_takes_no_place_beside_the_last(bench: Bench, connect: Connect) -> None:
    """A server of one connection: checked while it is free, and never a second connection beside it."""
    server, release = bench.upstream(), threading.Event()
    most = [0]

    def beside() -> int:
        return sum(not link.ended.is_set() for link in server.links)

    def story(turn: Turn) -> None:
        eventually(
            lambda: beside() <= 1, 1
        )  # the last one's FIN is there, but its thread may not have seen it
        most[0] = max(most[0], beside())
        if turn.request.target == b"/held":
            turn.wait(release)
        turn.send(reply())

    server.default = story
    proxy = over(bench, server, max_connections=1, health={"path": "/health", "interval": "100ms"})
    assert eventually(lambda: len(server.requests) >= 3, 5)
    client = connect(proxy)
    client.send(request("/held"))
    assert eventually(lambda: server.requests[-1].target == b"/held", 5)
    time.sleep(0.4)
    assert server.requests[-1].target == b"/held"
    release.set()
    assert client.response().status == 200
    assert eventually(lambda: server.requests[-1].target == b"/health", 5)
    assert client.ask(request("/again")).status == 200
    assert most == [1]


# sent again


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_an_idempotent_request_goes_to_another_server(bench: Bench, connect: Connect, how: str) -> None:
    good, bad = named(bench, "g", "b")
    bad.default = last(b"") if how == "fin" else broken()
    proxy = over(bench, good, bad, max_fails="off")
    client = connect(proxy)
    for method in ("GET", "PUT", "DELETE", "GET", "GET"):
        assert client.ask(request(method=method)).body == b"g"
    assert bad.requests, "it was never asked"


def test_not_more_often_than_retries(bench: Bench, connect: Connect) -> None:
    servers = named(bench, *"abcd")
    for server in servers:
        server.default = last(b"")
    proxy = over(bench, *servers, max_fails="off", retries=2)
    assert connect(proxy).ask(request()).status == 502
    assert sum(len(server.requests) for server in servers) == 3
    assert max(len(server.requests) for server in servers) == 1


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_post_is_sent_again_only_if_the_route_says_so(bench: Bench, connect: Connect, unsafe: bool) -> None:
    servers = named(bench, "a", "b")
    for server in servers:
        server.default = last(b"")
    proxy = over(bench, *servers, max_fails="off", route={"retry_unsafe": unsafe})
    assert connect(proxy).ask(request(method="POST", body=b"x")).status == 502
    assert sum(len(server.requests) for server in servers) == 1 + unsafe


def test_the_budget_bounds_what_a_sick_pair_is_sent(bench: Bench, connect: Connect) -> None:
    a, b = named(bench, "a", "b")
    for server in (a, b):
        server.default = last(b"")
    proxy = over(bench, a, b, max_fails="off", retry_budget=0.2)
    client = connect(proxy)
    began = time.monotonic()
    for _ in range(200):
        assert client.ask(request()).status == 502
    windows = 1 + (time.monotonic() - began) / WINDOW
    assert FLOOR <= len(a.requests) + len(b.requests) - 200 <= 200 * 0.2 + FLOOR * windows


def test_connections_that_cannot_be_made_cost_no_budget(bench: Bench, connect: Connect) -> None:
    good = bench.upstream()
    proxy = over(bench, free_address(), free_address(), good, max_fails="off", retry_budget=0, retries=0)
    client = connect(proxy)
    assert [client.ask(request(method="POST", body=b"x")).status for _ in range(20)] == [200] * 20
