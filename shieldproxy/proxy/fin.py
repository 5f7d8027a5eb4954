"""A client's FIN while its request waits or is worked on, and what becomes of the exchange if it has gone.

`fin_seen` does what `core.half` says; `leave_upstream` takes an exchange without a client away from its
server. Both lanes and the sender call them.
"""

from contextlib import suppress
from typing import Final

from shieldproxy.core.half import on_fin
from shieldproxy.net.record import ABORTED, ERROR, HUP, PROBED
from shieldproxy.net.tcpinfo import unsent_or_unacked
from shieldproxy.proxy.attend import Attended, Rest, may_abandon
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Bytes, Ended, Exchange

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
STATUS_LINE: Final = b"HTTP/1."


def half_said(left: Bytes) -> bytes:
    """What goes before a status, of bytes that the client has not taken: the rest of an interim half sent.

    What is whole there is left out. A line that begins so is a status line: no field is named with a slash.
    """
    text = bytes(left)
    if text.startswith(STATUS_LINE):
        return b""
    head, _, _ = text.partition(b"\n" + STATUS_LINE)
    return head if len(head) == len(text) else head + b"\n"


def fin_seen(ex: Exchange) -> bool:
    """Act on a client's FIN behind a whole request; True if it has gone (ABORTED is latched then).

    The same for one FIN however often it is called.
    """
    rec = ex.rec
    pending = ex.bell is not None and bool(ex.to_down)
    what = on_fin(ex.policy, minor=ex.head.minor, begun=ex.status != 0 or pending)
    if what == "abort":
        rec.latch |= ABORTED
        return True
    if what == "probe" and not rec.latch & PROBED:
        rec.latch |= PROBED
        if rec.door.unix or unsent_or_unacked(rec.sock):
            return False  # there a close is told from a FIN; here what is on its way is the probe
        with suppress(OSError):  # its reset is an event of its own
            count = rec.sock.send(CONTINUE)  # whole: nothing is before it
            ex.bytes_out += count
            ex.head_out += count
    return False


def why_gone(ex: Exchange) -> str:
    """The reason of an exchange whose client has gone: "reset", or "abort" for a FIN that counts as one."""
    return "reset" if ex.rec.latch & (ERROR | HUP) or not ex.rec.latch & ABORTED else "abort"


def leave_upstream(house: House, ex: Exchange, why: Ended | None = None, to_up: Bytes = b"") -> None:
    """Take an exchange whose client has gone away from the server, in the way that does it no harm.

    Args:
        house: the worker's.
        ex: its `up` is None afterwards.
        why: with what a relay knew of it. None: the request is with the server, and no response.
        to_up: what of the request the server's socket has not taken yet.
    """
    up, ex.up = ex.up, None
    if up is None:
        return
    if why is not None and why.unsent:
        ex.group.release(up)  # the server has seen nothing of it
    elif may_abandon(ex, whole=why is None or why.whole):
        house.counts["abandoned"] += 1
        ex.group.abandon(up)
    else:
        house.counts["attended"] += 1
        Attended(house, ex, up, to_up, Rest() if why is None or why.rest is None else why.rest)
