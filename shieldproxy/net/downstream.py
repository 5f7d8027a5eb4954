"""Clients while they wait: fresh, in a head, idle. A record each, no task, no buffer but the head so far.

A whole head is handed to `on_head`; a fault that needs no request to be seen (a head too large or too slow)
to `on_fault`. The head's bytes are collected in the record and each is scanned once. `go_on` takes a
connection back after an exchange, with what the client has sent meanwhile.

Called by the lobby (events, deadlines), the listener (`welcome`) and proxy (`go_on`).
"""

import socket
from collections.abc import Callable
from typing import Final

from shieldproxy.core.closing import Event, State
from shieldproxy.core.head import end_of_head, skip_blank, too_long
from shieldproxy.core.policy import Policy
from shieldproxy.net.linger import Closer
from shieldproxy.net.lobby import CHUNK, Lobby
from shieldproxy.net.pipes import waiting
from shieldproxy.net.record import ENDS, ERROR, IN, NEWS, Door, Downstream
from shieldproxy.net.tcpinfo import unsent_or_unacked

FIRST: Final = 16 * 1024
"""Bytes to read of one who waits: more than a head. Of a large body the rest may go from socket to socket."""
BLANKS: Final = 64
"""Blank lines before a request line are skipped up to so many bytes (RFC 9112 section 2.2)."""


