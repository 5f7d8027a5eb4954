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


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_no_connection_beside_one_that_the_server_has_not_closed(
    bench: Bench, connect: Connect, version: str
) -> None:
    server = bench.upstream()
    now = most = 0
    lock = threading.Lock()

    def slow_to_close(turn: Turn) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        turn.send(reply(b"whole", fields="Connection: close\r\n", version=version))
        time.sleep(SLOW)
        with lock:
            now -= 1
        turn.close()

    server.default = slow_to_close
    proxy = bench.proxy({"legacy": {"servers": [server.address], "max_connections": 1}})
    one, two = connect(proxy), connect(proxy)
    start = time.monotonic()
    assert one.ask(request("/one")).body == b"whole"
    assert time.monotonic() - start < SLOW  # the client has it at once
    assert two.ask(request("/two")).body == b"whole"
    assert most == 1


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
