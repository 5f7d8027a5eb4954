"""What every exchange of one worker shares: the plan's compiled parts, the lobby, the counters, the log.

`conclude` is the one place where an exchange ends for the books; both lanes call it, once for each exchange.
"""

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

import trio

from shieldproxy.core import forward
from shieldproxy.core.closing import FINAL, Event, State
from shieldproxy.core.head import UNTIL_CLOSE, RequestHead
from shieldproxy.core.plan import Plan
from shieldproxy.core.routes import Route, RouteTable
from shieldproxy.core.rulebook import RuleBook
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.linger import Closer
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.pipe import Pipe
from shieldproxy.net.pool import Group
from shieldproxy.net.record import ERROR, Downstream, Record, Upstream
from shieldproxy.net.several import group_of
from shieldproxy.net.spool import Store
from shieldproxy.net.tcpinfo import unsent_or_unacked
from shieldproxy.proxy.manners import repaired
from shieldproxy.proxy.state import Exchange

CACHED_BLOCKS = 4096
DEFECT = "internal-error"


class Log(Protocol):
    """Where outcomes and receipts go."""

    def exchange(self, ex: Exchange, outcome: str, by: str, phase: str, reason: str, now: float) -> None:
        """Write how an exchange ended."""

    def defect(self, exc: Exception) -> None:
        """Write where a defect of ours showed."""

    def warn(self, line: str) -> None:
        """Write a warning."""

    def date(self) -> bytes:
        """The present second as a Date field has it (RFC 9110 section 5.6.7)."""


