"""The relay of the task lane: the request up and the response down, both at once, with bounded memory.

Two halves, each a set of small synchronous steps that move bytes while they can and say whether they did;
`run` alternates them and waits for whichever socket comes next. So an answer that comes before the request
is whole is passed on at once, and a slow side stops the other one instead of filling memory: at most one
buffer is held for each direction.

It raises `Ended` when the exchange cannot be finished; what that means for the client (a refusal, a reset) is
said by `exchange`, which calls it.
"""

from collections.abc import Callable
from math import inf
from typing import Final

import trio

from shieldproxy.core.body import BodyFault, ChunkedReader, chunk, last_chunk
from shieldproxy.core.closing import Kernel, vanished
from shieldproxy.core.fields import Fault
from shieldproxy.core.forward import interim_head
from shieldproxy.core.head import CHUNKED, UNTIL_CLOSE
from shieldproxy.net.lobby import CHUNK
from shieldproxy.net.record import ERROR, FIN, HUP, IN, OUT, Upstream
from shieldproxy.net.tcpinfo import kernel_facts
from shieldproxy.proxy.answer import FITS, compose, forwards_interim, parse
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Exchange

STEPS_A_TURN: Final = 16
INTERIMS: Final = 64
INTERIM_BYTES: Final = 64 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Ended(Exception):
    """An exchange that cannot be finished: who ended it, where, why, and what a refusal would say."""

    def __init__(self, by: str, phase: str, reason: str, status: int = 0, detail: str = "") -> None:
        super().__init__(reason)
        self.by = by
        self.phase = phase
        self.reason = reason
        self.status = status
        self.detail = detail


class UpstreamClosed(Ended):
    """The upstream closed before a byte of its response."""


