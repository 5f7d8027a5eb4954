"""Request bodies on their way in: collected in the lobby, before a server hears of the request.

An exchange whose body has not come with its head, and is to be whole before it is forwarded, stays what
its client was until then: a record in the lobby. Its bytes gather in memory, beyond
`buffers.request_memory` in a spool (`net.spool`), and no task waits for them. What is whole goes on as if
it had come in one piece: a small body is part of the request as it is written to the server; a large one
goes out behind its head, and only what the server's socket does not take at once is left to a task. A
chunked body goes on with its length; its trailers end here (RFC 9110 section 6.5.1).

A body that is cut short, malformed, too long or too slow is answered here. Nothing of it has reached a
server.

The desk calls `begin` with an admitted request, the lobby `_on_event` and `_on_due`, a spool's file work
`_go_on`.
"""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

from shieldproxy.core.body import BodyFault, ChunkedReader
from shieldproxy.core.closing import Event
from shieldproxy.core.head import CHUNKED
from shieldproxy.core.manners import Unsendable
from shieldproxy.net.lobby import LONG, READS_A_TURN
from shieldproxy.net.record import ERROR, FIN, HUP, IN, NEWS, OUT, Downstream
from shieldproxy.proxy.answer import may_continue
from shieldproxy.proxy.desk import NEVER, Desk
from shieldproxy.proxy.exchange import RETRY_AFTER
from shieldproxy.proxy.fin import CONTINUE, half_said
from shieldproxy.proxy.house import House
from shieldproxy.proxy.intake import Intake
from shieldproxy.proxy.room import NoRoom
from shieldproxy.proxy.state import Exchange

STAGE: Final = "body"


