"""Types of single values in the configuration: a text or number that has been looked at.

Each is a plain ``float``, ``int`` or ``str`` once read. ``convert`` is msgspec's hook for them: it raises
ValueError with what is wrong, in a few words, and optionally "; allowed: ..." where that is better than
the general line of ``ALLOWED``.
"""

import re
from collections.abc import Callable

from shieldproxy import units
from shieldproxy.core.address import ALLOWED as ADDRESSES
from shieldproxy.core.address import Address
from shieldproxy.core.match import cidr_fault, host_fault, path_fault, pattern_fault

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


class Seconds(float):
    """A time in seconds; ``math.inf`` is "off"."""

    __slots__ = ()


class WholeSeconds(float):
    """A time that the kernel takes in whole seconds: 1 to 120, never "off"."""

    __slots__ = ()


class Rate(float):
    """Bytes a second; 0 is "off"."""

    __slots__ = ()


class Size(int):
    """Bytes; ``sys.maxsize`` is "off"."""

    __slots__ = ()


class Deny(int):
    """A status from 400 to 599; 0 is "off", which takes an earlier rule's denial back."""

    __slots__ = ()


class Text(str):
    """One line of text."""

    __slots__ = ()


class Name(str):
    """A name that stands in log lines and tables."""

    __slots__ = ()


class ListenAddress(str):
    """An address to listen on: an IP with a port, or a unix socket."""

    __slots__ = ()


class ServerAddress(str):
    """An address to connect to; it may be a name."""

    __slots__ = ()


class Cidr(str):
    """A network."""

    __slots__ = ()


class Pattern(str):
    """An RE2 pattern."""

    __slots__ = ()


class HostPattern(str):
    """``a.example``, ``*.example`` or ``*``."""

    __slots__ = ()


class PathPrefix(str):
    """A path, matched by whole segments."""

    __slots__ = ()


class Method(str):
    """A request method; case matters (RFC 9110 9.1)."""

    __slots__ = ()


class FieldName(str):
    """A header field's name that the proxy does not need for itself."""

    __slots__ = ()


class FieldValue(str):
    """A header field's value: visible ASCII, with spaces and tabs inside only."""

    __slots__ = ()


def quoted(text: str) -> str:
    """Show a text in a fault: on one line, whatever it holds."""
    shown = text if len(text) <= 80 else text[:77] + "..."
    return f'"{shown}"' if shown.isprintable() else ascii(shown)


def _whole_seconds(value: object) -> float:
    read = units.seconds(value)
    if read != read // 1 or not 1 <= read <= 120:
        raise ValueError(f'"{value}" is not 1 to 120 whole seconds')
    return read


_NOT_DENIALS = {401: "WWW-Authenticate", 407: "Proxy-Authenticate", 426: "Upgrade"}
"""Refusals that must carry a field (RFC 9110 15.5.2, 15.5.8, 15.5.22), for which a rule has no value."""


def _deny(value: object) -> int:
    if value == units.OFF:
        return 0
    if isinstance(value, int) and value in _NOT_DENIALS:
        raise ValueError(f"{value} needs a {_NOT_DENIALS[value]} field, which a rule cannot give")
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
        return value
    raise ValueError(
        f"{quoted(value) if isinstance(value, str) else str(value).lower()} is no status of a refusal"
    )


def _text(value: str) -> str:
    if not value.isprintable():
        raise ValueError(f"{quoted(value)} is more than one line of text")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{quoted(value)} cannot be a name")
    return value


def _listen(value: str) -> str:
    try:
        address = Address.parse(value)
    except ValueError as error:  # it would allow names too
        raise ValueError(str(error).replace(ADDRESSES, LISTENS)) from None
    if address.is_name:
        raise ValueError(f"{quoted(value)} is a name, and a name may be many addresses")
    return value


def _server(value: str) -> str:
    address = Address.parse(value)
    if not address.is_unix and not address.port:
        raise ValueError(f"{quoted(value)} has port 0; allowed: 1 to 65535")
    return value


def _field_name(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no field name")
    if value.lower() in FRAMING:
        raise ValueError(
            f"{quoted(value)} frames the message; allowed: any field but {', '.join(sorted(FRAMING))}"
        )
    return value


def _field_value(value: str) -> str:
    if value and not _VALUE.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no field value")
    return value


def _method(value: str) -> str:
    if not _TOKEN.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no method")
    return value


def _judged(fault_of: Callable[[str], str | None]) -> Callable[[str], str]:
    """Turn a function that tells a fault into one that raises it."""

    def read(value: str) -> str:
        if (fault := fault_of(value)) is not None:
            raise ValueError(
                f"{quoted(value)} {fault}" if fault.startswith(("is ", "has ", "does ")) else fault
            )
        return value

    return read


NUMBERS: dict[type, Callable[[object], float | int]] = {
    Seconds: units.seconds,
    WholeSeconds: _whole_seconds,
    Rate: units.rate,
    Size: units.size,
    Deny: _deny,
}
TEXTS: dict[type, Callable[[str], str]] = {
    Text: _text,
    Name: _name,
    ListenAddress: _listen,
    ServerAddress: _server,
    Cidr: _judged(cidr_fault),
    Pattern: _judged(pattern_fault),
    HostPattern: _judged(host_fault),
    PathPrefix: _judged(path_fault),
    Method: _method,
    FieldName: _field_name,
    FieldValue: _field_value,
}
ALLOWED: dict[type, str] = {
    Seconds: f'{units.TIME_ALLOWED}, or "off"',
    WholeSeconds: 'whole seconds from "1s" to "120s"',
    Rate: f'{units.RATE_ALLOWED}, or "off"',
    Size: units.SIZE_ALLOWED,
    Deny: 'a status from 400 to 599 but 401, 407 and 426, or "off"',
    Text: "one line of text",
    Name: "1 to 80 characters of ASCII on one line, no space at either end",
    ListenAddress: LISTENS,
    ServerAddress: ADDRESSES,
    Cidr: 'a network such as "10.0.0.0/8", "192.0.2.7" or "2001:db8::/32"',
    Pattern: 'an RE2 pattern such as "Mozilla/2"',
    HostPattern: '"a.example", "*.example" or "*"',
    PathPrefix: 'a path such as "/" or "/app"',
    Method: 'a method such as "GET"',
    FieldName: "a header field's name",
    FieldValue: "visible ASCII, with spaces inside only",
}


def convert(kind: type, value: object) -> object:
    """Make one of these types of a value from TOML (msgspec's ``dec_hook``).

    Raises:
        ValueError: what is wrong, in a few words.
    """
    if number := NUMBERS.get(kind):
        return kind(number(value))
    if not isinstance(value, str):
        raise TypeError("no text")
    return kind(TEXTS[kind](value))
