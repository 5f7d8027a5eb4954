"""The response on its way down: one synchronous step at a time, at most one buffer held.

Called by `relay`, which alternates it with the upload. Interim responses, the head, then the body in each of
its framings; the upstream is released with its last byte, whether or not the client has read it. A response
that cannot be finished raises `Ended`.
"""

from typing import Final

from shieldproxy.core.body import BodyFault, ChunkedReader, last_chunk
from shieldproxy.core.buffering import streams
from shieldproxy.core.fields import Fault
from shieldproxy.core.forward import interim_head
from shieldproxy.core.head import CHUNKED, UNTIL_CLOSE
from shieldproxy.net.lobby import CHUNK
from shieldproxy.net.record import ENDS, IN
from shieldproxy.net.tcpinfo import unheard
from shieldproxy.proxy.answer import FITS, compose, forwards_interim, note_short, parse
from shieldproxy.proxy.attend import Rest
from shieldproxy.proxy.house import House
from shieldproxy.proxy.manners import is_surplus
from shieldproxy.proxy.outlet import Outlet
from shieldproxy.proxy.state import MOST, TRUNCATED, UNHEARD, Ended, Exchange, Pace, UpstreamClosed
from shieldproxy.proxy.upload import Upload

INTERIMS: Final = 64
INTERIM_BYTES: Final = 64 * 1024


