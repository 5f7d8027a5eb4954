"""The sender: slow readers, as records in the lobby, without a task.

A response whose upstream is done, or an answer of ours, and a client that has not taken all of it: what is
left (`ex.to_down`, then `ex.out`) goes out as the client's window opens, from event to event. Both lanes hand
over to it, and it brings the exchange to its end. Who has not taken all by the first look is slow: buffers go
to the file, and of the exchange only what its line in the log says is kept.

A response that the upstream broke off is sent as far as it came. When the client's kernel has acknowledged
that, a reset ends it: what is truncated looks truncated, and is as long as it can be.
"""

from typing import Final

from shieldproxy.core.closing import SOON
from shieldproxy.core.pace import Pace
from shieldproxy.core.sending import UNSEEN
from shieldproxy.net.lobby import READS_A_TURN
from shieldproxy.net.record import FIN, GONE, IN, OUT, Downstream
from shieldproxy.net.tcpinfo import unsent_or_unacked
from shieldproxy.proxy.ends import Ending, finish, give_up
from shieldproxy.proxy.fin import fin_seen, why_gone
from shieldproxy.proxy.house import House
from shieldproxy.proxy.reading import first_look, look
from shieldproxy.proxy.state import NO_HEAD, Ended, Exchange

NEVER: Final = float("inf")


def is_evicted(ex: Exchange) -> bool:
    """Whether the sender's client has had to leave already, and only what its kernel has is waited for."""
    return isinstance(ex.ending, Ended) and ex.ending.reason == "evicted"


class Sender:
    """Everybody who has yet to take the rest of an answer, of one worker."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lobby = house.lobby
        self._on_event = self.on_event
        self._on_due = self.on_due

    def take(self, ex: Exchange, ending: Ending | Ended) -> None:
        """Take over an exchange whose upstream is out of it, and that is left with bytes for its client.

        Args:
            ex: of either lane.
            ending: how it ends when they have gone out; `Ended`: the response broke off behind them.
        """
        rec, now = ex.rec, self._lobby.now
        ex.ending = ending
        ex.forget()
        ex.settled = False
        if ex.bell is not None:
            ex.bell.mute()
            ex.bell = None  # its task serves another exchange
        if ex.lane == "express":
            ex.discarded = 0
            ex.reader = Pace(now, now, UNSEEN)
        ex.reader.resume(now)
        rec.stage = "send"
        rec.on_event = self._on_event
        rec.on_due = self._on_due
        self._lobby.arm(rec, first_look(ex, now))
        self.on_event(rec, rec.latch | (OUT if ex.keep else IN | OUT))

    # events

    def on_event(self, rec: Downstream, events: int) -> None:
        """Room for more, or more of the spool in reach; bytes of the client; its end."""
        news = events & ~rec.latch
        rec.latch |= events
        ex = rec.exchange
        if news & FIN and ex.whole:
            fin_seen(ex)
        if rec.latch & GONE:
            self._gone(ex)
            return
        if events & IN and not ex.keep and not self._discard(ex):
            return
        if events & OUT:
            self._send(ex)

    def _send(self, ex: Exchange) -> None:
        """Send what the client's socket takes, a turn's share at most."""
        rec, out = ex.rec, ex.out
        try:
            for _ in range(READS_A_TURN):
                if ex.to_down:
                    count = rec.sock.send(ex.to_down)
                    ex.begun = True
                    ex.to_down = memoryview(ex.to_down)[count:]
                elif out is not None and out.left:
                    count = out.drain(rec.sock)
                    if count == 0:
                        if out.fault:
                            ex.ending = Ended("proxy", "relay", out.fault)
                            self._sent(ex)  # all that will be
                        return  # not in reach: the spool will wake us
                    ex.begun = True
                else:
                    self._sent(ex)
                    return
                ex.bytes_out += count
                ex.reader.last = self._lobby.now
        except BlockingIOError:
            return
        except OSError:
            self._gone(ex)
            return
        self._lobby.again(rec, OUT)

    def _discard(self, ex: Exchange) -> bool:
        """Read on though nothing more is looked at; False if the exchange has ended by it.

        Many clients send all they have before they read, and would never come to the answer. Bounded as the
        lingering close is that follows.
        """
        rec, scrap = ex.rec, self._lobby.discarded
        for _ in range(READS_A_TURN):
            if ex.discarded >= ex.policy.limits.linger:
                return True
            try:
                count = rec.sock.recv_into(scrap)
            except BlockingIOError:
                count = 0
            except OSError:
                self._gone(ex)
                return False
            if count == 0:
                rec.latch &= ~IN
                return True
            rec.got += count
            ex.discarded += count
        self._lobby.again(rec, IN)
        return True

    # time

    def on_due(self, rec: Downstream) -> None:
        """Look how far the client has come; it is slow."""
        ex = rec.exchange
        if not ex.settled:
            self._settle(ex)
        reason, again = look(ex, self._lobby.now)
        if reason:
            ours = isinstance(ex.ending, Ended) and ex.ending.by == "proxy"  # it was cut off before
            self._end(ex, ex.ending if ours else Ended("client", "relay", reason))
        elif isinstance(ex.ending, Ended) and not ex.to_down and ex.out is None:
            self._sent(ex)
        else:
            self._lobby.arm(rec, again)

    def _settle(self, ex: Exchange) -> None:
        """Keep of an exchange what its end and its line in the log need, and nothing more."""
        ex.settled = True
        self._house.counts["slow_readers"] += 1
        if ex.head is not NO_HEAD:
            ex.head.lines = [line for line in ex.head.lines if line[:8].lower() == b"referer:"]
            ex.request = b""
        ex.from_up = b""
        ex.resp = None
        ex.to_down = bytes(ex.to_down)
        if ex.out is not None:
            ex.out.rest()

    # the ends

    def evict(self, ex: Exchange) -> None:
        """Its place is wanted. What its kernel has of the answer is delivered, within any reader's limits.

        Where the kernel has nothing of it, it is an earlier one that the client has yet to take.
        """
        rec = ex.rec
        if ex.begun:
            ex.to_down, ex.ending = b"", Ended("proxy", "relay", "evicted")
            self._sent(ex)
            return
        rec.due = NEVER
        rec.stage = ""
        ex.shut()
        ex.status = 0
        self._house.conclude(ex, "aborted", "proxy", "relay", "evicted")
        self._house.closer.end(rec, "proxy", "send", "evicted")

    def _sent(self, ex: Exchange) -> None:
        """Everything is in the client's socket."""
        rec, ending = ex.rec, ex.ending
        if not isinstance(ending, Ended):
            rec.due = NEVER
            rec.stage = ""
            ex.shut()
            finish(self._house, ex, ending)
            return
        ex.shut()
        if rec.door.unix or not unsent_or_unacked(rec.sock):
            self._end(ex, ending)
        else:
            self._lobby.arm(rec, self._lobby.now + SOON)

    def _gone(self, ex: Exchange) -> None:
        ending = ex.ending
        phase = "relay" if isinstance(ending, Ended) or ending.outcome == "served" else ending.phase
        self._end(ex, Ended("client", phase, why_gone(ex), 499))

    def _end(self, ex: Exchange, why: Ended) -> None:
        ex.rec.due = NEVER
        give_up(self._house, ex, why)
