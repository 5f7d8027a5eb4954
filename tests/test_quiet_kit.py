"""The instruments of the quiet contract: what the strict reader takes, and how ends are sorted."""

import socket
import zlib
from collections.abc import Iterator

import pytest

from tests.kit.sockets import eventually
from tests.kit.wire import ViolationError
from tests.quiet.pages import HUGE, SIZES, Ask, content, parse, request
from tests.quiet.play import Recorder, ends, recorder
from tests.quiet.strict import Reader

ASK = Ask("good", 7, 0, SIZES[0])
CHUNKED = request(ASK, 0, chunked=True) + b"3\r\nabc\r\n2\r\nde\r\n0\r\n"


@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_requests_are_whole_however_they_come(step: int) -> None:
    data = request(ASK) + request(ASK, 5) + b"abcde" + CHUNKED + b"\r\n" + CHUNKED + b"X: y\r\n\r\n"
    reader = Reader()
    found = [whole for at in range(0, len(data), step) for whole in reader.feed(data[at : at + step])]
    assert [(one.target, one.size, one.sum) for one in found] == [
        (ASK.target, 0, 0),
        *[(ASK.target, 5, zlib.crc32(b"abcde"))] * 3,
    ]
    assert not reader.begun


@pytest.mark.parametrize(
    "data",
    [
        request(ASK).replace(b"\r\nHost", b"\nHost"),
        request(ASK).replace(b"HTTP/1.1", b"HTTP 1.1"),
        request(ASK, 5).replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        CHUNKED.replace(b"3\r\n", b"+3\r\n"),
        CHUNKED.replace(b"abc", b"abcd"),
    ],
)
def test_what_is_no_request_is_a_violation(data: bytes) -> None:
    with pytest.raises(ViolationError):
        Reader().feed(data + b"\r\n")


def test_half_a_request_is_begun() -> None:
    reader = Reader()
    assert not reader.feed(request(ASK, 5) + b"abc")
    assert reader.begun
    assert parse(reader.target) == ASK


def test_bodies_are_as_long_as_they_say_and_differ() -> None:
    assert {len(content(number, HUGE)) for number in (0, 8003, 999_999)} == {HUGE}
    assert len({content(number, SIZES[0]) for number in range(1000)}) == 1000


def test_ends_are_the_proxys_unless_idle_or_wished() -> None:
    found = ends(
        {
            "ends": {
                "fin idle good": 9,
                "rst idle good": 1,
                "fin work reset-post": 2,
                "fin answer reset-answer": 3,
                "rst request reset-wait": 4,
            }
        }
    )
    assert dict(found.resets) == {"idle good": 1, "request reset-wait": 4}
    assert dict(found.halves) == {"work reset-post": 2}
    assert dict(found.wished) == {"answer reset-answer": 3}


@pytest.fixture
def server() -> Iterator[Recorder]:
    with recorder() as running:
        yield running


def test_the_recorder_counts_the_time_that_it_was_kept_waiting(server: Recorder) -> None:
    """Two halves of a request with a pause between them, and an answer that is read late."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.settimeout(10)
        ask = ASK._replace(size=HUGE)
        head = request(ask)
        client.sendall(head[:10])
        while not server.report()["unfinished"]:
            pass
        client.sendall(head[10:])
        got = bytearray()
        while len(got.partition(b"\r\n\r\n")[2]) < HUGE:
            got += client.recv(1 << 20)
        assert got.endswith(content(ask.number, HUGE))
        seen = eventually(lambda: found if (found := server.report())["waited"]["count"] else None)
    assert seen is not None
    assert seen["waited"]["count"] == 1
    assert seen["waited"]["worst"] > 0
    assert not seen["no_request"]
