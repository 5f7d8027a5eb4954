"""Which fields go on, and which do not, as the RFCs and the design say; not as the product says it."""

from typing import Final

HOP: Final = frozenset(
    b"connection keep-alive proxy-connection te upgrade http2-settings transfer-encoding "
    b"content-length".split()
)
"""Taken out in both directions, or written anew."""
HOP_UP: Final = HOP | frozenset(b"expect proxy forwarded x-real-ip x_real_ip host max-forwards".split())
ANEW: Final = frozenset(b"content-length transfer-encoding connection".split())
ANEW_UP: Final = frozenset(
    b"content-length transfer-encoding host max-forwards forwarded x-forwarded-for x-forwarded-proto "
    b"x-forwarded-host".split()
)
"""Of these, what is written anew."""
NEVER_BY_NAME: Final = frozenset(
    b"close host content-length transfer-encoding content-type content-encoding content-range cache-control "
    b"date via max-forwards set-cookie".split()
)
"""What a Connection field cannot take away."""
NOT_TRAILING: Final = frozenset(
    b"transfer-encoding content-length host connection keep-alive proxy-connection te trailer upgrade "
    b"http2-settings content-encoding content-type content-range authorization proxy-authorization "
    b"proxy-authenticate www-authenticate cookie set-cookie cache-control expect max-forwards pragma range "
    b"if-match if-none-match if-modified-since if-unmodified-since if-range age date expires location "
    b"retry-after vary warning via forwarded x-real-ip proxy".split()
)
