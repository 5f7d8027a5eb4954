"""Whether a request may be sent a second time.

An idle upstream connection may close just as a request leaves for it. Then nothing tells whether the
server has begun to work on it, so only a request that may run twice is sent again (RFC 9110 section
9.2.2, RFC 9112 section 9.3.1), once, on a fresh connection.
"""

from typing import Final

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})


def may_retry(*, method: bytes, reused: bool, answered: bool, replayable: bool, retries: int) -> bool:
    """Tell whether a request whose upstream connection closed may go to a fresh one.

    Args:
        method: of the request, as it was sent.
        reused: whether the connection had served another request before.
        answered: whether any byte of a response has come.
        replayable: whether every byte sent can be sent again.
        retries: how often this request was already sent again.
    """
    return reused and not answered and replayable and retries == 0 and method in IDEMPOTENT
