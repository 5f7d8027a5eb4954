"""The log's threads are its own."""

import os
import threading
from pathlib import Path

import trio
import trio.testing

from shieldproxy.run.sink import Sink


async def test_threads_that_others_hold_do_not_stop_it(tmp_path: Path, nursery: trio.Nursery) -> None:
    """A dead resolver keeps every thread that trio shares."""
    sink = Sink(str(tmp_path / "log"))
    limiter = trio.to_thread.current_default_thread_limiter()
    release = threading.Event()
    limiter.total_tokens = 1
    nursery.start_soon(trio.to_thread.run_sync, lambda: release.wait(20))
    await trio.testing.wait_all_tasks_blocked()
    try:
        sink.write(b"a line\n")
        with trio.fail_after(5):
            await sink.flush()
        assert (tmp_path / "log").read_bytes() == b"a line\n"
    finally:
        release.set()
        limiter.total_tokens = 40
        os.close(sink._fd)
