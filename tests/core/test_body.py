"""Chunked bodies: each refusal, every split, and h11 as a second opinion."""

import sys

import h11
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shieldproxy.core.body import FEW, FEWER, BodyFault, ChunkedReader, chunk, last_chunk

END = b"0\r\n\r\n"


def read(
    data: bytes, limit: int = sys.maxsize, step: int = 0, trailers_limit: int = 8192, *, padded: bool = False
) -> ChunkedReader:
    """Feed it all, `step` bytes at a time, and hold the data against what was received."""
    reader = ChunkedReader(limit, trailers_limit=trailers_limit, padded=padded)
    body = b""
    for at in range(0, len(data), step or len(data)):
        pieces = reader.feed(data[at : at + (step or len(data))])
        assert all(pieces)
        body += b"".join(pieces)
        assert reader.received == len(body)
    return reader


BAD = [
    (b"5x\r\nhello\r\n", "chunk-line"),
    (b"0x5\r\nhello\r\n", "chunk-line"),
    (b"+5\r\nhello\r\n", "chunk-line"),
    (b"-5\r\nhello\r\n", "chunk-line"),
    (b"\r\nhello\r\n", "chunk-line"),
    (b" 5\r\nhello\r\n", "chunk-line"),
    (b"5 \r\nhello\r\n", "chunk-line"),
    (b"5\t\r\nhello\r\n", "chunk-line"),
    (b"0_5\r\nhello\r\n", "chunk-line"),
    (b"5.0\r\nhello\r\n", "chunk-line"),
    (b"5,5\r\nhello\r\n", "chunk-line"),
    (b"\xb2\r\nhello\r\n", "chunk-line"),
    (b"00000000000000005\r\nhello\r\n", "chunk-line"),
    (b"fffffffffffffffff\r\n", "chunk-line"),
    (b"5\x00\r\nhello\r\n", "chunk-line"),
    (b"5;a=\x00\r\nhello\r\n", "chunk-line"),
    (b"5;a=\x01\r\nhello\r\n", "chunk-line"),
    (b"5;a=\x7f\r\nhello\r\n", "chunk-line"),
    (b";a=b\r\nhello\r\n", "chunk-line"),
    (b"Z", "chunk-line"),
    (b"5;" + b"a" * 300, "chunk-line"),
    (b"5;" + b"a" * 300 + b"\r\nhello\r\n", "chunk-line"),
    (b"5\nhello\r\n", "bare-lf"),
    (b"5;a=b\nhello\r\n", "bare-lf"),
    (b'5;a="\n"\r\nhello\r\n', "bare-lf"),
    (b"5\n\rhello\r\n", "bare-lf"),
    (b"5;a=\rb\r\nhello\r\n", "bare-cr"),
    (b"5\r\r\nhello\r\n", "bare-cr"),
    (b"5\r\nhello!\r\n", "chunk-end"),
    (b"5\r\nhello\n", "chunk-end"),
    (b"5\r\nhello\r0", "chunk-end"),
    (b"5\r\nhelloX", "chunk-end"),
    (b"5\r\nhello0\r\n\r\n", "chunk-end"),
    (b"0\n\n", "bare-lf"),
    (b"0\n\r\n", "bare-lf"),
    (b"0\r\n\n", "bare-lf"),
    (b"0\r\nX: y\n\n", "bare-lf"),
    (b"0\r\nX: y\n\r\n", "bare-lf"),
    (b"0\r\nX: y\nZ: a\r\n\r\n", "bare-lf"),
    (b"0\r\nX : y\r\n\r\n", "space-before-colon"),
    (b"0\r\nX\r\n\r\n", "field-name"),
    (b"0\r\n: y\r\n\r\n", "field-name"),
    (b"0\r\nX: a\x00b\r\n\r\n", "field-value"),
    (b"0\r\nX: a\rb\r\n\r\n", "bare-cr"),
    (b"0\r\nX: y\r\n z\r\n\r\n", "obs-fold"),
    (b"0\r\n X: y\r\n\r\n", "obs-fold"),
]


