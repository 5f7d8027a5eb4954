"""Interim responses that their client does not take: they hold no place at the server."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.core.closing import Event
from shieldproxy.net.record import OUT
from shieldproxy.proxy.admission import end_at_once, house_clients
from shieldproxy.proxy.fin import CONTINUE, half_said
from tests.kit.answers import Story, broken, held, reply
from tests.kit.full import Full
from tests.kit.link import Turn
from tests.kit.upstream import Upstream
from tests.proxy.bodies import told
from tests.proxy.forsaken import before
from tests.proxy.test_cut_off import evict
from tests.run.worker_rig import Running, running

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"x" * 1000 + b">\r\n\r\n"
GET = b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n"
EXPECTS = b"POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"


def hinting(answer: bytes) -> Story:
    """Hints, and behind them, not in one piece with them, the answer."""

    def story(turn: Turn) -> None:
        for _ in range(6):
            turn.send(HINT * 5)
            turn.settle()
        turn.send(answer)

    return story


BOTH = pytest.mark.parametrize("express", [True, False], ids=["express", "task"])


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


async def clogged(house: Running, takes: int = 0) -> tuple[socket.socket, Any, Full]:
    """A known client that takes nothing more."""
    client = house.connect()
    await house.ask(client)
    (rec,) = house_clients(house.worker.house)
    full: Any = Full(rec.sock, takes)
    rec.sock = full
    return client, rec, full


async def released(house: Running, server: Upstream, count: int = 2) -> None:
    """The server has had this request, and its place is free."""
    await house.until(lambda: len(server.requests) == count)
    (place,) = house.worker.house.groups["legacy"].servers
    await house.until(lambda: place.leased == 0)


@BOTH
@pytest.mark.parametrize("takes", [0, 1500], ids=["none of them", "one and a half"])
@pytest.mark.parametrize("size", [5, 100_000])
async def test_of_the_server(server: Upstream, tmp_path: Path, express: bool, takes: int, size: int) -> None:
    server.on("/held", hinting(reply(b"e" * size)))
    async with running(before(server, tmp_path, more={"express": express})) as house:
        client, rec, full = await clogged(house, takes)
        client.send(GET)
        await released(house, server)
        full.takes = 1 << 30
        house.worker.house.lobby.again(rec, OUT)
        got = await told(house, client, b"e" * size)
        assert got.count(HINT[:25]) == 30
        assert got.count(b"HTTP/1.1 200 OK\r\n") == 1
        assert (await house.ask(client)).endswith(b"hello")


@BOTH
@pytest.mark.parametrize("takes", [0, 10], ids=["none of it", "a part"])
async def test_our_100(server: Upstream, tmp_path: Path, express: bool, takes: int) -> None:
    """Its client does not wait for it: if none of it has gone it is left out (RFC 9110 section 10.1.1)."""
    server.on("/held", reply(b"taken"))
    async with running(before(server, tmp_path, more={"express": express})) as house:
        client, rec, full = await clogged(house, takes)
        client.send(EXPECTS)
        await house.until(lambda: rec.stage == "body")
        client.send(b"body")
        await released(house, server)
        full.takes = 1 << 30
        house.worker.house.lobby.again(rec, OUT)
        got = await told(house, client, b"taken")
        assert got.startswith(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200" if takes else b"HTTP/1.1 200 OK\r\n"
        )
        assert house.worker.house.promotions["expect"] == (1 if takes and express else 0)
        assert (await house.ask(client)).endswith(b"hello")


@BOTH
async def test_a_status_can_still_follow_those_that_were_not_sent(
    server: Upstream, tmp_path: Path, express: bool
) -> None:
    """The server breaks off behind them: the client has a 502, and not half of a hint before it."""
    server.on("/held", broken(HINT * 3))
    async with running(before(server, tmp_path, more={"express": express})) as house:
        client, rec, full = await clogged(house)
        client.send(GET)
        await released(house, server)
        full.takes = 1 << 30
        house.worker.house.lobby.again(rec, OUT)
        assert (await told(house, client, b"\r\n\r\n")).startswith(b"HTTP/1.1 502 ")


@BOTH
@pytest.mark.parametrize("hint", [b"", HINT], ids=["", "and a hint"])
@pytest.mark.parametrize("leaves", [False, True], ids=["waits", "leaves"])
async def test_a_status_behind_half_of_our_100(
    server: Upstream, tmp_path: Path, express: bool, hint: bytes, leaves: bool
) -> None:
    """The server breaks off: the rest of the 100 goes before the 502, or before what is said at the end."""
    server.on("/held", broken(hint))
    async with running(before(server, tmp_path, more={"express": express})) as house:
        client, rec, full = await clogged(house, 10)
        client.send(EXPECTS)
        await house.until(lambda: rec.stage == "body")
        client.send(b"body")
        await released(house, server)
        full.takes = 1 << 30
        if leaves:
            end_at_once(house.worker.house, rec, "drain-timeout", Event.STOPPED)
            assert (await house.rest(client)).startswith(CONTINUE + b"HTTP/1.1 503 ")
            return
        house.worker.house.lobby.again(rec, OUT)
        got = await told(house, client, b"upstream")
        assert got.startswith(CONTINUE + b"HTTP/1.1 502 ")


@pytest.mark.parametrize("behind", [b"", CONTINUE, HINT, b"HTTP/1.0 200 OK\r\nA: HTTP/1.1\r\n\r\nhello"])
@pytest.mark.parametrize("message", [CONTINUE, HINT])
def test_what_is_half_said(message: bytes, behind: bytes) -> None:
    assert half_said(message + behind) == b""
    for at in range(1, len(message) + 1):
        rest = message[at:]
        assert half_said(rest + behind) == rest
        assert half_said(memoryview(rest + behind)) == rest


async def test_leaving_the_line_behind_half_of_our_100(server: Upstream, tmp_path: Path) -> None:
    """As it has to leave, it is told so, behind the rest."""
    release = threading.Event()
    server.on("/first", held(release, reply()))
    async with running(before(server, tmp_path)) as house:
        client, rec, full = await clogged(house, 10)
        house.connect(GET.replace(b"held", b"first"))
        await house.until(lambda: len(server.requests) == 2)
        client.send(EXPECTS)
        await house.until(lambda: rec.stage == "body")
        client.send(b"body")
        await house.until(lambda: len(house.worker.house.groups["legacy"].line) == 1)
        assert rec.exchange.lane == "task"
        full.takes = 1 << 30
        await evict(house, rec, gently=False)
        got = await house.rest(client)
        assert got.startswith(CONTINUE + b"HTTP/1.1 503 ")
        release.set()
