"""What the logs say: the lines of exchanges, of connections, and messages, as JSON or as text."""

import time
import traceback
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final

import msgspec
import trio

from shieldproxy.core.outcome import ZERO, Outcome, Receipt
from shieldproxy.net.record import ERROR, FIN, Downstream
from shieldproxy.proxy.state import NO_HEAD, Exchange
from shieldproxy.run.sink import Sink

LAST_WORDS: Final = 2.0
"""Seconds that a log may take at the end."""
KEPT_TEXTS: Final = 4096
LONGEST_TEXT: Final = 256
_THOUSANDTHS: Final = tuple(f".{number:03d}Z" for number in range(1001))
LEVELS: Final = {"debug": 0, "info": 1, "warning": 2, "error": 3}


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
        sink = self.access
        if not self._json:
            self.access.write(self._combined(ex))
            sink = self.error
            if outcome == "served" or self._level > LEVELS["info"] or not sink.on:
                return  # why anything else ended so has no place in that format
        rec, head, server, verdict = ex.rec, ex.head, ex.server, ex.verdict
        if now != self._moment:  # one look at the wall clock serves all lines of a turn
            self._moment = now
            self._moment_stamp = self._now()
        if head is NO_HEAD:
            method = target = host = version = agent = ""
            bytes_in = len(rec.buf) or len(ex.request)
        else:
            texts = self._texts
            method = texts[head.method]
            target = head.target.decode("latin-1")
            host = texts[head.host]
            version = "1.1" if head.minor else "1.0"
            agent = texts[head.user_agent]
            length = head.length
            bytes_in = head.size + (length if length >= 0 and ex.whole else ex.body_in)
        queued, leased = ex.waits(now)
        sink.record(
            Outcome(
                "exchange", self._moment_stamp, ex.client, rec.port, rec.door.listen, method, target,
                host, version, agent, ex.status, outcome, by, phase, reason,
                ex.route.upstream,
                server.name if server is not None else "",
                bytes_in, ex.bytes_out, _micros(now - ex.started),
                _micros(queued) if queued else ZERO, _micros(leased), ex.lane, ex.retries,
                verdict.rules if verdict is not None else (), ex.id, ex.detail, ex.tried,
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
        text = f'{ex.client} - - [{when}] "{line}" {ex.status:03} {size} "{referer}" "{agent}"\n'
        return text.encode(errors="backslashreplace")

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
            _micros(now - rec.born),
            _micros(now - linger.started) if linger is not None else ZERO,
            linger.drained if linger is not None else 0,
            undelivered, rec.refused_body,
        )  # fmt: skip
        sink = self.access if self._json else self.error
        if sink.on:
            sink.record(line)

    # messages

    def say(self, level: str, text: str) -> None:
        """Write one line to the error log."""
        if self.error.on and LEVELS[level] >= self._level:
            self.error.write(f"{self._now()} {level} {text}\n".encode(errors="backslashreplace"))

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


def _micros(seconds: float) -> float:
    """Cut to microseconds; less than one is left out."""
    return int(seconds * 1e6) / 1e6 or ZERO


def _safe(value: bytes) -> str:
    """Printable, and nothing that could end a quoted field."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in value
    )
