"""Exchanges without a client: who has gone left a request at the server, and it is seen to its end.

A legacy server does not like to be hung up on: some stop half-way, some log an error, some block. So a
request whose client has gone is abandoned only where the upstream's `abort_upstream` says that this does no
harm. Any other is sent in full, its response is read and thrown away, and the connection goes back to the
pool, as if the client were still there: a record of the lobby, without a task, until the response is whole
or `response_timeout` passes without progress. A stream of events has no end that could be waited for: it is
abandoned once its head says what it is. A drain waits for all of them, within its limit.

It never writes to a client and never decides who has gone; `express` and `exchange` hand over to it.
"""

from dataclasses import dataclass
from typing import Final

from shieldproxy.core.body import BodyFault, ChunkedReader
from shieldproxy.core.buffering import streams
from shieldproxy.core.fields import Fault
from shieldproxy.core.head import CHUNKED, UNTIL_CLOSE
from shieldproxy.net.lobby import CHUNK, READS_A_TURN
from shieldproxy.net.record import ENDS, IN, NEWS, OUT, Upstream
from shieldproxy.proxy.answer import parse
from shieldproxy.proxy.house import House
from shieldproxy.proxy.manners import is_surplus
from shieldproxy.proxy.state import Bytes, Exchange

HEAD: Final = -3
"""In the place of a length: the response's head has not come yet."""


@dataclass(slots=True)
class Rest:
    """What is still to come of a response: `left` bytes, or chunks, or all up to the server's close."""

    left: int = HEAD
    chunks: ChunkedReader | None = None


def may_abandon(ex: Exchange, *, whole: bool) -> bool:
    """Whether an exchange may be given up at the server when its client has gone.

    Args:
        ex: the exchange.
        whole: whether the request's body has been had in full; if not, the server cannot run it, and has to
            be told so.
    """
    return not whole or ex.head.method in ex.group.spec.abort_upstream or _endless(ex)


def _endless(ex: Exchange) -> bool:
    resp = ex.resp
    return resp is not None and resp.length < 0 and streams(None, "whole", resp.stream, resp.lines)


class Attended:
    """One upstream connection whose response nobody wants."""

    __slots__ = (
        "_attended",
        "_data",
        "_ex",
        "_lobby",
        "_method",
        "_over",
        "_rest",
        "_spool",
        "_to_up",
        "up",
    )

    def __init__(self, house: House, ex: Exchange, up: Upstream, to_up: Bytes, rest: Rest) -> None:
        self._lobby = lobby = house.lobby
        self._attended = house.attended
        self._ex = ex
        self._method = ex.head.method
        self._to_up = to_up
        self._rest = rest
        self._data = ex.from_up
        self._over = False
        self._spool, ex.spool = ex.spool, None
        if self._spool is not None:
            self._spool.hand_over(self.wake)
        self.up = up
        house.attended[up] = self
        up.exchange = None
        up.on_event = self.on_event
        up.on_due = self.on_due
        self._progress()
        if self._data:
            self._take(b"")
        if not self._over:
            lobby.again(up, IN | OUT)

    def on_event(self, up: Upstream, events: int) -> None:
        """The server takes more, has sent more, or has ended."""
        up.latch |= events
        if events & OUT and (self._to_up or self._spool is not None):
            self._send(up)
        if events & NEWS and not self._over:
            self._receive(up)

    def _progress(self) -> None:
        self._lobby.arm(self.up, self._lobby.now + self._ex.group.spec.response_timeout)

    def on_due(self, up: Upstream) -> None:
        """No progress within response_timeout."""
        self._ex.group.failed(up.server, "response-timeout")
        self._give_up()

    def end(self) -> None:
        """The connection is about to be another's, or nobody's."""
        self._over = True
        self._attended.pop(self.up, None)
        self._lobby.ready.pop(self.up, None)  # what was to be looked at here is no news for a pool
        self._close_spool()

    def _give_up(self) -> None:
        self.end()
        self._ex.group.abandon(self.up)

    def _close_spool(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()

    def wake(self) -> None:
        """The body's file has been read: there is more to send."""
        if not self._over:
            self._lobby.again(self.up, OUT)

    def _send(self, up: Upstream) -> None:
        """What is left of the request: it is whole, and the server shall have it whole."""
        spool = self._spool
        try:
            if self._to_up:
                self._to_up = memoryview(self._to_up)[up.sock.send(self._to_up) :]
                self._progress()
            while not self._to_up and spool is not None and spool.left:
                count = spool.drain(up.sock)
                if spool.fault:
                    self._give_up()  # it cannot be sent whole
                    return
                if count == 0:
                    return
                self._progress()
        except BlockingIOError:
            return
        except OSError:
            self._to_up = b""
            self._close_spool()  # it takes no more; its answer may be there all the same
            return
        if spool is not None and not spool.left:
            self._close_spool()

    def _receive(self, up: Upstream) -> None:
        rest, scrap = self._rest, self._lobby.discarded
        for _ in range(READS_A_TURN):
            try:
                if rest.left > 0 or rest.left == UNTIL_CLOSE:
                    most = min(CHUNK, rest.left) if rest.left > 0 else CHUNK
                    count = up.sock.recv_into(scrap, most)
                    if rest.left > 0:
                        rest.left -= count
                else:
                    data = up.sock.recv(CHUNK if rest.chunks is None else min(CHUNK, rest.chunks.share))
                    count = len(data)
                    if count:
                        self._take(data)
                        if self._over:
                            return
                        if rest.left == HEAD and not self._data:
                            continue  # an interim response is no progress
            except BlockingIOError:
                up.latch &= ~IN
                return
            except OSError:
                count = 0
            if count == 0:
                self.end()
                self._ex.group.drop(up)
                return
            self._progress()
            if rest.left == 0:
                self._done(b"")
                return
            if rest.chunks is not None and rest.chunks.dense:
                break
        self._lobby.again(up, IN)

    def _take(self, data: bytes) -> None:
        """Read heads, the final one among them, and chunks: enough to know where the response ends."""
        rest = self._rest
        data = self._data + data
        self._data = b""
        while rest.left == HEAD:
            parsed = parse(self._ex, data, self._method)
            if parsed is None:
                self._data = data
                return
            if isinstance(parsed, Fault):
                self._give_up()
                return
            resp, start = parsed
            data = data[start:]
            if resp.status >= 200:
                self._ex.resp = resp
                if _endless(self._ex):
                    self._give_up()
                    return
                rest.left = resp.length
                if resp.length == CHUNKED:
                    rest.chunks = ChunkedReader(padded=True)
        if rest.chunks is not None:
            try:
                rest.chunks.feed(data)
            except BodyFault:
                self._give_up()
                return
            if rest.chunks.done:
                self._done(rest.chunks.rest)
        elif rest.left >= 0:
            surplus = data[rest.left :]
            rest.left = max(0, rest.left - len(data))
            if rest.left == 0:
                self._done(surplus)

    def _done(self, surplus: bytes) -> None:
        """The response is whole: the connection serves others again, if it can."""
        ex, up = self._ex, self.up
        unsent = bool(self._to_up) or (self._spool is not None and self._spool.left > 0)
        self.end()
        up.latch |= IN if up.latch & ENDS else 0
        if surplus and is_surplus(ex, surplus):
            ex.group.surplus += 1
            unsent = True
        if unsent:
            ex.group.abandon(up)
        elif ex.resp is not None and ex.resp.persistent:
            ex.group.release(up)
        else:
            ex.group.part(up)
