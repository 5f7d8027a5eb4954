"""Bodies that are collected: where they stay, what the server sees of them, and which of them never arrive.

A worker in the test's own loop, so that its clock can be moved and its records counted.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from shieldproxy.core.limits import Buffers, Limits
from shieldproxy.core.policy import Policy
from shieldproxy.core.upstreams import UpstreamSpec
from tests.kit.answers import reply
from tests.kit.upstream import Upstream
from tests.run.worker_rig import HOURS, Running, plan, running

MEMORY = 4096
LIMIT = 400_000
BODY = bytes(range(251)) * 2000
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
BASE = Policy(timeouts=HOURS, limits=Limits(body=LIMIT))
HEAD = b"PUT /%b HTTP/1.1\r\nHost: a\r\n%b\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


def where(server: Upstream, log: Path, **changes: Any) -> Any:
    changes.setdefault("base", BASE)
    changes.setdefault("buffers", Buffers(request_memory=MEMORY, directory=str(log)))
    return plan(server, log, **changes)


def framed(body: bytes, framing: str, piece: int = 5000) -> tuple[bytes, bytes]:
    """A head and its body as it goes over the wire."""
    if framing == "length":
        return HEAD % (b"a", b"Content-Length: %d\r\n" % len(body)), body
    chunks = [body[at : at + piece] for at in range(0, len(body), piece)]
    return HEAD % (b"a", CHUNKED), b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


async def give(client: socket.socket, data: bytes) -> None:
    """Send everything, however long it takes."""
    view = memoryview(data)
    with trio.fail_after(10):
        while view:
            try:
                view = view[client.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(client)


async def told(house: Running, client: socket.socket, what: bytes) -> bytes:
    """Read until this has come."""
    got = b""
    while what not in got:
        piece = await house.some(client)
        assert piece, f"ended after {got[-300:]!r}"
        got += piece
    return got


def in_phase(house: Running, phase: str) -> int:
    return house.phases().get(phase, 0)


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, MEMORY - 1, MEMORY, MEMORY + 1, 70_000, LIMIT])
async def test_it_arrives_whole_and_at_once(
    server: Upstream, tmp_path: Path, size: int, framing: str, express: bool
) -> None:
    body = BODY[:size]
    head, data = framed(body, framing)
    async with running(where(server, tmp_path, express=express)) as house:
        client = house.connect(head)
        inside = house.worker.house
        if data:
            await house.until(lambda: in_phase(house, "body") == 1)
            await give(client, data[:-1])
            got = len(head) + len(data) - 1
            await house.until(lambda: any(getattr(r, "got", 0) == got for r in inside.lobby.all()))
            await house.until(lambda: inside.store.used == 0 or inside.store.disk.spilled > 0)
            assert (inside.store.used > 0) == (size - (framing == "length") > MEMORY)
            assert not server.links, "the server has heard of it before it was whole"
            assert not inside.promotions
        await give(client, data[-1:] + NEXT)
        answers = b""
        while answers.count(b"hello") < 2:
            answers += await house.some(client)
        first, second = server.wait_requests(2)
        assert (first.body, first.all("content-length"), first.all("transfer-encoding")) == (
            body, [b"%d" % size], []
        )  # fmt: skip
        assert second.target == b"/next"
        assert (server.violations, server.incomplete) == ([], [])
        await house.until(lambda: inside.store.used == inside.store.files == 0)
        assert (inside.store.most > 0) == (size > MEMORY)
        line, _ = await house.lines("exchange", client)
        assert (line["outcome"], line["in"]) == ("served", len(head) + len(data))


async def test_a_small_body_behind_its_head_starts_no_task(server: Upstream, tmp_path: Path) -> None:
    async with running(where(server, tmp_path)) as house:
        client = house.connect()
        await house.ask(client)
        promoted = house.worker.house.promotions.total()
        client.send(HEAD % (b"a", b"Content-Length: 5\r\n"))
        await house.until(lambda: in_phase(house, "body") == 1)
        client.send(b"12345")
        await told(house, client, b"hello")
        assert house.worker.house.promotions.total() == promoted
        (_, line) = await house.lines("exchange", client)
        assert line["lane"] == "express"


ENDS = {
    "fin": (HEAD % (b"a", b"Content-Length: 10\r\n") + b"12345", 400, "fin-in-body", "client"),
    "fin, chunked": (HEAD % (b"a", CHUNKED) + b"5\r\n123", 400, "fin-in-body", "client"),
    "no chunk": (HEAD % (b"a", CHUNKED) + b"5\r\n12345\r\nx", 400, "chunk-line", "proxy"),
    "too long": (HEAD % (b"a", CHUNKED) + b"%x\r\n" % (LIMIT + 1), 413, "body-long", "proxy"),
    "announced as too long": (
        HEAD % (b"a", b"Content-Length: %d\r\n" % (LIMIT + 1)), 413, "body-long", "proxy"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
async def test_what_is_not_whole_never_arrives(server: Upstream, tmp_path: Path, name: str) -> None:
    data, status, reason, by = ENDS[name]
    async with running(where(server, tmp_path)) as house:
        client = house.connect(data)
        if by == "client":
            await house.until(lambda: in_phase(house, "body") == 1)
            client.shutdown(socket.SHUT_WR)
        got = await told(house, client, reason.encode())
        assert got.startswith(b"HTTP/1.1 %d " % status)
        client.close()
        await house.until(lambda: house.worker.house.held == 0)
        assert not server.links
        (line,) = await house.lines("exchange")
        assert (line["status"], line["reason"], line["by"], line["outcome"]) == (
            status,
            reason,
            by,
            "refused",
        )


async def test_a_byte_beyond_the_limit_in_later_chunks(server: Upstream, tmp_path: Path) -> None:
    """It is refused by the line that announces the byte, not when the rest has come."""
    async with running(where(server, tmp_path)) as house:
        client = house.connect()
        await give(client, HEAD % (b"a", CHUNKED) + b"%x\r\n" % LIMIT + BODY[:LIMIT] + b"\r\n")
        await trio.sleep(0.05)
        assert in_phase(house, "body") == 1
        client.send(b"1\r\n")
        assert (await told(house, client, b"body-long")).startswith(b"HTTP/1.1 413")
        inside = house.worker.house
        await house.until(lambda: inside.store.used == inside.store.files == 0)
        assert not server.links


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_reset(server: Upstream, tmp_path: Path, size: int) -> None:
    async with running(where(server, tmp_path)) as house:
        client = house.connect()
        await give(client, HEAD % (b"a", b"Content-Length: %d\r\n" % size) + BODY[: size - 1])
        await house.until(lambda: in_phase(house, "body") == 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        inside = house.worker.house
        await house.until(lambda: inside.held == 0)
        await house.until(lambda: inside.store.used == inside.store.files == 0)
        assert not server.links
        (line,) = await house.lines("exchange")
        assert (line["status"], line["outcome"], line["phase"], line["reason"]) == (
            499, "aborted", "body", "reset"
        )  # fmt: skip


# time

USUAL = replace(HOURS, body_idle=15.0, body_min_rate=500.0, body_total=3600.0)


def times(buffering: Any = None, **changes: float) -> Policy:
    return replace(BASE, timeouts=replace(USUAL, **changes), buffer_request=buffering)


@pytest.mark.parametrize("buffering", ["whole", "stream"])
async def test_an_honest_slow_upload_passes(
    server: Upstream, tmp_path: Path, mock_clock: MockClock, buffering: str
) -> None:
    """600 bytes a second where 500 are asked for, for two minutes; and at first nothing for 9 seconds."""
    mock_clock.rate = 1.0
    async with running(where(server, tmp_path, base=times(buffering))) as house:
        client = house.connect(HEAD % (b"a", b"Content-Length: 72000\r\n"))
        await trio.sleep(0.05)
        mock_clock.jump(9.0)
        for at in range(0, 72000, 6000):
            client.send(BODY[at : at + 6000])
            await trio.sleep(0.03)
            mock_clock.jump(10.0 if at else 1.0)
            await trio.sleep(0.03)
        await told(house, client, b"hello")
        assert server.one().body == BODY[:72000]


@pytest.mark.parametrize("buffering", ["whole", "stream"])
@pytest.mark.parametrize(
    ("reason", "changes", "step", "after"),
    [
        ("body-idle", {}, 0, 15),
        ("body-rate", {}, 4900, 10),
        ("body-total", {"body_total": 40.0}, 9000, 40),
    ],
)
async def test_a_slow_upload_ends(
    server: Upstream,
    tmp_path: Path,
    mock_clock: MockClock,
    buffering: str,
    reason: str,
    changes: dict[str, float],
    step: int,
    after: float,
) -> None:
    """So many bytes in each 10 seconds, until one of the three limits ends it, and when."""
    mock_clock.rate = 1.0
    async with running(where(server, tmp_path, base=times(buffering, **changes))) as house:
        client = house.connect(HEAD % (b"a", b"Content-Length: 390000\r\n") + BODY[:20000])
        began = trio.current_time()
        if reason == "body-rate":
            client = house.connect(HEAD % (b"a", b"Content-Length: 390000\r\n"))
        await trio.sleep(0.05)
        for _ in range(12):
            if step:
                client.send(BODY[:step])
            await trio.sleep(0.03)
            for _ in range(10):
                mock_clock.jump(0.98)
                await trio.sleep(0.02)
            if any(line["reason"] == reason for line in await house.lines("exchange")):
                break
        (line,) = await house.lines("exchange", client)
        assert (line["status"], line["reason"], line["by"], line["phase"]) == (408, reason, "client", "body")
        assert after <= line["seconds"] < after + 2.5
        assert trio.current_time() - began < after + 12
        assert not server.requests


# many, and no room


async def test_many_slow_uploads_hold_no_place(server: Upstream, tmp_path: Path) -> None:
    """200 of them, and a good client is served through the only connection there may be."""
    one = UpstreamSpec("legacy", plan(server, tmp_path).upstreams["legacy"].servers, 1)
    async with running(where(server, tmp_path, upstreams={"legacy": one})) as house:
        slow = [house.connect(HEAD % (b"a", b"Content-Length: 1000\r\n") + b"x") for _ in range(200)]
        await house.until(lambda: in_phase(house, "body") == 200)
        promotions = house.worker.house.promotions
        assert not promotions
        good = house.connect()
        for _ in range(20):
            await house.ask(good)
        assert promotions == {"connect": 1}
        assert server.requests[0].connection == 0
        assert len(server.links) == 1
        for client in slow:
            client.send(b"y" * 999)
        await house.until(lambda: len(server.requests) == 220)
        assert len(server.links) == 1
        assert (server.violations, server.incomplete) == ([], [])


@pytest.mark.parametrize("why", ["disk_total", "directory"])
async def test_no_room_on_the_disk(server: Upstream, tmp_path: Path, why: str) -> None:
    if why == "directory":
        buffers = Buffers(request_memory=MEMORY, directory=str(tmp_path / "none"))
    else:
        buffers = Buffers(request_memory=MEMORY, directory=str(tmp_path), disk_total=100_000)
    async with running(where(server, tmp_path, buffers=buffers)) as house:
        client = house.connect()
        await give(client, HEAD % (b"a", b"Content-Length: 390000\r\n") + BODY[:300_000])
        got = await told(house, client, b"spool-full")
        assert got.startswith(b"HTTP/1.1 503")
        assert b"\r\nRetry-After: " in got
        assert not server.links
        other = house.connect()
        await give(other, HEAD % (b"a", b"Content-Length: %d\r\n" % MEMORY) + BODY[:MEMORY])
        await told(house, other, b"hello")
        inside = house.worker.house
        await house.until(lambda: inside.store.used == inside.store.files == 0)


async def test_slow_uploads_make_room(server: Upstream, tmp_path: Path, mock_clock: MockClock) -> None:
    """At max_connections the slow one of two uploads goes; the one that moves on stays."""
    mock_clock.rate = 1.0
    async with running(where(server, tmp_path, base=times(), max_connections=2)) as house:
        slow = house.connect(HEAD % (b"a", b"Content-Length: 30000\r\n") + b"x")
        quick = house.connect(HEAD % (b"b", b"Content-Length: 30000\r\n"))
        await house.until(lambda: in_phase(house, "body") == 2)
        mock_clock.jump(6.0)
        quick.send(BODY[:29_999])
        await trio.sleep(0.05)
        newcomer = house.connect()
        await house.ask(newcomer)
        with pytest.raises(ConnectionResetError):
            await house.some(slow)
        assert house.worker.house.counts["evicted"] == 1
        quick.send(b"x")
        await told(house, quick, b"hello")
        (line,) = await house.lines("exchange", slow)
        assert (line["outcome"], line["phase"], line["reason"], line["status"]) == (
            "aborted", "body", "evicted", 503
        )  # fmt: skip
        (receipt,) = await house.lines("connection", slow)
        assert (receipt["by"], receipt["phase"], receipt["reason"]) == ("proxy", "body", "evicted")


# sent again


@pytest.mark.parametrize("size", [100, 100_000])
async def test_a_dead_connection_costs_no_body(server: Upstream, tmp_path: Path, size: int) -> None:
    """A PUT into a connection that the server has closed goes out once more, from its first byte."""
    async with running(where(server, tmp_path)) as house:
        client = house.connect()
        await house.ask(client)
        server.on("/a", lambda turn: turn.send(reply(b"done")) if turn.link.number else turn.close())
        head, data = framed(BODY[:size], "chunked")
        await give(client, head + data)
        await told(house, client, b"done")
        assert [request.connection for request in server.requests] == [0, 0, 1]
        assert server.requests[1].body == server.requests[2].body == BODY[:size]
