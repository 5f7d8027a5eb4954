"""The kernel's table of TCP sockets, asked for by state through netlink (sock_diag(7)).

The kernel picks, so that a look costs the same beside thousands of sockets in TIME_WAIT, and a tenth of
what reading ``/proc/net/tcp`` does.
"""

import struct
from pathlib import Path
from typing import NamedTuple

from tests.kit.netlink import INFO, entries, opened
from tests.kit.sockets import table


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
        self._socket = opened()
        self.namespace = Path("/proc/thread-self/ns/net").stat().st_ino

    def sockets(self, *states: int, times: bool = False) -> list[Found]:
        """Every TCP socket in one of these states; what is left of a closed one counts by what it waits for.

        Args:
            states: as the kernel numbers them.
            times: whether to ask for `rto` too.

        Raises:
            OSError: the kernel does not say.
        """
        found = []
        for entry in entries(self._socket, sum(1 << state for state in states), wanted=INFO * times):
            local, remote = struct.unpack_from(">HH", entry, 4)
            unread, _, _, inode = struct.unpack_from("=4I", entry, 56)
            found.append(Found(entry[1], local, remote, unread, inode, _rto(entry[72:])))
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

    def close(self) -> None:
        """Let go of the namespace."""
        self._socket.close()


def _rto(attributes: bytes) -> float:
    at = 0
    while at + 4 <= len(attributes):
        size, kind = struct.unpack_from("=HH", attributes, at)
        if kind == INFO:
            return float(struct.unpack_from("=I", attributes, at + 4 + 8)[0]) / 1e6
        at += (size + 3) & ~3
    return 0.0
