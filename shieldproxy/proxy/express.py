"""The express lane: a plain exchange, from epoll event to epoll event, without a task.

Plain is: the request is whole in the buffer (or was collected, and the upstream's socket takes it at once),
the upstream has an idle connection (or the exchange waits in line for one), and the response has a known
length that fits the buffers. `begin` asks, `on_upstream` answers. Whatever turns out not to be plain, at any
point, is promoted: the exchange goes to a task with all that was read and written so far (`exchange.serve`).
What to send, whom to keep and when to retry is decided by the same functions in both lanes; this file adds
only the order of I/O.

The lobby calls it: `begin` with a whole head, the others as `on_event` and `on_due` of records.
"""

from socket import MSG_MORE
from typing import Any

from shieldproxy.core.buffering import streams
from shieldproxy.core.fields import Fault
from shieldproxy.core.head import RequestHead, read_request
from shieldproxy.core.manners import Unsendable
from shieldproxy.core.retry import IDEMPOTENT
from shieldproxy.net.lobby import CHUNK
from shieldproxy.net.record import ENDS, ERROR, FIN, HUP, IN, NEWS, Downstream, Upstream
from shieldproxy.net.server import Grant, Server
from shieldproxy.net.tcpinfo import unheard
from shieldproxy.proxy import ends
from shieldproxy.proxy.answer import FITS, compose, note_short, parse
from shieldproxy.proxy.collect import Collect
from shieldproxy.proxy.desk import NEVER, Desk
from shieldproxy.proxy.ends import give_up
from shieldproxy.proxy.fin import fin_seen, leave_upstream, why_gone
from shieldproxy.proxy.house import House
from shieldproxy.proxy.lease import again
from shieldproxy.proxy.manners import dressed, is_surplus
from shieldproxy.proxy.readout import ReadOut
from shieldproxy.proxy.state import TRUNCATED, UNHEARD, Ended, Exchange, Times
from shieldproxy.proxy.upload import send_whole


