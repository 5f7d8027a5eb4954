"""The request's body on its way up: one synchronous step at a time, at most one pipe's content (1 MiB) held.

It comes from the client, or from the spool in which it was collected. Called by `relay`, which alternates it
with the download. A malformed, cut or oversized body raises `Ended`; then nothing more of it goes on, so the
upstream sees that the request is not whole.
"""

from socket import MSG_MORE, socket
from typing import Any

from shieldproxy.core import pace as core
from shieldproxy.core.body import BodyFault, ChunkedReader, chunk, last_chunk
from shieldproxy.core.head import CHUNKED
from shieldproxy.net.lobby import CHUNK, READS_A_TURN
from shieldproxy.net.record import IN, OUT, Upstream
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Ended, Exchange, Pace, phase_of


def send_whole(spool: Any, sock: socket) -> bool:
    """Send a collected body; False if not all of it has gone: the rest, and what is amiss, is a relay's."""
    try:
        for _ in range(READS_A_TURN):
            if not spool.left:
                return True
            if not spool.drain(sock):
                return False
    except OSError:  # full, or broken; an answer may be there all the same
        return False
    return not spool.left


class Upload:
    """The body of one exchange's request, and what its socket to the upstream has not taken yet."""

    def __init__(self, house: House, ex: Exchange, pace: Pace) -> None:
        self._house = house
        self._lobby = house.lobby
        self._ex = ex
        self._pace = pace
        self.broken = False
        """The upstream takes no more."""
        self.refused = False
        """The upstream's final answer is no success, and came before the body was whole."""
        self.unsent = isinstance(ex.to_up, bytes) and len(ex.to_up) > 0
        """Nothing of the request has gone to this connection."""
        self._came = core.Pace(self._lobby.now, self._lobby.now)
        length, limit = ex.head.length, ex.policy.limits.body
        self._body: ChunkedReader | None = None
        self._left = 0
        if length == CHUNKED and not ex.whole:
            self._body = ChunkedReader(limit)
        elif not ex.whole:
            self._left = length
        self._spool = ex.spool

    @property
    def whole(self) -> bool:
        """Whether all of the body has been taken from the client."""
        return self._body.done if self._body else self._left == 0

    @property
    def sent(self) -> bool:
        """Whether all of the body has been taken from the client and from its spool."""
        return self.whole and (self._spool is None or self._spool.left == 0)

    def step(self) -> bool:
        """Move what can be moved now; False if nothing more can."""
        ex = self._ex
        up = ex.up
        if up is None or self.refused:
            return self._discard()
        if self.broken:
            return ex.resp is not None and self._discard()
        if ex.to_up:
            if not up.latch & OUT:
                self._came.pause(self._lobby.now)  # the client may be fast enough
                return False
            return self._send_up(up)
        if not self.whole:
            return self._take_body()
        if self._spool is not None:
            if self._spool.left:
                return self._send_spool(up)
            if ex.answered:
                self._spool = None
                ex.forget()
        return ex.resp is not None and self._discard()

    def _send_up(self, up: Upstream) -> bool:
        ex = self._ex
        data = ex.to_up
        try:
            # where the next step sends more, the head needs no packet of its own
            more = (self._left and ex.rec.buf) or (self.whole and not self.sent)
            count = up.sock.send(data, MSG_MORE) if more else up.sock.send(data)
        except BlockingIOError:
            up.latch &= ~OUT
            return False
        except OSError:
            self._break_up()
            return True
        self._pace.upstream = self._lobby.now
        self.unsent = False
        if count < len(data):
            ex.to_up = memoryview(data)[count:]
            return True
        ex.to_up = b""
        return not self.sent or ex.resp is not None  # else only an event brings more

    def _send_spool(self, up: Upstream) -> bool:
        """Send on from the spool; its file work rings when more is in reach."""
        spool = self._spool
        if not up.latch & OUT:
            return False
        try:
            count = spool.drain(up.sock)
        except BlockingIOError:
            up.latch &= ~OUT
            return False
        except OSError:
            self._break_up()
            return True
        if spool.fault:
            raise Ended("proxy", "upstream", "spool-full", 503, spool.fault)
        if count:
            self._pace.upstream = self._lobby.now
        return bool(count)

    def _discard(self) -> bool:
        """The answer is there, and nothing more that comes will be looked at: read on all the same.

        Be it the rest of a body or requests behind a last one: many clients send all they have before they
        read, and would never come to the answer. Bounded as a lingering close is, which follows.
        """
        ex = self._ex
        rec, scrap = ex.rec, self._lobby.discarded
        if ex.keep or not rec.latch & IN or ex.discarded >= ex.policy.limits.linger:
            return False
        try:
            count = rec.sock.recv_into(scrap)
        except BlockingIOError:
            count = 0
        except OSError as exc:
            raise Ended("client", phase_of(ex, whole=self.whole), "reset", 499) from exc
        if count == 0:
            rec.latch &= ~IN
            return False
        rec.got += count
        ex.discarded += count
        self._pace.client_in = self._lobby.now
        return True

    def limit(self) -> tuple[float, str]:
        """When the body has come too slowly if nothing more comes, and which of the three limits that is."""
        came, timeouts = self._came, self._ex.policy.timeouts
        came.last = max(came.last, self._pace.client_in)
        return came.limit(timeouts.body_idle, timeouts.body_min_rate, timeouts.body_total)

    def _take_body(self) -> bool:
        ex = self._ex
        rec = ex.rec
        self._came.resume(self._lobby.now)
        share = CHUNK if self._body is None else min(CHUNK, self._body.share)
        if rec.buf:
            data = rec.first(share)
        else:
            if not rec.latch & IN:
                return False
            if self._body is None:
                return self._pass_body()
            try:
                data = rec.sock.recv(share)
            except BlockingIOError:
                rec.latch &= ~IN
                return False
            except OSError as exc:
                raise Ended("client", "body", "reset", 499) from exc
            if not data:
                raise Ended("client", "body", "fin-in-body", 400)
            rec.got += len(data)
        self._pace.client_in = self._lobby.now
        self._came.moved += len(data)
        if self._body is None:
            take = data[: self._left]
            rec.buf = data[self._left :] + rec.buf
            self._left -= len(take)
            ex.body_in += len(take)
            ex.to_up = take
            return True
        try:
            pieces = self._body.feed(data)
        except BodyFault as exc:
            raise Ended("proxy", "body", exc.reason, exc.status, exc.detail) from exc
        ex.body_in += len(data)
        out = chunk(b"".join(pieces)) if pieces else b""
        if self._body.done:
            rec.buf = self._body.rest + bytes(rec.buf)
            ex.body_in -= len(self._body.rest)
            out += last_chunk(self._body.trailers, ex.head.named)
        ex.to_up = out
        return True

    def _pass_body(self) -> bool:
        """A body by length: through the pipe, and into the upstream's socket in the same step."""
        ex = self._ex
        rec, up, pipe = ex.rec, ex.up, self._house.pipe
        assert up is not None  # noqa: S101 - `step` has looked
        try:
            count = pipe.fill(rec.fd, self._left)
        except BlockingIOError:
            rec.latch &= ~IN
            return False
        except OSError as exc:
            raise Ended("client", "body", "reset", 499) from exc
        if count == 0:
            raise Ended("client", "body", "fin-in-body", 400)
        rec.got += count
        ex.body_in += count
        self._came.moved += count
        self._left -= count
        self._pace.client_in = self._pace.upstream = self._lobby.now
        try:
            sent = pipe.empty(up.fd, count)
        except OSError:
            self._break_up()
            return True
        if sent < count:  # full, perhaps: the next send says; a signal cuts a splice short too
            ex.to_up = pipe.rest(count - sent)
        return bool(ex.to_up) or self._left > 0 or ex.resp is not None

    def _break_up(self) -> None:
        """The upstream takes no more; an answer may be there all the same, and reading decides."""
        ex = self._ex
        self.broken = True
        ex.to_up = b""
        if ex.up is not None:
            ex.up.latch |= IN
