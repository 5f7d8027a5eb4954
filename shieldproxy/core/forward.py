"""Heads as they are sent on: to the upstream, and back to the client (RFC 9110 sections 7.6 and 7.8).

It decides what each side sees of the other: Via, the forwarding fields, the framing of this connection, and
what a route adds or takes away. It never reads a message; it writes what head and response have read, in one
join. Called for every exchange of both lanes.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from shieldproxy.core.blocks import VIA_LINES
from shieldproxy.core.fields import CHUNKED, without
from shieldproxy.core.own import own_options, own_response
from shieldproxy.core.request import RequestHead
from shieldproxy.core.response import ResponseHead
from shieldproxy.core.routes import Route

__all__ = [
    "client_of",
    "forwarded_block",
    "interim_head",
    "own_options",
    "own_response",
    "request_head",
    "response_head",
    "write_request",
]

Edits = tuple[tuple[bytes, bytes], ...]

# Nobody sits behind so many proxies of the operator's; a longer list is cut there.
_MAX_PROXIES: Final = 32
_node: Final = re.compile(r'\s*for=(?:"([^"]*)"|([^";,\s]*))', re.IGNORECASE).match
# An element of a list, its quoted strings held together.
_elements: Final = re.compile(r'(?:[^",]++|"(?:[^"\\]|\\.)*+")++').findall


def request_head(
    head: RequestHead,
    route: Route,
    forwarded: bytes,
    framing: int,
    request_id: bytes | None = None,
    *,
    minor10: bool = False,
    host: bytes = b"localhost",
) -> bytes:
    """Write the head that goes to the upstream.

    ``forwarded``: what forwarded_block returned. ``framing``: CHUNKED, or the body's length; a length that
    was not announced by the client (a chunked body that was collected) is announced here. ``minor10``: as
    HTTP/1.0, for which a body needs a length. ``host``: for a client of HTTP/1.0 that named none, the
    authority that it reached (RFC 9112 section 3.3).
    """
    if head.block and not route.edits_request and not minor10:
        return b"".join(
            (
                head.method,
                b" ",
                head.target,
                b" HTTP/1.1\r\n",
                head.block,
                _VIA[head.minor],
                forwarded,
                b"\r\n",
            )
        )
    lines = head.lines
    if not head.host:
        lines = [b"Host: " + host, *lines]
    return write_request(head, route, lines, forwarded, framing, request_id, minor10=minor10)


def write_request(
    head: RequestHead,
    route: Route,
    lines: list[bytes],
    forwarded: bytes,
    framing: int,
    request_id: bytes | None,
    *,
    minor10: bool,
) -> bytes:
    """Write a head of the request's ``lines``, as they stand; its framing and a route's edits come last."""
    extra = b""
    if framing == CHUNKED:
        if minor10:
            raise ValueError("HTTP/1.0 has no chunked coding")
        extra = b"Transfer-Encoding: chunked\r\n"
    elif head.length == CHUNKED:
        lines = without(lines, _TRAILER)
        extra = b"Content-Length: %d\r\n" % framing
    if route.edits_request:
        lines = _edited(lines, route.request_set, route.request_remove, route.request_id, request_id)
    return b"".join(
        (
            head.method,
            b" ",
            head.target,
            b" HTTP/1.0\r\n" if minor10 else b" HTTP/1.1\r\n",
            b"\r\n".join(lines),
            _VIA[head.minor],
            forwarded,
            extra,
            b"\r\n",
        )
    )


_VIA: Final = (b"\r\nVia: 1.0 shieldproxy\r\n", b"\r\nVia: 1.1 shieldproxy\r\n")
"""Behind the last of the sender's lines."""
_TRAILER: Final = frozenset((b"trailer",))


def response_head(
    resp: ResponseHead,
    route: Route,
    framing: int,
    connection: bytes,
    date: bytes,
    request_id: bytes | None = None,
    minor10: bool = False,
) -> bytes:
    """Write the head that goes to the client.

    ``framing``: the body's length, CHUNKED or UNTIL_CLOSE; where no body follows (HEAD, 304), the announced
    length is passed on instead. ``date`` is used if the upstream sent none (RFC 9110 section 6.6.1);
    it may be empty.
    """
    edited = route.edits_response
    announced = framing if resp.length else resp.content_length
    dated = not date or resp.date
    if resp.block and not edited and not minor10 and announced is not None and announced >= 0 and dated:
        if connection:
            return b"%bContent-Length: %d\r\nConnection: %b\r\n\r\n" % (resp.block, announced, connection)
        return b"%bContent-Length: %d\r\n\r\n" % (resp.block, announced)
    lines = resp.lines
    if edited:
        lines = _edited(lines, route.response_set, route.response_remove, route.request_id, request_id)
    extra = b""
    if announced == CHUNKED:
        extra = b"Transfer-Encoding: chunked\r\n"
    elif announced is not None and announced >= 0:
        extra = b"Content-Length: %d\r\n" % announced
    if connection:
        extra += b"Connection: %b\r\n" % connection
    if not dated:
        extra += b"Date: %b\r\n" % date
    first = b"HTTP/1.%d %d %b" % (0 if minor10 else 1, resp.status, resp.phrase)
    return b"\r\n".join((first, *lines, VIA_LINES[resp.minor], extra + b"\r\n"))