class Express(Desk):
    """The express lane of one worker."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._on_upstream = self.on_upstream
        self._on_upstream_due = self.on_upstream_due
        self._on_line_due = self.on_line_due
        self._on_grant = self.on_grant
        self.collect = Collect(house, self, self.go)
        house.read_out = ReadOut(house).begin

    # a request

    def begin(self, rec: Downstream, data: bytes, end: int) -> None:
        """Serve the request whose head is ``data[:end]``; what follows it is its body and later requests."""
        house, lobby = self._house, self._lobby
        now = lobby.now
        began = rec.since
        ex = self._open(rec, now)
        if rec.buf:
            ex.started = began  # a head in pieces began with its first byte
        head = read_request(data, end)
        if isinstance(head, Fault):
            ex.request = data[:end]  # for the books: what was refused
            self.refuse(ex, head.status, "head", head.reason, head.detail)
            return
        ex.head = head
        length, end = head.length, head.size
        stop = end + length
        plain = 0 <= length <= len(data) - end
        rec.buf = data[stop:] if plain else data[end:]
        ex.whole = plain
        if not self._admit(ex, head):
            return
        if not plain:
            self._begin_body(ex, head)
            return
        body = data[end:stop] if length else b""
        try:
            ex.request = self.request_of(ex, head, length) + body
        except Unsendable as exc:
            self.decline(ex, exc.fault)
            return
        if house.express:
            self.go(ex)
        else:
            self.promote(ex, "off")

    def _begin_body(self, ex: Exchange, head: RequestHead) -> None:
        """A body that has not come whole: collected, or streamed to the upstream as it comes."""
        length = head.length
        whole = (ex.policy.buffer_request or ex.route.buffer_request) == "whole"
        if whole and ex.group.manners is None:  # then there is nothing that it could not be given
            self.collect.begin(ex)
            return
        try:  # a chunked body has a length once it is whole
            ex.request = self.request_of(ex, head, max(0, length) if whole else length)
        except Unsendable as exc:
            self.decline(ex, exc.fault)
            return
        if whole:
            self.collect.begin(ex)
        elif self._house.express:
            self.promote(ex, "chunked" if length < 0 else "expect" if head.expect else "body")
        else:
            self.promote(ex, "off")

    def go(self, ex: Exchange) -> None:
        """Bring a whole request to the upstream: over an idle connection, or by way of the line."""
        rec, group, lobby = ex.rec, ex.group, self._lobby
        if rec.latch & FIN and fin_seen(ex):
            self.client_gone(ex)
            return
        if ex.head.method in IDEMPOTENT and (group.sparing_until <= lobby.now or not group.sparing):
            up = group.take(ex)
        else:
            up = group.take_sure(ex)
        if up is not None:
            self._send(ex, up)
            return
        if group.full:
            self.refuse(ex, 503, "admission", "queue-full", group.spec.full, retry_after=group.retry_after())
            return
        ex.grant = self._on_grant
        granted = group.enter(ex)
        if granted is None:
            ex.times = Times(lobby.now)
            rec.on_due = self._on_line_due
            lobby.arm(rec, lobby.now + group.spec.queue_timeout)
        else:
            self.on_grant(ex, granted)

    # the upstream

    def on_grant(self, ex: Exchange, granted: Grant) -> None:
        """The head of the line: a connection, or a place for one."""
        ex.rec.due = NEVER
        if isinstance(granted, Server):
            ex.place = granted
            self.promote(ex, "connect")
        else:
            self._send(ex, granted)

    def on_line_due(self, rec: Downstream) -> None:
        """Nothing came free within queue_timeout."""
        ex = rec.exchange
        group = ex.group
        group.quit(ex)
        self.refuse(ex, 503, "admission", "queue-timeout", group.spec.late, retry_after=group.retry_after())

    def _send(self, ex: Exchange, up: Upstream) -> None:
        """Write the request to a pooled connection and wait for the answer."""
        lobby = self._lobby
        ex.up = up
        ex.server = up.server
        ex.asked = now = lobby.now
        up.exchange = ex
        request = ex.request
        if ex.group.manners is not None:
            request = dressed(ex.group, up, request)
        try:
            count = up.sock.send(request) if ex.spool is None else up.sock.send(request, MSG_MORE)
        except BlockingIOError:
            count = 0
        except OSError:
            self._upstream_closed(ex, up, "reset", unrun=True)
            return
        if count < len(request):
            self.promote(ex, "upstream-buffer", to_up=memoryview(request)[count:] if count else request)
            return
        if ex.spool is not None and not send_whole(ex.spool, up.sock):
            self.promote(ex, "body")
            return
        up.on_event = self._on_upstream
        up.on_due = self._on_upstream_due
        due = now + ex.group.spec.response_timeout
        up.due = due
        if due <= up.slot:
            lobby.arm(up, due)

    def on_upstream(self, up: Upstream, events: int) -> None:
        """Bytes of the response, or the upstream's end."""
        ex = up.exchange
        try:
            data = up.sock.recv(CHUNK)
        except BlockingIOError:
            up.latch |= events & ENDS
            return
        except OSError:
            self._upstream_closed(ex, up, "reset", unrun=False)
            return
        up.latch |= events & ENDS
        if not data:
            unrun = ex.spool is None and unheard(up.sock, len(ex.request))
            self._upstream_closed(ex, up, "closed", unrun=unrun)
            return
        if len(data) == CHUNK:
            up.latch |= IN  # there may be more, and no edge will say so again
        elif up.latch:
            up.latch &= ~IN
        more = up.latch & NEWS
        if ex.from_up:
            data = ex.from_up + data
        head = ex.head
        parsed = parse(ex, data, head.method)
        if parsed is None:
            self._wait_for_more(ex, up, data, more)
            return
        if isinstance(parsed, Fault):
            self._bad_gateway(ex, up, parsed)
            return
        resp, start = parsed
        length, have = resp.length, len(data) - start
        if resp.status < 200 or length < 0 or length > FITS:
            ex.from_up = data
            self.promote(ex, "interim" if resp.status < 200 else "length" if length < 0 else "large")
            return
        if have < length:
            if streams(ex.policy.buffer_response, ex.route.buffer_response, resp.stream, resp.lines):
                ex.from_up = data
                self.promote(ex, "stream")
                return
            self._wait_for_more(ex, up, data, more)
            return
        surplus = have > length and is_surplus(ex, data[start + length :])
        self._answer(ex, up, head, resp, data[start : start + length], surplus)

    def _wait_for_more(self, ex: Exchange, up: Upstream, data: bytes, more: int) -> None:
        ex.from_up = data
        ex.forget()
        up.due = self._lobby.now + ex.group.spec.response_timeout
        if more:  # one read did not take all, or the end is there already: no edge will say so again
            self._lobby.again(up)

    def _answer(
        self, ex: Exchange, up: Upstream, head: RequestHead, resp: Any, body: bytes, surplus: bool
    ) -> None:
        """The response is whole: the client is answered, the upstream released."""
        rec = ex.rec
        out = compose(self._house, ex, head, resp, True) + body
        try:
            count = rec.sock.send(out)
        except BlockingIOError:
            count = 0
        except OSError:
            count = -1
        ex.up = None
        if surplus:
            ex.group.surplus += 1
            ex.group.abandon(up)
        elif resp.persistent:
            ex.group.release(up)
        else:
            ex.group.part(up)
        try:
            self._answered(ex, resp, out, count)
        except Exception as exc:  # noqa: BLE001 - from here on it is the client's record, not the upstream's
            self._house.fault(rec, exc)

    def _answered(self, ex: Exchange, resp: Any, out: bytes, count: int) -> None:
        """The upstream is out of it: into the books, and on or off with the client."""
        if count < len(out):
            if count < 0:
                self.client_gone(ex)
                return
            ex.bytes_out += count
            ex.clocked().freed = self._lobby.now
            ex.resp = resp
            ex.to_down = memoryview(out)[count:]
            ex.begun = count > 0
            self._house.send_rest(ex, ends.SERVED)
            return
        ex.bytes_out += count
        house, rec = self._house, ex.rec
        house.conclude(ex, "served", "upstream", "relay", "done")
        if ex.keep and not house.draining and not rec.latch & FIN:
            house.go_on(rec)
        else:
            ends.end(house, ex)

    def _upstream_closed(self, ex: Exchange, up: Upstream, how: str, *, unrun: bool) -> None:
        """It ended before its response was whole."""
        if again(ex, unrun=unrun):
            self.promote(ex, "retry")
            return
        group = ex.group
        ex.up = None
        if ex.from_up:
            how = "truncated"
            group.failed(up.server, "upstream-truncated")
        group.drop(up)
        note_short(ex)
        self.refuse(
            ex, 502, "upstream", "upstream-" + how, TRUNCATED if ex.from_up else UNHEARD, by="upstream"
        )

    def _bad_gateway(self, ex: Exchange, up: Upstream, fault: Fault) -> None:
        ex.up = None
        ex.group.abandon(up)
        self.refuse(ex, fault.status, "upstream", fault.reason, fault.detail, by="upstream")

    def on_upstream_due(self, up: Upstream) -> None:
        """No progress within response_timeout."""
        ex = up.exchange
        ex.up = None
        ex.group.failed(up.server, "response-timeout")
        ex.group.abandon(up)
        self.refuse(ex, 504, "upstream", "response-timeout", by="upstream")

    # the client, while its request is worked on

    def on_busy(self, rec: Downstream, events: int) -> None:
        """Latch what the client does; a reset ends the exchange, a FIN as its policy says."""
        fin = events & FIN & ~rec.latch
        rec.latch |= events
        ex = rec.exchange
        if ex is None:
            return
        if events & (ERROR | HUP) or (fin and fin_seen(ex)):
            self.client_gone(ex)

    def client_gone(self, ex: Exchange) -> None:
        """The client is gone: out of the line, away from the upstream."""
        phase = "relay"
        if ex.up is not None:
            phase = "upstream"
            leave_upstream(self._house, ex)
        elif ex.status == 0:
            phase = "admission"
            ex.group.quit(ex)
        give_up(self._house, ex, Ended("client", phase, why_gone(ex), 499))
