"""A client's FIN while its request waits or is worked on, and what becomes of the exchange if it has gone.

`fin_seen` does what `core.half` says; `leave_upstream` takes an exchange without a client away from its
server. Both lanes and the sender call them.
"""

from contextlib import suppress
from typing import Final

from shieldproxy.core.half import on_fin
from shieldproxy.net.record import ABORTED, ERROR, HUP, PROBED
from shieldproxy.proxy.attend import Attended, Rest, may_abandon
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Bytes, Exchange

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def fin_seen(ex: Exchange) -> bool:
    """Act on a client's FIN behind a whole request; True if it has gone (ABORTED is latched then)."""
    rec = ex.rec
    pending = ex.bell is not None and bool(ex.to_down)
    what = on_fin(ex.policy, minor=ex.head.minor, begun=ex.status != 0 or pending)
    if what == "abort":
        rec.latch |= ABORTED
        return True
    if what == "probe" and not rec.latch & PROBED:
        rec.latch |= PROBED
        with suppress(OSError):  # its reset is an event of its own; a full socket has its probe in it
            count = rec.sock.send(CONTINUE)  # whole or not at all: nothing is before it
            ex.bytes_out += count
            ex.head_out += count
    return False


def why_gone(ex: Exchange) -> str:
    """The reason of an exchange whose client has gone: "reset", or "abort" for a FIN that counts as one."""
    return "reset" if ex.rec.latch & (ERROR | HUP) or not ex.rec.latch & ABORTED else "abort"


def leave_upstream(
    house: House, ex: Exchange, to_up: Bytes = b"", rest: Rest | None = None, *, whole: bool = True
) -> None:
    """Take an exchange whose client has gone away from the server, in the way that does it no harm.

    Args:
        house: the worker's.
        ex: its `up` is None afterwards.
        to_up: what of the request the server's socket has not taken yet.
        rest: of the response, where some of it has been relayed already.
        whole: whether the request's body has been had in full.
    """
    up, ex.up = ex.up, None
    if up is None:
        return
    if to_up and len(to_up) == len(ex.request):
        ex.group.release(up)  # the server has seen nothing of it
    elif house.draining or may_abandon(ex, whole=whole):
        house.counts["abandoned"] += 1
        ex.group.abandon(up)
    else:
        house.counts["attended"] += 1
        Attended(house.lobby, ex, up, to_up, rest or Rest())