@pytest.mark.parametrize(("data", "reason"), BAD, ids=repr)
@pytest.mark.parametrize("before", [b"", b"3\r\nabc\r\n"])
def test_faults_whole_and_byte_by_byte(data: bytes, reason: str, before: bytes) -> None:
    for step in (0, 1, 2, 7):
        with pytest.raises(BodyFault) as caught:
            read(before + data, step=step)
        assert caught.value.status == 400
        # In pieces, a fault may show in an unfinished line, before its end says which one it is.
        assert caught.value.reason == reason or (step and caught.value.reason in {"chunk-line", "bare-lf"})


GOOD: list[tuple[bytes, bytes, list[tuple[bytes, bytes]]]] = [
    (END, b"", []),
    (b"5\r\nhello\r\n" + END, b"hello", []),
    (b"5\r\nhello\r\n6\r\n world\r\n" + END, b"hello world", []),
    (b"A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", b"01234567890123456789", []),
    (b"0000000000000005\r\nhello\r\n" + END, b"hello", []),
    (b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n", b"hello", []),
    (b'5 ; a="b\xff"\r\nhello\r\n' + END, b"hello", []),
    (b"2\r\n\r\n\r\n" + END, b"\r\n", []),
    (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", b"hello", [(b"X-Sum", b"1"), (b"Y", b"")]),
]


@pytest.mark.parametrize(("data", "body", "trailers"), GOOD, ids=repr)
def test_bodies_in_every_split(data: bytes, body: bytes, trailers: list[tuple[bytes, bytes]]) -> None:
    whole = data + b"GET /next"
    for first in range(len(whole) + 1):
        reader = ChunkedReader()
        got = b"".join(reader.feed(whole[:first]) + reader.feed(whole[first:]))
        assert (got, reader.done, reader.trailers, reader.rest) == (body, True, trailers, b"GET /next")
    for step in (1, 2, 3):
        reader = read(whole, step=step)
        assert (reader.received, reader.done, reader.rest) == (len(body), True, b"GET /next")


def test_not_done_before_the_last_byte() -> None:
    data = b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for end in range(len(data)):
        assert not read(data[:end] or b"", step=max(end, 1)).done


def test_limit_is_known_from_the_size() -> None:
    assert read(b"5\r\nhello\r\n" + END, 5).done
    for data in (b"6\r\n", b"5\r\nhello\r\n1\r\n", b"ffffffffffffffff\r\n"):
        with pytest.raises(BodyFault) as caught:
            read(data, 5)
        assert (caught.value.status, caught.value.reason) == (413, "body-long")


def test_trailers_have_a_limit() -> None:
    assert read(b"0\r\nX: " + b"y" * 90 + b"\r\n\r\n", trailers_limit=100).done
    for data in (
        b"0\r\nX: " + b"y" * 100,
        b"0\r\nX: " + b"y" * 100 + b"\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 20,
    ):
        for step in (0, 1):
            with pytest.raises(BodyFault) as caught:
                read(data, step=step, trailers_limit=100)
            assert (caught.value.status, caught.value.reason) == (431, "trailers-long")


def test_framing_has_a_limit() -> None:
    tiny = b"1\r\nx\r\n" * 100_000
    assert read(tiny + END, step=4096).received == 100_000
    with pytest.raises(BodyFault) as caught:
        read((b"1;" + b"a" * 200 + b"\r\nx\r\n") * 200, step=4096)
    assert caught.value.reason == "chunk-overhead"


def test_padded_sizes_of_old_servers() -> None:
    assert read(b"5  \r\nhello\r\n0 \r\n\r\n", padded=True).received == 5
    with pytest.raises(BodyFault):
        read(b"5 x\r\nhello\r\n", padded=True)


def test_a_large_chunk_passes_through_as_it_comes() -> None:
    reader = ChunkedReader()
    piece = b"x" * 1000
    reader.feed(b"100000\r\n")
    assert reader.feed(piece)[0] is piece


def test_chunk() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    with pytest.raises(ValueError, match="empty"):
        chunk(b"")


def test_trailers_that_may_not_go_on() -> None:
    kept = [(b"X-Sum", b"1"), (b"ETag", b"2"), (b"Grpc-Status", b"0")]
    names = (
        b"Transfer-Encoding content-length HOST Connection Set-Cookie X-Forwarded-For Content_Length "
        b"Authorization Trailer Forwarded"
    ).split()
    dropped = [(name, b"1") for name in names]
    assert last_chunk(dropped + kept) == b"0\r\nX-Sum: 1\r\nETag: 2\r\nGrpc-Status: 0\r\n\r\n"
    named = frozenset((b"x-sum", b"grpc-status"))
    assert last_chunk(kept, named) == b"0\r\nETag: 2\r\n\r\n"
    assert last_chunk() == END


def h11_reads(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    connection.next_event()
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage), event
    return body, [(bytes(name), bytes(value)) for name, value in event.headers], connection.trailing_data[0]


pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
sizes = st.sampled_from([b"%x", b"%X", b"%04x", b"%x;a=b", b'%x;a="b c"'])
nasty = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\x00", b" ", b"0", b"f", b";", b"+", b"x", b":", b"\xff", b""]
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    data = b"".join(draw(sizes) % len(piece) + b"\r\n" + piece + b"\r\n" for piece in draw(pieces))
    return data + draw(
        st.sampled_from([b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"00;a\r\nX: y\r\nZ:  a \r\n\r\n"])
    )


@given(bodies(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), nasty), max_size=3), st.data())
def test_what_it_takes_h11_reads_the_same(
    body: bytes, mutations: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    for where, cut, put in mutations:
        at = where % (len(body) + 1)
        body = body[:at] + put + body[at + cut :]
    assume(b" ;" not in body)  # white space that RFC 9112 section 7.1.1 wants taken, and h11 does not take
    reader = ChunkedReader()
    got: list[bytes] = []
    left = body
    try:
        while left:
            step = data.draw(st.integers(1, len(left)))
            got += reader.feed(left[:step])
            left = left[step:]
    except BodyFault:
        return
    if reader.done:
        theirs = h11_reads(body)
        assert theirs[0] == b"".join(got)
        assert theirs[1] == [(name.lower(), value) for name, value in reader.trailers]
        assert theirs[2] == reader.rest


@given(pieces, st.lists(st.sampled_from([(b"X-Sum", b"1"), (b"Host", b"a"), (b"Y", b"z")]), max_size=3))
def test_what_it_writes_reads_the_same(parts: list[bytes], trailers: list[tuple[bytes, bytes]]) -> None:
    written = b"".join(map(chunk, parts)) + last_chunk(trailers)
    body, got, rest = h11_reads(written)
    assert (body, rest) == (b"".join(parts), b"")
    assert got == [(name.lower(), value) for name, value in trailers if name != b"Host"]


def test_what_is_known_to_be_data_may_come_at_once() -> None:
    """And of what is not, little: in it may be as many chunks as fit."""
    reader = ChunkedReader()
    assert reader.share == FEW
    reader.feed(b"%x\r\n" % 50_000)
    assert reader.share == FEW + 50_002
    reader.feed(bytes(20_000))
    assert reader.share == FEW + 30_002
    reader.feed(bytes(30_000) + b"\r\n")
    assert (reader.share, reader.dense) == (FEW, False)


@pytest.mark.parametrize(
    ("size", "many", "dense"), [(1, 100, True), (57, 100, True), (58, 100, False), (1, 50, False)]
)
def test_tiny_chunks_are_dense_if_they_are_many(size: int, many: int, dense: bool) -> None:
    reader = ChunkedReader()
    reader.feed(chunk(bytes(size)) * many)
    assert reader.dense is dense
    assert reader.share == (FEWER if dense else FEW)