class Collect:
    """Collects the bodies of one worker.

    Args:
        house: the worker's.
        desk: refuses what cannot be collected, and hands to a task what is not for the lobby any more.
        go: called with an exchange whose request is whole.
    """

    def __init__(self, house: House, desk: Desk, go: Callable[[Exchange], None]) -> None:
        self._house = house
        self._lobby = house.lobby
        self._desk = desk
        self._go = go
        self._memory = house.plan.buffers.request_memory
        self._short = NoRoom(house)
        self._bound = self._on_event, self._on_due

    def begin(self, ex: Exchange) -> None:
        """Collect the body of an admitted request; what of it came with the head is in the record.

        Its head for the upstream is written anew when it is whole: who keeps us waiting needs none before.
        """
        ex.request = b""
        rec, length, now = ex.rec, ex.head.length, self._lobby.now
        chunks = ChunkedReader(ex.policy.limits.body) if length == CHUNKED else None
        ex.intake = intake = Intake(now, now, chunks=chunks, length=length)
        rec.stage = STAGE
        rec.on_event, rec.on_due = self._bound
        if length > self._memory and not self._house.store.may_hold(length):
            self._no_room(ex, "beyond-disk-total" if self._house.store.on else "no-file")
            return
        if rec.buf:
            if not self._take(ex, intake, rec.first(len(rec.buf) if chunks is None else chunks.share)):
                return
            if rec.buf:
                self._lobby.again(rec, IN | LONG)
        elif may_continue(ex) and not self._invite(ex, intake):
            return
        if rec.latch & NEWS:
            self._lobby.again(rec, rec.latch & NEWS)
        ex.head.pack()
        self._wait(ex, intake)

    def _invite(self, ex: Exchange, intake: Intake) -> bool:
        """Tell the client to send its body, if there would be a place in line for it; else refuse it."""
        if ex.group.full:
            spec, later = ex.group.spec, ex.group.retry_after()
            self._refuse(ex, 503, "queue-full", spec.full, phase="admission", retry_after=later)
            return False
        intake.to_down = CONTINUE
        return self._say(ex, intake)

    def _say(self, ex: Exchange, intake: Intake) -> bool:
        """Send what is left of the 100; False if the client is gone."""
        try:
            count = ex.rec.sock.send(intake.to_down)
        except BlockingIOError:
            return True
        except OSError:
            self._reset(ex)
            return False
        ex.bytes_out += count
        ex.head_out += count
        intake.to_down = intake.to_down[count:]
        return True

    # what comes

    def _on_event(self, rec: Downstream, events: int) -> None:
        """Bytes of the body, or the client's end."""
        rec.latch |= events & NEWS
        ex = rec.exchange
        if events & (ERROR | HUP):
            self._reset(ex)
            return
        intake = ex.intake
        if intake.to_down and events & OUT and not self._say(ex, intake):
            return
        if events & NEWS and not self._held_up(ex):
            self._read(ex, intake)

    def _read(self, ex: Exchange, intake: Intake) -> None:
        """Take what is there, within the record's share of a turn."""
        rec, chunks = ex.rec, intake.chunks
        for _ in range(READS_A_TURN):
            share, from_buf = intake.share, bool(rec.buf)
            try:
                count = self._fill(ex, intake, share)
            except BlockingIOError:
                rec.latch &= ~IN
                break
            except OSError:
                self._reset(ex)
                return
            if count < 0:
                return
            if self._held_up(ex) or (count < share and not from_buf and not rec.latch & FIN):
                break
            if chunks is not None and chunks.dense:
                self._lobby.again(rec, IN | LONG)
                break
        else:
            self._lobby.again(rec)
        self._wait(ex, intake)

    def _fill(self, ex: Exchange, intake: Intake, share: int) -> int:
        """Read once: what came with the head, then the socket.

        Returns:
            How many bytes came; -1 if the body is over, in whatever way.
        """
        rec, spool = ex.rec, ex.spool
        if rec.buf:
            data = rec.first(share)
            return len(data) if self._take(ex, intake, data) else -1
        if spool is not None and intake.chunks is None:
            count = spool.fill(rec.sock, intake.left)
            if count:
                rec.got += count
                ex.body_in += count
                intake.move(count, self._lobby.now)
                return count if self._goes_on(ex, intake) else -1
        else:
            data = rec.sock.recv(share)
            if data:
                rec.got += len(data)
                if len(data) < share and not rec.latch & FIN:
                    rec.latch &= ~IN  # that was all; what comes later is an edge of its own
                return len(data) if self._take(ex, intake, data) else -1
        ex.keep = False
        self._refuse(ex, 400, "fin-in-body", by="client")
        return -1

    def _take(self, ex: Exchange, intake: Intake, data: bytes) -> bool:
        """Take bytes that were read; False if the body is over, in whatever way."""
        rec = ex.rec
        chunks = intake.chunks
        if chunks is None:
            left = intake.left
            if len(data) > left:
                rec.buf = data[left:]
                data = data[:left]
            ex.body_in += len(data)
            self._put(ex, intake, data)
        else:
            try:
                pieces = chunks.feed(data)
            except BodyFault as exc:
                ex.keep = False
                ex.body_in += len(data)
                self._refuse(ex, exc.status, exc.reason, exc.detail)
                return False
            if chunks.done:
                rec.buf = chunks.rest + bytes(rec.buf)
            ex.body_in += len(data) - len(chunks.rest)
            self._put(ex, intake, b"".join(pieces))
        intake.move(len(data), self._lobby.now)
        return self._goes_on(ex, intake)

    def _put(self, ex: Exchange, intake: Intake, data: bytes) -> None:
        spool = ex.spool
        if spool is None:
            rec, length = ex.rec, ex.head.length
            # one that will be long has a spool as soon as it shows that it is not slow
            most = self._memory if length <= self._memory else self._memory // 8
            if intake.size + len(data) <= most:
                intake.add(data)
                return
            size = length if ex.unsafe else -1
            ex.spool = spool = self._house.store.request(partial(self._wake, rec), size)
            held = intake.taken()
            if held:
                spool.put(held)
        spool.put(data)

    def _goes_on(self, ex: Exchange, intake: Intake) -> bool:
        """Whether there is more to come; if not, the request is whole, or there is no room for it."""
        spool, chunks = ex.spool, intake.chunks
        if spool is not None and spool.fault:
            self._no_room(ex, spool.fault)
            return False
        if chunks.done if chunks is not None else intake.left == 0:
            self._whole(ex, intake)
            return False
        if spool is not None and spool.full and not self._house.store.on:
            self._no_room(ex, "no-file")  # and nothing would ever make room
            return False
        return True

    def _no_room(self, ex: Exchange, detail: str) -> None:
        self._short.note(detail)
        self._refuse(ex, 503, "spool-full", detail, retry_after=RETRY_AFTER)

    def _whole(self, ex: Exchange, intake: Intake) -> None:
        """All of it is here: from now on it is a request like any other."""
        head, spool = ex.head, ex.spool
        self._leave(ex)
        head.unpack()
        ex.whole = True
        size = spool.size if spool is not None else intake.size
        try:
            request = self._desk.request_of(ex, head, size)
        except Unsendable as exc:
            self._desk.decline(ex, exc.fault, half_said(intake.to_down))
            return
        ex.request = request if spool is not None else request + intake.taken()
        to_down = half_said(intake.to_down)  # none of it: the client did without (RFC 9110 section 10.1.1)
        if to_down or not self._house.express:
            self._desk.promote(ex, "expect" if self._house.express else "off", to_down=to_down)
        else:
            self._go(ex)

    def _leave(self, ex: Exchange) -> None:
        """The lobby's part is over."""
        rec = ex.rec
        rec.stage = ""
        rec.on_event = self._desk.on_busy
        rec.due = NEVER
        ex.intake = None

    def evict(self, ex: Exchange) -> None:
        """Its place is wanted: the client is told, and lingered for."""
        ex.keep = False
        self._refuse(ex, 503, "evicted", retry_after=RETRY_AFTER)

    # what does not come

    def _held_up(self, ex: Exchange) -> bool:
        """Whether the body has to wait for the file; then it is not the client who is slow."""
        spool = ex.spool
        if spool is None or not spool.full:
            return False
        ex.intake.pause(self._lobby.now)
        return True

    def _wake(self, rec: Downstream) -> None:
        """File work is done: read on, or have the task send on."""
        ex = rec.exchange
        if ex is None:
            return
        if rec.stage == STAGE:
            intake = ex.intake
            if self._goes_on(ex, intake) and intake.paused != inf and not ex.spool.full:
                intake.resume(self._lobby.now)
                self._lobby.again(rec)
        elif ex.bell is not None:
            ex.bell.ring()

    def _wait(self, ex: Exchange, intake: Intake) -> None:
        """Set the deadline of what is still to come."""
        self._lobby.arm(ex.rec, self._limit(ex, intake)[0])

    def _limit(self, ex: Exchange, intake: Intake) -> tuple[float, str]:
        timeouts = ex.policy.timeouts
        return intake.limit(timeouts.body_idle, timeouts.body_min_rate, timeouts.body_total)

    def _on_due(self, rec: Downstream) -> None:
        """One of the three limits may be passed."""
        ex = rec.exchange
        intake = ex.intake
        due, which = self._limit(ex, intake)
        if due > self._lobby.now:
            self._wait(ex, intake)
            return
        ex.keep = False
        self._refuse(ex, 408, f"body-{which}", by="client")

    def _refuse(
        self,
        ex: Exchange,
        status: int,
        reason: str,
        detail: str = "",
        *,
        by: str = "proxy",
        phase: str = STAGE,
        retry_after: int | None = None,
    ) -> None:
        before = half_said(ex.intake.to_down)
        self._leave(ex)
        self._desk.refuse(ex, status, phase, reason, detail, by=by, retry_after=retry_after, before=before)

    def _reset(self, ex: Exchange) -> None:
        """The client has reset the connection."""
        ex.status = 499
        self._house.conclude(ex, "aborted", "client", STAGE, "reset")
        self._house.closer.leave(ex.rec, Event.PEER_RESET, "client", "exchange", "reset")
