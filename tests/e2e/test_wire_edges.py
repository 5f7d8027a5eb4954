"""Where two things meet: the end of a message and of a read, a request and an answer, a wait and its end.

The kit stops the product where both must be there before it looks.
"""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Bench, Connect, MakeProxy, Wire
from tests.kit.answers import chunked, reply, silent
from tests.kit.client import request
from tests.kit.endings import outcome, receipt
from tests.kit.link import Turn
from tests.kit.proxy import Proxy
from tests.kit.sockets import eventually, full_backlog
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch

READ = 65_536
"""What is read of a server at once."""
PLANTED = reply(b"planted")


def by_length(size: int) -> bytes:
    """A response that has so many bytes, head and body together."""
    body = b"x" * (size - len(reply(b"x" * (size - 100))) + size - 100)
    return reply(body)


def by_chunks(size: int) -> bytes:
    """The same in one chunk."""
    body = b"x" * (size - len(chunked(b"x" * (size - 100))) + size - 100)
    return chunked(body)


def at_once(proxy: Proxy, data: bytes) -> Callable[[Turn], None]:
    """An answer of which the proxy sees nothing before its kernel has taken what it can."""

    def story(turn: Turn) -> None:
        with proxy.stopped():
            turn.send(data)
            turn.settle(0.3)

    return story


@pytest.mark.parametrize("size", [300, READ - 1, READ, READ + 1, 2 * READ])
@pytest.mark.parametrize("build", [by_length, by_chunks])
def test_what_is_planted_behind_a_response_answers_nobody(
    bench: Bench, connect: Connect, build: Callable[[int], bytes], size: int
) -> None:
    """Also where a read ends exactly with the response: the event that told of the rest is spent."""
    answer = build(size)
    assert len(answer) == size
    upstream = bench.upstream()
    proxy = bench.proxy({"legacy": {"servers": [upstream.address], "max_connections": 1}})
    upstream.on("/full", at_once(proxy, answer + PLANTED))
    first, next_one = connect(proxy), connect(proxy)
    for _ in range(3):
        assert first.ask(request("/warm")).body == b"hello"
        assert len(first.ask(request("/full")).body) in range(size - 100, size)
        assert next_one.ask(request("/next")).body == b"hello"
    first.close()
    next_one.close()
    assert proxy.terminate() == 0
    (counters,) = [json.loads(line) for line in proxy.stderr().splitlines() if '"kind":"counters"' in line]
    pool = counters["pool"]["legacy"]
    assert pool["surplus"] + pool["dropped_idle"] == 3
    assert pool["surplus"] >= 1 or size > READ, "what fits a window was there when the response ended"


def test_a_request_that_comes_with_the_answer_to_another(wire: Wire) -> None:
    """1 and 2 are sent together, 3 when the answer to 1 is there: none waits for a deadline."""
    wire.upstream.default = lambda turn: turn.send(reply(turn.request.target))
    for _ in range(60):
        client = wire.client(timeout=3.0)
        client.send(request("/1") + request("/2"))
        assert client.response().body == b"/1"
        client.send(request("/3"))
        assert [client.response().body for _ in range(2)] == [b"/2", b"/3"]
        client.close()


CUT = {"drain_timeout": ("300ms", 1), "told twice": ("20s", 2)}


@pytest.mark.parametrize(("drain", "signals"), CUT.values(), ids=CUT)
def test_each_exchange_that_a_drain_cuts_off_is_in_the_books(
    bench: Bench, connect: Connect, drain: str, signals: int
) -> None:
    """One held by the server, one in line behind it: an outcome and a receipt for each of them."""
    upstream = bench.upstream()
    upstream.default = silent
    table = {"servers": [upstream.address], "max_connections": 1, "queue_timeout": "20s"}
    proxy = bench.proxy({"legacy": table}, server={"drain_timeout": drain})
    at_server = connect(proxy).send(request("/held"))
    upstream.wait_requests(1)
    in_line = connect(proxy).send(request("/waits"))
    assert in_line.quiet(0.2)
    proxy.signal(signal.SIGTERM)
    if signals == 2:
        assert eventually(lambda: "draining" in proxy.stderr())
        proxy.signal(signal.SIGTERM)
    assert proxy.process.wait(8) == 0
    outcome(proxy, at_server)
    for client in (at_server, in_line):
        (line,) = proxy.lines("exchange", client.port)
        assert (line["outcome"], line["by"], line["reason"]) == ("refused", "proxy", "drain-timeout")
        assert line["status"] == client.response().status == 503
        assert client.ending() == "fin"
        end = receipt(proxy, client)
        assert (end["by"], end["reason"], end["exchanges"]) == ("proxy", "drain-timeout", 1)


