"""Servers that speak unasked, end unasked or never end: nobody gets what is not the answer to his request.

RFC 9112 9.2, 9.3, 9.5; RFC 9110 15.2. What comes on an idle connection, at whatever moment, and behind a
response; interim responses without end, and messages without end. Each is judged by the wire and by the log.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.e2e.conftest import Bench, Connect, Wire, wire_over
from tests.kit.answers import chunked, held, reply
from tests.kit.client import Client, request
from tests.kit.endings import whole
from tests.kit.link import Link, Turn
from tests.kit.payloads_responses import SURPLUS
from tests.kit.proxy import Proxy
from tests.kit.sockets import eventually, facing, of_port, unsent
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch

POISON = reply(b"poison")
INTERIM = b"HTTP/1.1 103 X\r\n\r\n"


def _ended(*before: bytes, how: Callable[[Link], None]) -> Callable[[Link], None]:
    def spoil(link: Link) -> None:
        for data in before:
            link.send(data)
        how(link)

    return spoil


SPOILT: dict[str, Callable[[Link], None]] = {
    "fin": Link.finish,
    "reset": Link.reset,
    "a response": lambda link: link.send(POISON),
    "a response and fin": _ended(POISON, how=Link.finish),
    "a response and reset": _ended(POISON, how=Link.reset),
    "half a head": lambda link: link.send(POISON[:20]),
    "half a head and fin": _ended(POISON[:20], how=Link.finish),
    "408 and fin": _ended(reply(b"", status="408 Request Timeout"), how=Link.finish),
    "interim": lambda link: link.send(INTERIM),
}


def delivered(link: Link) -> Callable[[], bool]:
    """Whether all that a link has sent is in the proxy's kernel; to be asked for before it is sent."""
    own, peer = link.sock.getsockname()[1], link.sock.getpeername()[1]

    def look() -> bool:
        if link.sock.fileno() >= 0:
            return not unsent(link.sock)
        return link.ended.is_set() and own not in {row.remote[1] for row in of_port(peer)}

    return look


def served_afresh(wire: Wire, method: str) -> None:
    """The second request was served on another connection than the first, and sent once."""
    one, two = wire.upstream.wait_requests(2)
    assert one.connection != two.connection
    assert two.method == method.encode()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("spoil", list(SPOILT.values()), ids=list(SPOILT))
class TestIdle:
    """A pooled connection, between two responses."""

    def test_seen_in_time(self, wire: Wire, spoil: Callable[[Link], None], method: str) -> None:
        wire.may_reset = True
        assert wire.client().ask(request("/1")).body == b"hello"
        link = wire.upstream.links[0]
        spoil(link)
        assert link.ended.wait(5), "it stays in the pool"
        other = wire.client()
        got = other.ask(request("/2", method=method, body=b"x" if method == "POST" else b""))
        assert (got.status, got.body) == (200, b"hello")
        served_afresh(wire, method)
        line = wire.log(other)[0]
        assert (line["outcome"], line.get("retries", 0)) == ("served", 0)

    @pytest.mark.parametrize("early", [0, 9])
    def test_seen_together_with_the_next_request(
        self, wire: Wire, spoil: Callable[[Link], None], method: str, early: int
    ) -> None:
        """Both are there before the proxy looks: what the server said comes before the request's last byte.

        With its first bytes the client may be ahead of the server in the batch of events.
        """
        wire.may_reset = True
        assert wire.client().ask(request("/1")).body == b"hello"
        other = wire.client()
        link = wire.upstream.links[0]
        arrived = delivered(link)
        data = request("/2", method=method, body=b"x" if method == "POST" else b"")
        assert eventually(lambda: [row.inode for row in facing(other.sock)] != [0])  # it is accepted
        with wire.proxy.stopped():
            other.send(data[:early])
            assert eventually(lambda: not unsent(other.sock))
            spoil(link)
            assert eventually(arrived)
            other.send(data[early:])
            assert eventually(lambda: not unsent(other.sock))
        got = other.response(method)
        assert (got.status, got.body) == (200, b"hello")
        served_afresh(wire, method)
        line = wire.log(other)[0]
        assert (line["outcome"], line.get("retries", 0)) == ("served", 0)


