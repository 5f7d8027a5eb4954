"""The address of ours that connections to a server come from, where one is configured.

Bound before connecting, without a port: the kernel chooses one when it knows where the connection goes, so
that one address has room for more than 28,000 connections (IP_BIND_ADDRESS_NO_PORT).
"""

import socket
from collections.abc import Iterable

from shieldproxy.core.upstreams import UpstreamSpec


def bind_source(sock: socket.socket, source: str) -> None:
    """Bind a socket that is not connected yet; raises OSError for an address that is not this host's."""
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((source, 0))


def family_of(source: str) -> socket.AddressFamily:
    """The only family of addresses that can be reached from this one."""
    return socket.AF_INET6 if ":" in source else socket.AF_INET


def source_fault(specs: Iterable[UpstreamSpec]) -> str:
    """Return a line about the first source address that this host does not have; "" if it has them all."""
    for spec in specs:
        if spec.source is not None:
            try:
                with socket.socket(family_of(spec.source), socket.SOCK_STREAM) as sock:
                    bind_source(sock, spec.source)
            except OSError as exc:
                return f"upstream.{spec.name}.source: cannot connect from {spec.source}: {exc.strerror}"
    return ""
