"""The logs: lines that are collected without waiting and written in blocks, off the loop.

A log that nobody reads (a full pipe, a hung disk) must not stop the proxy. So a line goes into a bounded
buffer; a thread writes what has come together a few times a second; when the buffer is full, lines are
dropped and counted, and the count is told as soon as writing goes on.
"""

import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final

import msgspec
import trio

from shieldproxy.core.outcome import Outcome, Receipt
from shieldproxy.net.record import ERROR, FIN, Downstream
from shieldproxy.proxy.state import NO_HEAD, Exchange

BUFFER: Final = 8 * 1024 * 1024
EVERY: Final = 0.2
TOGETHER: Final = 64
"""Records are encoded in one call: so many take 20 us, and a third less than one by one."""
LAST_WORDS: Final = 2.0
"""Seconds that a log may take at the end."""
KEPT_TEXTS: Final = 4096
LONGEST_TEXT: Final = 256
_THOUSANDTHS: Final = tuple(f".{number:03d}Z" for number in range(1001))
LEVELS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class Sink:
    """One log file, pipe or terminal.

    Args:
        where: "stdout", "stderr", "none" or a path.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.dropped = 0
        self.on = where != "none"
        self._records: list[msgspec.Struct] = []
        self._encode = msgspec.json.Encoder().encode_lines
        self._lines: list[bytes] = []
        self._count = 0
        self._size = 0
        self._waiting: deque[tuple[bytes, int]] = deque()
        """Blocks that no thread has begun to write, and how many lines each has."""
        self._turn = threading.Lock()
        self._fd = self._open()

    def _open(self) -> int:
        if self.where == "stdout":
            return sys.stdout.fileno()
        if self.where == "stderr":
            return sys.stderr.fileno()
        if not self.on:
            return -1
        return os.open(self.where, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def reopen(self) -> None:
        """Open the path anew (after a rotation); what is being written goes to the old file.

        Raises:
            OSError: it cannot be opened; the old one stays.
        """
        if self.on and self.where not in {"stdout", "stderr"}:
            fresh = self._open()
            os.dup2(fresh, self._fd, inheritable=False)
            os.close(fresh)

    def record(self, record: msgspec.Struct) -> None:
        """Take what becomes one line of JSON; never waits. Several are encoded in one call."""
        records = self._records
        records.append(record)
        if len(records) >= TOGETHER:
            self._gather()

    def write(self, line: bytes) -> None:
        """Take one line, its end of line included; never waits."""
        self._gather()
        self._take(line, 1)

    def _gather(self) -> None:
        """Make lines of the records so far."""
        if self._records:
            records, self._records = self._records, []
            self._take(self._encode(records), len(records))

    def _take(self, block: bytes, count: int) -> None:
        if self._size > BUFFER:
            self.dropped += count
            return
        self._lines.append(block)
        self._count += count
        self._size += len(block)

    async def flush(self) -> None:
        """Write what is there."""
        self._gather()
        if self._lines:
            self._waiting.append((b"".join(self._lines), self._count))
            self._lines.clear()
            self._count = 0
        if self._waiting or self._turn.locked():
            written, lost = await trio.to_thread.run_sync(self._write_waiting, abandon_on_cancel=True)
            self._size -= written
            self.dropped += lost

    def _write_waiting(self) -> tuple[int, int]:
        """Write the blocks that wait, in a thread; how many bytes were taken off, and how many lines lost.

        A flush that is cancelled leaves its thread behind, or a block that no thread has begun with. Whoever
        comes next waits for the one and writes the other.
        """
        written = lost = 0
        with self._turn:
            while self._waiting:
                block, count = self._waiting.popleft()
                written += len(block)
                if not _write_all(self._fd, block):
                    lost += count
        return written, lost

    async def run(self, dropped: Callable[[str, int], None]) -> None:
        """Flush for ever, and tell what was lost as soon as writing goes on."""
        told = 0
        while True:
            await trio.sleep(EVERY)
            await self.flush()
            if self.dropped > told:
                dropped(self.where, self.dropped - told)
                told = self.dropped


def _write_all(fd: int, block: bytes) -> bool:
    view = memoryview(block)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        return False  # a reader that is gone, a full disk: the log is lost, the service is not
    return True


class Texts(dict[bytes, str]):
    """Values that come again and again, decoded; bounded, and forgotten all at once."""

    def __missing__(self, value: bytes) -> str:
        """Decode a value that was not seen lately."""
        if len(value) > LONGEST_TEXT:
            return value.decode("latin-1")
        if len(self) >= KEPT_TEXTS:
            self.clear()
        text = self[value] = value.decode("latin-1")
        return text


class Journal:
    """Writes outcomes, receipts and messages, as `proxy.house.Log` asks for them.

    Args:
        access: for the lines of exchanges.
        error: for messages.
        log_format: "json" or "combined".
        level: of messages: "debug", "info", "warning" or "error".
    """

    def __init__(self, access: Sink, error: Sink, log_format: str, level: str) -> None:
        self._texts = Texts()
        self.access = access
        self.error = error
        self._json = log_format == "json"
        self._level = LEVELS[level]
        self._encode = msgspec.json.Encoder().encode
        self._second = 0
        self._moment = -1.0
        self._moment_stamp = ""
        self._stamp = ""
        self._date = b""

    # times

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._date = formatdate(second, usegmt=True).encode()
        return self._stamp + _THOUSANDTHS[int((now - second) * 1000)]

    def date(self) -> bytes:
        """The present second as a Date field has it."""
        self._now()
        return self._date

    # what happened

    def exchange(self, ex: Exchange, outcome: str, by: str, phase: str, reason: str, now: float) -> None:
        """Write how an exchange ended."""
        if not self.access.on:
            return
        if not self._json:
            self.access.write(self._combined(ex))
            return
        rec, head, server, verdict = ex.rec, ex.head, ex.server, ex.verdict
        if now != self._moment:  # one look at the wall clock serves all lines of a turn
            self._moment = now
            self._moment_stamp = self._now()
        if head is NO_HEAD:
            method = target = host = version = agent = ""
            bytes_in = len(rec.buf)
        else:
            texts = self._texts
            method = texts[head.method]
            target = head.target.decode("latin-1")
            host = texts[head.host]
            version = "1.1" if head.minor else "1.0"
            agent = texts[head.user_agent]
            bytes_in = head.size + (head.length if ex.whole else ex.body_in if ex.bell is not None else 0)
        self.access.record(
            Outcome(
                "exchange", self._moment_stamp, ex.client, rec.port, rec.door.listen, method, target,
                host, version, agent, ex.status, outcome, by, phase, reason,
                ex.route.upstream,
                server.name if server is not None else "",
                bytes_in, ex.bytes_out, int((now - ex.started) * 1e6) / 1e6, ex.lane, ex.retries,
                verdict.rules if verdict is not None else (), ex.id,
            )
        )  # fmt: skip

    def _combined(self, ex: Exchange) -> bytes:
        """The format that Apache and nginx call combined."""
        head = ex.head
        line, agent, referer = "-", "-", "-"
        if head is not NO_HEAD:
            line = f"{_safe(head.method)} {_safe(head.target)} HTTP/1.{head.minor}"
            agent = _safe(head.user_agent) or "-"
            referer = next((_safe(f[8:].strip()) for f in head.lines if f[:8].lower() == b"referer:"), "-")
        when = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        size = max(0, ex.bytes_out - ex.head_out)
        return f'{ex.client} - - [{when}] "{line}" {ex.status} {size} "{referer}" "{agent}"\n'.encode()

    def receipt(
        self, rec: Downstream, ending: str, acknowledged: bool | None, undelivered: int, now: float
    ) -> None:
        """Write how a connection ended; without a request only at level debug."""
        if not rec.served and self._level > LEVELS["debug"]:
            return
        if not self._json and self._level > LEVELS["info"]:
            return
        linger = rec.linger
        by, phase, reason = rec.why
        line = Receipt(
            "connection", self._now(), rec.peer, rec.port, rec.door.listen, by, phase, reason, ending,
            rec.served, rec.got, rec.sent, acknowledged,
            ending == "fin" or rec.latch & (FIN | ERROR) == FIN,
            round(now - rec.born, 6),
            round(now - linger.started, 6) if linger is not None else 0.0,
            linger.drained if linger is not None else 0,
            undelivered,
        )  # fmt: skip
        sink = self.access if self._json else self.error
        if sink.on:
            sink.record(line)

    # messages

    def say(self, level: str, text: str) -> None:
        """Write one line to the error log."""
        if self.error.on and LEVELS[level] >= self._level:
            self.error.write(f"{self._now()} {level} {text}\n".encode())

    def defect(self, exc: Exception) -> None:
        """Write a defect's traceback, in one line."""
        lines = "".join(traceback.format_exception(exc)).splitlines()
        self.say("error", "internal error: " + " | ".join(lines))

    def warn(self, line: str) -> None:
        """Write a warning."""
        self.say("warning", line)

    def counters(self, values: dict[str, object]) -> None:
        """Write the counters, as one JSON line, whatever the level."""
        values |= {"dropped_lines": self.access.dropped + self.error.dropped}
        if self.error.on:
            self.error.write(self._encode({"kind": "counters", "time": self._now(), **values}) + b"\n")

    def reopen(self) -> None:
        """Open the logs anew."""
        for sink in (self.access, self.error):
            try:
                sink.reopen()
            except OSError as exc:
                self.warn(f"cannot reopen {sink.where}: {exc.strerror}; the old file stays open")

    async def run(self) -> None:
        """Write for ever."""
        async with trio.open_nursery() as nursery:
            for sink in (self.access, self.error):
                nursery.start_soon(sink.run, self._dropped)

    def _dropped(self, where: str, count: int) -> None:
        self.warn(f"{count} lines for {where} were dropped: it did not take them")

    async def finish(self) -> None:
        """Write what is left, within bounds."""
        with trio.move_on_after(LAST_WORDS, shield=True):
            await self.access.flush()
        with trio.move_on_after(LAST_WORDS, shield=True):
            await self.error.flush()


def _safe(value: bytes) -> str:
    """Printable, and nothing that could end a quoted field."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in value
    )