def test_poison_beside_an_exchange_in_work(wire: Wire) -> None:
    """One connection idle, one in use: the one in use gives its own answer, the idle one none."""
    wire.may_reset = True
    release = threading.Event()
    wire.upstream.on("/held", held(release, reply(b"late")))
    busy, other = wire.client(), wire.client()
    busy.send(request("/held"))
    wire.upstream.wait_requests(1)
    assert other.ask(request("/1")).body == b"hello"
    idle = next(link for link in wire.upstream.links if link.requests[0].target == b"/1")
    idle.send(POISON)
    assert idle.ended.wait(5)
    release.set()
    assert busy.response().body == b"late"
    assert other.ask(request("/2", method="POST", body=b"x")).body == b"hello"
    assert all(line["outcome"] == "served" for line in [*wire.log(busy), *wire.log(other, 2)])


@pytest.fixture(scope="module")
def one_place(module_bench: Bench) -> tuple[Proxy, Upstream]:
    """A server that takes one connection."""
    upstream = module_bench.upstream()
    return module_bench.proxy({"legacy": {"servers": [upstream.address], "max_connections": 1}}), upstream


@pytest.fixture
def narrow(one_place: tuple[Proxy, Upstream], connect: Connect) -> Iterator[Wire]:
    yield from wire_over(*one_place, connect)


@pytest.mark.parametrize("spoil", [name for name in SPOILT if "reset" not in name])
@pytest.mark.parametrize("answer", [reply(b"first"), chunked(b"first")], ids=["length", "chunked"])
def test_the_head_of_the_line_gets_no_spoilt_connection(narrow: Wire, answer: bytes, spoil: str) -> None:
    """The one connection there may be is given on at once: what is behind its response is seen before."""
    upstream, release, done = narrow.upstream, threading.Event(), threading.Event()
    narrow.may_reset = True

    def story(turn: Turn) -> None:
        turn.wait(release)
        turn.send(answer)
        SPOILT[spoil](turn.link)
        done.set()

    first, waiting = narrow.client(), narrow.client()
    assert first.ask(request("/warm")).body == b"hello"
    upstream.on("/held", story)
    first.send(request("/held"))
    upstream.wait_requests(2)
    waiting.send(request("/mine", method="POST", body=b"x"))
    assert waiting.quiet(0.05)
    arrived = delivered(upstream.links[0])
    with narrow.proxy.stopped():
        release.set()
        assert done.wait(5)
        assert eventually(arrived)
    assert first.response().body == b"first"
    got = waiting.response("POST")
    assert (got.status, got.body) == (200, b"hello")
    assert upstream.wait_requests(3)[2].connection == upstream.links[1].number
    assert upstream.links[0].ended.wait(5)


ANSWERED = {
    "length": ("GET", reply(b"first"), b"first"),
    "chunked": ("GET", chunked(b"first"), b"first"),
    "HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b""),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    "interim first": ("GET", INTERIM + reply(b"first"), b"first"),
    "refusal": ("POST", reply(b"first", status="404 Not Found"), b"first"),
}


@pytest.mark.parametrize("extra", list(SURPLUS.values()), ids=list(SURPLUS))
@pytest.mark.parametrize("kind", list(ANSWERED))
def test_what_comes_behind_a_response_is_nobodys(wire: Wire, kind: str, extra: bytes) -> None:
    """On a pooled connection as on a fresh one; the one who asks next is another."""
    wire.may_reset = True
    method, answer, body = ANSWERED[kind]
    client, other = wire.client(), wire.client()
    for number in range(2):  # the first on a fresh connection, the second on one of the pool
        assert client.ask(request("/warm")).body == b"hello"
        wire.upstream.then(answer + extra)
        data = request(f"/{number}", method=method, body=b"x" if method == "POST" else b"")
        assert client.ask(data).body == body
        assert other.ask(request("/next", method="POST", body=b"x")).body == b"hello"
    used = {seen.connection for seen in wire.upstream.requests if seen.target in (b"/0", b"/1")}
    after = {seen.connection for seen in wire.upstream.requests if seen.target == b"/next"}
    assert len(used) == 2
    assert min(after) > min(used)
    spoilt = [link for link in wire.upstream.links if link.number in used]
    assert all(link.ended.wait(5) and link.requests[-1].target in (b"/0", b"/1") for link in spoilt)
    assert all(line["outcome"] == "served" for line in wire.log(client, 4))


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(("count", "status"), [(64, 200), (65, 502)])
def test_so_many_interim_responses_and_no_more(wire: Wire, version: str, count: int, status: int) -> None:
    """Counted whether or not the client is shown them."""
    wire.may_reset = True
    wire.upstream.then(INTERIM * count + reply(b"final"))
    client = wire.client()
    got = client.ask(request("/flood", version=version))
    assert got.status == status
    assert len(got.interims) == 64 or version == "1.0" or status == 502
    assert len(got.interims) <= (0 if version == "1.0" else 64)
    line = wire.log(client)[0]
    expected = ("served", "done") if status == 200 else ("failed", "interim-flood")
    assert (line["outcome"], line["reason"], line["by"]) == (*expected, "upstream")


