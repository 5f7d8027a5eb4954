"""A look at a client that has yet to take something: for the relay's clients and for the sender's."""

from typing import Final

from shieldproxy.core.closing import SOON
from shieldproxy.core.sending import judge, next_look
from shieldproxy.net.tcpinfo import kernel_facts
from shieldproxy.proxy.state import Exchange

FIRST_LOOK: Final = 2 * SOON
"""Seconds in which a client that keeps up has taken everything."""


def first_look(ex: Exchange, now: float) -> float:
    """When to look at a client that has just begun to be behind."""
    return now + min(FIRST_LOOK, ex.policy.timeouts.send_idle)


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
