"""What the kernel says about sockets: tables, TCP_INFO, queues, and the odd clients made of socket options.

The tests of closing judge by what the kernel holds and not by what the product says of itself: this module
asks the kernel for its table (that of a process's own network namespace), ``TCP_INFO`` and ``SIOCOUTQ``.
"""

import fcntl
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from tests.kit.netlink import entries, opened

ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, TIME_WAIT = 1, 2, 3, 4, 5, 6
CLOSED, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = 7, 8, 9, 10, 11
NAMES = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSED",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
}
ALL = tuple(NAMES)

_SIOCOUTQ = 0x5411
_SIOCINQ = 0x541B

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Row:
    """One socket, as ``/proc/net/tcp`` or ``tcp6`` has it."""

    local: tuple[str, int]
    remote: tuple[str, int]
    state: int
    unsent: int
    unread: int
    inode: int

    def __str__(self) -> str:
        """Read like a line of ``ss``."""
        return f"{NAMES.get(self.state, self.state)} {self.local} {self.remote} {self.unsent}/{self.unread}"


@cache
def _host(text: str) -> str:
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    return _plain(ipaddress.ip_address(b"".join(words)))


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return _host(host), int(port, 16)


@cache
def _packed(data: bytes, family: int) -> str:
    address = ipaddress.ip_address(data[:4] if family == socket.AF_INET else data)
    return _plain(address)


def table(pid: int | None = None, port: int | None = None, states: Collection[int] = ALL) -> list[Row]:
    """Read every TCP socket of the network namespace that the process (this one by default) lives in.

    With a port, only those that have it at either end: thousands of others may be in TIME_WAIT. Asked through
    netlink where that can be; reading ``/proc/net/tcp`` takes twenty times as long.
    """
    try:
        if pid is not None and not _here(pid):
            return _read(pid, port, states)
        with opened() as sock:
            bits = sum(1 << state for state in states)
            return [row for entry in entries(sock, bits) if (row := _row(entry, port)) is not None]
    except OSError:
        return _read(pid, port, states)


def _here(pid: int) -> bool:
    """Whether a process lives in this thread's network namespace; OSError once it has ended."""
    own, its = (Path(f"/proc/{who}/ns/net").stat() for who in ("thread-self", pid))
    return own.st_ino == its.st_ino


def _row(entry: bytes, port: int | None) -> Row | None:
    """One entry of the kernel's answer (struct inet_diag_msg), if it has the port."""
    family, state = entry[0], entry[1]
    local, remote = struct.unpack_from(">HH", entry, 4)
    if port not in {None, local, remote}:
        return None
    unread, unsent, _, inode = struct.unpack_from("=4I", entry, 56)
    if state == LISTEN:
        unsent = 0  # the length of its backlog stands there
    return Row(
        (_packed(entry[8:24], family), local),
        (_packed(entry[24:40], family), remote),
        state,
        unsent,
        unread,
        inode,
    )


def _read(pid: int | None, port: int | None, states: Collection[int]) -> list[Row]:
    rows = []
    wanted = "" if port is None else f":{port:04X} "
    for name in ("tcp", "tcp6"):
        try:
            text = Path(f"/proc/{pid or os.getpid()}/net/{name}").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process has ended: it holds nothing
        for line in text.splitlines()[1:]:
            if wanted not in line or int((word := line.split())[3], 16) not in states:
                continue
            unsent, _, unread = word[4].partition(":")
            rows.append(
                Row(
                    _address(word[1]),
                    _address(word[2]),
                    int(word[3], 16),
                    int(unsent, 16),
                    int(unread, 16),
                    int(word[9]),
                )
            )
    return rows


def of_port(port: int, *states: int, pid: int | None = None) -> list[Row]:
    """Return the sockets whose own port is ``port``, the listener left out; or only those in ``states``."""
    wanted = states or tuple(state for state in NAMES if state != LISTEN)
    return [row for row in table(pid, port, wanted) if row.local[1] == port]


def to_port(port: int, *states: int, pid: int | None = None) -> list[Row]:
    """Return the sockets whose peer's port is ``port``: our side of connections to a server at it."""
    return [row for row in table(pid, port, states or ALL) if row.remote[1] == port]


