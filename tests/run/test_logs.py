"""Rule 8: the log never blocks the loop and never grows without bound; and what its lines say."""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio
import trio.lowlevel

from shieldproxy.core.outcome import Outcome, Receipt
from shieldproxy.run import logs
from shieldproxy.run import sink as sink_module
from shieldproxy.run.logs import Journal
from shieldproxy.run.sink import BUFFER, Sink
from tests.kit.watch import Watch

LINE = b"x" * 1023 + b"\n"
F_SETPIPE_SZ = 1031


class Pipe(NamedTuple):
    """A log that goes to a pipe: `read` is the reader's end."""

    sink: Sink
    read: int

    def drain(self, size: int = 1 << 20) -> bytes:
        """What the reader finds now."""
        got = bytearray()
        try:
            while piece := os.read(self.read, size):
                got += piece
        except BlockingIOError:
            pass
        return bytes(got)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    path = tmp_path / "log"
    os.mkfifo(path)
    read = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(read, F_SETPIPE_SZ, 4096)
    sink = Sink(str(path))
    yield Pipe(sink, read)
    os.close(read)
    os.close(sink._fd)


def journal(access: Sink, error: Sink, *, log_format: str = "json", level: str = "info") -> Journal:
    return Journal(access, error, log_format, level)


# rule 8


async def test_a_stalled_reader_stops_nothing(pipe: Pipe, nursery: trio.Nursery) -> None:
    """A full pipe blocks whoever writes to it: here a thread, while the loop goes on."""
    sink = pipe.sink
    for _ in range(100):
        sink.write(LINE)
    nursery.start_soon(sink.flush)
    await trio.sleep(0.05)
    for _ in range(200):  # nobody reads meanwhile: a loop that waited for the pipe would wait for ever
        sink.write(LINE)
        await trio.lowlevel.checkpoint()
    assert sink.dropped == 0
    read = b""
    while len(read) < 100 * len(LINE):
        read += pipe.drain()
        await trio.sleep(0.001)
    with trio.fail_after(5):
        nursery.start_soon(sink.flush)
        while len(read) < 300 * len(LINE):
            read += pipe.drain()
            await trio.sleep(0.001)
    assert read == LINE * 300


def test_a_writer_without_the_thread_would_stand_still(pipe: Pipe) -> None:
    """160 lines and no more: what the rule is for."""
    os.set_blocking(pipe.sink._fd, False)
    written = 0
    with pytest.raises(BlockingIOError):
        written += sum(os.write(pipe.sink._fd, LINE) for _ in range(1000))
    assert written < 200 * len(LINE)


@pytest.mark.parametrize("bound", [BUFFER, 1 << 40], ids=["bounded", "without"])
def test_what_cannot_be_written_is_bounded_and_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr(sink_module, "BUFFER", bound)
    sink, offered = pipe.sink, 3 * BUFFER // len(LINE)
    for _ in range(offered):
        sink.write(LINE)
    held = sum(map(len, sink._lines))
    assert held == sink._size
    assert (held <= BUFFER + len(LINE)) is (bound == BUFFER)
    assert held + sink.dropped * len(LINE) == offered * len(LINE)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_records_become_lines_in_order_with_what_is_written_between(pipe: Pipe, count: int) -> None:
    for number in range(count):
        pipe.sink.record(Receipt("connection", "t", "c", port=number + 1))
    pipe.sink.write(b"{}\n")
    pipe.sink.record(Receipt("connection", "t", "c", port=count + 1))
    pipe.sink.write(b"{}\n")
    ports = [json.loads(line).get("port") for line in b"".join(pipe.sink._lines).splitlines()]
    assert ports == [*range(1, count + 1), None, count + 1, None]


def test_records_that_cannot_be_written_are_bounded_and_counted(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "BUFFER", 100_000)
    receipt = Receipt("connection", "t", "c")
    length, sink = len(msgspec.json.encode(receipt)) + 1, pipe.sink
    for _ in range(64 * 100):
        sink.record(receipt)
    assert 100_000 < sink._size <= 100_000 + 64 * length
    assert sink._size + sink.dropped * length == 64 * 100 * length
    assert not sink._records


async def test_a_record_that_cannot_be_encoded_costs_its_line_only(pipe: Pipe) -> None:
    """As a name that came from the command line in no encoding at all: JSON has no way to say it."""
    for client in ("before", "\udcff", "after"):
        pipe.sink.record(Outcome("exchange", "t", client))
    await pipe.sink.flush()
    assert [json.loads(line)["client"] for line in pipe.drain().splitlines()] == ["before", "after"]
    assert pipe.sink.dropped == 1


async def test_a_message_says_escaped_what_cannot_be_encoded(pipe: Pipe) -> None:
    book = journal(Sink("none"), pipe.sink)
    book.warn("upstream unix:/tmp/\udcff: gone")
    await pipe.sink.flush()
    assert rb"upstream unix:/tmp/\udcff: gone" in pipe.drain()


