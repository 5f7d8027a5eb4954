"""The spool, one thing at a time: memory, file, pipe, and what happens when there is none of them."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.net import pipes
from shieldproxy.net.filing import BEAT, LATE, MOST, REST, Filing
from shieldproxy.net.lobby import CHUNK
from shieldproxy.net.means import BURST, BURSTS
from shieldproxy.net.spool import AHEAD, Spool
from tests.net.spools import (
    BLOB,
    Pair,
    Workshop,
    drop,
    exactly,
    feed,
    is_full,
    put_all,
    read_all,
    tcp,
    workshop,
)

MEMORY = 64 * 1024
BEYOND = MEMORY + LATE + 1
"""What goes to a file, be it of a request or of a response."""
MUCH = 500_000
SLOTS = {*Spool.__slots__, *Filing.__slots__}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path, response_file=200_000) as made:
        yield made


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = tcp()
    yield made
    drop(*made)


@pytest.fixture
def source() -> Iterator[Pair]:
    made = tcp()
    yield made
    drop(*made)


def test_what_fits_stays_in_memory(shop: Workshop) -> None:
    spool = shop.store.request(shop.wake, 1000)
    spool.put(b"a" * 600)
    spool.put(b"b" * 400)
    assert (spool.size, spool.left, spool.full, spool.fault) == (1000, 1000, False, "")
    assert spool.taken() == b"a" * 600 + b"b" * 400
    assert (spool.left, shop.disk.most_open) == (0, 0)
    spool.close()


def test_what_is_more_goes_to_a_file_and_can_be_sent_twice(shop: Workshop, pair: Pair) -> None:
    spool = shop.store.request(shop.wake)
    put_all(shop, spool, BLOB[:MUCH])
    assert shop.store.files == 1
    assert shop.store.used > MUCH - MEMORY - CHUNK
    assert os.fstat(spool._fd).st_nlink == 0, "nobody sees it"
    assert len(spool._tail) <= MEMORY
    with pytest.raises(RuntimeError):
        spool.taken()
    assert read_all(shop, spool, pair, MUCH) == BLOB[:MUCH]
    assert spool.rewind()
    assert read_all(shop, spool, pair, MUCH) == BLOB[:MUCH]
    spool.close()
    assert shop.store.files == 1, "a thread closes it"


def test_a_response_is_full_when_its_file_is_and_goes_on_when_some_is_taken(
    shop: Workshop, pair: Pair
) -> None:
    spool = shop.store.response(shop.wake)
    fed = 0
    while not spool.full:
        spool.put(BLOB[fed : fed + 30_000])
        fed += 30_000
        shop.finish_all()
    assert 200_000 <= fed <= 200_000 + MEMORY + 30_000
    assert shop.store.used == 200_000
    got = b""
    while fed < 3_000_000:
        while is_full(spool):
            got += exactly(pair[1], spool.drain(pair[0]))
        spool.put(BLOB[fed : fed + 30_000])
        fed += 30_000
        shop.finish_all()
        assert shop.store.used <= 200_000, "it is a ring"
    got += read_all(shop, spool, pair, fed - len(got))
    assert got == BLOB[:fed]
    assert not spool.rewind(), "what is taken from a response is gone"
    spool.close()


def test_a_file_that_was_read_empty_is_truncated(
    shop: Workshop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shieldproxy.net.spool.CUT", 100_000)
    spool = shop.store.response(shop.wake)
    put_all(shop, spool, BLOB[:BEYOND])
    assert shop.store.used > 0
    assert read_all(shop, spool, pair, BEYOND) == BLOB[:BEYOND]
    shop.finish_all()
    assert (shop.store.used, os.fstat(spool._fd).st_size) == (0, 0)
    spool.put(BLOB[:BEYOND])
    shop.finish_all()
    assert shop.store.used > 0
    assert read_all(shop, spool, pair, BEYOND) == BLOB[:BEYOND]
    spool.close()


def fill_up(spool: Spool, piece: int = 30_000) -> int:
    """Put until it is full; no file work is done meanwhile."""
    put = 0
    while not spool.full:
        spool.put(bytes(piece))
        put += piece
    return put


def test_some_responses_may_run_ahead_of_their_files(tmp_path: Path) -> None:
    with workshop(tmp_path) as shop:
        bound = MEMORY + AHEAD + 30_000
        upload = shop.store.request(shop.wake)
        assert fill_up(upload) <= bound, "who sends a request can wait"
        upload.close()
        shop.finish_all()
        spools = [shop.store.response(shop.wake) for _ in range(BURSTS + 2)]
        ahead = [fill_up(spool) for spool in spools]
        assert all(BURST < count <= BURST + bound for count in ahead[:BURSTS])
        assert all(count <= bound for count in ahead[BURSTS:])
        assert max(len(job.data) for job, _ in shop.disk.jobs) <= MOST
        shop.finish_all()
        assert not shop.store.bursts, "all files have caught up"
        assert fill_up(spools[-1]) > BURST, "now it is others' turn"
        spools[-1].close()
        shop.finish_all()
        assert not shop.store.bursts
        for spool in spools:
            spool.close()


def test_without_a_file_nobody_runs_ahead(tmp_path: Path) -> None:
    with workshop(tmp_path, response_file=0) as shop:
        spool = shop.store.response(shop.wake)
        assert fill_up(spool) <= MEMORY + 30_000
        assert not shop.store.bursts
        spool.close()


def test_a_fast_body_goes_through_a_pipe(shop: Workshop, source: Pair, pair: Pair) -> None:
    spool = shop.store.request(shop.wake, MUCH)
    spool.put(BLOB[:40_000])
    feed(spool, source, BLOB[40_000:MUCH])
    assert shop.store.pipes.lent == 1
    assert spool._piped == MUCH - 40_000, "all of it"
    assert spool.rewind(), "nothing has gone out"
    assert exactly(pair[1], spool.drain(pair[0])) == BLOB[:40_000]
    assert spool.rewind(), "only memory has"
    assert read_all(shop, spool, pair, MUCH) == BLOB[:MUCH]
    assert not spool.rewind()
    assert (shop.store.pipes.lent, shop.disk.most_open) == (0, 0)
    spool.close()


def test_a_slow_body_is_worth_no_pipe(shop: Workshop, source: Pair) -> None:
    spool = shop.store.request(shop.wake, MUCH)
    spool.put(BLOB[:40_000])
    shop.clock.now += 1
    shop.lobby.tick()
    feed(spool, source, BLOB[40_000:100_000])
    assert shop.store.pipes.times == 0
    spool.close()


@pytest.mark.parametrize("keep", [True, False], ids=["request", "response"])
def test_a_pipe_that_is_full_is_followed_by_the_file(
    keep: bool, tmp_path: Path, source: Pair, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "SIZE", CHUNK)
    with workshop(tmp_path) as shop:
        spool = (shop.store.request if keep else shop.store.response)(shop.wake, 40_000 + CHUNK)
        spool.put(BLOB[:40_000])
        for start in range(40_000, 1_000_000, CHUNK):
            feed(spool, source, BLOB[start : min(start + CHUNK, 1_000_000)])
            shop.finish_all()
        assert 0 < spool._piped < 900_000
        assert shop.store.used > 0
        assert read_all(shop, spool, pair, 1_000_000) == BLOB[:1_000_000]
        assert shop.store.pipes.lent == 0
        assert not spool.rewind()
        spool.close()


@pytest.mark.parametrize("splice", [True, False], ids=["splice", "no-splice"])
def test_rest_gives_the_pipe_back_and_leaves_nothing_in_memory(
    splice: bool, shop: Workshop, source: Pair, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.splice

    def only_pipes(src: int, dst: int, count: int, *args: Any, **kwargs: Any) -> int:
        if len(args) > 1 and args[1] is not None:
            raise OSError(errno.EINVAL, "no splice to files of this kind")
        return real(src, dst, count, *args, **kwargs)

    if not splice:
        monkeypatch.setattr(os, "splice", only_pipes)
    spool = shop.store.request(shop.wake, MUCH)
    spool.put(BLOB[:40_000])
    feed(spool, source, BLOB[40_000:MUCH])
    assert exactly(pair[1], spool.drain(pair[0])) == BLOB[:40_000]
    spool.rest()
    assert spool.drain(pair[0]) == 0, "a thread has it"
    woken = shop.woken
    shop.finish_all()
    assert shop.woken > woken
    assert (shop.store.pipes.lent, shop.store.used, len(spool._front)) == (0, MUCH, 0)
    assert read_all(shop, spool, pair, MUCH - 40_000) == BLOB[40_000:MUCH]
    assert spool.rewind(), "all of it is on the file"
    assert read_all(shop, spool, pair, MUCH) == BLOB[:MUCH]
    spool.close()


def test_a_pipe_left_alone_is_called_in_when_others_want_one(
    shop: Workshop, source: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "MOST", 1)
    first, second, third = (shop.store.request(shop.wake, MUCH) for _ in range(3))
    first.put(BLOB[:40_000])
    feed(first, source, BLOB[40_000:200_000])
    second.put(BLOB[:40_000])
    feed(second, source, BLOB[40_000:60_000])
    assert (shop.store.pipes.times, second._pipe) == (1, None), "the holder has just been busy"
    shop.clock.now += 2 * pipes.IDLE
    shop.lobby.tick()
    third._born = shop.clock.now
    third.put(BLOB[:40_000])
    feed(third, source, BLOB[40_000:60_000])
    assert third._pipe is None
    shop.finish_all()
    assert (first._pipe, shop.store.pipes.lent) == (None, 0)
    feed(third, source, BLOB[60_000:80_000])
    assert (third._pipe is not None, shop.store.pipes.lent) == (True, 1)
    for spool in (first, second, third):
        spool.close()


@pytest.mark.parametrize("slow", [True, False])
def test_a_pipe_whose_body_comes_slowly_is_given_back(
    slow: bool, shop: Workshop, source: Pair, pair: Pair
) -> None:
    spool = shop.store.request(shop.wake, MUCH)
    spool.put(BLOB[:40_000])
    feed(spool, source, BLOB[40_000 : 60_000 if slow else MUCH])
    assert shop.store.pipes.lent == 1
    shop.clock.now += 2 * pipes.IDLE
    shop.lobby.fire()
    shop.finish_all()
    if slow:
        assert (shop.store.pipes.lent, shop.store.used, len(spool._front)) == (0, 60_000, 0)
        feed(spool, source, BLOB[60_000:MUCH])
    assert shop.store.pipes.lent == (not slow), "what is whole may wait for its server"
    assert read_all(shop, spool, pair, MUCH) == BLOB[:MUCH]
    spool.close()


def test_behind_a_file_little_stays_in_memory_of_what_comes_slowly(shop: Workshop, pair: Pair) -> None:
    spool = shop.store.request(shop.wake)
    spool.put(BLOB[:BEYOND])
    shop.finish_all()
    at = BEYOND
    for count in (1500, 1500, 1500, 1500):
        spool.put(BLOB[at : at + count])
        at += count
        shop.clock.now += BEAT
        shop.lobby.tick()
    assert len(shop.disk.jobs) == 1, "not one for each piece"
    shop.finish_all()
    spool.put(BLOB[at : at + 1500])
    spool.put(BLOB[at + 1500 : at + 3000])
    assert not shop.disk.jobs, "so soon after the last one, memory may take more"
    assert len(spool._tail) <= REST + 3000
    assert read_all(shop, spool, pair, at + 3000) == BLOB[: at + 3000]
    spool.close()


def test_closing_while_a_thread_has_it(shop: Workshop, source: Pair) -> None:
    written, piped = shop.store.request(shop.wake), shop.store.request(shop.wake, MUCH)
    written.put(BLOB[:BEYOND])
    piped.put(BLOB[:40_000])
    feed(piped, source, BLOB[40_000:MUCH])
    piped.rest()
    assert len(shop.disk.jobs) == 2
    written.close()
    piped.close()
    woken = shop.woken
    shop.finish_all()
    assert (shop.woken, shop.store.used, shop.store.files, shop.store.pipes.lent) == (woken, 0, 0, 0)


def test_a_spool_with_a_file_is_small(shop: Workshop) -> None:
    spool = shop.store.response(shop.wake, 1_000_000)
    spool.put(BLOB[:150_000])
    spool.rest()
    shop.finish_all()
    assert shop.store.used == 150_000
    values = [getattr(spool, name) for name in SLOTS - {"_store", "_wake"}]
    own = sum(sys.getsizeof(value) for value in values if value not in {None, True, False, "", b""})
    assert sys.getsizeof(spool) + own < 900, "objects that others share are counted here too"
    spool.close()
