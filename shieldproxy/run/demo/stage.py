"""The two programs of the demonstration: the old server, and the proxy as its command line starts it.

Both take any free port of 127.0.0.1 and are gone when the stage is left, however it is left. They run in
process groups of their own: Ctrl-C is for the demonstration, which then ends them.
"""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from shieldproxy.core.address import Address
from shieldproxy.run.demo.count import listening, sockets_left
from shieldproxy.run.try_it import serves

THREADS: Final = 8
START: Final = 20.0
"""Seconds that a program may take until it serves."""
STOP: Final = 2.0
TABLE: Final = Path("/proc/net/tcp")

CONFIG: Final = """\
# What the proxy of the demonstration runs with: times for seconds of it, the defaults are longer.
[server]
listen = ["127.0.0.1:0"]
drain_timeout = "1s"

[log]
access = "access.log"
error = "error.log"

[timeouts]
head = "1s"
keep_alive = "1s"
body_idle = "1s"
send_idle = "2s"
linger_gap = "500ms"
linger_total = "3s"
fin_wait_1 = "2s"
fin_wait_2 = "1s"

[upstream.legacy]
servers = ["127.0.0.1:{port}"]
max_connections = {threads}

[[route]]
upstream = "legacy"

[[rule]]
name = "pipelines"
why = "so that the proxy, too, closes while they are still sending"
user_agent = "^demo/pipelines"
keep_alive = false
"""


class Failed(Exception):
    """The demonstration cannot go on; the message says why in one line."""


class Legacy:
    """The old server: its port, and where what it says of its threads goes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.note: Callable[[bytes], None] = lambda _: None
        self.leaving = False


@asynccontextmanager
async def program(command: list[str], stdout: int, errors: Path) -> AsyncIterator[trio.Process]:
    """Run a program; in the end ask it to stop, and after a while do not ask.

    Raises:
        Failed: it cannot be started.
    """
    with errors.open("wb") as stderr:
        try:
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, process_group=0
            )
        except OSError as exc:
            raise Failed(f"cannot start {command[0]}: {exc.strerror}") from exc
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.terminate()
            with trio.move_on_after(STOP):
                await process.wait()
            if process.poll() is None:
                process.kill()
                await process.wait()


def last_words(errors: Path) -> str:
    """What a program that failed said last."""
    lines = errors.read_text(errors="replace").split("\n") if errors.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")


class Lines:
    """What a program prints, line by line."""

    def __init__(self, process: trio.Process) -> None:
        self._stream = process.stdout
        self._rest = b""

    async def take(self) -> list[bytes]:
        """Wait for more; the lines that are whole by now, none when the program has ended."""
        while self._stream is not None and (piece := await self._stream.receive_some()):
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if lines:
                return lines
        return []


@asynccontextmanager
async def legacy_server(nursery: trio.Nursery, folder: Path) -> AsyncIterator[Legacy]:
    """Run the old server. Failed if it does not come up, or (in the nursery) if it ends too soon."""
    errors = folder / "legacy.err"
    command = [sys.executable, "-m", "shieldproxy.run.legacy", "--listen", "127.0.0.1:0"]
    command += ["--threads", str(THREADS), "--watch"]
    async with program(command, subprocess.PIPE, errors) as process:
        lines = Lines(process)
        first = [b""]
        with trio.move_on_after(START):
            first = await lines.take() or first
        if not first[0].startswith(b"legacy server: http://"):
            raise Failed(f"the legacy server does not start: {last_words(errors)}")
        server = Legacy(int(first[0].split(b"/")[2].rpartition(b":")[2]))
        nursery.start_soon(_listen, server, lines, errors)
        try:
            yield server
        finally:
            server.leaving = True


async def _listen(server: Legacy, lines: Lines, errors: Path) -> None:
    while news := await lines.take():
        for line in news:
            server.note(line)
    if not server.leaving:
        raise Failed(f"the legacy server has ended: {last_words(errors)}")


@asynccontextmanager
async def proxy(nursery: trio.Nursery, folder: Path, server: int) -> AsyncIterator[int]:
    """Run the proxy before a server; gives its port. Failed as of `legacy_server`."""
    config, errors = folder / "demo.toml", folder / "proxy.err"
    config.write_text(CONFIG.format(port=server, threads=THREADS))
    command = [sys.executable, "-m", "shieldproxy", "run", str(config)]
    async with program(command, subprocess.DEVNULL, errors) as process:
        end = time.monotonic() + START
        port = 0
        while not (port and await trio.to_thread.run_sync(serves, Address("127.0.0.1", port, ""))):
            if process.poll() is not None or time.monotonic() > end:
                raise Failed(f"the proxy does not start: {last_words(errors)}")
            await trio.sleep(0.05)
            port = port or listening(TABLE.read_text(), sockets_of(process.pid))
        staying = trio.Event()
        nursery.start_soon(_stay, process, staying, errors)
        try:
            yield port
        finally:
            staying.set()


async def _stay(process: trio.Process, over: trio.Event, errors: Path) -> None:
    await process.wait()
    if not over.is_set():
        raise Failed(f"the proxy has ended: {last_words(errors)}")


def sockets_of(pid: int) -> set[int]:
    """The inodes of the sockets that a process holds."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


def left_at(door: int, kind_at: Callable[[int], str]) -> dict[str, int]:
    """What the kernel holds at this moment behind a door, for each kind of client."""
    return sockets_left(TABLE.read_text(), door, kind_at)
