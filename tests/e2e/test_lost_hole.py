"""A client whose kernel sends a lost packet again and again is silent, and not done: it is waited for."""

import time
from functools import partial

import pytest

from tests.e2e.conftest import Bench
from tests.kit.lost import REFUSALS, attempt, patient, tables
from tests.kit.netns import SERVER, missing, wire
from tests.kit.proxy import free_address
from tests.kit.sockets import eventually

LACK = missing()
GAP = 1.5


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.skipif(bool(LACK), reason=LACK or "namespaces can be had")
def test_a_hole_in_an_upload_is_no_silence(bench: Bench) -> None:
    """Its packets arrive behind the hole, and cannot be read: longer than linger_gap, and nothing is lost."""
    cell = REFUSALS[1]
    with wire(delay=0.01, hole=1) as line, line.client.pool(1) as clients:
        server = {"listen": [line.server.run(partial(free_address, SERVER))]}
        proxy = line.server.run(
            lambda: bench.proxy("127.0.0.1:9", server=server, timeouts={"linger_gap": "1500ms"}, **tables())
        )
        begun = time.monotonic()
        job = clients.submit(
            attempt, partial(patient, proxy.address), cell.head("ack"), cell.rest(), patient=False
        )
        time.sleep(GAP + 0.5)
        assert not job.done(), "the hole did not hold"
        line.set(hole=0)
        got = job.result(20)
        assert time.monotonic() - begun > GAP
        assert got is not None, "lost: the linger ended in the middle of the upload"
        assert got.status == 413
        told = [entry for entry in eventually(lambda: proxy.lines("connection")) if entry["exchanges"]]
        assert [(entry["linger"], entry["acknowledged"]) for entry in told] == [("fin", True)]