class Relay:
    """One exchange's relay over one lease; a retry makes a new one."""

    def __init__(self, house: House, ex: Exchange) -> None:
        self._house = house
        self._lobby = house.lobby
        self._ex = ex
        head = ex.head
        self._head = head
        now = house.lobby.clock()
        self._progress = now
        """When the upstream last took or gave a byte."""
        self._client_in = now
        self._client_out = now
        self._acked = -1
        self._up_broken = False
        self._refused = False
        """The upstream's final answer is no success, and came before the body was whole."""
        self._discarded = 0
        self._closed = False
        self._left = 0
        """Bytes of the response's body still to come (by length)."""
        self._chunks: ChunkedReader | None = None
        self._down_done = False
        self._flushing = False
        """The upstream has said all; only bytes for the client are left."""
        limit = ex.policy.limits.body
        self._body: ChunkedReader | None = ChunkedReader(limit) if head.length == CHUNKED else None
        self._body_left = 0 if self._body or ex.whole else head.length

    @property
    def body_whole(self) -> bool:
        """Whether all of the request's body has been taken from the client."""
        return self._body.done if self._body else self._body_left == 0

    async def run(self) -> None:
        """Relay until the client's socket has taken the last byte of the response."""
        ex = self._ex
        if self._head.expect and not self.body_whole and not ex.rec.buf and not ex.continued:
            ex.continued = True
            ex.to_down = CONTINUE
        if ex.resp is not None or ex.from_up:
            self._take_response(b"")
        await self._move(lambda: self._down_done and not ex.to_down)

    async def flush(self) -> None:
        """Only write what is left for the client."""
        ex = self._ex
        await self._move(lambda: not ex.to_down)

    async def _move(self, done: Callable[[], bool]) -> None:
        ex, bell = self._ex, self._ex.bell
        assert bell is not None  # noqa: S101 - a task's exchange has one
        steps = 0
        while not done():
            if ex.rec.latch & (ERROR | HUP):
                raise Ended("client", self._phase(), "reset", 499)
            self._lobby.now = self._lobby.clock()
            if self._step_down() or self._step_up():
                steps += 1
                if steps % STEPS_A_TURN == 0:
                    await trio.lowlevel.checkpoint()
            elif not await bell.wait(self._due()):
                self._late(self._lobby.clock())

    def _phase(self) -> str:
        return "relay" if self._ex.resp is not None else "upstream" if self.body_whole else "body"

    # up: the request

    def _step_up(self) -> bool:
        ex = self._ex
        up = ex.up
        if up is None or self._refused:
            return self._discard_body()
        if self._up_broken:
            return False
        if ex.to_up:
            if not up.latch & OUT:
                return False
            try:
                count = up.sock.send(ex.to_up)
            except BlockingIOError:
                up.latch &= ~OUT
                return False
            except OSError:
                self._break_up()
                return True
            ex.to_up = memoryview(ex.to_up)[count:]
            self._progress = self._lobby.now
            return True
        if self.body_whole:
            return False
        return self._take_body()

    def _discard_body(self) -> bool:
        """The upstream has answered and needs no more of the body: read on all the same.

        Many clients send all of it before they read, and would never come to the answer. Bounded as a
        lingering close is; the connection ends after the response.
        """
        ex = self._ex
        rec, scrap = ex.rec, self._lobby.discarded
        if ex.keep or ex.whole or not rec.latch & IN or self._discarded >= ex.policy.limits.linger:
            return False
        try:
            count = rec.sock.recv_into(scrap)
        except BlockingIOError:
            count = 0
        except OSError as exc:
            raise Ended("client", self._phase(), "reset", 499) from exc
        if count == 0:
            rec.latch &= ~IN
            return False
        rec.got += count
        self._discarded += count
        self._client_in = self._lobby.now
        return True

    def _take_body(self) -> bool:
        ex = self._ex
        rec = ex.rec
        if rec.buf:
            data, rec.buf = bytes(rec.buf), b""
        else:
            if not rec.latch & IN:
                return False
            if self._body is None:
                return self._pass_body()
            try:
                data = rec.sock.recv(CHUNK)
            except BlockingIOError:
                rec.latch &= ~IN
                return False
            except OSError as exc:
                raise Ended("client", "body", "reset", 499) from exc
            if not data:
                raise Ended("client", "body", "fin-in-body", 400)
            rec.got += len(data)
        self._client_in = self._lobby.now
        if self._body is None:
            take = data[: self._body_left]
            rec.buf = data[self._body_left :]
            self._body_left -= len(take)
            ex.body_in += len(take)
            ex.to_up = take
            return True
        try:
            pieces = self._body.feed(data)
        except BodyFault as exc:
            raise Ended("proxy", "body", exc.reason, exc.status, exc.detail) from exc
        ex.body_in += len(data)
        out = b"".join(map(chunk, pieces))
        if self._body.done:
            rec.buf = self._body.rest
            ex.body_in -= len(rec.buf)
            out += last_chunk(self._body.trailers)
        ex.to_up = out
        return True

    def _pass_body(self) -> bool:
        """A body by length: through the shared buffer, and into the upstream's socket in the same step."""
        ex = self._ex
        rec, up, buffer = ex.rec, ex.up, self._house.buffer
        try:
            count = rec.sock.recv_into(buffer, min(len(buffer), self._body_left))
        except BlockingIOError:
            rec.latch &= ~IN
            return False
        except OSError as exc:
            raise Ended("client", "body", "reset", 499) from exc
        if count == 0:
            raise Ended("client", "body", "fin-in-body", 400)
        rec.got += count
        ex.body_in += count
        self._body_left -= count
        self._client_in = self._progress = self._lobby.now
        try:
            sent = up.sock.send(buffer[:count]) if up is not None else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break_up()
            return True
        if sent < count:
            ex.to_up = bytes(buffer[sent:count])
        return True

    def _break_up(self) -> None:
        """The upstream takes no more; an answer may be there all the same, and reading decides."""
        ex = self._ex
        self._up_broken = True
        ex.to_up = b""
        if ex.up is not None:
            ex.up.latch |= IN

    # down: the response

    def _step_down(self) -> bool:
        ex = self._ex
        if ex.to_down:
            return self._send_down()
        up = ex.up
        if up is None or not up.latch & IN:
            return False
        if ex.resp is not None and self._chunks is None and self._left > 0:
            return self._pass_response()
        try:
            data = up.sock.recv(CHUNK)
        except BlockingIOError:
            up.latch &= ~IN
            return False
        except OSError:
            self._upstream_ended("reset")
            return True
        if not data:
            self._upstream_ended("closed")
            return True
        self._progress = self._lobby.now
        ex.answered = True
        self._take_response(data)
        return True

    def _send_down(self) -> bool:
        ex = self._ex
        rec = ex.rec
        if not rec.latch & OUT:
            return False
        try:
            count = rec.sock.send(ex.to_down)
        except BlockingIOError:
            rec.latch &= ~OUT
            return False
        except OSError as exc:
            raise Ended("client", self._phase(), "reset", 499) from exc
        ex.bytes_out += count
        ex.to_down = memoryview(ex.to_down)[count:]
        if not ex.to_down:
            ex.to_down = b""
        self._client_out = self._client_in = self._lobby.now
        return True

    def _pass_response(self) -> bool:
        """A body by length: through the shared buffer, and into the client's socket in the same step."""
        ex = self._ex
        rec, up, buffer = ex.rec, ex.up, self._house.buffer
        assert up is not None  # noqa: S101 - `_step_down` has looked
        try:
            count = up.sock.recv_into(buffer, min(len(buffer), self._left))
        except BlockingIOError:
            up.latch &= ~IN
            return False
        except OSError:
            count = 0
        if count == 0:
            self._upstream_ended("truncated")
            return True
        self._left -= count
        self._progress = self._lobby.now
        try:
            sent = rec.sock.send(buffer[:count])
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            raise Ended("client", "relay", "reset", 499) from exc
        ex.bytes_out += sent
        self._client_out = self._lobby.now
        if sent < count:
            ex.to_down = bytes(buffer[sent:count])
            rec.latch &= ~OUT
        if self._left == 0:
            self._upstream_done(surplus=None)
        return True

    def _take_response(self, data: bytes) -> None:
        """Take bytes of the response: interim heads, the head, the body."""
        ex, head = self._ex, self._head
        data = ex.from_up + data
        ex.from_up = b""
        while ex.resp is None:
            parsed = parse(ex, data, head.method)
            if parsed is None:
                ex.from_up = data
                return
            if isinstance(parsed, Fault):
                raise Ended("upstream", "upstream", parsed.reason, 502, parsed.detail)
            resp, start = parsed
            if 0 <= resp.length <= FITS and len(data) - start < resp.length:
                ex.from_up = data  # collected, as in the express lane: a truncated one is a clean 502
                return
            if resp.status >= 200:
                ex.resp = resp
                self._refused = resp.status >= 300 and not self.body_whole
                ex.to_down = bytes(ex.to_down) + compose(self._house, ex, head, resp, whole=self.body_whole)
                self._chunks = ChunkedReader(padded=True) if resp.length == CHUNKED else None
                self._left = max(resp.length, 0)
            else:
                ex.interims += 1
                self._waited_for_interims(start)
                if forwards_interim(ex, head, resp.status):
                    ex.to_down = bytes(ex.to_down) + interim_head(resp)
            data = data[start:]
        self._take_content(data)

    def _waited_for_interims(self, size: int) -> None:
        ex = self._ex
        ex.interim_bytes += size
        if ex.interims > INTERIMS or ex.interim_bytes > INTERIM_BYTES:
            raise Ended("upstream", "upstream", "interim-flood", 502)

    def _take_content(self, data: bytes) -> None:
        ex = self._ex
        resp = ex.resp
        assert resp is not None  # noqa: S101 - the caller has read it
        if self._chunks is not None:
            try:
                pieces = self._chunks.feed(data)
            except BodyFault as exc:
                raise Ended("upstream", "relay", exc.reason, 502, exc.detail) from exc
            self._add(pieces)
            if self._chunks.done:
                if ex.framing == CHUNKED:
                    ex.to_down = bytes(ex.to_down) + last_chunk(self._chunks.trailers)
                self._upstream_done(surplus=bool(self._chunks.rest))
        elif resp.length == UNTIL_CLOSE:
            self._add([data] if data else [])
        else:
            ex.to_down = bytes(ex.to_down) + data[: self._left]
            surplus = len(data) > self._left
            self._left -= min(len(data), self._left)
            if self._left == 0:
                self._upstream_done(surplus=surplus)

    def _add(self, pieces: list[bytes]) -> None:
        ex = self._ex
        if ex.framing == CHUNKED:
            pieces = [chunk(piece) for piece in pieces]
        ex.to_down = b"".join([bytes(ex.to_down), *pieces])

    def _upstream_ended(self, how: str) -> None:
        """Its FIN or reset: the end of a close-delimited body, or a truncation."""
        ex = self._ex
        resp = ex.resp
        if resp is None:
            if ex.answered or ex.from_up:
                raise Ended("upstream", "upstream", "upstream-truncated", 502)
            raise UpstreamClosed("upstream", "upstream", f"upstream-{how}", 502)
        if resp.length != UNTIL_CLOSE or how != "closed":
            raise Ended("upstream", "relay", "upstream-truncated")
        if ex.framing == CHUNKED:
            ex.to_down = bytes(ex.to_down) + last_chunk()
        self._closed = True
        self._upstream_done(surplus=False)

    def _upstream_done(self, *, surplus: bool | None) -> None:
        """The response has arrived: the upstream is released, whether or not the client has read it."""
        ex = self._ex
        up, group = ex.up, ex.group
        self._down_done = True
        if not self.body_whole:
            ex.keep = False
        if up is None:
            return
        ex.up = None
        if surplus is None:
            surplus = _speaks_on(up)
        if surplus:
            self._house.counts["surplus"] += 1
        if self._closed:
            group.drop(up)
        elif surplus or ex.to_up or self._up_broken or self._refused or not self.body_whole:
            group.abandon(up)
        elif ex.resp is not None and ex.resp.persistent:
            group.release(up)
        else:
            group.drop(up)

    # time

    def _due(self) -> float:
        ex, timeouts = self._ex, self._ex.policy.timeouts
        if ex.to_down:
            return self._lobby.now + max(0.25, min(timeouts.send_idle, timeouts.fin_wait_1) / 8)
        if ex.up is None:
            return inf
        if ex.to_up or self.body_whole or self._up_broken or self._refused:
            return self._progress + ex.group.spec.response_timeout
        return self._client_in + timeouts.body_idle

    def _late(self, now: float) -> None:
        """A deadline has passed: find whose."""
        ex, timeouts = self._ex, self._ex.policy.timeouts
        self._lobby.now = now
        if ex.to_down:
            kernel = kernel_facts(ex.rec.sock)
            self._judge_reader(kernel, now)
        elif ex.to_up or self.body_whole or self._up_broken or self._refused:
            if now >= self._progress + ex.group.spec.response_timeout:
                raise Ended("upstream", self._phase(), "response-timeout", 504)
        elif now >= self._client_in + timeouts.body_idle:
            raise Ended("client", "body", "body-idle", 408)

    def _judge_reader(self, kernel: Kernel | None, now: float) -> None:
        """A client that takes nothing: gone, idle for too long, or slow."""
        timeouts = self._ex.policy.timeouts
        if kernel is not None:
            if vanished(kernel, timeouts):
                raise Ended("client", "relay", "vanished")
            if kernel.bytes_acked > self._acked:
                if self._acked >= 0:
                    self._client_out = now
                self._acked = kernel.bytes_acked
        if now >= self._client_out + timeouts.send_idle:
            raise Ended("client", "relay", "send-idle")


def _speaks_on(up: Upstream) -> bool:
    """Whether more bytes than announced are there already."""
    try:
        data = up.sock.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        data = b""
    if not data:
        up.latch |= FIN
    return bool(data)
