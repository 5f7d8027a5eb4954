"""Where two things meet: the end of a message and of a read, a request and an answer, a wait and its end.

The kit stops the product where both must be there before it looks.
"""

import json
import signal
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Bench, Connect, Wire
from tests.kit.answers import chunked, reply
from tests.kit.client import request
from tests.kit.link import Turn
from tests.kit.proxy import Proxy

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
        proxy.signal(signal.SIGSTOP)
        try:
            turn.send(data)
            turn.settle(0.3)
        finally:
            proxy.signal(signal.SIGCONT)

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
    assert pool["surplus"] == 3, "it was there when the response ended"


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
