"""Who has to leave while it is served: what it is told, what it keeps, and what the log says of it."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.core.policy import Policy
from shieldproxy.net.record import Downstream
from shieldproxy.proxy.admission import house_clients
from tests.kit.answers import held, reply
from tests.kit.full import Full
from tests.kit.upstream import Upstream
from tests.run.worker_rig import HOURS, Running, plan, running

PUT = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\nx"
BIG = bytes(range(256)) * 4096
MIDDLE = BIG[:60_000]


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    upstream.on("/big", reply(BIG))
    upstream.on("/middle", reply(MIDDLE))
    yield upstream
    upstream.close()


def impatient(server: Upstream, log: Path, **changes: Any) -> Any:
    """A plan with which everybody is slow soon, and one place."""
    times = replace(HOURS, send_idle=0.2, body_idle=0.2, send_min_rate=0.0, body_min_rate=0.0)
    return plan(server, log, base=Policy(timeouts=times), **{"max_connections": 1, **changes})


async def in_stage(house: Running, stage: str) -> Downstream:
    await house.until(lambda: any(rec.stage == stage for rec in house_clients(house.worker.house)))
    (rec,) = [rec for rec in house_clients(house.worker.house) if rec.stage == stage]
    return rec


async def evict(house: Running, rec: Downstream, *, gently: bool = True) -> None:
    """The gate's choice falls on this client."""
    gate = house.worker.house.store.disk.room.__self__  # type: ignore[attr-defined]
    gate._candidates, gate._scanned = [(9, rec.since, rec)], house.worker.lobby.now
    assert gate._evict(gently)


async def ending(sock: socket.socket) -> tuple[str, int]:
    """Wait for the end: how it was, and how many bytes came before it."""
    count = 0
    with trio.fail_after(3):
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                piece = sock.recv(1 << 18)
            except ConnectionResetError:
                return "rst", count
            if not piece:
                return "fin", count
            count += len(piece)


@pytest.mark.parametrize("gently", [True, False])
async def test_while_its_body_is_collected(server: Upstream, tmp_path: Path, gently: bool) -> None:
    """A real 503 and a FIN, behind an earlier answer that was not taken yet."""
    async with running(plan(server, tmp_path)) as house:
        client = house.connect(b"GET /middle HTTP/1.1\r\nHost: a\r\n\r\n" + PUT)
        rec = await in_stage(house, "body")
        await evict(house, rec, gently=gently)
        got = await house.rest(client)
        first, _, second = got.partition(MIDDLE)
        assert first.startswith(b"HTTP/1.1 200"), "the earlier answer is whole"
        assert second.startswith(b"HTTP/1.1 503")
        assert b"\r\nConnection: close\r\n" in second
        assert b"\r\nRetry-After: " in second
        _, line = await house.lines("exchange", client)
        assert (line["outcome"], line["by"], line["phase"], line["reason"], line["status"]) == (
            "refused", "proxy", "body", "evicted", 503,
        )  # fmt: skip
        assert line["out"] == len(second)
        client.close()
        await house.until(lambda: house.worker.house.held == 0)
        (receipt,) = await house.lines("connection")
        assert receipt["reason"] == "evicted"


@pytest.mark.parametrize("gently", [True, False])
async def test_with_nothing_of_its_answer_sent(server: Upstream, tmp_path: Path, gently: bool) -> None:
    """No status in the log that nobody was sent; what is on its way to the client is not destroyed."""
    async with running(plan(server, tmp_path)) as house:
        client = house.connect()
        await house.until(lambda: house.worker.house.held == 1)
        (rec,) = house_clients(house.worker.house)
        await house.ask(client)
        client.send(b"GET /middle HTTP/1.1\r\nHost: a\r\n\r\n")
        await house.until(lambda: rec.served == 2)
        rec.sock = Full(rec.sock)  # type: ignore[assignment]
        client.send(b"GET /middle HTTP/1.1\r\nHost: a\r\n\r\n")
        await in_stage(house, "send")
        await evict(house, rec, gently=gently)
        got = await house.rest(client)
        assert got.endswith(MIDDLE), "and a FIN behind it"
        assert got.count(b"HTTP/1.1") == 1
        line = (await house.lines("exchange", client))[-1]
        assert (line["outcome"], line["by"], line["reason"]) == ("aborted", "proxy", "evicted")
        assert "status" not in line
        assert "out" not in line


