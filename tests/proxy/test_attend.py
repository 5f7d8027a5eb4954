"""An exchange without a client: sent in full, read to its end, and its connection is another's again."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.core.limits import Buffers
from shieldproxy.net.record import Upstream as Leased
from shieldproxy.net.record import has_input
from shieldproxy.net.spool import Spool
from shieldproxy.proxy.admission import house_clients
from shieldproxy.proxy.attend import Attended
from shieldproxy.proxy.express import Express
from shieldproxy.proxy.state import Exchange
from tests.kit.answers import chunked, held, last, reply
from tests.kit.link import Turn
from tests.kit.sockets import reset
from tests.kit.upstream import Upstream
from tests.proxy.forsaken import POST, before, forsaken, served_on
from tests.proxy.stage import staged
from tests.run.worker_rig import Running, running

LARGE = bytes(range(256)) * 8000
SECOND = b"HTTP/1.1 103 Early Hints\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def release() -> threading.Event:
    return threading.Event()


ANSWERS: list[Any] = [
    pytest.param(reply(b"late"), b"", [0, 0], id="length"),
    pytest.param(reply(b""), b"", [0, 0], id="empty"),
    pytest.param(reply(LARGE), b"", [0, 0], id="large"),
    pytest.param(chunked(b"la", b"te", LARGE, trailers="X: 1\r\n"), b"", [0, 0], id="chunks"),
    pytest.param(reply(b"late"), SECOND, [0, 0], id="interim before"),
    pytest.param(SECOND + SECOND + reply(b"late"), b"", [0, 0], id="interims"),
    pytest.param(reply(LARGE)[50_000:], reply(LARGE)[:50_000], [0, 0], id="begun"),
    pytest.param(chunked(LARGE)[50_000:], chunked(LARGE)[:50_000], [0, 0], id="chunks, begun"),
    pytest.param(reply(b"late") + b"\r\n", b"", [0, 1], id="surplus"),
    pytest.param(chunked(b"late") + b"?", b"", [0, 1], id="chunks, surplus"),
    pytest.param(b"no response\r\n\r\n", b"", [0, 1], id="nonsense"),
    pytest.param(chunked(b"late").replace(b"\r\n4", b"\r\n?"), b"", [0, 1], id="broken chunks"),
    pytest.param(reply(b"late", fields="Connection: close\r\n"), b"", [0, 1], id="close"),
    pytest.param(reply(b"late", version="1.0"), b"", [0, 1], id="1.0"),
]


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
@pytest.mark.parametrize(("answer", "first", "connections"), ANSWERS)
async def test_each_kind_of_response(
    server: Upstream,
    tmp_path: Path,
    release: threading.Event,
    answer: bytes,
    first: bytes,
    connections: list[int],
    express: bool,
) -> None:
    server.on("/held", held(release, answer, before=first))
    async with running(before(server, tmp_path, more={"express": express})) as house:
        await forsaken(house, server)
        assert len(house.worker.house.attended) == 1
        assert await served_on(house, server, release) == connections
        assert house.worker.house.counts["attended"] == 1


async def test_the_answer_comes_in_the_same_batch(
    server: Upstream, tmp_path: Path, release: threading.Event
) -> None:
    """The connection is another's at once, and what was left to do on it is nobody's."""
    server.on("/held", held(release, reply(b"late")))
    async with running(before(server, tmp_path)) as house:
        await house.ask(house.connect())
        client = house.connect(POST)  # on a kept connection: in the express lane
        await house.until(lambda: len(server.requests) == 2)
        (up,) = (record for record in house.worker.lobby.all() if isinstance(record, Leased))
        reset(client)
        release.set()
        wait_for_input(up)  # the loop must not see the one without the other
        turns = house.worker.lobby.turns
        await house.until(lambda: house.worker.lobby.turns >= turns + 2)
        (group,) = house.worker.house.groups.values()
        assert (group.dropped_idle, house.worker.house.counts["attended"]) == (0, 1)
        assert await served_on(house, server, release) == [0, 0, 0]


async def test_until_the_server_closes(server: Upstream, tmp_path: Path, release: threading.Event) -> None:
    def story(turn: Turn) -> None:
        turn.wait(release)
        last(b"HTTP/1.0 200 OK\r\n\r\n" + LARGE)(turn)

    server.on("/held", story)
    async with running(before(server, tmp_path)) as house:
        await forsaken(house, server)
        assert await served_on(house, server, release) == [0, 1]


async def test_the_last_request_on_a_connection(
    server: Upstream, tmp_path: Path, release: threading.Event
) -> None:
    server.on("/held", held(release, reply(b"late")))
    async with running(before(server, tmp_path, keep_alive=False)) as house:
        await forsaken(house, server)
        assert await served_on(house, server, release) == [0, 1]


@pytest.mark.parametrize("fields", ["Content-Type: text/event-stream\r\n", "X-Accel-Buffering: no\r\n"])
@pytest.mark.parametrize("begun", [False, True], ids=["to come", "begun"])
async def test_a_stream_has_no_end_to_wait_for(
    server: Upstream, tmp_path: Path, release: threading.Event, fields: str, begun: bool
) -> None:
    head = chunked(b"data: 1\n\n", fields=fields)[:-5]

    def story(turn: Turn) -> None:
        if begun:
            turn.send(head)
        else:
            turn.wait(release)
            turn.send(head)
        turn.gone()

    server.on("/held", story)
    async with running(before(server, tmp_path)) as house:
        client = house.connect(POST)
        await house.until(lambda: len(server.requests) == 1)
        if begun:
            assert b"data" in await house.some(client)
        reset(client)
        await house.until(lambda: house.worker.house.active == 0)
        release.set()
        await house.until(lambda: server.links[0].end == "fin")
        await house.until(lambda: not house.worker.house.attended)


async def test_within_response_timeout(server: Upstream, tmp_path: Path) -> None:
    """Interim responses are no progress."""

    def story(turn: Turn) -> None:
        for _ in range(400):
            if turn.link.over or turn.link.end:
                return
            turn.pieces(SECOND, len(SECOND), 0.02)

    server.on("/held", story)
    async with running(before(server, tmp_path, response_timeout=0.3)) as house:
        await forsaken(house, server)
        with trio.fail_after(3):
            await house.until(lambda: not house.worker.house.attended)
        for link in server.links:
            link.over = True
        assert (await house.ask(house.connect())).endswith(b"hello")


class Slow:
    """A server that reads a body only when it is told to."""

    def __init__(self, release: threading.Event, answer: bytes = b"") -> None:
        self.release = release
        self.answer = answer
        self.body = b""

    def __call__(self, turn: Turn) -> None:
        if self.answer:
            turn.send(self.answer)
        turn.wait(self.release)
        self.body = turn.read_body()
        if not self.answer:
            turn.send(reply(b"late"))


def wait_for_input(up: Leased) -> None:
    """Stand still, the loop too, until the server has answered."""
    while not has_input(up):
        time.sleep(0.001)


def upload(size: int) -> bytes:
    return b"POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size


class Late:
    """A spool's `drain` under which every other piece has to be read first; file work tells when it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.running: Running | None = None
        drain = Spool.drain

        def late(spool: Spool, sock: socket.socket) -> int:
            self.calls += 1
            if self.calls % 2 or self.running is None:
                return drain(spool, sock)
            self.running.worker.lobby.between.append(spool._go_on)
            return 0

        monkeypatch.setattr(Spool, "drain", late)