class House:
    """One worker's shared things."""

    def __init__(self, plan: Plan, lobby: Lobby, journal: Log, closer: Closer, store: Store) -> None:
        self.plan = plan
        self.lobby = lobby
        self.journal = journal
        self.express = plan.express
        self.rules = RuleBook(plan.rules, plan.base)
        self.routes = RouteTable(plan.routes)
        self.nowhere = Group(UpstreamSpec("", ()), lobby)
        """Of exchanges that have no route (yet): nobody is in its line."""
        self.groups = {name: group_of(spec, lobby, journal.warn) for name, spec in plan.upstreams.items()}
        self.closer = closer
        self.store = store
        self.nursery: trio.Nursery
        self.draining = False
        self.active = 0
        """Exchanges begun and not concluded; a promoted one whose task has not started is among them."""
        self.held = 0
        """Clients' connections that have a descriptor."""
        self.attended: dict[Upstream, Any] = {}
        """Connections on which a request is seen to its end whose client has gone (proxy.attend)."""
        self.tasks = self.most_tasks = 0
        """Of the task lane, parked ones among them: now, and at most."""
        self.lanes: Counter[str] = Counter()
        self.promotions: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.pipe = Pipe()
        """Shared by all tasks: filled and emptied between two awaits."""
        self.go_on: Callable[[Downstream], None]
        """Takes a client's connection back after an exchange (net.downstream)."""
        self.send_rest: Callable[[Exchange, Any], None]
        """Takes an exchange over whose client has yet to take bytes of its answer (proxy.sender)."""
        self.read_out: Callable[[Exchange], None]
        """Takes it back after a refusal, with a body that has yet to come (proxy.readout)."""
        self._trusted = tuple(ip_network(cidr, strict=False) for cidr in plan.trusted)
        self._trust: dict[str, bool] = {}
        self._blocks: dict[tuple[str, bytes], bytes] = {}

    # who speaks

    def trusted(self, client: str) -> bool:
        """Whether this peer's forwarding fields are believed."""
        if not self._trusted:
            return False
        known = self._trust.get(client)
        if known is None:
            try:
                address = ip_address(client)
            except ValueError:
                known = False
            else:
                mapped = getattr(address, "ipv4_mapped", None) or address
                known = any(mapped in network for network in self._trusted)
            if len(self._trust) >= CACHED_BLOCKS:
                self._trust.clear()
            self._trust[client] = known
        return known

    def forwarded(self, ex: Exchange, head: RequestHead) -> bytes:
        """The forwarding fields for the upstream; the same for each request of a client to a host."""
        peer = ex.rec.peer
        if self._trusted and self.trusted(peer):
            return forward.forwarded_block(peer, "http", head, trusted=True)
        key = (peer, head.host)
        block = self._blocks.get(key)
        if block is None:
            block = forward.forwarded_block(peer, "http", head, trusted=False)
            if len(self._blocks) >= CACHED_BLOCKS:
                self._blocks.clear()
            self._blocks[key] = block
        return block

    def route_of(self, rec: Downstream, head: RequestHead) -> Route | None:
        """The route of a request."""
        return self.routes.find(rec.door.listen, head.host, head.path)

    # the ends

    def conclude(self, ex: Exchange, outcome: str, by: str, phase: str, reason: str) -> None:
        """Put an exchange into the books; its client's connection is not touched."""
        rec = ex.rec
        self.active -= 1
        self.lanes[ex.lane] += 1
        rec.served += 1
        rec.sent += ex.bytes_out
        rec.exchange = None
        if ex.bell is not None:
            ex.bell.mute()
        if ex.spool is not None:
            ex.forget()
        self.journal.exchange(ex, outcome, by, phase, reason, self.lobby.now)

    def fault(self, record: Any, exc: Exception) -> None:
        """A defect of ours, in one record (None: in nobody's): that one ends, the rest goes on."""
        self.journal.defect(exc)
        try:
            if isinstance(record, Upstream):
                self.forsake(record)
                if record.exchange is not None:
                    self.cut_off(record.exchange.rec, DEFECT)
                record.server.group.forget(record)
            elif isinstance(record, Downstream):
                self.cut_off(record, DEFECT)
        except Exception as again:  # noqa: BLE001 - the end of the line: nothing may stop the worker
            self.journal.defect(again)
        if isinstance(record, Record):
            self.lobby.close(record)

    def forsake(self, up: Upstream) -> None:
        """Attend to a request without a client no longer."""
        attended = self.attended.pop(up, None)
        if attended is not None:
            attended.end()

    def cut_off(
        self, rec: Downstream, reason: str, event: Event = Event.STOPPED, *, told: bool = False
    ) -> None:
        """End a client's connection at once, with whatever it holds, and say so in outcome and receipt.

        A reset says that an answer is not whole. Where nothing of one has gone out, or an earlier one is
        still on its way, there is a FIN instead: a reset would destroy what the client has not taken.

        Args:
            rec: the client's.
            reason: why.
            event: the close table's.
            told: an answer of ours, whole, has just gone out.
        """
        ex, phase = rec.exchange, rec.phase
        if ex is not None:
            up, ex.up = ex.up, None
            ex.group.quit(ex)
            if up is not None:
                ex.group.abandon(up)
            begun = ex.has_begun
            if not begun and not told:
                ex.status = 0  # nobody was sent one
            if told or not begun or _owes_more(ex):
                rec.state = State.IDLE  # nothing is cut short: the close table has a FIN for who waits
            ex.shut()
            rec.stage = ""
            self.conclude(ex, "refused" if told else "aborted", "proxy", phase, reason)
            if ex.lane == "express" and ex.place is not None:
                ex.group.free(ex.place)
        if rec.state not in FINAL:
            self.closer.leave(rec, event, "proxy", phase, reason)
        if ex is not None and ex.bell is not None:
            rec.latch |= ERROR
            ex.bell.ring()  # its task gives back what it was granted

    def snapshot(self) -> dict[str, Any]:
        """The counters, as plain values."""
        return {
            "exchanges": dict(self.lanes),
            "promotions": dict(self.promotions),
            "turns": self.lobby.turns,
            "tasks": self.most_tasks,
            "spool": self.store.snapshot(),
            "pool": {
                name: {
                    "dropped_idle": group.dropped_idle,
                    "surplus": group.surplus,
                    "ejections": group.ejections,
                    "returns": group.returns,
                }
                for name, group in self.groups.items()
            },
            "repairs": {
                name: dict(repairs) for name, group in self.groups.items() if (repairs := repaired(group))
            },
            "rules": {
                name: {"hits": hits, "last_seconds_ago": round(self.lobby.now - last, 3)}
                for name, hits, last in self.rules.matches()
                if hits
            },
            **self.counts,
        }


def _owes_more(ex: Exchange) -> bool:
    """Whether an earlier answer is still on its way, and the present one shows by itself that it is cut."""
    rec = ex.rec
    return not rec.door.unix and ex.framing != UNTIL_CLOSE and unsent_or_unacked(rec.sock) > ex.bytes_out