async def test_with_a_part_of_its_answer_sent(server: Upstream, tmp_path: Path) -> None:
    """What is in the kernel is delivered; then a reset says that it is not whole."""
    async with running(plan(server, tmp_path)) as house:
        client = house.connect(b"GET /middle HTTP/1.1\r\nHost: a\r\n\r\nGET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        rec = await in_stage(house, "send")
        await house.until(lambda: house.worker.house.counts["slow_readers"] == 1)
        sent = rec.sent + rec.exchange.bytes_out
        await evict(house, rec)
        assert await ending(client) == ("rst", sent), "all that had been sent, and then a reset"
        line = (await house.lines("exchange", client))[-1]
        assert (line["outcome"], line["by"], line["phase"], line["reason"], line["status"]) == (
            "aborted", "proxy", "relay", "evicted", 200,
        )  # fmt: skip
        (receipt,) = await house.lines("connection", client)
        assert receipt["reason"] == "evicted"


async def test_whoever_leaves_already_is_cut_off_when_the_reserve_is_wanted(
    server: Upstream, tmp_path: Path
) -> None:
    async with running(plan(server, tmp_path)) as house:
        client = house.connect(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        rec = await in_stage(house, "send")
        await house.until(lambda: house.worker.house.counts["slow_readers"] == 1)
        await evict(house, rec)
        with pytest.raises(AssertionError):
            await evict(house, rec)
        assert rec.fd >= 0, "it may take what its kernel has"
        await evict(house, rec, gently=False)
        assert rec.fd < 0
        assert house.worker.house.counts["evicted"] == 1
        assert (await ending(client))[0] == "rst"
        (line,) = await house.lines("exchange", client)
        assert (line["reason"], line["status"]) == ("evicted", 200)


async def test_slow_ones_leave_one_after_the_other(server: Upstream, tmp_path: Path) -> None:
    """Through the gate: each newcomer has its place at once, and every slow one its 503."""
    async with running(impatient(server, tmp_path)) as house:
        for _ in range(3):
            slow = house.connect(PUT)
            await in_stage(house, "body")
            await trio.sleep(0.1)  # a quarter of body_idle is everybody's
            newcomer = house.connect()
            await house.ask(newcomer)
            got = await house.rest(slow)
            assert got.startswith(b"HTTP/1.1 503")
            slow.close()
            newcomer.close()
            await house.until(lambda: house.worker.house.held == 0)
        assert house.worker.house.counts["evicted"] == 3


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
async def test_at_the_end_of_a_drain(server: Upstream, tmp_path: Path, express: bool) -> None:
    """Who waits for its answer, or sends its body, is told 503; the log says what was sent."""
    release = threading.Event()
    server.on("/held", held(release, reply()))
    async with running(plan(server, tmp_path, express=express)) as house:
        waits = house.connect(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        sends = house.connect(PUT)
        await in_stage(house, "body")
        await house.until(lambda: len(server.requests) == 1)
        house.worker._drained.set()
        for client in (waits, sends):
            got = await house.rest(client)
            assert got.startswith(b"HTTP/1.1 503")
            assert b"drain-timeout" in got
            (line,) = await house.lines("exchange", client)
            assert (line["outcome"], line["reason"], line["status"], line["out"]) == (
                "refused", "drain-timeout", 503, len(got),
            )  # fmt: skip
        release.set()


async def test_a_final_status_behind_half_a_100(server: Upstream, tmp_path: Path) -> None:
    """What is left of the 100 goes out before it."""
    async with running(plan(server, tmp_path)) as house:
        client = house.connect()
        await house.ask(client)
        (rec,) = house_clients(house.worker.house)
        whole = rec.sock
        rec.sock = Full(whole, 10)  # type: ignore[assignment]
        client.send(PUT[:-1].replace(b"Host", b"Expect: 100-continue\r\nHost"))
        await in_stage(house, "body")
        await house.until(lambda: rec.exchange.bytes_out == 10)
        rec.sock = whole
        client.shutdown(socket.SHUT_WR)
        got = await house.rest(client)
        assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")
        line = (await house.lines("exchange", client))[-1]
        assert (line["status"], line["reason"], line["out"]) == (400, "fin-in-body", len(got))