def facing(sock: socket.socket, pid: int | None = None) -> list[Row]:
    """Return the peer's sockets of a connection of ours: what its server's kernel still holds of it."""
    own = sock.getsockname()[1]
    peer = sock.getpeername()[1]
    return [row for row in table(pid, own) if (row.local[1], row.remote[1]) == (peer, own)]


def held_by(pid: int) -> set[int]:
    """Return the inodes of the sockets that a process holds open."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(int(target[8:-1]))
    return inodes


def descriptors(pid: int) -> int:
    """Count the descriptors that a process holds."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def cpu_seconds(pid: int) -> float:
    """Return user and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_share(pid: int, seconds: float = 1.0) -> float:
    """Watch a process for a while: the part of one core that it took. This wait is a measurement."""
    before, start = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - start)


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """The fields of ``struct tcp_info`` that tests look at."""

    state: int
    retransmits: int
    probes: int
    unacked: int
    bytes_acked: int


def tcp_info(sock: socket.socket) -> TcpInfo:
    """Read TCP_INFO of a socket of this process."""
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    return TcpInfo(
        raw[0], raw[2], raw[3], struct.unpack_from("=I", raw, 24)[0], struct.unpack_from("=Q", raw, 120)[0]
    )


def unsent(sock: socket.socket) -> int:
    """Return the bytes that the peer's kernel has not acknowledged (SIOCOUTQ)."""
    return int(struct.unpack("=i", fcntl.ioctl(sock, _SIOCOUTQ, bytes(4)))[0])


def unread(sock: socket.socket) -> int:
    """Return the bytes that wait to be read (SIOCINQ)."""
    return int(struct.unpack("=i", fcntl.ioctl(sock, _SIOCINQ, bytes(4)))[0])


def reset(sock: socket.socket) -> None:
    """Close with a reset: SO_LINGER of zero seconds."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
    sock.close()


def connect(
    address: tuple[str, int], *, rcvbuf: int = 0, timeout: float = 10.0, source: str = ""
) -> socket.socket:
    """Connect with a small receive buffer if asked (before connect: later the window is given away)."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def read_to_end(sock: socket.socket, timeout: float = 10.0) -> tuple[bytes, str]:
    """Read until the peer ends; returns the bytes and how it ended: "fin", "reset" or "timeout"."""
    got = bytearray()
    end = time.monotonic() + timeout
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return bytes(got), "timeout"
        sock.settimeout(left)
        try:
            piece = sock.recv(65536)
        except TimeoutError:
            return bytes(got), "timeout"
        except ConnectionError:
            return bytes(got), "reset"
        if not piece:
            return bytes(got), "fin"
        got += piece


def read_exactly(sock: socket.socket, size: int, timeout: float = 10.0) -> bytes:
    """Read so many bytes; fewer only if the peer ends before."""
    got = bytearray()
    end = time.monotonic() + timeout
    while len(got) < size:
        sock.settimeout(max(0.001, end - time.monotonic()))
        piece = sock.recv(size - len(got))
        if not piece:
            break
        got += piece
    return bytes(got)


def eventually(look: Callable[[], Found], timeout: float = 5.0, step: float = 0.01) -> Found:
    """Look again and again until there is something to see; what was seen last, also when time is up."""
    end = time.monotonic() + timeout
    while True:
        found = look()
        if found or time.monotonic() >= end:
            return found
        time.sleep(step)


def gone(look: Callable[[], Collection[Row]], timeout: float = 5.0, step: float = 0.01) -> float:
    """Wait until a look at the table comes back empty; the seconds it took, or AssertionError."""
    start = time.monotonic()
    while rows := look():
        if time.monotonic() - start > timeout:
            raise AssertionError(f"still there after {timeout} s: " + "; ".join(map(str, rows)))
        time.sleep(step)
    return time.monotonic() - start


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """Make a listener that answers no SYN any more: a backlog of one, filled. Close both when done."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    eventually(lambda: any(tcp_info(filler).state == SYN_SENT for filler in fillers), 1.0)
    return listener, fillers