@pytest.mark.parametrize(("size", "status"), [(16 * 1024, 200), (16 * 1024 + 1, 502)])
def test_so_many_bytes_of_interim_responses_and_no_more(wire: Wire, size: int, status: int) -> None:
    """64 KiB an exchange, heads as received."""
    wire.may_reset = True
    interim = b"HTTP/1.1 103 X\r\nA: " + b"b" * (size - 23) + b"\r\n\r\n"
    assert len(interim) == size
    wire.upstream.then(interim * 4 + reply(b"final"))
    client = wire.client()
    assert client.ask(request("/flood")).status == status
    assert wire.log(client)[0]["reason"] == ("done" if status == 200 else "interim-flood")


ENDLESS = {
    "status line": (b"HTTP/1.1 200 ", b"x" * 1000, "response-head-large"),
    "field": (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000, "response-head-large"),
    "fields": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 200, "response-head-large"),
    "line feeds": (b"HTTP/1.1 200 OK\r\nX: y", b"\rx" * 500, "response-head-large"),
    "interims": (b"", INTERIM * 20, "interim-flood"),
    "chunk line": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x" * 1000, "chunk-line"),
    "chunk sizes": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 5,
        "chunk-overhead",
    ),
    "trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"X: y\r\n" * 200,
        "trailers-long",
    ),
}


@pytest.mark.parametrize("what", list(ENDLESS))
def test_a_message_without_an_end(wire: Wire, what: str) -> None:
    """Ended at its limit, for the client and for the server, though more comes all the time."""
    wire.may_reset = True
    first, more, reason = ENDLESS[what]
    sent = [0]
    gone = threading.Event()

    def story(turn: Turn) -> None:
        with suppress(OSError):
            turn.send(first)
            while sent[0] < 64_000_000:
                turn.send(more)
                sent[0] += len(more)
        gone.set()

    wire.upstream.on("/endless", story)
    client = wire.client()
    watch = Watch()
    client.send(request("/endless"))
    head = client.response_head()
    while head.status < 200:
        head = client.response_head()
    if head.status == 200:
        client.truncated(head=head)
    else:
        assert head.status == 502
    watch.took(0, 4)
    (line,) = eventually(lambda: wire.proxy.lines("exchange", client.port))
    assert line["status"] == head.status
    assert (line["outcome"], line["by"], line["reason"]) == ("failed", "upstream", reason)
    assert gone.wait(8), "the server may go on sending"
    assert sent[0] < 32_000_000
    assert wire.client().ask(request("/after")).body == b"hello"


@pytest.mark.parametrize("banner", [b"220 ftp ready\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"\x00\x01\x02\x03\n\n"])
def test_a_server_that_speaks_first(wire: Wire, banner: bytes) -> None:
    """The wrong port: a 502 that says so."""
    wire.may_reset = True
    wire.upstream.greeting = banner
    client = wire.client()
    assert client.ask(request("/1")).status == 502
    assert wire.log(client)[0]["reason"] == "status-line"
    assert wire.upstream.links[0].ended.wait(5)


def test_a_response_before_any_request(wire: Wire) -> None:
    """It may be taken for the answer to the first request: the real answer to that is nobody else's then."""
    wire.may_reset = True
    wire.upstream.greeting = POISON
    wire.upstream.default = lambda turn: turn.send(reply(turn.request.target))
    for number in range(6):
        with Client(wire.proxy.address) as client:
            client.send(request(f"/{number}", method="POST", body=b"x"))
            got = whole(client, "POST")
        assert got is not None
        assert got.status == 502 or got.body in (b"/%d" % number, b"poison")
        assert wire.upstream.links[-1].ended.wait(5), "a connection with one answer too many is kept"
