"""The rest of a refused body, in the lobby: read and thrown away, so that the connection can be kept.

`keeps` asks `core.readout` whether that is worth it, before the answer is composed: its Connection field
tells the client. `ReadOut` does it, when the answer is out and the exchange is in the books. It ends when all
has come, at the client's FIN or reset, after `body_idle` of silence or the time that was meant for it; then
the connection ends as behind any answer.
"""

import socket
from functools import partial
from typing import Final

from shieldproxy.core.closing import Event
from shieldproxy.core.readout import SLACK, WORTH, seconds_for
from shieldproxy.net.lobby import CHUNK, READS_A_TURN
from shieldproxy.net.record import ERROR, FIN, HUP, IN, NEWS, Downstream
from shieldproxy.net.tcpinfo import kernel_facts
from shieldproxy.proxy.answer import may_keep
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Exchange

STAGE: Final = "refused"
MEASURED: Final = 0.1
"""Seconds that a body must have come for its rate to say anything."""

PROMISED: Final = 2 * WORTH + SLACK
"""Seconds for the rest of who has read our answer so slowly that by now it would be told to close."""


def rest_of(ex: Exchange) -> int:
    """Bytes of a request's body that have not been read from its socket; below 0: nobody knows."""
    length = ex.head.length
    if ex.whole or length == 0:
        return 0
    return max(0, length - ex.body_in - len(ex.rec.buf)) if length > 0 else -1


def seconds(ex: Exchange, now: float) -> float:
    """For how long the rest of a refused body is read; 0: the connection ends."""
    rec, left = ex.rec, rest_of(ex)
    if not 0 <= left <= rec.policy.limits.linger:
        return 0.0
    kernel = kernel_facts(rec.sock)
    rtt = kernel.rtt if kernel is not None else 0.0
    took = now - ex.started
    return seconds_for(left, ex.body_in / took if took > max(MEASURED, 2 * rtt) else 0.0, rtt)


def keeps(house: House, ex: Exchange) -> bool:
    """Whether the connection goes on behind an answer of ours; said before that is composed.

    Where the request's body has not come whole it is a choice between reading it out and closing, noted for
    the receipt. `ex.keep` says whether the request's kind allows it.
    """
    keep = ex.keep and may_keep(house, ex)
    if not ex.head.length or ex.whole:
        return keep
    drain = keep and not _may_send_none(ex) and seconds(ex, house.lobby.now) > 0
    ex.rec.refused_body = "drain" if drain else "close"
    return drain


def _may_send_none(ex: Exchange) -> bool:
    """Whether the client may have waited for our answer, to send no body at all behind a refusal.

    By RFC 9112 section 9.3 it has to close then. Go's net/http up to 1.22.4 does not (CVE-2024-24791): its
    next request would be taken for the body.
    """
    return ex.head.expect and not ex.body_in and not ex.rec.buf


class ReadOut:
    """Reads out the rests of one worker."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lobby = house.lobby

    def begin(self, ex: Exchange) -> None:
        """Take a connection whose refused request has more of its body to come, or in the record's buffer."""
        rec, now = ex.rec, self._lobby.now
        left, end = rest_of(ex), now + (seconds(ex, now) or PROMISED)
        rec.buf = rec.buf[ex.head.length - ex.body_in :]
        if left == 0:
            self._house.go_on(rec)
            return
        rec.stage = STAGE
        rest = [left]
        rec.on_event = partial(self._on_event, rest, end)
        rec.on_due = self._on_due
        self._lobby.arm(rec, min(end, now + rec.policy.timeouts.body_idle))
        if rec.latch & NEWS:
            self._lobby.again(rec, rec.latch & NEWS)

    def _on_event(self, rest: list[int], end: float, rec: Downstream, events: int) -> None:
        """Bytes of the rest, or the client's end."""
        lobby = self._lobby
        rec.latch |= events & NEWS
        if events & (ERROR | HUP):
            self._house.closer.leave(rec, Event.PEER_RESET, "client", STAGE, "reset")
            return
        if not events & NEWS:
            return
        how = 0 if rec.door.unix else socket.MSG_TRUNC
        for _ in range(READS_A_TURN):
            asked = min(CHUNK, rest[0])
            try:
                count = rec.sock.recv_into(lobby.discarded, asked, how)
            except BlockingIOError:
                rec.latch &= ~IN
                break
            except OSError:
                self._house.closer.leave(rec, Event.PEER_RESET, "client", STAGE, "reset")
                return
            if count == 0:
                self._end(rec, "client", "fin-in-body")
                return
            rec.got += count
            rest[0] -= count
            if rest[0] == 0:
                self._done(rec)
                return
            if count < asked and not rec.latch & FIN:
                rec.latch &= ~IN
                break
        else:
            lobby.again(rec)
        rec.due = min(end, lobby.now + rec.policy.timeouts.body_idle)

    def _on_due(self, rec: Downstream) -> None:
        """The rest has not come in the time that was meant for it."""
        self._end(rec, "client", "body-rest")

    def _done(self, rec: Downstream) -> None:
        """The next request may follow."""
        if self._house.draining:
            self._end(rec, "proxy", "drain")
            return
        rec.stage = ""
        self._house.go_on(rec)

    def _end(self, rec: Downstream, by: str, reason: str) -> None:
        rec.stage = ""
        rec.due = float("inf")
        self._house.closer.end(rec, by, STAGE, reason)
