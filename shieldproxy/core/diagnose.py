"""The slow and thorough way to read a head: what the plain pattern did not take.

It decides between three things: the head is plain after all but for its shape (an absolute target, ``*``,
HTTP/1.2), it is odd but harmless and can be normalised (bare LF, folds), or it is at fault, and how. It never
guesses: what is returned is as strict as what the plain pattern takes. Called by head and response only.
"""

import re
from typing import Final, NamedTuple

from shieldproxy.core.fields import Fault, field_fault, is_field, is_token, read_host

BARE_LF: Final = 1
"""Oddity: a line ended by LF alone (RFC 9112 section 2.2)."""
FOLDS: Final = 2
"""Oddity: a field value continued on a second line (RFC 9112 section 5.2)."""

_version: Final = re.compile(rb"HTTP/([0-9])\.([0-9])").fullmatch
_visible: Final = re.compile(rb"[\x21-\x7e]++").fullmatch
_origin: Final = re.compile(rb"(/[!-\"$->@-~]*+)(?:\?[!-\"$-~]*+)?+").fullmatch
_absolute: Final = re.compile(rb"(?i:(https?))://([^/?#]*+)([/?][!-\"$-~]*+)?+").fullmatch
_scheme: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*+://").match


class RequestLine(NamedTuple):
    """A request line that was read the slow way."""

    method: bytes
    target: bytes
    minor: int


class Target(NamedTuple):
    """A request target (RFC 9112 section 3.2), in the form in which it is forwarded."""

    target: bytes
    path: bytes
    authority: bytes
    """As written, of an absolute target; else empty."""


def split_lines(data: bytes, status: int) -> tuple[list[bytes], int] | Fault:
    """Cut a head into lines; returns them without the last, blank one, and the oddities of their ends."""
    lines = data.split(b"\n")
    lines.pop()
    bare = [line for line in lines if not line.endswith(b"\r")]
    lines = [line.removesuffix(b"\r") for line in lines]
    if lines and not lines[-1]:  # one: before a second one the head was over already, and the body began
        lines.pop()
    if not all(lines):
        return Fault(status, "bare-lf" if bare else "request-line", "a blank line inside the head")
    return lines, BARE_LF if bare else 0


def fields_of(raw: list[bytes], status: int, *, spaced: bool = False) -> tuple[list[bytes], int] | Fault:
    """Unfold field lines and check each; returns them and the oddities met.

    ``spaced``: white space before a colon is removed (a proxy must do so in responses, RFC 9112 section 5.1).
    """
    groups: list[list[bytes]] = []
    for line in raw:
        if line[0] not in b" \t":
            groups.append([line])
        elif not groups:
            return Fault(status, "obs-fold", "white space before the first field")
        elif b":" not in groups[-1][0]:  # a fold continues a value, never a name (RFC 9112 section 5.2)
            return field_fault(groups[-1][0], status)
        else:
            groups[-1].append(line.strip(b" \t"))
    oddities = FOLDS if len(groups) < len(raw) else 0
    lines = [b" ".join(group) for group in groups]
    if spaced:
        lines = [_without_space(line) for line in lines]
    for line in lines:
        if not is_field(line):
            return field_fault(line, status)
    return lines, oddities


def _without_space(line: bytes) -> bytes:
    name, colon, value = line.partition(b":")
    return name.rstrip(b" \t") + colon + value


def request_line(line: bytes) -> RequestLine | Fault:
    """Read a request line (RFC 9112 section 3) or say what is wrong with it; HTTP/1.2 to 1.9 count as 1.1."""
    if b"\r" in line:
        return Fault(400, "bare-cr", "a CR that is not part of a line end")
    parts = line.split(b" ")
    if len(parts) != 3 or not all(parts):
        if len(parts) == 2 and all(parts) and not parts[1].startswith(b"HTTP/"):
            return Fault(400, "version", "no HTTP version in the request line")
        return Fault(400, "request-line", "not a method, a target and a version with one space between them")
    method, target, version = parts
    if not is_token(method):
        return Fault(400, "request-line", "a character in the method that is not allowed there")
    match = _version(version)
    if match is None:
        return Fault(400, "version", "not an HTTP version")
    if match[1] != b"1":
        return Fault(400, "version", "this is an HTTP/1 server")
    return RequestLine(method, target, 0 if match[2] == b"0" else 1)


def request_target(method: bytes, target: bytes) -> Target | Fault:
    """Read a target in origin-form, absolute-form or ``*``; absolute-form comes back as origin-form."""
    if not _visible(target):
        return Fault(400, "target", "a character in the target that is not allowed there")
    if b"#" in target:
        return Fault(400, "target", "a fragment in the target")
    match = _origin(target)
    if match is not None:
        return Target(target, match[1], b"")
    if target == b"*":
        if method == b"OPTIONS":
            return Target(target, target, b"")
        return Fault(400, "target", "* is a target for OPTIONS only")
    match = _absolute(target)
    if match is None:
        if _scheme(target):
            return Fault(400, "target", "a target of a scheme that is not served here")
        return Fault(400, "target", "neither a path nor an absolute URI")
    scheme, authority, rest = match[1], match[2], match[3] or b""
    if read_host(authority) is None:
        return Fault(400, "host-bad", "a malformed authority in the target")
    if scheme.lower() != b"http":
        return Fault(421, "target", "an https target on a plain connection")  # RFC 9110 section 7.4
    if not rest and method == b"OPTIONS":
        return Target(b"*", b"*", authority)  # RFC 9112 section 3.2.4
    if not rest.startswith(b"/"):
        rest = b"/" + rest
    return Target(rest, rest.partition(b"?")[0], authority)