class Clients:
    """The waiting clients of one worker.

    Args:
        lobby: that holds them.
        closer: ends them.
        policy: what holds for an address before its request is known.
        on_head: called with the record, the bytes read, and where the head in them ends.
        on_fault: called with the record, a status and a reason, for a head that is not whole.
    """

    def __init__(
        self,
        lobby: Lobby,
        closer: Closer,
        policy: Callable[[str], Policy],
        on_head: Callable[[Downstream, bytes, int], None],
        on_fault: Callable[[Downstream, int, str], None],
    ) -> None:
        self._lobby = lobby
        self._closer = closer
        self._policy = policy
        self._on_head = on_head
        self._on_fault = on_fault
        self._on_waiting = self.on_waiting
        self._on_next = self.on_next
        self._on_due = self.on_due

    def welcome(self, sock: socket.socket, peer: str, port: int, door: Door) -> Downstream:
        """Take a new client in."""
        lobby = self._lobby
        now = lobby.now
        rec = Downstream(sock, self._on_waiting, self._on_due, door, peer, port, now)
        rec.policy = self._policy(peer)
        lobby.add(rec)
        lobby.arm(rec, now + rec.policy.timeouts.head)
        return rec

    def on_waiting(self, rec: Downstream, events: int) -> None:
        """Something of a waiting client: bytes, its FIN, its reset, or only room to write."""
        if events & ENDS:
            rec.latch |= events & ENDS
        if not events & NEWS:
            return
        try:
            data = rec.sock.recv(FIRST)
        except BlockingIOError:
            rec.latch &= ~IN
            return
        except OSError:
            self._closer.leave(rec, Event.PEER_RESET, "client", rec.phase, "reset")
            return
        if not data:
            self._part(rec, Event.PEER_FIN, "client", "fin-in-head" if rec.buf else "fin")
            return
        if len(data) == FIRST:
            data = self._with_more(rec, data)
        elif rec.latch:
            rec.latch &= ~IN
        rec.got += len(data)
        if rec.buf:
            self._continue_head(rec, data)
            return
        end = data.find(b"\r\n\r\n") + 4
        if 3 < end <= rec.policy.limits.head and data[0] > 32:  # the common case: a whole head at the start
            self._on_head(rec, data, end)
            return
        rec.since = self._lobby.now
        self._look_for_head(rec, data, 0)

    def _with_more(self, rec: Downstream, data: bytes) -> bytes:
        """What is behind a full read is taken too, unless it had better stay where it is."""
        left = waiting(rec.sock)
        if left > CHUNK - FIRST:
            rec.latch |= IN  # there is more, and no edge will say so again
            return data
        try:
            more = rec.sock.recv(CHUNK - FIRST) if left else b""
        except BlockingIOError:
            more = b""
        except OSError:
            rec.latch |= ERROR
            return data
        rec.latch = rec.latch | IN if len(more) == CHUNK - FIRST else rec.latch & ~IN
        return data + more

    def _continue_head(self, rec: Downstream, data: bytes) -> None:
        buf = rec.buf
        seen = len(buf)
        if isinstance(buf, bytes):
            buf = bytearray(buf)
            rec.buf = buf
        buf += data
        if b"\n" not in data and buf[0] > 32 and len(buf) <= rec.policy.limits.head:
            self._read_on(rec)  # a piece without a line's end ends no head
            return
        self._look_for_head(rec, buf, max(0, seen - 3))

    def _look_for_head(self, rec: Downstream, buf: bytes | bytearray, start: int) -> None:
        if buf[0] in b"\r\n":
            blank = skip_blank(buf)
            if blank > BLANKS:
                rec.buf = buf
                self._on_fault(rec, 400, "blank-lines")
                return
            if blank:
                buf, start = buf[blank:], 0
        if not buf:
            rec.buf = b""
            self._read_on(rec)
            return
        end = end_of_head(buf, start)
        limit = rec.policy.limits.head
        if end > limit or (end < 0 and len(buf) > limit):
            rec.buf = buf
            self._on_fault(rec, *_too_large(buf, limit))
        elif end >= 0:
            self._on_head(rec, bytes(buf), end)
        else:
            rec.buf = buf if isinstance(buf, bytearray) else bytearray(buf)
            if start == 0:
                self._lobby.arm(rec, rec.since + rec.policy.timeouts.head)
            self._read_on(rec)

    def _read_on(self, rec: Downstream) -> None:
        """More, or the end, may be behind what was read: no edge will say so again."""
        if rec.latch & NEWS:
            self._lobby.again(rec)

    def on_next(self, rec: Downstream, events: int) -> None:
        """Its turn again after an exchange: a pipelined request first, then what the socket has."""
        rec.latch |= events & NEWS
        rec.on_event = self._on_waiting
        buf, rec.buf = rec.buf, b""
        if buf:
            rec.since = self._lobby.now
            self._look_for_head(rec, bytes(buf), 0)
            if rec.state is not State.IDLE or rec.fd < 0:
                return
        self.on_waiting(rec, events | IN)

    def go_on(self, rec: Downstream) -> None:
        """Take a connection back after an exchange that keeps it."""
        lobby = self._lobby
        rec.state = State.IDLE
        rec.since = lobby.now
        rec.on_due = self._on_due
        due = lobby.now + rec.policy.timeouts.keep_alive
        rec.due = due
        if due <= rec.slot:
            lobby.arm(rec, due)
        latch = rec.latch
        if rec.buf or latch & NEWS:
            rec.on_event = self._on_next
            lobby.again(rec, latch)
        else:
            rec.on_event = self._on_waiting

    def on_due(self, rec: Downstream) -> None:
        """A waiting client's time is over."""
        if rec.buf:
            self._on_fault(rec, 408, "head-timeout")
            return
        self.dismiss(rec, Event.EXPIRED, "keep-alive-timeout" if rec.served else "head-timeout")

    def dismiss(self, rec: Downstream, event: Event, reason: str) -> None:
        """End a client that waits without a byte of a request, unless one has come at this very moment."""
        try:
            data = rec.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            data = b""
        except OSError:
            self._closer.leave(rec, Event.PEER_RESET, "client", rec.phase, "reset")
            return
        if data:
            self.on_waiting(rec, IN)
            return
        self._part(rec, event, "proxy", reason)

    def _part(self, rec: Downstream, event: Event, by: str, reason: str) -> None:
        """End a waiting client; one that has yet to take its last response is lingered for."""
        phase = rec.phase
        if rec.served and not rec.door.unix and unsent_or_unacked(rec.sock):
            rec.state = State.ACTIVE
            self._closer.end(rec, by, phase, reason)
        else:
            self._closer.leave(rec, event, by, phase, reason)


def _too_large(buf: bytes | bytearray, limit: int) -> tuple[int, str]:
    """Which part of a head is too large: the target (414) or the fields (431)."""
    fault = too_long(buf[:limit])
    return fault.status, fault.reason