@pytest.fixture
def backlog(tmp_path: Path) -> Iterator[tuple[str, socket.socket, int]]:
    """A unix socket whose backlog is full of so many connections."""
    path = str(tmp_path / "legacy.sock")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        listener.settimeout(5)
        waiting = 0
        while True:
            filler = stack.enter_context(socket.socket(socket.AF_UNIX))
            filler.setblocking(False)
            if filler.connect_ex(path):
                break
            waiting += 1
        yield f"unix:{path}", listener, waiting


def test_a_unix_server_whose_backlog_is_full_is_waited_for(
    make_proxy: MakeProxy, connect: Connect, backlog: tuple[str, socket.socket, int]
) -> None:
    """As TCP does by itself; nobody is told 502 because many came at once."""
    address, listener, waiting = backlog
    client = connect(make_proxy(address)).send(request("/patient"))
    assert client.quiet(0.4)
    for _ in range(waiting):
        listener.accept()[0].close()
    accepted, _ = listener.accept()
    with accepted:
        accepted.settimeout(5)
        assert accepted.recv(READ).startswith(b"GET /patient ")
        accepted.sendall(reply(b"late"))
        assert client.response().body == b"late"


def test_a_unix_server_that_never_has_room_is_waited_for_until_connect_timeout(
    make_proxy: MakeProxy, connect: Connect, backlog: tuple[str, socket.socket, int]
) -> None:
    proxy = make_proxy({"legacy": {"servers": [backlog[0]], "connect_timeout": "400ms"}})
    begun = Watch()
    assert connect(proxy).ask(request()).status == 504
    begun.took(0.3, 2)


@pytest.mark.parametrize("rule", ["request_version", "response_version"])
def test_a_client_that_is_known_to_speak_1_0_is_told_no_100(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, rule: str
) -> None:
    """Whatever it expects, its rule says that it does not understand the answer (RFC 9110 15.2)."""
    proxy = make_proxy(upstream, rule=[{"name": "old", "user_agent": "^old$", rule: "1.0"}])
    fields = ["Expect: 100-continue", "Content-Length: 4"]
    client = connect(proxy).send(request(method="POST", fields=["User-Agent: old", *fields]))
    assert client.quiet(0.3)
    client.send(b"body")
    got = client.response()
    assert (got.status, got.interims) == (200, [])
    assert upstream.one().body == b"body"
    other = connect(proxy).send(request(method="POST", fields=["User-Agent: new", *fields]))
    assert other.interim().status == 100
    assert other.send(b"body").response().status == 200


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address at which connecting neither works nor fails."""
    with ExitStack() as stack:
        listener, fillers = full_backlog()
        for sock in (listener, *fillers):
            stack.enter_context(sock)
        host, port = listener.getsockname()
        yield f"{host}:{port}"


def test_a_client_that_resets_while_a_server_is_connected_to_frees_its_place(
    make_proxy: MakeProxy, connect: Connect, deaf: str
) -> None:
    """The next in line tries in its turn, long before connect_timeout."""
    table = {
        "servers": [deaf],
        "max_connections": 1,
        "connect_timeout": "20s",
        "queue_timeout": "20s",
    }
    proxy = make_proxy({"legacy": table})
    first = connect(proxy).send(request("/first"))
    assert first.quiet(0.2)
    second = connect(proxy).send(request("/second"))
    assert second.quiet(0.2)
    for client in (first, second):
        client.reset()
        line = outcome(proxy, client, 3)
        assert (line["status"], line["by"], line["phase"]) == (499, "client", "connect")
