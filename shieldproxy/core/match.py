"""Conditions as text: what one may say, and the one form in which it is compared.

Rules and routes share the grammar of hosts and paths. The configuration asks the ``*_fault`` functions before
it builds anything, so that each fault becomes one line of ``check``; the rule book asks again, because a bad
pattern in RE2's Set would be a rule that silently never matches. Each returns None for a good condition, else
what is wrong with it and what is allowed. The tables that are looked up at each request are in ``masks``.

A path is compared decoded, without dot segments and doubled slashes, as the servers behind us will read it;
what is forwarded stays as it came.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

import re2

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PATH = re.compile(r"/[^\x00-\x20\x7f?#]*")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def pattern_fault(pattern: str) -> str | None:
    """Say what is wrong with a User-Agent pattern and what is allowed, or None."""
    if not pattern:
        return 'is empty; allowed: an RE2 pattern ("^$" is a request without User-Agent)'
    if not pattern.isascii():
        return r"has a character beyond ASCII; allowed: an RE2 pattern that writes such bytes as \xNN"
    try:
        re2.compile(pattern.encode("ascii"), re2_options())
    except re2.error as error:
        text = error.args[0] if error.args else "bad pattern"
        said = text.decode("latin-1") if isinstance(text, bytes) else str(text)
        return f'"{pattern}": {said}; allowed: an RE2 pattern (no look-around, no back-references)'
    return None


def cidr_fault(cidr: str) -> str | None:
    """Say what is wrong with a network and what is allowed, or None."""
    try:
        ipaddress.ip_network(cidr)
    except ValueError as error:
        try:
            meant = ipaddress.ip_network(cidr, strict=False)
        except ValueError:
            return f'{error}; allowed: a network such as "10.0.0.0/8" or "2001:db8::/32", or one address'
        return f'has bits set beyond its prefix; allowed: "{meant}"'
    return None


def host_fault(host: str) -> str | None:
    """Say what is wrong with the host of a rule or route and what is allowed, or None."""
    allowed = 'allowed: "www.example", "*.example", "[::1]" or "*", in lower case and without a port'
    if host == "*":
        return None
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1] if host.endswith("]") else "")
        except ValueError:
            return f"is not an IPv6 address in brackets; {allowed}"
        return None
    name = host.removeprefix("*.")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        return f"is not a host name; {allowed}"
    return None


def path_fault(path: str) -> str | None:
    """Say what is wrong with the path of a rule or route and what is allowed, or None."""
    allowed = 'allowed: a prefix by whole segments such as "/" or "/a/b"'
    if not _PATH.fullmatch(path):
        return f"does not begin with a slash, or holds a space, a control character, ? or #; {allowed}"
    if any(part in ("", ".", "..") for part in path[1:].removesuffix("/").split("/")) and path != "/":
        return f"has an empty segment or a dot segment, and requests are compared without them; {allowed}"
    return None


def host_key(host: str) -> bytes:
    """The key of a configured host: ``b"a.example"``, or ``b".example"`` for ``*.example``."""
    return host.removeprefix("*").lower().removesuffix(".").encode("ascii")


def host_keys(host: bytes) -> Iterator[bytes]:
    """The keys that a Host (lower case, perhaps with a port) satisfies, the most specific first."""
    end = host.find(b"]") + 1 if host.startswith(b"[") else host.find(b":")
    name = (host if end < 0 else host[:end]).removesuffix(b".")
    yield name
    if name.startswith(b"["):
        return
    dot = name.find(b".")
    while dot != -1:
        yield name[dot:]
        dot = name.find(b".", dot + 1)


def path_key(path: str) -> bytes:
    """The key of a configured path prefix: plain, without a slash at its end, so ``b""`` for ``/``."""
    return plain_path(path.encode()).rstrip(b"/")


def plain_path(path: bytes) -> bytes:
    """Return a path decoded once, without dot segments, empty segments and a trailing slash.

    Legacy servers do all of that before they look at a path: ``/x/..//%61dmin`` is ``/admin`` to them, and a
    rule that denies ``/admin`` has to see it. RFC 3986 6.2.2 and 6.2.3; ``*`` (RFC 9112 3.2.4) stays.
    """
    if b"%" in path:
        path = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), path)
    elif b"//" not in path and b"/." not in path:
        return path
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/" + b"/".join(parts)


def re2_options(memory: int | None = None) -> Any:
    """Options for patterns over raw bytes; ``memory``: bytes for the automaton (None: RE2's own 8 MiB)."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    if memory is not None:
        options.max_mem = memory
    return options