async def test_lines_on_their_way_count_too(pipe: Pipe, nursery: trio.Nursery) -> None:
    """A block that a stalled thread holds is memory as well."""
    sink = pipe.sink
    for _ in range(BUFFER // len(LINE)):
        sink.write(LINE)
    nursery.start_soon(sink.flush)
    await trio.sleep(0.05)
    for _ in range(1000):
        sink.write(LINE)
    assert sink.dropped >= 990
    total = 0
    with trio.fail_after(10):
        while total < BUFFER:
            total += len(pipe.drain())
            await trio.lowlevel.checkpoint()
    await trio.sleep(0.05)
    sink.write(LINE)
    assert sink._size <= 20 * len(LINE)
    nursery.cancel_scope.cancel()


async def test_dropped_lines_are_told_as_soon_as_writing_goes_on(pipe: Pipe, tmp_path: Path) -> None:
    """Not only in the counters at the end, which may be weeks away."""
    error = tmp_path / "error"
    sink = Sink(str(error))
    book = journal(pipe.sink, sink)
    for _ in range(2 * BUFFER // len(LINE)):
        pipe.sink.write(LINE)
    dropped = pipe.sink.dropped
    assert dropped > 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.run)
        with trio.move_on_after(3):
            while str(dropped) not in error.read_text():
                pipe.drain()
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    os.close(sink._fd)
    assert f"{dropped}" in error.read_text()


async def test_the_end_waits_for_a_stalled_log_within_bounds(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LAST_WORDS", 0.2)
    for _ in range(100):
        pipe.sink.write(LINE)
    watch = Watch()
    await journal(pipe.sink, Sink("none")).finish()
    watch.took(0.1, 2)
    for _ in range(50):
        pipe.drain()
        await trio.sleep(0.002)


async def test_a_reader_that_is_gone_costs_the_log_and_nothing_else(pipe: Pipe) -> None:
    os.close(pipe.read)
    try:
        pipe.sink.write(LINE)
        await pipe.sink.flush()
        assert pipe.sink._size == 0
    finally:
        os.dup2(os.open("/dev/null", os.O_RDONLY), pipe.read)


# files


async def test_after_a_rotation_lines_go_to_the_new_file(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    sink = Sink(str(path))
    book = journal(sink, Sink("none"))
    sink.write(b"before\n")
    await sink.flush()
    path.rename(old)
    sink.write(b"between\n")
    await sink.flush()
    book.reopen()
    sink.write(b"after\n")
    await sink.flush()
    os.close(sink._fd)
    assert (old.read_text(), path.read_text()) == ("before\nbetween\n", "after\n")


async def test_a_path_that_cannot_be_reopened_keeps_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    access, error = Sink(str(folder / "access")), Sink(str(tmp_path / "error"))
    (folder / "access").unlink()
    folder.rmdir()
    book = journal(access, error)
    book.reopen()
    await error.flush()
    assert re.search(r"warning cannot reopen .*access: No such file", (tmp_path / "error").read_text())
    access.write(b"still\n")
    await access.flush()
    os.close(access._fd)
    os.close(error._fd)


def test_a_log_that_is_off_takes_nothing() -> None:
    sink = Sink("none")
    assert not sink.on
    sink.reopen()


@pytest.mark.parametrize(("level", "told"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(pipe: Pipe, level: str, told: int) -> None:
    book = journal(Sink("none"), pipe.sink, level=level)
    for word in ("debug", "info", "warning", "error"):
        book.say(word, "something")
    book.counters({"kept": 1})
    lines = pipe.sink._lines
    assert len(lines) == told + 1
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z error something\n", lines[-2])
    assert json.loads(lines[-1])["kept"] == 1
    assert json.loads(lines[-1])["dropped_lines"] == 0


# lines


@pytest.mark.parametrize("kind", [Outcome, Receipt])
def test_the_calls_by_position_fit_the_fields(kind: type[msgspec.Struct]) -> None:
    """Filled by position on the hot path: the first three, and every name as the log has it."""
    line: dict[str, Any] = json.loads(msgspec.json.encode(kind("exchange", "now", "127.0.0.1")))
    assert line == {"kind": "exchange", "time": "now", "client": "127.0.0.1"}, "empty values are left out"
    assert b"seconds" not in msgspec.json.encode(kind("", "", "", seconds=logs._micros(1e-7)))
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    assert names[:5] == ["kind", "time", "client", "port", "listen"]
    assert {"in", "out", "seconds"} <= set(names)


async def test_lines_that_the_disk_refuses_are_counted() -> None:
    sink = Sink("/dev/full")
    for _ in range(3):
        sink.write(b"x\n")
    await sink.flush()
    assert sink.dropped == 3


async def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    """Whoever shares the description of our stdout may have: supervisors do."""
    os.set_blocking(pipe.sink._fd, False)
    for _ in range(300):
        pipe.sink.write(LINE)
    read = b""
    with trio.move_on_after(5):
        async with trio.open_nursery() as flushing:
            flushing.start_soon(pipe.sink.flush)
            while len(read) < 300 * len(LINE):
                await trio.sleep(0.001)
                read += pipe.drain()
    assert read == LINE * 300
    assert (pipe.sink.dropped, pipe.sink._size) == (0, 0)


async def test_a_non_blocking_pipe_that_nobody_reads_is_given_up(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "PATIENCE", 0.05)
    os.set_blocking(pipe.sink._fd, False)
    for _ in range(300):
        pipe.sink.write(LINE)
    watch = Watch()
    await pipe.sink.flush()
    watch.took(0.04, 3)
    assert (pipe.sink.dropped, pipe.sink._size) == (300, 0)
