"""A spool whose disk is full, broken, odd or not there; and the threads that work with it."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.core.limits import Buffers
from shieldproxy.net import disk, jobs
from shieldproxy.net.filing import LATE, Filing
from shieldproxy.net.lobby import CHUNK
from shieldproxy.net.spool import Spool, Store
from tests.net.spools import (
    BLOB,
    Pair,
    Workshop,
    drop,
    exactly,
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


def test_no_directory_is_said_once_and_memory_is_all(tmp_path: Path, pair: Pair) -> None:
    with workshop(tmp_path / "missing") as shop:
        assert not shop.store.on
        warning, again = shop.warnings
        assert warning == again, "one by the store, one by the test's own disk"
        assert f"{tmp_path}/missing (No such file or directory)" in warning
        assert "503" in warning
        request, response = shop.store.request(shop.wake), shop.store.response(shop.wake)
        for _ in range(3):
            request.put(BLOB[:30_000])
        assert request.fault == "no-file"
        response.put(BLOB[:MEMORY])
        assert is_full(response)
        assert not response.fault
        exactly(pair[1], response.drain(pair[0]))
        assert not is_full(response)
        request.close()
        response.close()


def test_no_disk_at_all_by_configuration_needs_no_warning(tmp_path: Path) -> None:
    with workshop(tmp_path, disk_total=0) as shop:
        assert (shop.store.on, shop.warnings) == (False, [])


def test_a_file_system_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def no_tmpfile(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", no_tmpfile)
    with workshop(tmp_path) as shop:
        spool = shop.store.request(shop.wake)
        put_all(shop, spool, BLOB[:MUCH])
        assert shop.store.used > 0
        assert list(tmp_path.iterdir()) == []
        spool.close()


def test_all_files_together_stay_within_disk_total(tmp_path: Path) -> None:
    with workshop(tmp_path, disk_total=1_000_000) as shop:
        spools = [shop.store.request(shop.wake) for _ in range(4)]
        for spool in spools:
            for start in range(0, 400_000, CHUNK):
                if not spool.fault:
                    spool.put(BLOB[start : start + CHUNK])
                    shop.finish_all()
        assert [spool.fault for spool in spools] == ["", "", "disk-total", "disk-total"]
        assert shop.store.most <= 1_000_000
        for spool in spools:
            spool.close()
        shop.finish_all()
        assert shop.store.used == 0
        late = shop.store.request(shop.wake)
        put_all(shop, late, BLOB[:MUCH])
        assert not late.fault
        late.close()


@pytest.mark.parametrize(
    ("call", "number", "fault"),
    [
        ("open", errno.EMFILE, "no-file"),
        ("open", errno.ENOENT, "no-file"),
        ("pwrite", errno.ENOSPC, "disk-full"),
        ("pwrite", errno.EDQUOT, "disk-full"),
        ("pwrite", errno.EIO, "disk-error"),
        ("pread", errno.EIO, "disk-error"),
    ],
)
def test_an_error_is_a_fault_and_leaves_nothing(
    call: str, number: int, fault: str, shop: Workshop, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    shop.store.distrust()
    request, response = shop.store.request(shop.wake), shop.store.response(shop.wake)
    monkeypatch.setattr(os, call, failing)
    for spool in (request, response):
        spool.put(BLOB[:BEYOND])
        shop.finish_all()
    if call == "pread":
        for spool in (request, response):
            assert spool.drain(pair[0]) == 0
            shop.finish_all()
        assert response.fault == fault
    else:
        assert response.full
        assert not response.fault, "memory has everything"
        assert read_all(shop, response, pair, BEYOND) == BLOB[:BEYOND]
    assert request.fault == fault
    assert shop.disk.faults == 2
    request.close()
    response.close()


def test_real_threads_bring_their_work_back(tmp_path: Path, pair: Pair) -> None:
    made = Workshop(tmp_path)
    store = Store(made.lobby, Buffers(directory=str(tmp_path)), made.warnings.append)
    spools = [store.request(made.wake) for _ in range(8)]
    for spool in spools:
        for start in range(0, MUCH, 50_000):
            while spool.full:
                made.lobby.turn()
            spool.put(BLOB[start : start + 50_000])
    for spool in spools:
        got = b""
        while spool.left or len(got) < MUCH:
            with suppress(BlockingIOError):
                if not spool.drain(pair[0]):
                    made.lobby.turn()
            with suppress(BlockingIOError):
                got += pair[1].recv(1 << 20)
        assert got == BLOB[:MUCH]
        spool.close()
    threads = list(store.disk._threads)
    assert len(threads) == disk.THREADS + 1
    store.shut()
    assert not any(thread.is_alive() for thread in threads)
    assert (store.used, store.files) == (0, 0)
    made.shut()


def test_freed_memory_is_given_back_once_the_disk_has_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Workshop(tmp_path)
    store = Store(made.lobby, Buffers(directory=str(tmp_path)), made.warnings.append)
    given = threading.Event()
    monkeypatch.setattr(jobs, "give_back", given.set)
    spools = [store.request(made.wake) for _ in range(disk.TRIM // MUCH + 2)]
    for spool in spools:
        for start in range(0, MUCH, 50_000):
            while spool.full:
                made.lobby.turn()
            spool.put(BLOB[start : start + 50_000])
    while store.disk._under_way:
        made.lobby.turn()
    assert given.wait(5)
    for spool in spools:
        spool.close()
    store.shut()
    made.shut()


def test_little_is_given_back_when_nobody_has_written_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Workshop(tmp_path)
    store = Store(made.lobby, Buffers(directory=str(tmp_path)), made.warnings.append)
    given = threading.Event()
    monkeypatch.setattr(jobs, "give_back", given.set)
    spool = store.request(made.wake)
    spool.put(BLOB[: disk.LITTLE + 1])
    while store.disk._under_way or store.disk._written < disk.LITTLE:
        made.lobby.turn()
    assert store.disk._written, "it may be that more comes"
    made.clock.now += disk.QUIET + 0.2
    made.lobby.fire()
    assert given.wait(5)
    assert not store.disk._written
    spool.close()
    store.shut()
    made.shut()


def test_without_a_file_for_responses_none_is_made(tmp_path: Path, pair: Pair) -> None:
    with workshop(tmp_path, response_file=0) as shop:
        first, second = shop.store.response(shop.wake), shop.store.response(shop.wake, MUCH)
        second.begin(BLOB[:50_000])
        for start in range(0, MUCH, 50_000):
            if not first.full:
                first.put(BLOB[start : start + 50_000])
        first.rest()
        second.rest()
        assert first.full
        assert not shop.disk.jobs
        assert read_all(shop, first, pair, first.size) == BLOB[: first.size]
        assert read_all(shop, second, pair, 50_000) == BLOB[:50_000]
        assert (first.fault, first.full, shop.disk.most_open, shop.store.pipes.times) == ("", False, 0, 0)
        first.close()
        second.close()


def test_a_descriptor_is_asked_for_only_if_the_bytes_have_a_place(tmp_path: Path) -> None:
    with workshop(tmp_path, disk_total=1000) as shop:
        shop.disk.room = lambda: pytest.fail("somebody was sent away for nothing")
        spool = shop.store.response(shop.wake)
        while not spool.full:
            spool.put(BLOB[:50_000])
        spool.close()
    with workshop(tmp_path) as shop:
        shop.disk.room = lambda: False
        spool = shop.store.response(shop.wake)
        while not spool.full:
            spool.put(BLOB[:50_000])
        assert (shop.store.used, shop.store.files) == (0, 0)
        spool.close()


@pytest.mark.parametrize("startable", [0, 1, 2])
def test_threads_that_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, startable: int) -> None:
    made = Workshop(tmp_path)
    store = Store(made.lobby, Buffers(directory=str(tmp_path)), made.warnings.append)
    real, left = threading.Thread.start, iter([True] * startable)

    def start(thread: threading.Thread) -> None:
        if not next(left, False):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    spool = store.request(made.wake)
    spool.put(BLOB[:BEYOND])
    while not made.woken:
        made.lobby.turn()
    enough = startable > 1
    assert (spool.fault, store.on, len(made.warnings)) == (("", True, 0) if enough else ("no-file", False, 1))
    spool.close()
    store.shut()
    assert (store.used, store.files) == (0, 0)
    assert made.faults == []
    made.shut()


def test_the_library_has_a_way_to_give_memory_back() -> None:
    jobs.give_back()
