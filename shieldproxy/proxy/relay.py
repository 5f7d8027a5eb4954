"""The relay of the task lane: the request up and the response down, both at once, with bounded memory.

Two halves, `upload` and `download`, of small synchronous steps that move bytes while they can and say
whether they did; `run` alternates them and waits for whichever socket comes next. So an answer that comes
before the request is whole is passed on at once, and a slow side stops the other instead of filling memory.

It raises `Ended` when the exchange cannot be finished; what that means for the client (a refusal, a reset) is
said by `exchange`, which calls it.
"""

from math import inf
from typing import Final

import trio

from shieldproxy.core.closing import stalled_at, vanished
from shieldproxy.net.record import GONE
from shieldproxy.net.tcpinfo import kernel_facts
from shieldproxy.proxy.answer import may_continue
from shieldproxy.proxy.download import Download
from shieldproxy.proxy.fin import CONTINUE, why_gone
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Ended, Exchange, Pace, phase_of
from shieldproxy.proxy.upload import Upload

STEPS_A_TURN: Final = 16


class Relay:
    """One exchange's relay over one lease; a retry makes a new one."""

    def __init__(self, house: House, ex: Exchange) -> None:
        self._lobby = house.lobby
        self._ex = ex
        now = house.lobby.now
        self._pace = Pace(ex.asked or now, now, now)
        ex.asked = 0.0
        self._upload = Upload(house, ex, self._pace)
        self._download = Download(house, ex, self._upload, self._pace)
        self._acked = -1

    async def run(self) -> None:
        """Relay until the client's socket has taken the last byte of the response."""
        ex, download = self._ex, self._download
        if may_continue(ex) and not self._upload.whole and not ex.rec.buf and not ex.continued:
            ex.continued = True
            ex.to_down = CONTINUE
        try:
            if ex.resp is not None or ex.from_up:
                download.take(b"")
            await self._move()
        except Ended as exc:
            exc.rest, exc.whole = download.rest(), self._upload.whole
            raise

    async def flush(self) -> None:
        """Only write what is left for the client."""
        self._download.done = True
        await self._move()

    async def _move(self) -> None:
        ex, bell, download, upload = self._ex, self._ex.bell, self._download, self._upload
        assert bell is not None  # noqa: S101 - a task's exchange has one
        steps = 0
        while ex.to_down or not download.done:
            if ex.rec.latch & GONE:
                raise Ended("client", phase_of(ex, whole=upload.whole), why_gone(ex), 499)
            if download.step() or upload.step():
                steps += 1
                if steps % STEPS_A_TURN == 0:
                    await trio.lowlevel.checkpoint()
                    self._lobby.tick()
            elif not await bell.wait(self._due()):
                self._late()

    # time

    def _upstreams_turn(self) -> bool:
        """Whether it is the upstream that we wait for, not the client's body."""
        upload = self._upload
        return bool(self._ex.to_up) or upload.whole or upload.broken or upload.refused

    def _due(self) -> float:
        ex, timeouts = self._ex, self._ex.policy.timeouts
        if ex.to_down:  # how far a reader has come must be asked for
            return self._lobby.now + min(1.0, max(0.25, min(timeouts.send_idle, timeouts.fin_wait_1) / 8))
        if ex.up is None:
            return inf
        if self._upstreams_turn():
            return self._pace.upstream + ex.group.spec.response_timeout
        return self._pace.client_in + timeouts.body_idle

    def _late(self) -> None:
        """A deadline has passed: find whose."""
        ex = self._ex
        now = self._lobby.tick()
        if ex.to_down:
            self._judge_reader(now)
        elif self._upstreams_turn():
            if now >= self._pace.upstream + ex.group.spec.response_timeout:
                raise Ended("upstream", phase_of(ex, whole=self._upload.whole), "response-timeout", 504)
        elif now >= self._pace.client_in + ex.policy.timeouts.body_idle:
            raise Ended("client", "body", "body-idle", 408)

    def _judge_reader(self, now: float) -> None:
        """A client that takes nothing: gone, idle for too long, or slow."""
        ex, timeouts = self._ex, self._ex.policy.timeouts
        kernel = kernel_facts(ex.rec.sock)
        if kernel is not None:
            if vanished(kernel, timeouts):
                raise Ended("client", "relay", "vanished")
            if kernel.bytes_acked > self._acked:
                if self._acked >= 0:
                    self._pace.client_out = now
                self._acked = kernel.bytes_acked
        taken = kernel.bytes_acked - ex.rec.sent if kernel is not None else 0
        if now >= stalled_at(self._pace.client_out, ex.rec.since, taken, timeouts):
            raise Ended("client", "relay", "send-idle")
