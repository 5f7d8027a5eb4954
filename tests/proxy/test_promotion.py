"""Promotion at every point of a plain exchange: what is handed over, and that nothing of it is lost.

The recorder stands where the task begins and notes what the lane gave it. After that the exchange goes its
way, and the client must have its whole answer, the upstream one whole request, and the pipelined next
request its turn.
"""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.core.policy import Policy
from shieldproxy.net.record import FIN, IN, OUT
from shieldproxy.proxy.admission import unfinished
from shieldproxy.proxy.state import Exchange
from tests.kit.answers import chunked, held, reply
from tests.kit.upstream import Upstream
from tests.proxy.stage import NEXT, Tight, staged
from tests.run.worker_rig import GET, HOURS, plan

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
STREAM = Policy(timeouts=HOURS, buffer_request="stream")
LARGE = bytes(range(256)) * 1000


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    upstream.on("/next", reply(b"next"))
    yield upstream
    upstream.close()


# before the upstream


async def test_no_idle_connection(server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(server, tmp_path, monkeypatch, warm=False) as stage:
        stage.client.send(GET + NEXT)
        handed = await stage.promoted("connect")
        assert (handed.place, handed.up, handed.rest) == (True, False, NEXT)
        assert handed.request.startswith(b"GET / HTTP/1.1\r\n")
        await stage.answer(b"hello")


async def test_a_body_that_is_not_here(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(server, tmp_path, monkeypatch, base=STREAM) as stage:
        stage.client.send(POST + b"0123")
        handed = await stage.promoted("body")
        assert (handed.place, handed.up, handed.rest, handed.latch & (IN | OUT)) == (
            False,
            False,
            b"0123",
            IN | OUT,
        )
        stage.client.send(b"456789" + NEXT)
        await stage.answer(b"hello")
        stage.one_request(server, body=b"0123456789")


async def test_a_chunked_body(server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(server, tmp_path, monkeypatch, base=STREAM) as stage:
        stage.client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab")
        handed = await stage.promoted("chunked")
        assert handed.rest == b"3\r\nab"
        stage.client.send(b"c\r\n0\r\n\r\n" + NEXT)
        await stage.answer(b"hello")
        stage.one_request(server, body=b"abc")


async def test_an_expectation(server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(server, tmp_path, monkeypatch, base=STREAM) as stage:
        stage.client.send(POST.replace(b"Content", b"Expect: 100-continue\r\nContent"))
        await stage.promoted("expect")
        assert (await stage.house.read(stage.client, 25)) == b"HTTP/1.1 100 Continue\r\n\r\n"
        stage.client.send(b"0123456789" + NEXT)
        await stage.answer(b"hello")
        stage.one_request(server, body=b"0123456789")


async def test_the_lane_is_off(server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(server, tmp_path, monkeypatch, warm=False, express=False) as stage:
        stage.client.send(POST + b"0123456789")
        handed = await stage.promoted("off")
        assert handed.request.endswith(b"\r\n\r\n0123456789"), "a body that is here goes along"
        await stage.house.until(lambda: len(server.requests) == 1)
        assert server.requests[0].body == b"0123456789"


# while the upstream is asked


async def test_an_upstream_s_buffer_that_is_full(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(server, tmp_path, monkeypatch) as stage:
        (up,) = stage.house.worker.house.groups["legacy"].servers[0].idle
        up.sock = Tight(up.sock, 30)  # type: ignore[assignment]
        stage.client.send(POST + b"0123456789" + NEXT)
        handed = await stage.promoted("upstream-buffer")
        assert handed.up
        assert handed.to_up == handed.request[30:]
        assert handed.rest == NEXT
        await stage.answer(b"hello")
        stage.one_request(server, body=b"0123456789")


async def test_a_connection_that_was_dead(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(server, tmp_path, monkeypatch) as stage:
        server.on("/", lambda turn: turn.close() if turn.link.number == 0 else turn.send(reply()))
        stage.client.send(GET + NEXT)
        handed = await stage.promoted("retry")
        assert (handed.place, handed.up, handed.retries, handed.answered) == (True, False, 1, False)
        await stage.answer(b"hello")
        assert [request.connection for request in server.requests if request.target == b"/"] == [0, 0, 1]


# while it answers

ANSWERS = [
    pytest.param("interim", b"HTTP/1.1 103 Early Hints\r\n\r\n", reply(), b"hello", id="interim"),
    pytest.param("length", b"", chunked(b"hel", b"lo"), b"0\r\n\r\n", id="chunked"),
    pytest.param("large", b"", reply(LARGE), LARGE, id="large"),
]


@pytest.mark.parametrize(("reason", "first", "rest", "body"), ANSWERS)
async def test_an_answer_that_is_not_plain(
    server: Upstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    first: bytes,
    rest: bytes,
    body: bytes,
) -> None:
    server.on("/odd", first + rest)
    async with staged(server, tmp_path, monkeypatch) as stage:
        stage.client.send(GET.replace(b"/ ", b"/odd ") + NEXT)
        handed = await stage.promoted(reason)
        assert handed.up
        assert handed.answered
        assert handed.rest == NEXT
        assert (first + rest).startswith(handed.from_up)
        assert handed.from_up
        got = await stage.answer(body)
        assert (b"103 Early" in got) is (reason == "interim")
        stage.one_request(server, b"/odd")


@pytest.mark.parametrize("taken", [1, 100], ids=["in the head", "in the body"])
@pytest.mark.parametrize("status", [200, 404])
async def test_a_slow_reader(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int, status: int
) -> None:
    """Of an answer of the upstream, or of one of ours; the upstream is free already, and no task waits."""
    async with staged(server, tmp_path, monkeypatch) as stage:
        house = stage.house.worker.house
        if status == 404:
            route = stage.house.plan.routes[0]
            monkeypatch.setattr(house, "route_of", lambda _rec, head: None if head.path == b"/x" else route)
        left: list[bytes] = []
        take = house.send_rest

        def send_rest(ex: Exchange, ending: Any) -> None:
            assert (ex.up, ex.place, ex.rec.buf, ex.bytes_out) == (None, None, NEXT, taken)
            assert sum(server.leased for server in ex.group.servers) == 0
            left.append(bytes(ex.to_down))
            take(ex, ending)

        house.send_rest = send_rest
        stage.rec.sock = Tight(stage.rec.sock, taken)  # type: ignore[assignment]
        stage.client.send(GET.replace(b"/ ", b"/x ") + NEXT)
        got = b""
        while not got.endswith(b"next"):
            got += await stage.house.some(stage.client)
        assert got.startswith(b"HTTP/1.1 %d " % status)
        assert got[taken:].startswith(left[0])
        assert not house.promotions, "it needs no task"
        lines = await stage.house.lines("exchange", stage.client)
        assert [line["lane"] for line in lines] == ["task", "express", "express"]


# what came in between


async def test_what_was_latched_is_looked_at_first(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIN that came while the lane waited: the task answers, then closes."""
    release = threading.Event()
    server.on("/odd", held(release, reply(LARGE)))
    async with staged(server, tmp_path, monkeypatch) as stage:
        stage.client.send(GET.replace(b"/ ", b"/odd "))
        stage.client.shutdown(socket.SHUT_WR)
        await stage.house.until(lambda: bool(stage.rec.latch & FIN))
        release.set()
        handed = await stage.promoted("large")
        assert handed.latch & FIN
        got = await stage.house.rest(stage.client)
        assert got.endswith(LARGE)
        (receipt,) = await stage.house.lines("connection", stage.client)
        assert (receipt["by"], receipt["reason"]) == ("client", "half-close")


async def test_a_reset_before_the_task_starts_ends_it(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(server, tmp_path, monkeypatch, warm=False) as stage:
        stage.recorder.hold = trio.Event()
        stage.client.send(GET)
        await stage.promoted("connect")
        stage.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        port = stage.client.getsockname()[1]
        stage.client.close()
        await trio.sleep(0.02)
        stage.recorder.hold.set()
        await stage.house.until(lambda: stage.house.worker.house.active == 0)
        (line,) = await stage.house.lines("exchange")
        assert (line["port"], line["by"], line["reason"]) == (port, "client", "reset")
        assert server.links == [], "nobody is asked for a client that is gone"
        (place,) = stage.house.worker.house.groups["legacy"].servers
        assert (place.leased, place.open) == (0, 0)


async def test_a_drain_waits_for_a_task_that_has_not_started(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(server, tmp_path, monkeypatch, warm=False) as stage:
        worker = stage.house.worker
        stage.recorder.hold = trio.Event()
        stage.client.send(GET)
        await stage.promoted("connect")
        worker._nursery.start_soon(worker._drain, [])
        await trio.sleep(0.15)
        assert not worker._drained.is_set()
        assert unfinished(worker.house) >= 1
        stage.recorder.hold.set()
        assert (await stage.house.rest(stage.client)).endswith(b"hello")
        stage.client.close()
        await stage.house.until(worker._drained.is_set)


async def test_the_policy_goes_along(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = plan(server, tmp_path).base
    base = replace(base, buffer_request="stream", timeouts=replace(base.timeouts, body_idle=0.1))
    async with staged(server, tmp_path, monkeypatch, base=base) as stage:
        stage.client.send(POST + b"0123")
        handed = await stage.promoted("body")
        assert handed.ex.policy.timeouts.body_idle == 0.1
        assert (await stage.house.read(stage.client, 12)) == b"HTTP/1.1 408"
