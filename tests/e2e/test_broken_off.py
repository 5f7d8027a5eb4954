"""Responses that the server breaks off: what has come of them arrives, and so does all that was before."""

import time

import pytest

from tests.e2e.conftest import Connect, MakeProxy
from tests.kit.answers import last, reply
from tests.kit.client import request
from tests.kit.upstream import Upstream


@pytest.mark.parametrize("size", [2_000, 60_000])
def test_it_takes_nothing_with_it(
    make_proxy: MakeProxy, connect: Connect, upstream: Upstream, size: int
) -> None:
    """Two are on their way to a client that has read nothing when the second breaks off."""
    data = bytes(range(250)) * (size // 250)
    upstream.on("/first", reply(data))
    upstream.on("/second", last(reply(b"x" * 70_000)[:-1]))
    proxy = make_proxy(upstream)
    client = connect(proxy, rcvbuf=4096)
    client.send(request("/first") + request("/second"))
    upstream.until(lambda: len(upstream.requests) == 2, "both")
    time.sleep(0.3)  # the proxy has seen the end
    assert client.response().body == data
    cut = client.truncated()
    assert (cut.end, len(cut.partial)) == ("rst", 69_999)
    first, second = proxy.log_lines(2, kind="exchange", port=client.port)
    assert (first["outcome"], second["outcome"]) == ("served", "failed")
    (end,) = proxy.log_lines(1, kind="connection", port=client.port)
    assert (end["by"], end["reason"]) == ("upstream", "upstream-truncated")
