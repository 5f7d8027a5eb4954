"""The desk: what becomes of a request before the upstream has it, and instead.

Rules, limits and the route are looked up here, for both lanes; a request that may not go on is answered here;
and an exchange that is not plain is handed to a task from here, at whatever point that shows.
"""

from typing import Final

from shieldproxy.core import forward
from shieldproxy.core.cleaning import clean
from shieldproxy.core.closing import State
from shieldproxy.core.fields import Fault
from shieldproxy.core.head import RequestHead, judge_request
from shieldproxy.net.record import ERROR, IN, OUT, Downstream
from shieldproxy.proxy import ends, exchange, lease
from shieldproxy.proxy.answer import options, refusal
from shieldproxy.proxy.crew import Crew
from shieldproxy.proxy.house import House
from shieldproxy.proxy.identity import new_id
from shieldproxy.proxy.readout import keeps
from shieldproxy.proxy.sender import Sender
from shieldproxy.proxy.state import Bytes, Exchange

NEVER: Final = float("inf")


class Desk:
    """What both lanes do with a request at its beginning."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._lobby = house.lobby
        self._crew = Crew(house)
        self.sender = Sender(house)
        house.send_rest = self.sender.take
        self._on_busy = self.on_busy
        self._usual_agent = house.plan.base.limits.user_agent

    def on_busy(self, rec: Downstream, events: int) -> None:
        """Latch what a client does whose request is worked on."""
        rec.latch |= events

    def _open(self, rec: Downstream, started: float) -> Exchange:
        """Begin an exchange: from here on the client's record is ours, and has no deadline of its own."""
        house = self._house
        rec.state = State.ACTIVE
        rec.since = started
        rec.on_event = self._on_busy
        rec.due = NEVER
        house.active += 1
        ex = Exchange(rec, started, house.nowhere)
        rec.exchange = ex
        return ex

    def fault(self, rec: Downstream, status: int, reason: str) -> None:
        """Refuse a client whose head is not whole."""
        ex = self._open(rec, rec.since)
        phase = "admission" if status == 503 else "head"
        self.refuse(
            ex, status, phase, reason, by="client" if status == 408 else "proxy",
            retry_after=exchange.RETRY_AFTER if status == 503 else None,
        )  # fmt: skip

    def _admit(self, ex: Exchange, head: RequestHead) -> bool:
        """Find rules, limits and the route of a request, or refuse it."""
        house, rec = self._house, ex.rec
        if head.forwarded and house.trusted(rec.peer):
            ex.client = forward.client_of(rec.peer, head, house.trusted)
        agent = head.user_agent
        # Before any pattern runs on it, and by the address alone: the last request's policy is another's.
        if len(agent) > self._usual_agent and len(agent) > house.rules.at_accept(rec.peer).limits.user_agent:
            self.refuse(ex, 431, "head", "user-agent-long")
            return False
        verdict = house.rules.decide(
            ex.client, head.method, head.path, head.host, head.minor, agent, self._lobby.now
        )
        ex.verdict = verdict
        ex.policy = rec.policy = policy = verdict.policy
        fault = judge_request(head, policy)
        if fault is not None:
            self._place(ex, head)
            ex.keep = fault.reason == "body-long" and not ex.whole
            self.refuse(ex, fault.status, "policy", fault.reason, fault.detail)
            return False
        ex.keep = True  # from here on a refusal need not end the connection
        if policy.deny is not None:
            self._place(ex, head)
            self.refuse(ex, policy.deny, "policy", "denied")
            return False
        if head.max_forwards == 0:
            ex.keep = keeps(self._house, ex)
            self._send_own(ex, options(self._house, ex), ends.refused("proxy", "policy", "max-forwards"))
            return False
        route = house.route_of(rec, head)
        if route is None:
            self.refuse(ex, 404, "policy", "no-route")
            return False
        ex.route = route
        ex.group = house.groups[route.upstream]
        return not route.rare or self._prepare(ex, head)

    def _place(self, ex: Exchange, head: RequestHead) -> None:
        """Find the route of a request that is about to be refused: for its id and for the log."""
        route = self._house.route_of(ex.rec, head)
        if route is not None:
            ex.route = route
            if route.request_id is not None:
                ex.id = new_id()

    def _prepare(self, ex: Exchange, head: RequestHead) -> bool:
        """Give a request its id and make it plain, as its route wants it, or refuse it."""
        route = ex.route
        if route.request_id is not None:
            ex.id = new_id()
        lines = head.lines
        fault = clean(head, route) if route.cleans else None
        if head.lines is not lines:
            ex.detail = "ranges-dropped"
            self._house.counts["ranges_dropped"] += 1
        if fault is not None:
            self.refuse(ex, fault.status, "policy", fault.reason, fault.detail)
        return fault is None

    def decline(self, ex: Exchange, fault: Fault, before: bytes = b"") -> None:
        """Refuse a request that its upstream cannot be given; `before`: as for `refuse`."""
        self.refuse(ex, fault.status, "policy", fault.reason, fault.detail, before=before)

    def request_of(self, ex: Exchange, head: RequestHead, framing: int) -> bytes:
        """The request's head as the upstream is to have it; raises Unsendable (`decline` answers it).

        ``framing``: CHUNKED, or the length of the body.
        """
        route = ex.route
        return ex.group.request_head(
            head,
            route,
            self._house.forwarded(ex, head),
            framing,
            ex.id.encode() if ex.id else None,
        )

    def refuse(
        self,
        ex: Exchange,
        status: int,
        phase: str,
        reason: str,
        detail: str = "",
        *,
        by: str = "proxy",
        retry_after: int | None = None,
        before: bytes = b"",
    ) -> None:
        """Answer a request ourselves. The upstream is out of it already.

        `before`: what is left of an interim response that has gone out in part.
        """
        house = self._house
        ex.keep = keeps(house, ex)
        out = refusal(house, ex, status, reason, detail, retry_after=retry_after)
        if before:
            out = before + out
            ex.head_out += len(before)
        self._send_own(ex, out, ends.refused(by, phase, reason))

    def _send_own(self, ex: Exchange, out: bytes, ending: ends.Ending) -> None:
        house, rec = self._house, ex.rec
        try:
            count = rec.sock.send(out)
        except BlockingIOError:
            count = 0
        except OSError:
            count = len(out)  # `end` sees the reset
            rec.latch |= ERROR
        ex.bytes_out += count
        if count < len(out):
            ex.clocked().freed = self._lobby.now
            ex.to_down = memoryview(out)[count:]
            ex.begun = count > 0
            house.send_rest(ex, ending)
            return
        ends.finish(house, ex, ending)

    def promote(
        self,
        ex: Exchange,
        reason: str,
        *,
        to_up: Bytes = b"",
        to_down: Bytes = b"",
    ) -> None:
        """Hand an exchange over to a task of its own."""
        house, rec = self._house, ex.rec
        house.promotions[reason] += 1
        hand = self._crew.free()
        ex.promoted(hand.bell, lease.on_grant, to_up, to_down)
        rec.latch |= OUT if ex.whole else IN | OUT
        rec.on_event = lease.on_event
        rec.due = NEVER
        up = ex.up
        if up is not None:
            up.latch |= IN | OUT
            up.on_event = lease.on_event
            up.due = NEVER
        self._crew.serve(hand, ex)
