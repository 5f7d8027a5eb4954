"""The kernel's answer to "which TCP sockets are there?", through netlink (sock_diag(7)), unread.

A dump walks the kernel's whole hash table, once a family. The older form of the question (TCPDIAG_GETSOCK)
names no family and is answered for both in one walk, which is half the price. The sockets are those of the
network namespace that the asking socket was made in.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final

INFO: Final = 2
"""Asks for struct tcp_info, and marks it in the answer."""
_SOCK_DIAG, _GETSOCK, _DUMP, _ERROR, _DONE = 4, 18, 0x301, 2, 3


def opened() -> socket.socket:
    """A socket to ask through, in the namespace of this thread."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
    sock.settimeout(5)
    return sock


def entries(sock: socket.socket, states: int, *, wanted: int = 0) -> Iterator[bytes]:
    """Each socket in one of these states (a set of bits), as struct inet_diag_msg and its attributes.

    Args:
        sock: as `opened` gives it.
        states: 1 << the kernel's number of a state, added up.
        wanted: `INFO` or nothing.

    Raises:
        OSError: the kernel does not say.
    """
    ask = struct.pack("=BBBB48xII", 0, 0, 0, wanted, states, 0)
    sock.send(struct.pack("=IHHII", 16 + len(ask), _GETSOCK, _DUMP, 1, 0) + ask)
    while True:
        data, at = sock.recv(1 << 16), 0
        while at < len(data):
            size, kind = struct.unpack_from("=IH", data, at)
            if kind == _DONE:
                return
            if kind == _ERROR:
                number = -struct.unpack_from("=i", data, at + 16)[0]
                raise OSError(number or errno.EIO, "socket diagnosis")
            yield data[at + 16 : at + size]
            at += (size + 3) & ~3
