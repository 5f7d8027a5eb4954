"""What is being written when the proxy ends is written before the rest, and not lost with its task."""

import threading
from pathlib import Path

import pytest
import trio

from shieldproxy.run import sink as sink_module
from shieldproxy.run.sink import Sink


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    return Sink(str(tmp_path / "access.log"))


def text(sink: Sink) -> str:
    """What the file has."""
    return Path(sink.where).read_text(encoding="ascii")


@pytest.mark.parametrize("rest", ["", "second\n"])
async def test_a_write_whose_task_is_cancelled_comes_first_and_whole(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    """Seen: an exchange that was served just before a TERM had no line."""
    begun, go_on, write = threading.Event(), threading.Event(), sink_module._write_all

    def slow(fd: int, block: bytes) -> bool:
        begun.set()
        return go_on.wait(10) and write(fd, block)

    monkeypatch.setattr(sink_module, "_write_all", slow)
    async with trio.open_nursery() as nursery:
        sink.write(b"first\n")
        nursery.start_soon(sink.flush)
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
    if rest:
        sink.write(rest.encode())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.flush)
        await trio.sleep(0.05)
        go_on.set()
    assert text(sink) == "first\n" + rest


async def test_a_write_that_was_cancelled_before_it_began_is_made_up_for(sink: Sink) -> None:
    sink.write(b"first\n")
    with trio.CancelScope() as scope:
        scope.cancel()
        await sink.flush()
    sink.write(b"second\n")
    await sink.flush()
    assert text(sink) == "first\nsecond\n"
    assert sink.dropped == 0
