"""Small writes for which nobody waits have one turn of a thread together."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shieldproxy.core.limits import Buffers
from shieldproxy.net import disk, filing
from shieldproxy.net.deadlines import WIDTH
from shieldproxy.net.lobby import CHUNK
from shieldproxy.net.spool import Spool, Store
from tests.net.spools import BLOB, Pair, Workshop, drop, tcp

BEYOND = CHUNK + 1
"""What goes to a file."""


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = tcp()
    yield made
    drop(*made)


class Ways:
    """How often the loop hears of work that is over, and how long its jobs wait."""

    def __init__(self, tmp_path: Path) -> None:
        self.made = Workshop(tmp_path)
        buffers = Buffers(request_memory=CHUNK, directory=str(tmp_path))
        self.store = Store(self.made.lobby, buffers, self.made.warnings.append)
        self.disk = self.store.disk

    def slow(self, count: int) -> list[Spool]:
        """Bodies that have a file already, and then nothing for a while."""
        spools = [self.store.request(self.made.wake) for _ in range(count)]
        for spool in spools:
            spool.put(BLOB[:BEYOND])
        self.work()
        self.made.clock.now += filing.BEAT
        self.made.lobby.turn()
        return spools

    def work(self) -> None:
        """Until no thread has anything to do."""
        while not self.disk._caught_up:
            self.made.lobby.turn()

    def read(self, spool: Spool, pair: Pair) -> bytes:
        """All of it."""
        got = b""
        while spool.left or len(got) < spool.size:
            with suppress(BlockingIOError):
                if not spool.drain(pair[0]):
                    self.made.lobby.turn()
            with suppress(BlockingIOError):
                got += pair[1].recv(1 << 20)
        return got

    def end(self, spools: list[Spool]) -> None:
        """Put away."""
        for spool in spools:
            spool.close()
        self.store.shut()
        assert (self.store.used, self.store.files, self.made.faults) == (0, 0, [])
        self.made.shut()


def test_a_little_of_slow_bodies_is_written_in_company(tmp_path: Path) -> None:
    """All in one job's turn, after a moment, or as soon as there are enough."""
    ways = Ways(tmp_path)
    spools = ways.slow(10)
    written = ways.disk.spilled
    for spool in spools:
        spool.put(BLOB[BEYOND : BEYOND + 3000])
    assert (len(ways.disk._later), ways.disk._work.qsize(), ways.disk._caught_up) == (10, 0, True)
    ways.made.clock.now += disk.LATER + WIDTH
    ways.made.lobby.fire()
    assert len(ways.disk._later) == 0
    ways.work()
    assert ways.disk.spilled == written + 10 * 3000
    ways.end(spools)


@pytest.mark.parametrize(("bodies", "much"), [(disk.COMPANY, 3000), (5, CHUNK - 1)], ids=["many", "large"])
def test_enough_company_waits_for_no_more(tmp_path: Path, bodies: int, much: int) -> None:
    ways = Ways(tmp_path)
    spools = ways.slow(bodies)
    written = ways.disk.spilled
    for spool in spools:
        spool.put(BLOB[BEYOND : BEYOND + much])
    assert ways.disk._later == []
    ways.work()
    assert ways.disk.spilled == written + bodies * much
    ways.end(spools)


@pytest.mark.parametrize("why", ["more", "read", "shut"])
def test_who_waits_for_a_job_does_not_wait_for_its_company(tmp_path: Path, pair: Pair, why: str) -> None:
    ways = Ways(tmp_path)
    spools = ways.slow(2)
    for spool in spools:
        spool.put(BLOB[BEYOND : BEYOND + 3000])
    assert len(ways.disk._later) == 2
    if why == "more":
        spools[0].put(BLOB[BEYOND + 3000 : BEYOND + 3001 + CHUNK])
    elif why == "read":
        ways.store.distrust()
        assert spools[0].drain(pair[0]) == 0
    else:
        ways.store.shut()
    assert ways.disk._later == []
    if why != "shut":
        ways.work()
        more = CHUNK + 1 if why == "more" else 0
        assert ways.read(spools[0], pair) == BLOB[: BEYOND + 3000 + more]
    ways.end(spools)
