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

from shieldproxy.net.record import FIN, GONE
from shieldproxy.proxy.answer import may_continue
from shieldproxy.proxy.download import Download
from shieldproxy.proxy.fin import CONTINUE, fin_seen, why_gone
from shieldproxy.proxy.house import House
from shieldproxy.proxy.reading import first_look, look
from shieldproxy.proxy.state import Ended, Exchange, Pace, phase_of
from shieldproxy.proxy.upload import Upload

STEPS_A_TURN: Final = 16
LONG: Final = 0.001
"""Seconds of work after which others have a turn, however few the steps: tiny chunks are slow to read."""


class Relay:
    """One exchange's relay over one lease; a retry makes a new one."""

    def __init__(self, house: House, ex: Exchange) -> None:
        self._lobby = house.lobby
        self._ex = ex
        now = house.lobby.now
        self._pace = Pace(ex.asked or now, now)
        ex.asked = 0.0
        self._upload = Upload(house, ex, self._pace)
        self._download = Download(house, ex, self._upload, self._pace)
        self._look_at = inf

    async def run(self) -> None:
        """Relay until the last byte of the response has come; what is not taken is left in the exchange."""
        ex, download = self._ex, self._download
        if may_continue(ex) and not self._upload.whole and not ex.rec.buf and not ex.continued:
            ex.continued = True
            ex.to_down = CONTINUE
        try:
            if ex.resp is not None or ex.from_up:
                download.take(b"")
            await self._move()
        except Ended as exc:
            exc.rest, exc.whole, exc.unsent = download.rest(), self._upload.whole, self._upload.unsent
            exc.phase = exc.phase or phase_of(ex, whole=exc.whole)
            raise

    async def _move(self) -> None:
        ex, bell, download, upload = self._ex, self._ex.bell, self._download, self._upload
        assert bell is not None  # noqa: S101 - a task's exchange has one
        rec, steps = ex.rec, 0
        self._lobby.tick()  # a turn and other tasks may have gone before: that was not our work
        while not download.done:
            if rec.latch & FIN and upload.whole:
                fin_seen(ex)  # behind a body that was streamed: it shows only now
            if rec.latch & GONE:
                raise Ended("client", phase_of(ex, whole=upload.whole), why_gone(ex), 499)
            if download.step() or upload.step():
                steps += 1
                if steps % STEPS_A_TURN == 0 or self._lobby.clock() - self._lobby.now > LONG:
                    await trio.lowlevel.checkpoint()
                    self._lobby.tick()
            elif await bell.wait(self._due()):
                self._lobby.tick()
            else:
                self._late()

    # time

    def _upstreams_turn(self) -> bool:
        """Whether it is the upstream that we wait for, not the client's body."""
        upload = self._upload
        return bool(self._ex.to_up) or upload.whole or upload.broken or upload.refused

    def _due(self) -> float:
        ex, outlet = self._ex, self._download.outlet
        due = self._look_at = min(self._look_at, first_look(ex, self._lobby.now)) if outlet.behind else inf
        if ex.up is None or outlet.held:
            return due
        if self._upstreams_turn():
            return min(due, self._pace.upstream + ex.group.spec.response_timeout)
        return due if outlet.behind else self._upload.limit()[0]

    def _late(self) -> None:
        """A deadline has passed: find whose."""
        ex, outlet = self._ex, self._download.outlet
        now = self._lobby.tick()
        if outlet.behind and now >= self._look_at:
            self._judge_reader(now)
        if ex.up is None or outlet.held:
            return
        if self._upstreams_turn():
            if now >= self._pace.upstream + ex.group.spec.response_timeout:
                raise Ended("upstream", phase_of(ex, whole=self._upload.whole), "response-timeout", 504)
        elif not outlet.behind:
            due, which = self._upload.limit()
            if now >= due:
                raise Ended("client", "body", f"body-{which}", 408)

    def _judge_reader(self, now: float) -> None:
        """A client that has not taken all there is: gone, idle for too long, too slow, or just slow."""
        ex = self._ex
        reason, self._look_at = look(ex, now)
        if reason:
            raise Ended("client", "relay", reason)
        if ex.out is not None:
            ex.out.rest()
