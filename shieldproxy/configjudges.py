"""How single texts and numbers of the configuration are judged: each raises ValueError with what is wrong.

In a few words, with "; allowed: ..." behind them where that is better than the general line of
``configtypes.ALLOWED``.
"""

import ipaddress
import re
import sys
from collections.abc import Callable

from shieldproxy import units
from shieldproxy.core.address import ALLOWED as ADDRESSES
from shieldproxy.core.address import Address

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(:[0-9]{1,5})?")
_TARGET = re.compile(r"/[!-~]*")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(r"(?! )[ -~]{1,80}(?<! )")
_VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?")

FRAMING = frozenset(
    [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""Fields that say where a message ends or how the connection goes on: the proxy's own business."""

FORWARDING = frozenset(["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"])
"""Fields that the proxy writes on every request, from what it saw itself."""

LISTENS = '"127.0.0.1:8080", "[::1]:8080" or "unix:/path"'
"""What may be listened on."""


def quoted(text: str) -> str:
    """Show a text in a fault: on one line, whatever it holds."""
    shown = text if len(text) <= 80 else text[:77] + "..."
    return f'"{shown}"' if shown.isprintable() else ascii(shown)


def whole_seconds(value: object) -> float:
    """A time that the kernel takes in whole seconds, 1 to 120."""
    read = units.seconds(value)
    if read != read // 1 or not 1 <= read <= 120:
        raise ValueError(f'"{value}" is not 1 to 120 whole seconds')
    return read


_NOT_DENIALS = {401: "WWW-Authenticate", 407: "Proxy-Authenticate", 426: "Upgrade"}
"""Refusals that must carry a field (RFC 9110 15.5.2, 15.5.8, 15.5.22), for which a rule has no value."""


def disk(value: object) -> int:
    """Bytes of files: here "off" is none at all, not no bound."""
    return 0 if value == units.OFF else units.size(value)


def count(value: object) -> int:
    """A whole number; "off" is no bound."""
    if value == units.OFF:
        return sys.maxsize
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{quoted(value) if isinstance(value, str) else str(value).lower()} is no whole number")


def share(value: object) -> float:
    """A part of the whole, from 0 to 1."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ValueError(
        f"{quoted(value) if isinstance(value, str) else str(value).lower()} is no share from 0 to 1"
    )


def deny(value: object) -> int:
    """A status of a refusal; "off" is 0."""
    if value == units.OFF:
        return 0
    if isinstance(value, int) and value in _NOT_DENIALS:
        raise ValueError(f"{value} needs a {_NOT_DENIALS[value]} field, which a rule cannot give")
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
        return value
    raise ValueError(
        f"{quoted(value) if isinstance(value, str) else str(value).lower()} is no status of a refusal"
    )


def text(value: str) -> str:
    """One line of text."""
    if not value.isprintable():
        raise ValueError(f"{quoted(value)} is more than one line of text")
    return value


def name(value: str) -> str:
    """What stands in log lines and tables."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"{quoted(value)} cannot be a name")
    return value


def listen(value: str) -> str:
    """An address to listen on: no name."""
    try:
        address = Address.parse(value)
    except ValueError as error:  # it would allow names too
        raise ValueError(str(error).replace(ADDRESSES, LISTENS)) from None
    if address.is_name:
        raise ValueError(f"{quoted(value)} is a name, and a name may be many addresses")
    return value


def server(value: str) -> str:
    """An address to connect to: a port above 0."""
    address = Address.parse(value)
    if not address.is_unix and not address.port:
        raise ValueError(f"{quoted(value)} has port 0; allowed: 1 to 65535")
    return value


def field_name(value: str) -> str:
    """A header field's name, of those that do not frame the message."""
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no field name")
    if value.lower() in FRAMING:
        raise ValueError(
            f"{quoted(value)} frames the message; allowed: any field but {', '.join(sorted(FRAMING))}"
        )
    return value


def field_value(value: str) -> str:
    """A header field's value."""
    if value and not _VALUE.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no field value")
    return value


def method(value: str) -> str:
    """A method (RFC 9110 section 9.1); case matters."""
    if not _TOKEN.fullmatch(value) or value == "*":  # a token by its letters, and the name of no method
        raise ValueError(f"{quoted(value)} is no method")
    return value


def host_value(value: str) -> str:
    """What a Host field may say (RFC 9112 section 3.2)."""
    if not _HOST.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no host")
    return value


def target(value: str) -> str:
    """A path that can be asked for, perhaps with a query."""
    if not _TARGET.fullmatch(value) or "#" in value:
        raise ValueError(f"{quoted(value)} is no path that can be asked for")
    return value


def ipv4(text: str) -> bool:
    """Whether it is an IPv4 address, and no name."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def ip(value: str) -> str:
    """An address of this host to connect from."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(f"{quoted(value)} is no IP address") from None
    if address.is_multicast or address.is_unspecified:
        raise ValueError(f"{quoted(value)} is no address that connections can come from")
    return value


def judged(fault_of: Callable[[str], str | None]) -> Callable[[str], str]:
    """Turn a function that tells a fault into one that raises it."""

    def read(value: str) -> str:
        if (fault := fault_of(value)) is not None:
            raise ValueError(
                f"{quoted(value)} {fault}" if fault.startswith(("is ", "has ", "does ")) else fault
            )
        return value

    return read
