"""The grammar that request heads, response heads and trailers have in common (RFC 9110 section 5, RFC 9112).

It decides what a field line may look like, what each field name means to a proxy, and what a Host or a
Connection value says. It never looks at a whole message: that is done by head, response and body.

Every pattern is possessive (``++``, ``*+``): a byte is looked at once, whatever a hostile peer sends. The
tables that remember names and values seen are bounded, and forget nothing that they need: what does not fit
is worked out again.
"""

import re
from collections.abc import Callable, Iterable
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple

CHUNKED: Final = -1
"""A body framed by the chunked coding."""
UNTIL_CLOSE: Final = -2
"""A response body that ends with its connection."""


class Fault(NamedTuple):
    """Why a message is refused: a status, a short token for logs and tests, and a sentence for people."""

    status: int
    reason: str
    detail: str


TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*+"

is_token: Final = re.compile(TOKEN).fullmatch
is_field: Final = re.compile(TOKEN + rb":" + VALUE).fullmatch
_bad_in_value: Final = re.compile(rb"[^\t\x20-\x7e\x80-\xff]").search

# What a name means to a proxy. Numbers, not an enum: they are compared for every field of every message.
PLAIN: Final = 0  # forwarded as it is
HOST: Final = 1
USER_AGENT: Final = 2
CONNECTION: Final = 3
LENGTH: Final = 4
CODING: Final = 5
HOP: Final = 6  # meant for one connection: dropped
FORWARDING: Final = 7  # what proxies say about the client: dropped, and written anew
EXPECT: Final = 8
TE: Final = 9
UPGRADE: Final = 10
MAX_FORWARDS: Final = 11
VIA: Final = 12
DATE: Final = 13
LOOKALIKE: Final = 14  # content_length and the like: refused
ACCEL: Final = 15  # X-Accel-Buffering: a word between a server and its proxy, dropped

_HOP = dict.fromkeys((b"keep-alive", b"proxy-connection"), HOP)
_REQUEST_NAMES: Final = {
    b"host": HOST,
    b"user-agent": USER_AGENT,
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"http2-settings": HOP,
    b"proxy": HOP,  # a CGI server would take it for the variable HTTP_PROXY
    b"forwarded": FORWARDING,
    b"x-real-ip": FORWARDING,
    b"expect": EXPECT,
    b"te": TE,
    b"upgrade": UPGRADE,
    b"max-forwards": MAX_FORWARDS,
    b"via": VIA,
    **_HOP,
}
_RESPONSE_NAMES: Final = {
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"http2-settings": HOP,
    b"te": HOP,
    b"upgrade": UPGRADE,
    b"date": DATE,
    b"x-accel-buffering": ACCEL,
    **_HOP,
}


def _request_kind(name: bytes) -> int:
    """Return the kind of a lower-case name. CGI takes ``_`` and ``-`` for the same: forgeries are seen."""
    kind = _REQUEST_NAMES.get(name)
    if kind is not None:
        return kind
    dashed = name.replace(b"_", b"-")
    if dashed.startswith(b"x-forwarded-"):
        return FORWARDING
    if dashed != name:
        kind = _REQUEST_NAMES.get(dashed, PLAIN)
        if kind == FORWARDING or dashed == b"proxy":
            return FORWARDING
        if kind in {HOST, LENGTH, CODING}:
            return LOOKALIKE
    return PLAIN


def _response_kind(name: bytes) -> int:
    return _RESPONSE_NAMES.get(name, PLAIN)


class OddLine(Exception):
    """A line is not a field line by the grammar."""


Field = tuple[int, bytes, bytes]
"""What a field line says: kind, lower-case name, stripped value. A bare tuple is unpacked twice as fast."""

PLAIN_FIELD: Final[Field] = (PLAIN, b"", b"")
"""Of every line that means nothing to a proxy."""

# Secrets, and lines that hardly come twice, are not remembered.
_FLEETING: Final = frozenset(
    b"authorization cookie if-modified-since if-none-match proxy-authorization referer set-cookie "
    b"traceparent x-request-id".split()
)


class KnownLines:
    """What the field lines seen so far mean.

    Most lines of most heads came before, byte for byte: looking one up costs a tenth of reading it. A line
    that ``get`` does not find is read by ``learn``, strictly. When there is no more room, all is forgotten:
    what is in use comes back.
    """

    ROOM: Final = 4096
    LONGEST: Final = 192

    def __init__(self, kind_of: Callable[[bytes], int]) -> None:
        self._kind_of = kind_of
        self._fleeting = {spelt for name in _FLEETING for spelt in (name, name.title())}
        self._lines: dict[bytes, Field] = {}
        self.get: Final = self._lines.get
        """The meaning of a line, if it is known."""

    def learn(self, line: bytes) -> Field:
        """Read a line; raises OddLine for what is not a field line by the grammar."""
        if not is_field(line):
            raise OddLine
        name, _, value = line.partition(b":")
        if name in self._fleeting:
            return PLAIN_FIELD
        lower = name.lower()
        kind = self._kind_of(lower)
        field = (kind, lower, value.strip(b" \t")) if kind else PLAIN_FIELD
        if len(line) <= self.LONGEST and lower not in _FLEETING:
            if len(self._lines) >= self.ROOM:
                self._lines.clear()
            self._lines[line] = field
        return field

    def __len__(self) -> int:
        return len(self._lines)


