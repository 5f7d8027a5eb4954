"""Bodies that are collected: where they stay, what the server sees of them, and which of them never arrive.

A worker in the test's own loop, so that its records can be counted.
"""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from shieldproxy.core.limits import Buffers
from shieldproxy.net.disk import Disk
from shieldproxy.net.jobs import Job
from shieldproxy.proxy import upload
from tests.kit.answers import reply
from tests.kit.upstream import Upstream
from tests.proxy.bodies import BODY, CHUNKED, HEAD, LIMIT, MEMORY, framed, give, in_phase, told, where
from tests.run.worker_rig import running

NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


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
        assert size > MEMORY or inside.store.most == 0
        line, *_ = await house.lines("exchange", client)
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


@pytest.mark.parametrize("takes", [True, False], ids=["takes-it", "takes-a-part"])
async def test_a_large_one_starts_a_task_only_if_the_server_does_not_take_it_at_once(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes: bool
) -> None:
    real, jobs = Disk.submit, list[tuple[Disk, Job]]()
    monkeypatch.setattr(Disk, "submit", lambda *job: jobs.append(job))  # so that all of it is in reach
    if not takes:
        monkeypatch.setattr(upload, "READS_A_TURN", 0)
    body = BODY[:60_000]
    head, data = framed(body, "length")
    buffers = Buffers(request_memory=50_000, directory=str(tmp_path))
    async with running(where(server, tmp_path, buffers=buffers)) as house:
        inside, client = house.worker.house, house.connect()
        await house.ask(client)
        inside.promotions.clear()
        await give(client, head + data[:20_000])
        await house.until(lambda: in_phase(house, "body") == 1)
        await give(client, data[20_000:] + NEXT)
        answers = await told(house, client, b"hello")
        if answers.count(b"hello") < 2:
            await told(house, client, b"hello")
        assert server.wait_requests(3)[1].body == body
        assert inside.promotions == ({} if takes else {"body": 1})
        _, line, *_ = await house.lines("exchange", client)
        assert (line["lane"], line["in"]) == ("express" if takes else "task", len(head) + len(data))
        assert len(jobs) == 1
        real(*jobs[0])
        await house.until(lambda: inside.store.used == inside.store.files == 0)


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
