"""How long the upstream may take: connect, response, progress."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench, Connect, MakeProxy
from tests.kit.answers import held, reply
from tests.kit.client import request
from tests.kit.link import Turn
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch


@pytest.fixture
def full() -> Iterator[str]:
    """An address at which connecting neither works nor fails: the listener's queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        name = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(name)
        yield f"{name[0]}:{name[1]}"


def test_connect_timeout(make_proxy: MakeProxy, connect: Connect, full: str) -> None:
    proxy = make_proxy({"legacy": {"servers": [full], "connect_timeout": "400ms"}})
    client = connect(proxy)
    start = Watch()
    got = client.ask(request())
    start.took(0.3, 2)
    assert got.status == 504
    assert got.error == "connection_timeout"
    line = proxy.log_lines(1)[0]
    assert (line["phase"], line["outcome"], line["by"]) == ("connect", "failed", "upstream")


def test_response_timeout(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    release = threading.Event()
    upstream.then(held(release, b""))
    proxy = make_proxy({"legacy": {"servers": [upstream.address], "response_timeout": "400ms"}})
    start = Watch()
    got = connect(proxy).ask(request(method="POST", body=b"x"))
    start.took(0.3, 2)
    assert got.status == 504
    release.set()
    assert upstream.links[0].ended.wait(5), "a late answer must not find a pooled connection"
    assert connect(proxy).ask(request()).body == b"hello"


def test_response_timeout_in_the_body_is_an_abort(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    release = threading.Event()
    upstream.then(held(release, b"", before=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello"))
    proxy = make_proxy({"legacy": {"servers": [upstream.address], "response_timeout": "400ms"}})
    client = connect(proxy)
    client.send(request())
    assert client.truncated().partial == b"hello"
    release.set()
    line = proxy.log_lines(1)[0]
    assert (line["outcome"], line["by"], line["phase"]) == ("failed", "upstream", "relay")


def test_progress_is_what_counts(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """A response that takes longer than response_timeout, but never that long without a byte."""
    upstream.then(lambda turn: turn.pieces(reply(b"slowly but surely"), 8, 0.12))
    proxy = make_proxy({"legacy": {"servers": [upstream.address], "response_timeout": "400ms"}})
    assert connect(proxy).ask(request()).body == b"slowly but surely"


def test_interim_responses_are_no_progress(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """They do not restart response_timeout."""

    def story(turn: Turn) -> None:
        for _ in range(20):
            turn.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            time.sleep(0.1)
        turn.send(reply())

    upstream.then(story)
    proxy = make_proxy({"legacy": {"servers": [upstream.address], "response_timeout": "500ms"}})
    client = connect(proxy)
    start = Watch()
    client.send(request())
    while (head := client.response_head()).status == 102:
        pass
    assert head.status == 504
    start.took(0, 1.6)


def test_a_slow_upload_is_progress(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """No progress in *either* direction is what ends it: the client's uploading counts."""
    proxy = make_proxy({"legacy": {"servers": [upstream.address], "response_timeout": "400ms"}})
    client = connect(proxy)
    client.send(request(method="POST", fields=["Content-Length: 10"]))
    client.send_pieces([b"x"] * 10, 0.1)
    assert client.response().status == 200
    assert upstream.one().body == b"x" * 10


def test_a_silent_server_does_not_stop_the_others(bench: Bench, connect: Connect) -> None:
    release = threading.Event()
    deaf, good = bench.upstream(), bench.upstream()
    deaf.default = held(release, reply())
    tables = {"deaf": {"servers": [deaf.address]}, "good": {"servers": [good.address]}}
    proxy = bench.proxy(tables, route=[{"upstream": "good"}, {"upstream": "deaf", "path": "/deaf"}])
    waiting = [connect(proxy) for _ in range(40)]
    for client in waiting:
        client.send(request("/deaf"))
    deaf.until(lambda: len(deaf.requests) >= 32, "a full server")
    start = Watch()
    assert connect(proxy).ask(request("/good")).status == 200
    start.took(0, 1)
    release.set()
    assert [client.response().status for client in waiting] == [200] * 40
