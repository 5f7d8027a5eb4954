"""A place at the server is free when the server has closed, not when its response is whole.

A process or a thread of an old server is held until it has closed its end. With ``max_connections`` of them
in use, one more connection would wait for it in the server's backlog, or be turned away.
"""

import threading
import time

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import reply
from tests.kit.client import request
from tests.kit.link import Turn

SLOW = 0.4
"""Seconds that the server takes to close behind its response."""
BOUND = 0.9
"""Seconds; the proxy waits for one."""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_no_connection_beside_one_that_the_server_has_not_closed(
    bench: Bench, connect: Connect, version: str
) -> None:
    server = bench.upstream()
    had = threading.Event()
    came: list[float] = []
    due: list[float] = []

    def slow_to_close(turn: Turn) -> None:
        came.append(time.monotonic())
        bound = came[-1] + BOUND
        turn.send(reply(b"whole", fields="Connection: close\r\n", version=version))
        assert had.wait(8), "the client was kept waiting for the server's close"
        time.sleep(SLOW)
        due.append(min(time.monotonic(), bound))
        turn.close()

    server.default = slow_to_close
    proxy = bench.proxy({"legacy": {"servers": [server.address], "max_connections": 1}})
    one, two = connect(proxy), connect(proxy)
    one.send(request("/one"))
    assert one.response().body == b"whole"
    two.send(request("/two"))
    had.set()
    assert two.response().body == b"whole"
    assert came[1] >= due[0]


def test_a_server_that_never_closes_is_not_waited_for_for_ever(bench: Bench, connect: Connect) -> None:
    server = bench.upstream()
    over = threading.Event()

    def never_closes(turn: Turn) -> None:
        turn.send(reply(b"whole", fields="Connection: close\r\n"))
        over.wait(12)
        turn.close()

    server.default = never_closes
    proxy = bench.proxy({"legacy": {"servers": [server.address], "max_connections": 1}})
    one, two = connect(proxy), connect(proxy)
    start = time.monotonic()
    assert one.ask(request("/one")).body == b"whole"
    assert two.ask(request("/two")).body == b"whole"
    assert 0.9 < time.monotonic() - start < 6
    over.set()
