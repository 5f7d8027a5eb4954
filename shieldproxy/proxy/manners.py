"""What is done for a server's sake, or in spite of it: the last request on a connection, faulty responses.

``core.manners`` and ``core.response`` say what is to be written and what was found; this sees to it, counts
it, and is called for nothing that is as it should be.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from shieldproxy.core.diagnose import BARE_LF, FOLDS
from shieldproxy.core.response import CONNECTION, DATELESS, UPGRADE, ResponseHead
from shieldproxy.net.pool import Group
from shieldproxy.net.record import LAST, Upstream
from shieldproxy.proxy.state import Exchange

_REPAIRS: Final = ((BARE_LF, "bare_lf"), (FOLDS, "folds"), (DATELESS, "date"), (CONNECTION, "connection"))


def dressed(group: Group, up: Upstream, request: bytes) -> bytes:
    """A request as this connection is to have it: its last one says so (``max_requests``, ``keep_alive``)."""
    manners = group.manners
    if manners is None or not manners.is_last(up.uses):
        return request
    up.latch |= LAST
    return manners.last(request)


def mended(
    ex: Exchange, resp: ResponseHead, connection: bytes, now: Callable[[], bytes]
) -> tuple[bytes, bytes]:
    """See to what is odd about a response, and count it; returns our Connection, and the Date it lacks."""
    group, odd = ex.group, resp.odd
    repair = group.spec.repair
    for bit, name in _REPAIRS:
        if odd & bit and getattr(repair, name):
            group.repairs[name] += 1
    date = now() if odd & DATELESS and repair.date else b""
    if odd & UPGRADE:  # RFC 9110 section 7.8: Upgrade is for this connection, so Connection names it
        connection = b"%b, upgrade" % connection if connection else b"upgrade"
    return connection, date


def is_surplus(ex: Exchange, rest: bytes) -> bool:
    """Whether what came behind a response is more than blank lines that need not count."""
    return ex.group.spec.repair.wrong_length or bool(rest.strip(b"\r\n"))


def repaired(group: Group) -> Counter[str]:
    """How often each repair of a response acted, by the names of ``Repair``."""
    return group.repairs + Counter(wrong_length=group.surplus if group.spec.repair.wrong_length else 0)