class Download:
    """The response of one exchange, and what the client's socket has not taken yet."""

    def __init__(self, house: House, ex: Exchange, upload: Upload, pace: Pace) -> None:
        self._house = house
        self._lobby = house.lobby
        self._ex = ex
        self._head = ex.head
        self._upload = upload
        self._pace = pace
        self.outlet = Outlet(house, ex, pace)
        self.done = False
        """Whether all of it has come from the upstream."""
        self._closed = False
        self._left = 0
        """Bytes of the body still to come (by length)."""
        self._chunks: ChunkedReader | None = None

    def rest(self) -> Rest:
        """What of the response has not come yet, for whoever takes over."""
        if self._ex.resp is None:
            return Rest()
        if self._chunks is not None:
            return Rest(CHUNKED, self._chunks)
        return Rest(self._left if self._ex.resp.length >= 0 else UNTIL_CLOSE)

    def step(self) -> bool:
        """Move what can be moved now; False if nothing more can."""
        ex = self._ex
        outlet = self.outlet
        if ex.to_down or ex.out is not None:
            if outlet.send():
                return True
            if outlet.blocked():
                return False
        up = ex.up
        if up is None or not up.latch & IN:
            return False
        if ex.resp is not None:
            outlet.spool(self._left if ex.framing >= 0 else -1)
            if self._chunks is None and self._left > 0:
                return self._pass_response() if ex.out is None else self._keep_response()
        chunks = self._chunks
        most = CHUNK if chunks is None or not chunks.dense else min(CHUNK, chunks.share)
        try:
            data = up.sock.recv(most)
        except BlockingIOError:
            up.latch &= ~IN
            return False
        except OSError:
            self._upstream_ended("reset")
            return True
        if not data:
            self._upstream_ended("closed")
            return True
        if len(data) < most and not up.latch & ENDS:
            up.latch &= ~IN  # that was all; what comes later is an edge of its own
        ex.answered = True
        interims = ex.interims
        self.take(data)
        if ex.resp is not None or ex.interims == interims:  # an interim response is no progress
            self._pace.upstream = self._lobby.now
        if ex.to_down:
            outlet.send()
        return True

    def _keep_response(self) -> bool:
        """A body by length, behind what the client has yet to take."""
        ex = self._ex
        up = ex.up
        assert up is not None  # noqa: S101 - `step` has looked
        try:
            count = ex.out.fill(up.sock, min(MOST, self._left))
        except BlockingIOError:
            up.latch &= ~IN
            return False
        except OSError:
            count = 0
        self._came(count)
        return True

    def _came(self, count: int) -> None:
        """So much of a body by length has come; 0: its upstream has ended."""
        if count == 0:
            self._upstream_ended("truncated")
            return
        self._left -= count
        self._pace.upstream = self._lobby.now
        if self._left == 0:
            self._upstream_done(surplus=False)

    def _pass_response(self) -> bool:
        """A body by length: through the pipe, and into the client's socket in the same step."""
        ex = self._ex
        rec, up, pipe = ex.rec, ex.up, self._house.pipe
        assert up is not None  # noqa: S101 - `step` has looked
        try:
            count = pipe.fill(up.fd, min(CHUNK if self.outlet.slow else MOST, self._left))
        except BlockingIOError:
            up.latch &= ~IN
            return False
        except OSError:
            count = 0
        if count == 0:
            self._came(0)
            return True
        try:
            sent = pipe.empty(rec.fd, count)
        except OSError as exc:
            self._came(count)  # these are gone: who sees to the rest has to know where it begins
            raise Ended("client", "relay", "reset", 499) from exc
        if sent:
            ex.bytes_out += sent
            self._pace.client_in = self._lobby.now
        self.outlet.slow = self.outlet.slow and sent < count
        if sent < count:  # full, perhaps: the next send says; a signal cuts a splice short too
            ex.to_down = pipe.rest(count - sent)
        self._came(count)
        return True

    def take(self, data: bytes) -> None:
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
            stream = resp.status >= 200 and streams(
                ex.policy.buffer_response, ex.route.buffer_response, resp.stream, resp.lines
            )
            if not stream and 0 <= resp.length <= FITS and len(data) - start < resp.length:
                ex.from_up = data  # collected, as in the express lane: a truncated one is a clean 502
                return
            if resp.status >= 200:
                ex.resp = resp
                self.outlet.stream = stream
                self._upload.refused = resp.status >= 300 and not self._upload.sent
                out = compose(self._house, ex, head, resp, whole=self._upload.whole)
                if resp.length >= 0:
                    self._take_first(out, data, start, resp.length)
                    return
                ex.to_down = bytes(ex.to_down) + out
                self._chunks = ChunkedReader(padded=True) if resp.length == CHUNKED else None
            else:
                ex.interims += 1
                self._count_interim(start)
                if forwards_interim(ex, head, resp.status):
                    ex.to_down = bytes(ex.to_down) + interim_head(resp)
            data = data[start:]
        self._take_content(data)

    def _count_interim(self, size: int) -> None:
        ex = self._ex
        ex.interim_bytes += size
        if ex.interims > INTERIMS or ex.interim_bytes > INTERIM_BYTES:
            raise Ended("upstream", "upstream", "interim-flood", 502)

    def _take_first(self, out: bytes, data: bytes, start: int, length: int) -> None:
        """The head of a response that has a length, and of its body what came with it: copied once."""
        ex = self._ex
        have = len(data) - start
        ex.to_down = b"".join((ex.to_down, out, memoryview(data)[start : start + length]))
        self._left = max(0, length - have)
        if self._left == 0:
            self._upstream_done(surplus=have > length and is_surplus(ex, data[start + length :]))

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
                    trailers = self._chunks.trailers if self._head.trailers else ()  # RFC 9110 section 10.1.4
                    self.outlet.give(last_chunk(trailers, resp.named))
                rest = self._chunks.rest
                self._upstream_done(surplus=bool(rest) and is_surplus(ex, rest))
        else:
            self._add([data] if data else [])

    def _add(self, pieces: list[bytes]) -> None:
        ex = self._ex
        if ex.framing == CHUNKED and pieces:
            pieces = [b"%x\r\n" % sum(map(len, pieces)), *pieces, b"\r\n"]  # one chunk, copied once
        self.outlet.give(*pieces)

    def _upstream_ended(self, how: str) -> None:
        """Its FIN or reset: the end of a close-delimited body, or a truncation."""
        ex = self._ex
        resp = ex.resp
        if resp is None or resp.length != UNTIL_CLOSE:
            note_short(ex)
        if resp is None:
            if ex.answered or ex.from_up:
                raise Ended("upstream", "upstream", "upstream-truncated", 502, TRUNCATED)
            fault = UpstreamClosed("upstream", "upstream", f"upstream-{how}", 502, UNHEARD)
            fault.unrun = self._never_had(how)
            raise fault
        if resp.length != UNTIL_CLOSE or how != "closed":
            raise Ended("upstream", "relay", "upstream-truncated", 502, TRUNCATED)
        if ex.framing == CHUNKED:
            self.outlet.give(last_chunk())
        self._closed = True
        self._upstream_done(surplus=False)

    def _never_had(self, how: str) -> bool:
        """Whether the upstream is known to have had nothing of the request before it ended."""
        ex, upload = self._ex, self._upload
        if upload.unsent:
            return True
        if ex.up is None or upload.broken or how != "closed" or not ex.whole or ex.spool is not None:
            return False
        return unheard(ex.up.sock, len(ex.request))

    def _upstream_done(self, *, surplus: bool) -> None:
        """The response has arrived: the upstream is released, whether or not the client has read it."""
        ex = self._ex
        up, group = ex.up, ex.group
        self.done = True
        ex.whole = self._upload.whole  # nothing of it will be sent again
        if not ex.whole:
            ex.keep = False
        if up is None:
            return
        ex.up = None
        ex.clocked().freed = self._lobby.now
        if surplus:
            group.surplus += 1
        if self._closed:
            group.closed(up)
        elif surplus or ex.to_up or self._upload.broken or self._upload.refused or not self._upload.sent:
            group.abandon(up)
        elif ex.resp is not None and ex.resp.persistent:
            group.release(up)
        else:
            group.part(up)
