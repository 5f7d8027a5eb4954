"""How an exchange ends: into the books, and on or off with the client's connection.

`finish` is for an answer whose last byte is in the client's socket, `give_up` for one that cannot be brought
to its end. Both lanes and the sender call them, once for each exchange, when the upstream is out of it.
"""

from dataclasses import dataclass
from typing import Final

from shieldproxy.core.closing import Event
from shieldproxy.net.record import ERROR, FIN, HUP, IN, has_input
from shieldproxy.proxy.answer import may_keep
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Ended, Exchange


@dataclass(frozen=True, slots=True)
class Ending:
    """How an exchange ends whose answer, the upstream's or ours, reaches the client whole."""

    outcome: str
    by: str
    phase: str
    reason: str


SLOW: Final = frozenset({"vanished", "send-idle", "send-rate"})
"""Ends by a client that did not take what there was for it; its connection's receipt has the phase "send"."""
SERVED: Final = Ending("served", "upstream", "relay", "done")


def refused(by: str, phase: str, reason: str) -> Ending:
    """The ending of an exchange that is answered by us."""
    return Ending("failed" if by == "upstream" else "refused", by, phase, reason)


def finish(house: House, ex: Exchange, ending: Ending) -> None:
    """The last byte for the client is in its socket: into the books, and on or off with the connection."""
    house.conclude(ex, ending.outcome, ending.by, ending.phase, ending.reason)
    if ending is SERVED:
        end(house, ex)
    elif not _goes_on(house, ex):
        house.closer.end(ex.rec, ending.by, "exchange", ending.reason, ex.bytes_out)


def _goes_on(house: House, ex: Exchange) -> bool:
    """Hand the connection on to its next request, if there may be one."""
    rec = ex.rec
    if not ex.keep or house.draining or (rec.latch & FIN and not rec.buf and not has_input(rec)):
        return False
    if rec.latch & IN and not rec.buf and not has_input(rec):
        rec.latch &= ~IN  # its body was read to the byte: a look is cheaper than a turn of the lobby
    if ex.head.length < 0 and not ex.whole:
        return False  # nobody knows where the next request begins
    if ex.head.length > ex.body_in and not ex.whole:
        house.read_out(ex)
    else:
        house.go_on(rec)
    return True


def end(house: House, ex: Exchange) -> None:
    """A response is out: on with the connection, or its end, and by whose wish."""
    if _goes_on(house, ex):
        return
    head = ex.head
    if ex.rec.latch & FIN:
        by, reason = "client", "half-close"
    elif house.draining:
        by, reason = "proxy", "drain"
    elif not head.persistent:
        by, reason = "client", "close-asked"
    elif may_keep(house, ex):
        by, reason = "upstream", "early-response" if ex.framing >= 0 else "until-close"
    else:
        by, reason = "proxy", "rule"
    house.closer.end(ex.rec, by, "exchange", reason, ex.bytes_out)


def give_up(house: House, ex: Exchange, exc: Ended) -> None:
    """The client cannot be given a whole response: a reset tells it so."""
    rec = ex.rec
    ex.status = ex.status or exc.status or 499
    if exc.reason == "reset" or rec.latch & (ERROR | HUP):
        event = Event.PEER_RESET
    else:
        event = {"vanished": Event.VANISHED, "send-idle": Event.STALLED}.get(exc.reason, Event.TRUNCATED)
    phase = "send" if exc.reason in SLOW else rec.phase
    rec.stage = ""
    ex.shut()
    outcome = "failed" if exc.by == "upstream" else "aborted"
    house.conclude(ex, outcome, exc.by, exc.phase, exc.reason)
    house.closer.leave(rec, event, exc.by, phase, exc.reason)
