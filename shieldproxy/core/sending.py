"""How a client reads its response: gone, idle, too slow, or slow and to be waited for.

Judged by what its kernel has acknowledged. What it took ahead, be it megabytes, is to its credit: a reader
whose average is above the least rate is served for ever, however long its window stays closed now and then.
Only time in which there was something for it to take counts (`pace.Pace` is paused else).
"""

from math import inf
from typing import Final

from shieldproxy.core.closing import SOON, Kernel, stalled_at, vanished
from shieldproxy.core.limits import Timeouts
from shieldproxy.core.pace import Pace, rate_at

UNSEEN: Final = -1
"""Of a pace's `moved`: its client's acknowledgements were not looked at yet."""


def judge(pace: Pace, kernel: Kernel | None, taken: int, began: float, timeouts: Timeouts, now: float) -> str:
    """Look at a client that has yet to take something of its response.

    Args:
        pace: how it has taken it so far; what it has acknowledged since the last look is noted here.
        kernel: TCP_INFO; None for a unix socket, whose bytes are the client's as soon as they are sent.
        taken: bytes of the response that it has acknowledged.
        began: when its request came: from then on what it took ahead is held against the time.
        timeouts: of its policy.
        now: seconds of the worker's clock.

    Returns:
        Why it is given up, as the log says it; empty if it is to be waited for.
    """
    if kernel is not None and vanished(kernel, timeouts):
        return "vanished"
    if taken > pace.moved:
        if pace.moved != UNSEEN:
            pace.last = now
        pace.moved = taken
    if now >= stalled_at(pace.last, began, taken, timeouts):
        return "send-idle"
    return "send-rate" if now >= rate_at(pace.began, taken, timeouts.send_min_rate) else ""


def next_look(pace: Pace, silent: float, began: float, timeouts: Timeouts, now: float) -> float:
    """Return when to look again, if nothing happens before: rarely, but when a verdict may have changed.

    Args:
        pace: as `judge` has left it.
        silent: seconds since anything of the client arrived; 0 for a unix socket.
        began: as for `judge`.
        timeouts: of its policy.
        now: seconds of the worker's clock.
    """
    left = timeouts.fin_wait_1 - silent
    gone = left if left > 0 else max(SOON, (now - pace.last) / 8)
    verdict = min(
        stalled_at(pace.last, began, pace.moved, timeouts),
        rate_at(pace.began, pace.moved, timeouts.send_min_rate),
    )
    again = min(verdict - now, gone, max(SOON, timeouts.send_idle / 4))
    return now + max(SOON / 4, again) if again != inf else inf
