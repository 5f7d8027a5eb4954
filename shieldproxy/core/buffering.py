"""Which responses go on as they come, and only as fast as their client takes them.

All others are read as fast as the upstream sends: what the client does not take is kept for it. For a stream
of events that would be wrong: nobody wants old ones, and it need not have an end.
"""

from collections.abc import Iterable
from typing import Final

from shieldproxy.core.policy import Buffering

EVENTS: Final = b"text/event-stream"
_FIELD: Final = b"content-type:"


def streams(policy: Buffering | None, route: Buffering, accel: bool, lines: Iterable[bytes]) -> bool:
    """Tell whether a response is streamed, not buffered.

    Args:
        policy: what the client's rules say; None is nothing.
        route: what its route says.
        accel: whether the response said ``X-Accel-Buffering: no``.
        lines: its field lines.
    """
    if (policy or route) == "stream" or accel:
        return True
    return any(_is_events(line) for line in lines if line[:13].lower() == _FIELD)


def _is_events(line: bytes) -> bool:
    return line[13:].partition(b";")[0].strip().lower() == EVENTS
