"""The shell of the close table: does what `core.closing` says, to one client's socket.

`end` is called when a response that ends the connection is out; `leave` for every other end. Each ends
in exactly one receipt, written when the descriptor is given up. A lingering client is a record in the
lobby: its bytes are read and thrown away, its acknowledgement arrives as an event (the change from
FIN_WAIT1 to FIN_WAIT2 is one edge), and nothing is polled.
"""

import errno
import socket
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

from shieldproxy.core import closing
from shieldproxy.core.closing import END, Action, Event, Lingering, State
from shieldproxy.net.lobby import READS_A_TURN, Lobby
from shieldproxy.net.record import ERROR, NEWS, Downstream
from shieldproxy.net.tcpinfo import (
    CLOSE,
    FIN_WAIT2,
    TIME_WAIT,
    bound_orphan,
    has_hole,
    kernel_facts,
    set_linger,
    tcp_state,
    unsent_or_unacked,
)

ENDING: Final = {
    Event.PEER_FIN: "fin",
    Event.PEER_RESET: "reset",
    Event.QUIET: "quiet",
    Event.TOTAL: "total",
    Event.OVERFLOW: "overflow",
    Event.STALLED: "stalled",
    Event.VANISHED: "vanished",
    Event.EVICTED: "evicted",
    Event.STOPPED: "stopped",
    Event.END_KERNEL: "kernel",
    Event.END_OFF: "off",
}

_BOTH_CLOSED: Final = frozenset({CLOSE, TIME_WAIT})
"""Both FINs sent and acknowledged."""

Receive = Callable[[Downstream, str, bool | None, int], None]


Why = tuple[str, str, str]
_whys: dict[Why, Why] = {}


def _shared(why: Why) -> Why:
    """The same object for the same words, of which there are few (docs/log.md)."""
    return _whys.setdefault(why, why)


