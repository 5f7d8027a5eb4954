"""The door: who is let in when, and who has to leave for it.

`Gate.welcome` stands between the listeners and the lobby. With every place taken it evicts the client that
costs least to lose (`core.eviction`); if there is none, the newcomer is told 503, on a place of a small
reserve, and lingers like anybody else.
"""

import socket
from contextlib import suppress
from typing import Final

from shieldproxy.core.closing import Event, State
from shieldproxy.core.eviction import LEAVING, NEVER, rank
from shieldproxy.net.downstream import Clients
from shieldproxy.net.lobby import READS_A_TURN
from shieldproxy.net.record import Door, Downstream, has_input
from shieldproxy.net.tcpinfo import unsent_or_unacked
from shieldproxy.proxy.answer import refusal
from shieldproxy.proxy.collect import STAGE as BODY
from shieldproxy.proxy.exchange import RETRY_AFTER
from shieldproxy.proxy.express import Express
from shieldproxy.proxy.fin import half_said
from shieldproxy.proxy.house import House
from shieldproxy.proxy.sender import is_evicted
from shieldproxy.proxy.state import Exchange

RESERVE: Final = 256
"""Places beyond max_connections, for those who are refused; fewer where descriptors are few."""
SCAN_EVERY: Final = 0.05
"""Seconds between two looks over all connections when there are many."""
MANY: Final = 1000
SEND: Final = "send"
SLOW: Final = frozenset({BODY, SEND})
"""Stages in which a client may be so slow that its place is given away."""


