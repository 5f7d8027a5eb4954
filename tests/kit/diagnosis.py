"""The kernel's table of TCP sockets, asked for by state through netlink (sock_diag(7)).

The kernel picks, so that a look costs the same beside thousands of sockets in TIME_WAIT, and a tenth of
what reading ``/proc/net/tcp`` does.
"""

import errno
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from tests.kit.sockets import table

_INFO = 2
"""Asks for struct tcp_info, and marks it in the answer."""
_SOCK_DIAG, _BY_FAMILY, _REQUEST_DUMP, _ERROR, _DONE = 4, 20, 0x301, 2, 3


class Found(NamedTuple):
    """One socket: its state, its ports, bytes that wait to be read, its inode (0: no process holds it)."""

    state: int
    local: int
    remote: int
    unread: int
    inode: int
    rto: float = 0.0
    """Seconds until the kernel sends again what is not acknowledged, and twice as long the next time."""


class Diagnosis:
    """The kernel's socket table of the namespace in which this was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
        self._socket.settimeout(5)
        self.namespace = Path("/proc/thread-self/ns/net").stat().st_ino

    def sockets(self, *states: int, times: bool = False) -> list[Found]:
        """Every TCP socket in one of these states; what is left of a closed one counts by what it waits for.

        Args:
            states: as the kernel numbers them.
            times: whether to ask for `rto` too.

        Raises:
            OSError: the kernel does not say.
        """
        found: list[Found] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            ask = struct.pack(
                "=BBBxI48x", family, socket.IPPROTO_TCP, _INFO * times, sum(1 << state for state in states)
            )
            self._socket.send(struct.pack("=IHHII", 16 + len(ask), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + ask)
            while self._part(found):
                pass
        return found

    def look(self, *states: int, pid: int | None = None) -> list[Found]:
        """The same; of a kernel that does not say, from its table, as this process (or another) sees it."""
        try:
            return self.sockets(*states)
        except OSError:
            return [
                Found(row.state, row.local[1], row.remote[1], row.unread, row.inode)
                for row in table(pid)
                if row.state in states
            ]

    def _part(self, found: list[Found]) -> bool:
        data, at = self._socket.recv(1 << 16), 0
        while at < len(data):
            size, kind = struct.unpack_from("=IH", data, at)
            if kind == _DONE:
                return False
            if kind == _ERROR:
                number = -struct.unpack_from("=i", data, at + 16)[0]
                raise OSError(number or errno.EIO, "socket diagnosis")
            local, remote = struct.unpack_from(">HH", data, at + 20)
            unread, _, _, inode = struct.unpack_from("=4I", data, at + 72)
            found.append(Found(data[at + 17], local, remote, unread, inode, _rto(data[at + 88 : at + size])))
            at += (size + 3) & ~3
        return True

    def close(self) -> None:
        """Let go of the namespace."""
        self._socket.close()


def _rto(attributes: bytes) -> float:
    at = 0
    while at + 4 <= len(attributes):
        size, kind = struct.unpack_from("=HH", attributes, at)
        if kind == _INFO:
            return float(struct.unpack_from("=I", attributes, at + 4 + 8)[0]) / 1e6
        at += (size + 3) & ~3
    return 0.0
