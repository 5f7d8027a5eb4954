"""A look at a client that has yet to take something: for the relay's clients and for the sender's."""

from shieldproxy.core.sending import judge, next_look
from shieldproxy.net.tcpinfo import kernel_facts
from shieldproxy.proxy.state import Exchange


def look(ex: Exchange, now: float) -> tuple[str, float]:
    """Judge how a client takes its response.

    Returns:
        Why it is given up, empty if it is not; and when to look again.
    """
    rec, reader = ex.rec, ex.reader
    timeouts = ex.policy.timeouts
    kernel = kernel_facts(rec.sock)
    taken = ex.bytes_out if kernel is None else kernel.bytes_acked - rec.sent
    reason = judge(reader, kernel, taken, rec.since, timeouts, now)
    return reason, next_look(reader, kernel.silent if kernel else 0.0, rec.since, timeouts, now)
