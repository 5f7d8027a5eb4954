"""Bodies through the pipe: cut short by a signal with room left in the socket, read on after a slow start."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from shieldproxy.core.policy import Policy
from shieldproxy.net.pipe import Pipe
from shieldproxy.proxy.state import MOST
from tests.kit.answers import reply
from tests.kit.link import Turn
from tests.kit.upstream import Upstream
from tests.run.worker_rig import HOURS, plan, running

STREAM = Policy(timeouts=HOURS, buffer_request="stream")
BODY = bytes(range(256)) * 4096
HEAD = b"%b /big HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every other move gives half of what it could."""
    original, cut = Pipe.empty, [0, 0]

    def empty(self: Pipe, sink: int, count: int) -> int:
        cut[0] += 1
        if cut[0] % 2 and count > 1:
            cut[1] += 1
            sent = original(self, sink, count // 2)
            self._used = True
            return sent
        return original(self, sink, count)

    monkeypatch.setattr(Pipe, "empty", empty)
    return cut


async def test_a_response_goes_on(server: Upstream, tmp_path: Path, cuts: list[int]) -> None:
    server.on("/big", reply(BODY))
    async with running(plan(server, tmp_path)) as house:
        client = house.connect(HEAD % (b"GET", 0))
        with trio.fail_after(8):
            head = await house.read(client, 1)
            while b"\r\n\r\n" not in head:
                head += await house.read(client, 1)
            assert await house.read(client, len(BODY)) == BODY
        assert cuts[1] > 0
        (line,) = await house.lines("exchange")
        assert (line["outcome"], line["out"]) == ("served", len(head) + len(BODY))


async def test_an_upload_goes_on(server: Upstream, tmp_path: Path, cuts: list[int]) -> None:
    async with running(plan(server, tmp_path, base=STREAM)) as house:
        client = house.connect(HEAD % (b"POST", len(BODY)))
        sent = 0
        with trio.fail_after(8):
            while sent < len(BODY):
                try:
                    sent += client.send(BODY[sent:])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(client)
            assert (await house.some(client)).startswith(b"HTTP/1.1 200")
        assert cuts[1] > 0
        assert server.one().body == BODY


async def test_a_client_that_reads_an_early_response_is_not_idle(server: Upstream, tmp_path: Path) -> None:
    """Its body is not whole, and the server answers all the same: a success, for longer than body_idle."""
    parts = 6

    def slowly(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (parts * len(BODY) // 4))
        for _ in range(parts):
            turn.send(BODY[: len(BODY) // 4])
            time.sleep(0.25)

    server.on("/big", slowly, at="head")
    where = plan(server, tmp_path, base=replace(STREAM, timeouts=replace(HOURS, body_idle=0.6)))
    async with running(where) as house:
        client = house.connect(HEAD % (b"POST", 10) + b"1")
        got = b""
        with trio.fail_after(8):
            while len(got) < parts * len(BODY) // 4:
                piece = await house.some(client)
                assert piece, (await house.lines("exchange"), len(got))
                got += piece


async def test_a_server_that_thinks_makes_no_client_slow(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = Pipe.fill

    def fill(self: Pipe, source: int, most: int) -> int:
        asked.append(most)
        return original(self, source, most)

    def thinks(turn: Turn) -> None:
        time.sleep(0.3)
        turn.send(reply(BODY))

    monkeypatch.setattr(Pipe, "fill", fill)
    server.on("/big", thinks)
    async with running(plan(server, tmp_path)) as house:
        client = house.connect(HEAD % (b"GET", 0))
        await house.read(client, len(BODY))
        assert set(asked) == {MOST}