class Gate:
    """Counts the clients of one worker and keeps them within max_connections.

    Args:
        house: the worker's.
        clients: take in who is let in.
        express: refuses who is not.
        most: so many clients are held.
        reserve: so many more may be refused at a time.
        shared: descriptors for the files of spools and for those clients together.
    """

    def __init__(
        self, house: House, clients: Clients, express: Express, most: int, reserve: int, shared: int
    ) -> None:
        self._house = house
        self._clients = clients
        self._express = express
        self._most = most
        self._reserve = reserve
        self._shared = shared
        self._candidates: list[tuple[int, float, Downstream]] = []
        self._scanned = -1.0
        house.store.disk.room = self.has_room

    def has_room(self) -> bool:
        """Whether there is a descriptor for one more file of a spool; if need be in a client's place."""
        house = self._house
        return house.held + house.store.files < self._shared or self._evict(gently=False, for_file=True)

    def welcome(self, sock: socket.socket, peer: str, port: int, door: Door) -> None:
        """Take a client in, if need be in the place of another."""
        house = self._house
        beyond = max(house.held - self._most, house.held + house.store.files - self._shared)
        refuse = beyond >= 0 and not self._evict(beyond < self._reserve // 2)
        if refuse and beyond >= self._reserve:
            house.counts["turned_away"] += 1
            sock.close()
            return
        rec = self._clients.welcome(sock, peer, port, door)
        house.held += 1
        house.counts["accepted"] += 1
        if refuse:
            house.counts["refused_full"] += 1
            house.lobby.guard(rec, lambda: self._express.fault(rec, 503, "connection-limit"))

    def _evict(self, gently: bool, *, for_file: bool = False) -> bool:
        """Free one place; False if nobody can be asked to leave.

        Args:
            gently: whoever is being served may leave on a place of the reserve: it is told, and lingered for.
            for_file: only those who wait can leave.
        """
        house = self._house
        now = house.lobby.now
        fresh = now < self._scanned + SCAN_EVERY
        if not (self._candidates and fresh):
            if house.held > MANY and fresh:
                return False
            self._scan(now)
        while self._candidates:
            place, since, rec = self._candidates.pop()
            if for_file and rec.exchange is not None:
                continue
            if rec.fd >= 0 and rec.since == since and self._rank(rec, now) <= place and not _owes(rec):
                if rec.phase == "idle" and has_input(rec):
                    continue  # its next request has come
                leaving = _is_leaving(rec)
                if leaving and gently:
                    continue
                house.counts["evicted"] += not leaving
                if not gently or rec.stage not in SLOW:
                    end_at_once(house, rec, "evicted", Event.EVICTED)
                elif rec.stage == BODY:
                    self._express.collect.evict(rec.exchange)
                else:
                    self._express.sender.evict(rec.exchange)
                return True
        return False

    def _scan(self, now: float) -> None:
        self._scanned = now
        found = [
            (place, rec.since, rec)
            for rec in house_clients(self._house)
            if (place := self._rank(rec, now)) != NEVER
        ]
        found.sort(key=lambda entry: entry[:2], reverse=True)
        self._candidates = found

    def _rank(self, rec: Downstream, now: float) -> int:
        linger = rec.linger
        if _is_leaving(rec):
            return LEAVING
        return rank(
            rec.phase,
            acknowledged=linger is not None and linger.acked_at <= now,
            age=now - rec.since,
            head_timeout=rec.policy.timeouts.head,
            slow=rec.stage in SLOW and _is_slow(rec, now),
        )


def _is_slow(rec: Downstream, now: float) -> bool:
    """Whether the body of a client, or the answer on its way to it, comes on slowly."""
    ex, timeouts = rec.exchange, rec.policy.timeouts
    if rec.stage == BODY:
        return bool(ex.intake.slow(now, timeouts.body_idle, timeouts.body_min_rate))
    return bool(ex.reader.slow(now, timeouts.send_idle, timeouts.send_min_rate))


def _is_leaving(rec: Downstream) -> bool:
    """Whether a client was asked to leave while it was sent an answer, and what its kernel has goes out."""
    return rec.stage == SEND and is_evicted(rec.exchange)


def _owes(rec: Downstream) -> bool:
    """Whether a client that waits has yet to take its last response."""
    return (
        rec.state is State.IDLE and rec.served > 0 and not rec.door.unix and unsent_or_unacked(rec.sock) > 0
    )


def house_clients(house: House) -> list[Downstream]:
    """Every client's record that is held."""
    return [rec for rec in house.lobby.all() if isinstance(rec, Downstream)]


def dismiss_waiting(house: House, clients: Clients) -> None:
    """Close every client that waits without a byte of a request (the drain's beginning)."""
    for rec in house_clients(house):
        if rec.state is State.IDLE and not rec.buf:
            clients.dismiss(rec, Event.STOPPED, "drain")


def end_at_once(house: House, rec: Downstream, reason: str, event: Event) -> None:
    """End a connection without a linger; with a 503 where nothing of an answer has gone out."""
    ex = rec.exchange
    told = ex is not None and not ex.has_begun and _tell(house, ex, reason)
    house.cut_off(rec, reason, event, told=told)


def _tell(house: House, ex: Exchange, reason: str) -> bool:
    """Send a 503 if the client's socket takes it; True if it has."""
    sock, ex.keep = ex.rec.sock, False
    answers = ex.bell is not None or ex.rec.stage == SEND  # with what its socket has not taken
    before = half_said(ex.intake.to_down if ex.rec.stage == BODY else ex.to_down if answers else b"")
    out = before + refusal(house, ex, 503, reason, retry_after=RETRY_AFTER)
    try:
        count = sock.send(out)
    except OSError:
        ex.status = 0
        return False
    ex.begun = True
    ex.bytes_out += count
    ex.head_out += len(before)
    with suppress(OSError):
        for _ in range(READS_A_TURN):  # what is unread would make the kernel answer close() with a reset
            if not sock.recv_into(house.lobby.discarded):
                break
    return count == len(out)


def unfinished(house: House) -> int:
    """How many connections a drain still waits for."""
    clients = house_clients(house)
    gone = house.active - sum(1 for rec in clients if rec.exchange is not None)
    return len(house.attended) + gone + sum(1 for rec in clients if rec.state is not State.IDLE or rec.buf)


def stop_all(house: House) -> None:
    """End whatever is left, at once (the drain's end)."""
    for group in house.groups.values():
        group.line.clear()  # or who is cut off first would hand its place to the next to be cut off
    for rec in house_clients(house):
        end_at_once(house, rec, "drain-timeout", Event.STOPPED)
    for up in list(house.attended):
        house.forsake(up)
        up.server.group.abandon(up)
    for group in house.groups.values():
        group.close_idle()
