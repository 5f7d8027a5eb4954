"""Addresses: where the proxy listens and where a server is reached.

One grammar for both sides: ``127.0.0.1:80``, ``[::1]:80``, ``unix:/path`` and ``name:80``. Parsing never
resolves a name and never looks at the file system; that is the work of whoever opens the socket.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

ALLOWED = '"127.0.0.1:80", "[::1]:80", "name:80" or "unix:/path"'
MAX_UNIX_PATH = 107
"""Bytes of a unix socket's path: ``sun_path`` is 108 with its final NUL (unix(7))."""

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address (``path`` empty) or a unix socket (``path`` set, ``host`` empty, ``port`` 0)."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address as it is written in a configuration.

        Raises:
            ValueError: with what is wrong and what is allowed, in one line.
        """
        if text.startswith("unix:"):
            return cls("", 0, _unix_path(text[5:]))
        host, colon, port = text.rpartition(":")
        if not colon or not host:
            raise ValueError(f"{_shown(text)} has no {'host' if colon else 'port'}; allowed: {ALLOWED}")
        if not _PORT.fullmatch(port) or int(port) > 65535:
            raise ValueError(f"{_shown(text)} has a bad port; allowed: 0 to 65535, as in {ALLOWED}")
        return cls(_host(host, text), int(port), "")

    def __str__(self) -> str:
        """Give back the text that ``parse`` reads."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return self.path != ""

    @property
    def is_name(self) -> bool:
        """Whether the host has to be resolved: it is neither a unix socket nor a literal IP."""
        return not self.path and not _is_literal(self.host)

    @property
    def is_ipv6(self) -> bool:
        """Whether the host is a literal IPv6 address."""
        return ":" in self.host


def _shown(text: str) -> str:
    return f'"{text}"' if text.isprintable() else ascii(text)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _unix_path(path: str) -> str:
    if not path:
        raise ValueError(f'"unix:" has no path; allowed: {ALLOWED}')
    if "\0" in path or not path.isprintable():
        raise ValueError(f"{_shown('unix:' + path)} has control characters; allowed: {ALLOWED}")
    if len(path.encode()) > MAX_UNIX_PATH:
        raise ValueError(f"{_shown('unix:' + path)} is too long; allowed: {MAX_UNIX_PATH} bytes of path")
    return path


def _host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError(f"{_shown(text)} is no IPv6 address; allowed: {ALLOWED}") from None
        return host[1:-1]
    if ":" in host:
        raise ValueError(f"{_shown(text)}: an IPv6 address stands in brackets; allowed: {ALLOWED}")
    if re.fullmatch(r"[0-9.]+", host):
        if not _is_literal(host):
            raise ValueError(f"{_shown(text)} is no IPv4 address; allowed: {ALLOWED}")
    elif len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split(".")):
        raise ValueError(f"{_shown(text)} is no host name; allowed: {ALLOWED}")
    return host
