"""What Linux says of a TCP connection: TCP_INFO, and the options that a close sets.

Offsets are those of ``struct tcp_info`` in linux/tcp.h, which only ever grows at its end. A socket that
is not TCP (a unix socket) has no such facts: `kernel_facts` returns None and the setters do nothing.
"""

import fcntl
import socket
import struct
from math import inf
from typing import Final

from shieldproxy.core.closing import Kernel

ESTABLISHED: Final = 1
FIN_WAIT1: Final = 4
FIN_WAIT2: Final = 5
TIME_WAIT: Final = 6
CLOSE: Final = 7
CLOSE_WAIT: Final = 8

TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h; CPython 3.11 exports it, older headers do not

SO_MEMINFO: Final = 55  # asm-generic/socket.h: of nine counts the first is the receive buffer's memory
_FIRST: Final = struct.Struct("=I")

# state, retransmits, probes; last_data_recv and last_ack_recv (ms) at 52; rtt (us) at 68; bytes_acked at 120
_FACTS: Final = struct.Struct("=BxBB48xII8xI48xQ")
_SILENCE: Final = struct.Struct("=B51xI")
_SILENCES: Final = struct.Struct("=B51xII")
# bytes_sent and bytes_retrans (u64 at 200), bytes_acked at 120
_COUNTS: Final = struct.Struct("=120xQ72xQQ")


def kernel_facts(sock: socket.socket) -> Kernel | None:
    """Read TCP_INFO; None for a socket without it."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
        state, retransmits, probes, data, ack, rtt, acked = _FACTS.unpack_from(raw)
    except (OSError, struct.error):
        return None
    return Kernel(
        state=state,
        retransmits=retransmits,
        probes=probes,
        silent=min(data, ack) / 1000,
        bytes_acked=acked,
        rtt=rtt / 1_000_000,
    )


def tcp_state(sock: socket.socket) -> int:
    """The kernel's state of a connection (tcp_states.h); 0 for a socket that is not TCP."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, IndexError):
        return 0


def widen(sock: socket.socket, window: int) -> None:
    """Let the receive window open up to so many bytes from the first response on.

    The kernel's own tuning opens it as we read, round trip by round trip: whoever is read late is slow. To
    set SO_RCVBUF would end that tuning, and net.core.rmem_max bounds it. SO_RCVLOWAT makes room for itself
    (tcp_set_rcvlowat in net/ipv4/tcp.c, Linux 4.18), within half of the maximum in net.ipv4.tcp_rmem, and
    the room stays when it is taken back.
    """
    for least in (window, 1):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)


def unsent_or_unacked(sock: socket.socket) -> int:
    """SIOCOUTQ: bytes of ours that the other kernel has not acknowledged (our FIN counts as one)."""
    try:
        return int(struct.unpack("=i", fcntl.ioctl(sock, 0x5411, b"\0\0\0\0"))[0])
    except OSError:
        return 0


def has_hole(sock: socket.socket) -> bool:
    """Whether bytes have arrived that cannot be read, as others before them are missing.

    To be asked when all that can be read has been: what the receive buffer still holds lies behind a hole.
    """
    if sock.family == socket.AF_UNIX:
        return False
    try:
        return bool(_FIRST.unpack_from(sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4))[0])
    except (OSError, struct.error):
        return False


def bound_orphan(sock: socket.socket, fin_wait_1: float, fin_wait_2: float) -> None:
    """Bound what the kernel keeps after ``close()``.

    TCP_LINGER2 ends FIN_WAIT_2; TCP_USER_TIMEOUT ends FIN_WAIT_1. The second also kills honest slow
    readers while we hold the socket, so call this directly before ``close()`` and never earlier.
    """
    if sock.family == socket.AF_UNIX:
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, max(1, int(min(120, fin_wait_2))))
        sock.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(min(2**31 - 1, fin_wait_1 * 1000)))
        )
    except OSError:
        return  # the peer's reset came first: nothing is left to bound


def set_linger(sock: socket.socket, seconds: int) -> None:
    """Set SO_LINGER; 0 makes the next ``close()`` a reset."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    except OSError:
        return


def idle_for(sock: socket.socket) -> float:
    """Seconds since the last byte came from the peer by its kernel's own clock; inf if the peer has ended.

    Of a socket that is not TCP: 0 if it is open.
    """
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 56)
        state, data = _SILENCE.unpack_from(raw)
    except (OSError, struct.error):
        try:
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return 0.0
        except OSError:
            return inf
        return inf
    return data / 1000 if state == ESTABLISHED else inf


def idle_before_fin(sock: socket.socket) -> float | None:
    """Seconds from the last byte that came to the FIN behind it, by the kernel's clock; None: not known.

    A FIN acknowledges, as every segment does, and is the last one that came: however late it is seen, the
    time between is right.
    """
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 60)
        state, data, ack = _SILENCES.unpack_from(raw)
    except (OSError, struct.error):
        return None
    return (data - ack) / 1000 if state == CLOSE_WAIT and data >= ack else None


def unheard(sock: socket.socket, size: int) -> bool:
    """Whether a peer that has sent its FIN had received nothing of the last `size` bytes sent to it.

    A FIN acknowledges whatever came before it. So what it leaves unacknowledged came when the peer had said
    that it would answer no more; if it had closed, nobody can have read it. To be asked when the FIN has been
    read, and no error before it: a reset acknowledges nothing, and proves nothing.
    """
    try:
        acked, sent, again = _COUNTS.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 216))
    except (OSError, struct.error):
        return False
    return 0 < size <= int(sent - again - acked) + 1  # our SYN counts among what was acknowledged
