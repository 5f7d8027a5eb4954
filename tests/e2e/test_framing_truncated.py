"""Responses that break off, at every byte: a 502 or a visible break, one line in the log, and sent once.

RFC 9112 8. In every framing, with a FIN and with a reset, on a connection from the pool (whose exchange
is the express lane's) and on a fresh one. What a server sends until it closes is the one kind that may break
off unseen, and only by a FIN.
"""

from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

import pytest

from tests.e2e.conftest import Wire
from tests.kit.answers import Story, broken, chunked, last, reply
from tests.kit.client import Client, request
from tests.kit.endings import page
from tests.kit.link import Turn
from tests.kit.sockets import eventually
from tests.kit.wire import TruncatedError, read_response_body, read_response_head

WHOLES = {
    "length": reply(b"hello, world"),
    "chunked": chunked(b"hello", b", world", trailers="X-Sum: 1\r\n"),
    "close": b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello, world",
    "interim": b"HTTP/1.1 103 X\r\nLink: a\r\n\r\n" + reply(b"hello"),
    "old": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    "refusal": reply(b"go away", status="503 Busy", fields="Connection: close\r\n"),
}
REASONS = {"upstream-truncated", "upstream-closed", "upstream-reset"}


class Seen(NamedTuple):
    """What a client saw of a response."""

    status: int
    """0: not even a head."""
    whole: bool
    body: bytes


def see(client: Client) -> Seen:
    """Read a final response, or what there is of it."""
    status = 0
    try:
        head = read_response_head(client.stream)
        while head.status < 200:
            head = read_response_head(client.stream)
        status = head.status
        read_response_body(client.stream, head, "POST")
    except TruncatedError as cut:
        return Seen(status, False, cut.partial)
    return Seen(status, True, head.body)


def at_once(data: bytes) -> Story:
    """Send, then RST, which may overtake what was sent."""

    def story(turn: Turn) -> None:
        turn.send(data)
        turn.reset()

    return story


def one(wire: Wire, cut: int, story: Story, warm: bool) -> Client:
    """A client whose POST is at the server, with nothing of its answer read yet."""
    client = wire.client()
    if warm:
        assert client.ask(request("/warm")).body == b"warm"
    wire.upstream.on(f"/{cut}", story)
    client.send(request(f"/{cut}", method="POST", body=b"x"))
    requests = wire.upstream.requests
    wire.upstream.until(lambda: [seen.target for seen in requests[-1:]] == [b"/%d" % cut], "the request")
    return client


def answer(client: Client) -> Seen:
    """What it saw of the answer to its POST."""
    seen = len(client.stream.seen)
    found = see(client)
    assert b"warm" not in client.stream.seen[seen:], "bytes of another exchange"
    client.close()
    return found


def logged(wire: Wire, ports: Collection[int]) -> dict[int, dict[str, Any]]:
    """Port -> its POST's line."""

    def posts() -> dict[int, dict[str, Any]]:
        lines = [line for line in wire.proxy.lines("exchange") if line["method"] == "POST"]
        return {line["port"]: line for line in lines if line["port"] in ports}

    found = eventually(lambda: len(posts()) == len(ports) and posts())
    assert found, f"{len(posts())} lines, not {len(ports)}"
    return found


@pytest.mark.parametrize("where", ["pooled", "fresh"])
@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("framing", list(WHOLES))
def test_at_every_byte(wire: Wire, framing: str, how: str, where: str) -> None:
    wire.may_reset = True
    wire.upstream.default = reply(b"warm")
    whole, warm = WHOLES[framing], where == "pooled"
    head = whole.rindex(b"\r\n\r\n") + 4
    cuts = range(0, len(whole), 1 if warm else 3)
    clients = []
    for cut in cuts:
        story = last if how == "fin" else broken if cut % 5 == 0 else at_once
        clients.append(one(wire, cut, story(whole[:cut]), warm))  # read later: a break takes its time to come
    found = {client.port: (cut, answer(client)) for cut, client in zip(cuts, clients, strict=True)}
    lines = logged(wire, found.keys())
    for port, (cut, seen) in found.items():
        said = f"cut at {cut}: {seen}, {lines[port]}"
        if framing == "close" and how == "fin" and cut >= head:
            assert seen == (200, True, whole[head:cut]), said
            assert (lines[port]["outcome"], lines[port]["by"]) == ("served", "upstream"), said
            continue
        assert not seen.whole or seen.status == 502, said
        assert seen.whole or seen.body in whole, said
        assert lines[port]["status"] == (seen.status or lines[port]["status"]), said
        assert (lines[port]["outcome"], lines[port]["by"]) == ("failed", "upstream"), said
        assert lines[port]["reason"] in REASONS, said
        assert not lines[port].get("retries"), said
    sent = [seen.target for seen in wire.upstream.requests if seen.method == b"POST"]
    assert sent == [b"/%d" % cut for cut in cuts], "each was sent once"


def logged_after_one(wire: Wire, port: int) -> list[dict[str, Any]]:
    """The lines of a client's exchanges behind its first."""
    return wire.proxy.lines("exchange", port)[1:]


SIZE = 400_000
PAGE = page(SIZE)
START = len(PAGE) - SIZE
EDGES = [1, 65_535, 65_536, 65_537, 131_072, 262_143, 262_144, 262_145, SIZE - 1]


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_ones_at_the_buffers_edges(wire: Wire, framing: str, how: str) -> None:
    """What is passed on by the buffer breaks off as well: what came of it is right, and it is not whole."""
    wire.may_reset = True
    body = PAGE[START:]
    chunks = chunked(*(body[at : at + 50_000] for at in range(0, SIZE, 50_000)))
    whole, start = (PAGE, START) if framing == "length" else (chunks, chunks.index(body[:100]))
    for cut in EDGES:
        client = wire.client()
        assert client.ask(request("/warm")).body == b"hello"
        wire.upstream.then((last if how == "fin" else broken)(whole[: start + cut]))
        client.send(request(f"/{cut}", method="POST", body=b"x"))
        head = client.response_head()
        assert head.status == 200
        broke = client.truncated("POST", head)
        got = broke.partial if framing == "length" else head.body
        assert got == body[: len(got)]
        assert len(got) <= cut
        (line,) = eventually(partial(logged_after_one, wire, client.port))
        assert (line["outcome"], line["by"], line["status"]) == ("failed", "upstream", 200)
        assert line["reason"] == "upstream-truncated"


@pytest.mark.parametrize("extra", [reply(b"poison"), b"x"], ids=["a response", "a byte"])
def test_what_comes_behind_a_large_response_is_nobodys(wire: Wire, extra: bytes) -> None:
    """Nor does it go to the client of the response with the last of its bytes."""
    wire.may_reset = True
    client, other = wire.client(), wire.client()
    for number in range(3):
        wire.upstream.then(PAGE + extra)
        assert client.ask(request(f"/{number}")).body == PAGE[START:]
        assert other.ask(request("/next", method="POST", body=b"x")).body == b"hello"
    ended = [link for link in wire.upstream.links if link.requests[-1].target != b"/next"]
    assert len(ended) == 3
    assert all(link.ended.wait(5) for link in ended)