def interim_head(resp: ResponseHead) -> bytes:
    """Write a 1xx head; only a client of HTTP/1.1 may get one (RFC 9110 section 15.2)."""
    lines = b"".join([line + b"\r\n" for line in resp.lines])
    return b"HTTP/1.1 %d %b\r\n%bVia: 1.%d shieldproxy\r\n\r\n" % (
        resp.status,
        resp.phrase,
        lines,
        resp.minor,
    )


def _edited(
    lines: list[bytes], set_: Edits, remove: frozenset[bytes], id_name: bytes | None, id_value: bytes | None
) -> list[bytes]:
    """Return the lines with a route's edits: what is set replaces every field of that name."""
    if id_name is not None and id_value is not None:
        set_ = (*set_, (id_name, id_value))
    lines = without(lines, _replaced(set_, remove))
    lines.extend(b"%b: %b" % pair for pair in set_)
    return lines


@lru_cache(maxsize=256)
def _replaced(set_: Edits, remove: frozenset[bytes]) -> frozenset[bytes]:
    return remove | {name.lower() for name, _ in set_}


def forwarded_block(client: str, proto: str, head: RequestHead, trusted: bool) -> bytes:
    """Write X-Forwarded-For, -Proto, -Host and Forwarded (RFC 7239), with line ends.

    ``client``: the address of the peer, "" for a unix socket. A peer that is not trusted has nothing to say:
    all of them are written anew, and the result depends on (client, proto, head.host) alone, so that it can
    be kept. What a trusted peer said is kept, with the peer itself behind it. Via is written by request_head.
    """
    address = plain_address(client) or "unknown"
    name = f'"[{address}]"' if ":" in address else address
    peer = address.encode("latin-1")
    element = f"for={name};proto={proto}".encode("latin-1")
    if head.host:
        element += b";host=%b" % (
            head.host if head.host.replace(b".", b"").isalnum() else b'"%b"' % head.host
        )
    if not trusted or not head.forwarded:
        host = b"X-Forwarded-Host: %b\r\n" % head.host if head.host else b""
        return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n%bForwarded: %b\r\n" % (
            peer,
            proto.encode("ascii"),
            host,
            element,
        )
    said: dict[bytes, list[bytes]] = {}
    for field, value in head.forwarded:
        if b"_" not in field and value:
            said.setdefault(field, []).append(value)
    said.setdefault(b"x-forwarded-for", []).append(peer)
    said.setdefault(b"x-forwarded-proto", [proto.encode("ascii")])
    if head.host:
        said.setdefault(b"x-forwarded-host", [head.host])
    said.setdefault(b"forwarded", []).append(element)
    return b"".join(b"%b: %b\r\n" % (name.title(), b", ".join(values)) for name, values in said.items())


def client_of(client: str, head: RequestHead, trusted: Callable[[str], bool]) -> str:
    """Return the address of the client that rules and logs see: the rightmost one that is not trusted.

    The peer itself unless it is trusted. What a trusted peer said is read from the right (X-Forwarded-For,
    else Forwarded); at an entry that is not an address, the last one that was known counts.
    """
    client = plain_address(client)
    if not head.forwarded or not trusted(client):
        return client
    for entry in _entries(head):
        address = plain_address(entry)
        if not address:
            return client
        client = address
        if not trusted(client):
            return client
    return client


def _entries(head: RequestHead) -> list[str]:
    """Return what was said of clients before us, the nearest first."""
    text = ",".join(value.decode("latin-1") for name, value in head.forwarded if name == b"x-forwarded-for")
    if text:
        entries = text.split(",")
    else:
        text = ",".join(value.decode("latin-1") for name, value in head.forwarded if name == b"forwarded")
        entries = [_node_of(element) for element in _elements(text)]
    return entries[: -_MAX_PROXIES - 1 : -1]


def _node_of(element: str) -> str:
    for parameter in element.split(";"):
        match = _node(parameter)
        if match:
            return match[1] or match[2] or ""
    return ""


@lru_cache(maxsize=1024)
def plain_address(text: str) -> str:
    """Return the address in ``1.2.3.4``, ``1.2.3.4:80``, ``::1`` or ``[::1]:80``, v4-mapped as v4, or ""."""
    text = text.strip()
    if len(text) > 64:
        return ""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
