"""What has come of a response and its client has not taken: in its socket, in memory, in a spool.

While the client takes everything at once there is nothing here. As soon as it does not, and the upstream has
more, the upstream is read on into a spool (`ex.out`), behind what is left (`ex.to_down` goes in first). When
the spool is full too, or the response is a stream, the upstream is held: not read, and not on the clock.

The download's other half, and like it of small synchronous steps.
"""

from functools import partial
from math import inf
from typing import Final

from shieldproxy.net.lobby import Lobby
from shieldproxy.net.record import OUT
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Ended, Exchange, Pace

KEEPS_UP: Final = 0.1
"""Seconds within which a client that keeps up takes more; of a stream for another little is read ahead."""


class Outlet:
    """The client's side of one response."""

    def __init__(self, house: House, ex: Exchange, pace: Pace) -> None:
        self._house = house
        self._lobby = house.lobby
        self._ex = ex
        self._pace = pace
        self._reader = ex.reader
        self.stream = False
        """It goes on as it comes, and no faster."""
        self.held = False
        """The upstream is not read: the client has to take something first."""
        self.slow = False
        """The client has not kept up."""

    @property
    def behind(self) -> bool:
        """Whether the client has not taken all that has come."""
        return bool(self._ex.to_down) or self._ex.out is not None

    def blocked(self) -> bool:
        """Whether nothing more may come now: interim responses, which are few, hold up nobody."""
        ex = self._ex
        held = (self.stream and self.behind) or (ex.out is not None and ex.out.full)
        if self.held and not held:
            self._pace.upstream = self._lobby.now
        self.held = held
        return held

    def spool(self, coming: int) -> None:
        """There is more for a client that is behind, `coming` bytes (-1: unknown)."""
        ex = self._ex
        if ex.to_down and ex.out is None:
            size = len(ex.to_down) + coming if coming >= 0 else -1
            ex.out = self._house.store.response(partial(_stir, self._lobby, ex), size)
            if coming > 0:
                ex.out.begin(bytes(ex.to_down))
            else:
                ex.out.put(bytes(ex.to_down))
            ex.to_down = b""
            self._reader.resume(self._lobby.now)

    def give(self, *pieces: bytes) -> None:
        """Add bytes for the client behind those that it has not taken."""
        ex = self._ex
        if ex.out is None:
            ex.to_down = b"".join([ex.to_down, *pieces])
        else:
            ex.out.put(b"".join(pieces))

    def send(self) -> bool:
        """Send what is there; False if the client's socket is full, or the spool has nothing in reach."""
        ex = self._ex
        rec, out, now = ex.rec, ex.out, self._lobby.now
        if not rec.latch & OUT:
            return False
        try:
            count = rec.sock.send(ex.to_down) if ex.to_down else out.drain(rec.sock)
        except BlockingIOError:
            rec.latch &= ~OUT
            self._reader.resume(now)
            return False
        except OSError as exc:
            raise Ended("client", "", "reset", 499) from exc  # the relay knows the phase
        ex.bytes_out += count
        if ex.to_down:
            ex.to_down = memoryview(ex.to_down)[count:]
        elif out.fault:
            raise Ended("proxy", "relay", out.fault)
        elif not out.left:
            ex.shut()
        elif not count:
            return False
        ex.begun = bool(ex.to_down) or ex.resp is not None
        if not ex.to_down:
            ex.to_down = b""  # interim responses, whole: a status can still follow
        self.slow = self._reader.paused == inf and now > self._reader.last + KEEPS_UP
        if self.behind:
            self._reader.resume(now)
            self._reader.last = now
        else:
            self._reader.pause(now)
            self.blocked()
        self._pace.client_in = now
        return True


def _stir(lobby: Lobby, ex: Exchange) -> None:
    """The spool's call: more of it is in reach, or it takes more."""
    if ex.bell is not None:
        ex.bell.ring()
    else:
        lobby.again(ex.rec, OUT)
