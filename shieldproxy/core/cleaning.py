"""Requests made plain for a server that takes too much for good: paths, ranges, queries. For routes that ask.

A path can be written in many ways, and a server, a rule and a route may not read it in the same one. So it is
brought to one form (RFC 3986 sections 6.2.2 and 5.2.4) and sent on in that; what has no safe form is refused:
an encoded slash or NUL, a backslash (a slash to some), a percent sign without its digits, ``..;`` (``..`` to
servlet engines). Each step leaves nothing for itself to do again: what is decoded is never a percent sign, so
``%252e`` stays what it is. Routes and rules have been found by then, and they are the right ones: what they
compare (``match.plain_path``, but for a last slash) is the same for a path and for its normal form.
"""

import re
from sys import maxsize
from typing import Final
from urllib.parse import unquote_to_bytes

from shieldproxy.core.fields import Fault, values_of, without
from shieldproxy.core.request import RequestHead
from shieldproxy.core.routes import Route

_odd: Final = re.compile(rb"[%\\]|//|/\.").search
_escape: Final = re.compile(rb"%([0-9A-Fa-f]{2})?+")
_forbidden: Final = re.compile(rb"%(?:2[Ff]|5[Cc]|00)|\\").search
_dots: Final = re.compile(rb"\.\.?+;.*", re.DOTALL).fullmatch
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

_RANGES: Final = frozenset((b"range", b"request-range"))
"""``Request-Range`` is Netscape's; servers of its time take both."""
_RANGE_FIELDS: Final = _RANGES | {b"if-range"}


def clean(head: RequestHead, route: Route) -> Fault | None:
    """Make a request plain as its route wants it, or say why not."""
    if route.normalise_path and _odd(head.path):
        path = normal_path(head.path)
        if isinstance(path, Fault):
            return path
        if path != head.path:
            head.target = path + head.target[len(head.path) :]
            head.path = path
    most = route.max_query_duplicates
    if most < maxsize and most_often(head.target[len(head.path) + 1 :], most) > most:
        return Fault(400, "query-duplicates", "one name stands in the query too often")
    if route.max_ranges < maxsize:
        lines = head.lines
        asked = [value for name in _RANGES for value in values_of(lines, name)]
        if asked and sum(value.count(b",") + 1 for value in asked) > route.max_ranges:
            head.lines = without(lines, _RANGE_FIELDS)
    return None


def normal_path(path: bytes) -> bytes | Fault:
    """Return the one form of a path: unreserved characters as they are, hexadecimal digits in capitals.

    No dot segments, no empty segments but a last one. ``*`` is returned as it is.
    """
    if not path.startswith(b"/"):
        return path
    if _forbidden(path):
        return Fault(400, "path-encoded", "a backslash, or an encoded slash, backslash or NUL in the path")
    if any(match[1] is None for match in _escape.finditer(path)):
        return Fault(400, "path-encoding", "a percent sign without two hexadecimal digits in the path")
    segments: list[bytes] = []
    last = b""
    for segment in _escape.sub(_decoded, path)[1:].split(b"/"):
        last = segment
        if segment == b"..":
            del segments[-1:]
        elif _dots(segment):
            return Fault(400, "path-dots", "a dot segment with parameters in the path")
        elif segment not in {b"", b"."}:
            segments.append(segment)
    if last in {b"", b".", b".."} and segments:
        segments.append(b"")
    return b"/" + b"/".join(segments)


def _decoded(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    return bytes((code,)) if code in _UNRESERVED else match[0].upper()


def most_often(query: bytes, stop: int) -> int:
    """Return how often the most frequent name stands in a query; names compared decoded, ``+`` as a space.

    ``stop``: with more than so many it is known that it is too often, and counting ends.
    """
    most = 0
    counts: dict[bytes, int] = {}
    for pair in query.split(b"&"):
        if pair:
            name = unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))
            counts[name] = count = counts.get(name, 0) + 1
            if count > most:
                most = count
                if most > stop:
                    break
    return most