@pytest.mark.parametrize("kept", ["file", "memory", "late"])
async def test_a_body_that_the_server_has_yet_to_take(
    server: Upstream, tmp_path: Path, release: threading.Event, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent on from its spool, whose work wakes nobody else."""
    late = Late(monkeypatch) if kept == "late" else None
    slow = Slow(release)
    server.on("/held", slow, at="head")
    body = LARGE * 6
    buffers = Buffers(request_memory=1 << 26 if kept == "memory" else 65536, directory=str(tmp_path))
    async with running(before(server, tmp_path, more={"buffers": buffers})) as house:
        client = house.connect(upload(len(body)))
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                left = memoryview(body)
                while left:
                    await trio.lowlevel.wait_writable(client)
                    left = left[client.send(left) :]

            nursery.start_soon(send)
        await house.until(lambda: bool(server.links) and server.links[0].partial is not None)
        reset(client)
        await house.until(lambda: house.worker.house.active == 0)
        (attended,) = house.worker.house.attended.values()
        assert isinstance(attended, Attended)
        assert not house_clients(house.worker.house)
        if late is not None:
            late.running = house
        assert await served_on(house, server, release) == [0, 0]
        assert slow.body == body
        store = house.worker.house.store
        await house.until(lambda: (store.used, store.files) == (0, 0))


async def test_an_answer_before_all_was_sent(
    server: Upstream, tmp_path: Path, release: threading.Event
) -> None:
    """Its connection cannot be used again; the spool is put away."""
    server.on("/held", Slow(release, reply(b"no", status="413 Too Large")), at="head")
    body = LARGE * 6
    buffers = Buffers(request_memory=65536, directory=str(tmp_path))
    async with running(before(server, tmp_path, more={"buffers": buffers})) as house:
        client = house.connect(upload(len(body)))
        left = memoryview(body)
        while left:
            await trio.lowlevel.wait_writable(client)
            left = left[client.send(left) :]
        reset(client)
        await house.until(lambda: house.worker.house.active == 0)
        await house.until(lambda: not house.worker.house.attended)
        store = house.worker.house.store
        await house.until(lambda: (store.used, store.files) == (0, 0))
        release.set()
        assert (await house.ask(house.connect())).endswith(b"hello")


async def test_nothing_has_gone_out_yet(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes back as it came, and another's request is the next on it."""

    def takes_nothing(self: Express, ex: Exchange, up: Leased) -> None:
        ex.up, ex.server, up.exchange = up, up.server, ex
        self.promote(ex, "upstream-buffer", to_up=ex.request)

    buffers = Buffers(request_memory=1, directory=str(tmp_path))
    async with staged(server, tmp_path, monkeypatch, buffers=buffers) as stage:
        stage.recorder.hold = trio.Event()
        stage.client.send(upload(4) + b"bo")
        await stage.house.until(lambda: stage.rec.stage == "body")
        with monkeypatch.context() as patched:
            patched.setattr(Express, "_send", takes_nothing)
            stage.client.send(b"dy")
            handed = await stage.promoted("upstream-buffer")
        assert handed.up
        reset(stage.client)
        await trio.sleep(0.02)
        stage.recorder.hold.set()
        worker = stage.house.worker.house
        await stage.house.until(lambda: worker.active == 0)
        (place,) = worker.groups["legacy"].servers
        assert (len(place.idle), place.leased) == (1, 0)
        assert not worker.attended
        await stage.house.ask(stage.house.connect())
        assert [seen.target for seen in server.requests] == [b"/", b"/"]
        assert len(server.links) == 1


async def test_nothing_is_sent_again_for_nobody(
    server: Upstream, tmp_path: Path, release: threading.Event
) -> None:
    """The server ends the reused connection of a request whose client has gone meanwhile."""

    def story(turn: Turn) -> None:
        turn.wait(release)
        turn.close()

    server.on("/held", story)
    put = POST.replace(b"POST", b"PUT")
    async with running(before(server, tmp_path)) as house:
        client = house.connect()
        await house.ask(client)
        client.send(put)
        await house.until(lambda: len(server.requests) == 2)
        reset(client)
        await house.until(lambda: house.worker.house.active == 0)
        release.set()
        await house.until(lambda: not house.worker.house.attended)
        await house.ask(house.connect())
        assert [seen.target for seen in server.requests] == [b"/", b"/held", b"/"]