REQUEST_LINES: Final = KnownLines(_request_kind)
RESPONSE_LINES: Final = KnownLines(_response_kind)


def field_fault(line: bytes, status: int) -> Fault:
    """Say what is wrong with a field line that the grammar does not take (RFC 9112 section 5)."""
    if b"\r" in line:
        return Fault(status, "bare-cr", "a CR that is not part of a line end")
    name, colon, value = line.partition(b":")
    if not colon:
        return Fault(status, "field-name", "a field line without a colon")
    if not name:
        return Fault(status, "field-name", "a field without a name")
    if name[-1:] in {b" ", b"\t"} and is_token(name.rstrip(b" \t")):
        return Fault(status, "space-before-colon", "white space between a field name and its colon")
    if not is_token(name):
        return Fault(status, "field-name", "a character in a field name that is not allowed there")
    if _bad_in_value(value):
        return Fault(status, "field-value", "a control character in a field value")
    return Fault(status, "field-value", "a malformed field")


# RFC 3986 section 3.2.2, without the comma: a list of hosts, folded into one line by somebody on the way, is
# not a host.
_authority: Final = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})++|\[([0-9A-Fa-f:.]++)\]|\[[vV][0-9A-Fa-f]++\.[A-Za-z0-9\-._~!$&'()*+;=:]++\])"
    rb"(?::([0-9]{0,5}+))?+"
).fullmatch
_LONGEST_HOST: Final = 262  # a name of 255, a colon, a port
_hosts: dict[bytes, bytes] = {}


def read_host(value: bytes) -> bytes | None:
    """Return the authority in lower case, with its port if there is one, or None where it is malformed.

    A name or an address and a port (RFC 9110 section 7.2); user information is not allowed, nor an empty name
    (RFC 9110 section 4.2.1).
    """
    host = _hosts.get(value)
    if host is not None:
        return host
    match = _authority(value) if len(value) <= _LONGEST_HOST else None
    if match is None:
        return None
    literal, port = match.groups()
    if literal is not None:
        try:
            IPv6Address(literal.decode("ascii"))
        except AddressValueError:
            return None
    if port and int(port) > 0xFFFF:
        return None
    host = value.lower()
    if port == b"":
        host = host[:-1]
    if len(_hosts) < 1024:
        _hosts[value] = host
    return host


class Options(NamedTuple):
    """What a Connection field asks for (RFC 9110 section 7.6.1)."""

    close: bool
    keep_alive: bool
    named: frozenset[bytes]
    """Lower-case names of the fields that are to be removed with it."""


# Fields that belong to the message and not to the connection: naming them in Connection must not take away
# what the message is. An attacker would otherwise strip the Host or the length on the way to the server.
PROTECTED: Final = frozenset(
    b"host content-length transfer-encoding content-type content-encoding content-range cache-control "
    b"date via max-forwards set-cookie".split()
)
NO_OPTIONS: Final = Options(close=False, keep_alive=False, named=frozenset())
_options: dict[bytes, Options] = {b"": NO_OPTIONS}
_NOT_NAMES: Final = frozenset(
    (b"close", b"keep-alive", b"upgrade", b"te", b"http2-settings", b"proxy-connection")
)


def read_connection(value: bytes) -> Options:
    """Read a Connection value; several lines are joined by commas. What is not a token means nothing."""
    options = _options.get(value)
    if options is None:
        names = members(value)
        named = frozenset(name for name in names - _NOT_NAMES - PROTECTED if is_token(name))
        options = Options(b"close" in names, b"keep-alive" in names, named)
        if len(_options) < 256 and len(value) <= 128:
            _options[value] = options
    return options


def members(value: bytes) -> set[bytes]:
    """Return the members of a list (RFC 9110 section 5.6.1) in lower case; lines are joined by commas."""
    return {item.strip(b" \t").lower() for item in value.split(b",")}


def without(lines: Iterable[bytes], names: frozenset[bytes]) -> list[bytes]:
    """Return the field lines whose names are not among the lower-case ``names``."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def values_of(lines: Iterable[bytes], name: bytes) -> list[bytes]:
    """Return the values of all lines of one lower-case name, stripped, in order."""
    pairs = (line.partition(b":") for line in lines)
    return [value.strip(b" \t") for found, _, value in pairs if found.lower() == name]