class Closer:
    """Ends clients' connections.

    Args:
        lobby: that holds them.
        receipt: called once for each, with the record, how it ended (a value of `ENDING`), whether the
            client's kernel had acknowledged everything, and the bytes that it had not.
        close_blocking: closes a socket with SO_LINGER somewhere that may block; False if it has no room.
    """

    def __init__(
        self, lobby: Lobby, receipt: Receive, close_blocking: Callable[[socket.socket], bool]
    ) -> None:
        self._lobby = lobby
        self._receipt = receipt
        self._close_blocking = close_blocking
        self._size = 0
        self._on_linger = self.on_linger
        self._on_due = self.on_due

    def end(self, rec: Downstream, by: str, phase: str, reason: str, size: int = 0) -> None:
        """End a connection whose last response is in the kernel, as its policy says.

        Args:
            rec: the connection.
            by: who ends it.
            phase: where.
            reason: why.
            size: bytes of that response; 0 if it is not known, then all of the connection counts.
        """
        if rec.fd < 0:
            return
        self._size = size
        rec.why = _shared((by, phase, reason))
        if rec.latch & ERROR:
            self._apply(rec, Event.PEER_RESET)
        else:
            self._apply(rec, END[rec.policy.linger])

    def leave(self, rec: Downstream, event: Event, by: str, phase: str, reason: str) -> None:
        """End a connection for another reason than a finished response."""
        if rec.fd < 0:
            return
        if rec.state is not State.LINGER:
            rec.why = _shared((by, phase, reason))
        self._apply(rec, event)

    def _apply(self, rec: Downstream, event: Event) -> None:
        state, actions = closing.step(rec.state, event)
        rec.state = state
        for action in actions:
            if action is Action.FIN:
                self._begin(rec, event)
            elif action is Action.DRAIN:
                self._drain(rec)
            elif action is Action.CLOSE:
                self._finish(rec, event, None)
            elif action is Action.ORPHAN:
                timeouts = rec.policy.timeouts
                self._finish(
                    rec,
                    event,
                    partial(_orphan, fin_wait_1=timeouts.fin_wait_1, fin_wait_2=timeouts.fin_wait_2),
                )
            elif action is Action.RST:
                self._finish(rec, event, _reset)
            elif action is Action.KERNEL:
                self._close_in_kernel(rec, event)
            if rec.fd < 0:
                return

    def _begin(self, rec: Downstream, event: Event) -> None:
        lobby = self._lobby
        now = lobby.now
        rec.linger = Lingering(
            "timed" if event is Event.END_TIMED else "ack",
            started=now,
            last_byte=now,
            began=rec.since if self._size else rec.born,
            base=rec.sent - self._size if self._size else 0,
            progress_at=now,
        )
        rec.since = now
        rec.buf = b""
        rec.exchange = None
        rec.on_event = self._on_linger
        rec.on_due = self._on_due
        try:
            rec.sock.shutdown(socket.SHUT_WR)
        except OSError as exc:  # ENOTCONN: the client's reset came first
            if exc.errno != errno.ENOTCONN:
                raise
            self._apply(rec, Event.PEER_RESET)

    def on_linger(self, rec: Downstream, events: int) -> None:
        """An event of a lingering client."""
        rec.latch |= events
        if events & NEWS:
            self._drain(rec)
        elif rec.linger is not None and rec.linger.acked_at == inf:
            self._look(rec)

    def on_due(self, rec: Downstream) -> None:
        """A deadline of a lingering client."""
        self._look(rec)

    def _drain(self, rec: Downstream) -> None:
        """Read and discard what is there; see the client's FIN or reset."""
        lobby, linger = self._lobby, rec.linger
        if linger is None:
            return
        scrap = lobby.discarded
        for _ in range(READS_A_TURN):
            try:
                count = rec.sock.recv_into(scrap, 0, socket.MSG_TRUNC if not rec.door.unix else 0)
            except BlockingIOError:
                break
            except OSError:
                self._apply(rec, Event.PEER_RESET)
                return
            if count == 0:
                self._see_fin(rec, linger)
                return
            rec.got += count
            linger.drained += count
            linger.last_byte = lobby.now
            linger.hole = False
            if linger.drained >= rec.policy.limits.linger:
                break
        else:
            lobby.again(rec)
        self._look(rec)

    def _see_fin(self, rec: Downstream, linger: Lingering) -> None:
        """The client's FIN: the end, unless it had half-closed and has yet to take the response."""
        if linger.mode == "ack" and linger.acked_at == inf and not rec.door.unix:
            if tcp_state(rec.sock) not in _BOTH_CLOSED:
                if not linger.fin:
                    linger.fin = True
                    self._apply(rec, Event.PEER_FIN_FIRST)
                self._look(rec)
                return
            self._both_closed(rec, linger)
        else:
            self._apply(rec, Event.PEER_FIN)

    def _both_closed(self, rec: Downstream, linger: Lingering) -> None:
        """The kernel is done with it: everything acknowledged, or given up.

        After the client's FIN a read says end of file in either case; the error tells which.
        """
        if rec.latch & ERROR or rec.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._apply(rec, Event.PEER_RESET)
            return
        linger.acked_at = self._lobby.now
        self._apply(rec, Event.PEER_FIN)

    def _look(self, rec: Downstream) -> None:
        """Ask the kernel where it stands, and the table whether this is the end."""
        lobby, linger = self._lobby, rec.linger
        if linger is None:
            return
        now, kernel = lobby.now, None
        timeouts, limits = rec.policy.timeouts, rec.policy.limits
        if linger.acked_at == inf:
            kernel = kernel_facts(rec.sock)
            if kernel is None or kernel.state == FIN_WAIT2:  # a unix socket has delivered what was sent
                linger.acked_at = now
                linger.rtt = kernel.rtt if kernel else 0.0
            elif linger.fin and kernel.state in _BOTH_CLOSED:
                self._both_closed(rec, linger)
                return
            elif kernel.bytes_acked > linger.progress:
                linger.progress, linger.progress_at = kernel.bytes_acked, now
        event = closing.review(linger, kernel, timeouts, limits, now)
        if event is Event.QUIET and linger.mode == "ack" and not linger.hole and has_hole(rec.sock):
            linger.hole = True  # not silent: its kernel sends what is missing again
            event = closing.review(linger, kernel, timeouts, limits, now)
        if event is not None:
            self._apply(rec, event)
        else:
            lobby.arm(rec, closing.next_look(linger, timeouts, now, kernel.silent if kernel else 0.0))

    def _close_in_kernel(self, rec: Downstream, event: Event) -> None:
        """SO_LINGER: ``close()`` blocks, so it runs elsewhere, and its descriptor leaves the epoll first."""
        lobby = self._lobby
        seconds = int(min(rec.policy.timeouts.linger_kernel, 3600))

        timeouts = rec.policy.timeouts

        def close(sock: socket.socket) -> None:
            set_linger(sock, max(1, seconds))
            if not self._close_blocking(sock):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\0" * 8)
                _orphan(sock, timeouts.fin_wait_1, timeouts.fin_wait_2)

        lobby.epoll.unregister(rec.fd)
        self._finish(rec, event, close)

    def _finish(self, rec: Downstream, event: Event, how: Callable[[socket.socket], None] | None) -> None:
        linger = rec.linger
        acknowledged: bool | None = None
        unacked = 0
        if linger is not None and linger.acked_at != inf:
            acknowledged = True
        elif rec.sent and not rec.door.unix:
            unacked = unsent_or_unacked(rec.sock)  # a reset leaves the count as it was
            acknowledged = unacked == 0 or (
                event is not Event.PEER_RESET and tcp_state(rec.sock) in (FIN_WAIT2, TIME_WAIT, CLOSE)
            )
        self._receipt(rec, ENDING.get(event, ""), acknowledged, 0 if acknowledged else unacked)
        self._lobby.close(rec, how)


def _orphan(sock: socket.socket, fin_wait_1: float, fin_wait_2: float) -> None:
    bound_orphan(sock, fin_wait_1, fin_wait_2)
    sock.close()


def _reset(sock: socket.socket) -> None:
    set_linger(sock, 0)
    sock.close()
