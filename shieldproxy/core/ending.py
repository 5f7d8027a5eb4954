"""Where a head ends, before anybody reads it: asked for each piece of it, so each byte is looked at once.

It decides where the first blank line is and how many stand before the request line; it never says what a head
means. Clients and both lanes call it through ``head``.
"""

import re
from typing import Final

from shieldproxy.core.fields import Fault

_blank: Final = re.compile(rb"(?:\r?\n)*+").match


def end_of_head(buf: bytes | bytearray, start: int) -> int:
    """Return the index just past the blank line that ends the head at the beginning of ``buf``, or -1.

    ``start`` is where the search begins: for a head that comes in pieces, ``max(0, old_length - 3)``, so that
    each byte is looked at once. A blank line of bare LFs counts too, so that such a client hears of it at
    once.
    """
    end = buf.find(b"\r\n\r\n", start)
    if end >= 0:
        first = buf.find(b"\n")
        if buf[first - 1] == 13:  # a client of CRLF; if bare LFs are mixed in, read_request finds them
            return end + 4
    # The earlier of LF LF and LF CR LF.
    mixed = buf.find(b"\n\r\n", start)
    bare = buf.find(b"\n\n", start, mixed + 1 if mixed >= 0 else len(buf))
    if bare >= 0:
        return bare + 2
    return mixed + 3 if mixed >= 0 else -1


def skip_blank(data: bytes | bytearray) -> int:
    """Return how many bytes of blank lines stand before the request line (RFC 9112 section 2.2: ignored).

    To be asked again as long as nothing else has come: the CR of a blank line may arrive before its LF.
    """
    match = _blank(data)
    return match.end() if match else 0


def too_long(data: bytes | bytearray) -> Fault:
    """Return the fault of a head that outgrew its limit before it ended: 414 for a request line, else 431."""
    if b"\n" in data:
        return Fault(431, "head-long", "the request head is too long")
    return Fault(414, "target-long", "the request line is too long")
