"""The pipe between two sockets: what goes through it, what is left in it, and that nothing stays in it."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shieldproxy.net.pipe import Pipe

Pair = tuple[socket.socket, socket.socket]
MUCH = os.urandom(100_000)


def tcp() -> Pair:
    """Two ends of one connection, ours (the first) non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    return ours, far


def unix() -> Pair:
    ours, far = socket.socketpair()
    ours.setblocking(False)
    return ours, far


@pytest.fixture(params=[tcp, unix])
def pairs(request: pytest.FixtureRequest) -> Iterator[tuple[Pair, Pair]]:
    source, sink = request.param(), request.param()
    yield source, sink
    for sock in (*source, *sink):
        sock.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with closing(Pipe()) as made:
        yield made


def exactly(sock: socket.socket, count: int) -> bytes:
    sock.settimeout(5)
    got = b""
    while len(got) < count:
        got += sock.recv(count - len(got))
    return got


def block(sock: socket.socket) -> int:
    """Write until the socket takes no more; how much it took."""
    took = 0
    try:
        while True:
            took += sock.send(bytes(65536))
    except BlockingIOError:
        return took


def test_bytes_pass_unchanged(pipe: Pipe, pairs: tuple[Pair, Pair]) -> None:
    (ours, source), (down, sink) = pairs
    source.sendall(MUCH[:60_000])
    passed = 0
    while passed < 60_000:
        count = pipe.fill(ours.fileno(), 60_000 - passed)
        assert pipe.empty(down.fileno(), count) == count
        passed += count
    assert exactly(sink, 60_000) == MUCH[:60_000]


def test_no_more_than_asked_for(pipe: Pipe, pairs: tuple[Pair, Pair]) -> None:
    (ours, source), (down, sink) = pairs
    source.sendall(b"body" + b"next")
    assert pipe.fill(ours.fileno(), 4) == 4
    assert pipe.empty(down.fileno(), 4) == 4
    assert exactly(sink, 4) == b"body"
    assert ours.recv(100) == b"next"


def test_what_the_sink_does_not_take_is_had_from_rest(pipe: Pipe, pairs: tuple[Pair, Pair]) -> None:
    (ours, source), (down, sink) = pairs
    blocked = block(down)
    source.sendall(b"for a full sink")
    count = pipe.fill(ours.fileno(), 100)
    assert pipe.empty(down.fileno(), count) == 0
    assert pipe.rest(count) == b"for a full sink"
    exactly(sink, blocked)
    source.sendall(b"then")
    assert pipe.empty(down.fileno(), pipe.fill(ours.fileno(), 100)) == 4
    assert exactly(sink, 4) == b"then"


def test_nothing_yet_and_the_end(pipe: Pipe, pairs: tuple[Pair, Pair]) -> None:
    (ours, source), _ = pairs
    with pytest.raises(BlockingIOError):
        pipe.fill(ours.fileno(), 100)
    source.close()
    assert pipe.fill(ours.fileno(), 100) == 0


def test_a_reset_source_is_an_error(pipe: Pipe) -> None:
    ours, far = tcp()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    with ours, pytest.raises(ConnectionResetError):
        pipe.fill(ours.fileno(), 100)


def test_what_was_left_in_it_reaches_nobody(pipe: Pipe, pairs: tuple[Pair, Pair]) -> None:
    """Also after a sink that broke, and after an exception between the two halves of a move."""
    (ours, source), (down, sink) = pairs
    broken, far = unix()
    far.close()
    source.sendall(b"somebody's secret")
    count = pipe.fill(ours.fileno(), 100)
    with broken, pytest.raises(BrokenPipeError):
        pipe.empty(broken.fileno(), count)
    source.sendall(b"a second one")
    pipe.fill(ours.fileno(), 100)  # and never emptied
    source.sendall(b"public")
    assert pipe.empty(down.fileno(), pipe.fill(ours.fileno(), 100)) == 6
    assert exactly(sink, 6) == b"public"


def test_pipes_replaced_do_not_pile_up(pipe: Pipe, pairs: tuple[Pair, Pair]) -> None:
    (ours, source), _ = pairs
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(20):
        source.sendall(b"x")
        pipe.fill(ours.fileno(), 100)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_pipe_that_cannot_be_replaced_costs_no_other_descriptor(
    pipe: Pipe, pairs: tuple[Pair, Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    (source, far), (sink, _) = pairs
    far.sendall(b"old")
    assert pipe.fill(source.fileno(), 3) == 3
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the family
        pipe.empty(-1, 3)
    pipe2 = os.pipe2

    def none_left(_flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", none_left)
    for _ in range(2):
        with pytest.raises(OSError, match="Too many"):
            pipe.fill(source.fileno(), 3)
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
    monkeypatch.setattr(os, "pipe2", pipe2)
    far.sendall(b"new")
    assert pipe.fill(source.fileno(), 3) == 3
    assert pipe.rest(3) == b"new"
    for fd in others:
        os.fstat(fd)
        os.close(fd)
    assert sink.fileno() >= 0


def test_a_hole_is_never_passed_on(pipe: Pipe, pairs: tuple[Pair, Pair]) -> None:
    (source, far), _ = pairs
    far.sendall(b"four")
    assert pipe.fill(source.fileno(), 4) == 4
    with pytest.raises(RuntimeError, match="4 of 5 bytes"):
        pipe.rest(5)
