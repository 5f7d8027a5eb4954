"""The instruments of the quiet contract: what the strict reader takes, and how ends are sorted."""

import socket
import zlib
from collections.abc import Iterator

import pytest

from tests.kit.sockets import eventually
from tests.kit.wire import ViolationError
from tests.quiet.answers import Answer
from tests.quiet.pages import CHUNKED as CHUNKS
from tests.quiet.pages import HUGE, SIZES, Ask, answer, content, parse, request
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


@pytest.mark.parametrize("step", [1, 3, 10_000])
@pytest.mark.parametrize("number", [CHUNKS, 7])
@pytest.mark.parametrize("size", [0, SIZES[1]])
def test_answers_end_where_they_end(number: int, size: int, step: int) -> None:
    whole = answer(ASK._replace(number=number, size=size), "X-Sum: 0\r\n")
    head, _, data = whole.partition(b"\r\n\r\n")
    assert (b"chunked" in head) == (number == CHUNKS)
    found = Answer(head.lower() + b"\r\n\r\n")
    for at in range(0, len(data), step):
        assert not found.done
        found.feed(data[at : at + step])
    assert found.done
    assert found.body == content(number, size)
    found.feed(b"HTTP")
    assert found.rest == b"HTTP"


def test_what_is_no_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="without an end"):
        Answer(b"http/1.1 200 ok\r\n\r\n")
    found = Answer(b"http/1.1 200 ok\r\ntransfer-encoding: chunked\r\n\r\n")
    with pytest.raises(ValueError, match="longer than it says"):
        found.feed(b"2\r\nabc\r\n")


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
