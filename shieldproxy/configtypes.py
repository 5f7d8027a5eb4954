"""Types of single values in the configuration: a text or number that has been looked at.

Each is a plain ``float``, ``int`` or ``str`` once read. ``convert`` is msgspec's hook for them: it raises
ValueError with what is wrong, in a few words, and optionally "; allowed: ..." where that is better than
the general line of ``ALLOWED``.
"""

from collections.abc import Callable

from shieldproxy import configjudges as judges
from shieldproxy import units
from shieldproxy.configjudges import LISTENS
from shieldproxy.core.address import ALLOWED as ADDRESSES
from shieldproxy.core.match import cidr_fault, host_fault, path_fault, pattern_fault


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


class DiskSize(int):
    """Bytes of files; 0 is "off": no file at all."""

    __slots__ = ()


class Count(int):
    """A whole number; ``sys.maxsize`` is "off"."""

    __slots__ = ()


class Share(float):
    """A part, from 0 to 1."""

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


class HostValue(str):
    """What a Host field says."""

    __slots__ = ()


class Target(str):
    """A path to ask for, with a query or without."""

    __slots__ = ()


class IpAddress(str):
    """An address without a port."""

    __slots__ = ()


class FieldName(str):
    """A header field's name that the proxy does not need for itself."""

    __slots__ = ()


class FieldValue(str):
    """A header field's value: visible ASCII, with spaces and tabs inside only."""

    __slots__ = ()


NUMBERS: dict[type, Callable[[object], float | int]] = {
    Seconds: units.seconds,
    WholeSeconds: judges.whole_seconds,
    Rate: units.rate,
    Size: units.size,
    DiskSize: judges.disk,
    Count: judges.count,
    Share: judges.share,
    Deny: judges.deny,
}
TEXTS: dict[type, Callable[[str], str]] = {
    Text: judges.text,
    Name: judges.name,
    ListenAddress: judges.listen,
    ServerAddress: judges.server,
    Cidr: judges.judged(cidr_fault),
    Pattern: judges.judged(pattern_fault),
    HostPattern: judges.judged(host_fault),
    PathPrefix: judges.judged(path_fault),
    Method: judges.method,
    HostValue: judges.host_value,
    Target: judges.target,
    IpAddress: judges.ip,
    FieldName: judges.field_name,
    FieldValue: judges.field_value,
}
ALLOWED: dict[type, str] = {
    Seconds: units.TIME_ALLOWED,
    WholeSeconds: 'whole seconds from "1s" to "120s"',
    Rate: units.RATE_ALLOWED,
    Size: units.SIZE_ALLOWED,
    DiskSize: f'{units.SIZE_ALLOWED}, or "off" for none',
    Count: "a whole number",
    Share: "a number from 0 to 1",
    Deny: 'a status from 400 to 599 but 401, 407 and 426, or "off"',
    Text: "one line of text",
    Name: "1 to 80 characters of ASCII on one line, no space at either end",
    ListenAddress: LISTENS,
    ServerAddress: ADDRESSES,
    Cidr: 'a network such as "10.0.0.0/8", "192.0.2.7" or "2001:db8::/32"',
    Pattern: 'an RE2 pattern such as "Mozilla/2"',
    HostPattern: '"a.example", "*.example" or "*"',
    PathPrefix: 'a path such as "/" or "/app"',
    Method: 'a method by its name, such as "GET"',
    HostValue: 'a host such as "a.example" or "a.example:8080"',
    Target: 'a path such as "/" or "/health?quick=1"',
    IpAddress: 'an IP address such as "192.0.2.7" or "2001:db8::7"',
    FieldName: "a header field's name",
    FieldValue: "visible ASCII, with spaces inside only",
}
OFF = (Seconds, Rate, Size, Count)
"""Where "off" is no bound; a key with bounds says whether it is one of its values (``extra["off"]``)."""
SHOWN: dict[type, Callable[..., str]] = {Seconds: units.show_seconds, Size: units.show_size}


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
