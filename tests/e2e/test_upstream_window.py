"""What the kernel takes from a server while the proxy is busy."""

import contextlib
import socket

from tests.e2e.conftest import Connect, MakeProxy
from tests.kit.answers import reply
from tests.kit.client import request
from tests.kit.link import Turn
from tests.kit.sockets import eventually
from tests.kit.upstream import Upstream

BODY = bytes(range(256)) * 4096


def test_a_server_does_not_wait_for_a_proxy_that_is_busy(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """A megabyte over a new connection, which its kernel's own tuning would not take before it is read."""
    proxy = make_proxy(upstream)
    left = memoryview(reply(BODY))
    taken = []

    def story(turn: Turn) -> None:
        def is_taken() -> bool:
            nonlocal left
            with contextlib.suppress(BlockingIOError):
                left = left[turn.link.sock.send(left, socket.MSG_DONTWAIT) if left else 0 :]
            return not left and turn.is_acknowledged()

        with proxy.stopped():
            taken.append(eventually(is_taken, timeout=3.0))
        turn.send(bytes(left))

    upstream.then(story)
    assert connect(proxy, timeout=20.0).ask(request()).body == BODY
    assert taken == [True]
