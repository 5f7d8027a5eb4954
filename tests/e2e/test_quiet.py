"""The quiet contract (tests.quiet): what the server sees of the worst clients, and what good ones notice.

Counts only; times are for the benchmark (benchmarks/quiet.py). One lane goes the whole minute, and the
other a quarter of it.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench
from tests.kit.transcript import NOTES
from tests.quiet.beast import KINDS
from tests.quiet.play import Play, Recorder, play, recorder

SECONDS = {"express": 60.0, "task": 15.0}
SHORT = 8.0
PLACES = 12
GOOD = 8
EACH = 3
HERE = [name for name in KINDS if name != "vanish"]
"""Vanishing needs a network of its own: test_quiet_vanish.py."""


@pytest.fixture
def server() -> Iterator[Recorder]:
    """A recording server."""
    with recorder() as running:
        yield running


def table(server: Recorder, **more: object) -> dict[str, object]:
    """The server as an upstream, with few places and a patient line."""
    where = f"127.0.0.1:{server.port}"
    return {"servers": [where], "max_connections": PLACES, "queue_timeout": "30s", **more}


def quiet(found: Play) -> None:
    """Nothing but complete requests, no more than there are places, no end that was the proxy's."""
    seen = found.server
    assert seen["no_request"] == 0, (seen["faults"], seen["ends"])
    assert seen["unfinished"] == 0
    assert seen["most"] <= PLACES
    assert not found.ends.resets
    assert not found.ends.halves


def good(found: Play) -> None:
    """The good ones had no error and all their bytes; the others were there, and so were their requests."""
    assert not found.good["errors"], found.good["faults"]
    assert found.good["answers"] > 0
    assert found.good["answers"] == found.server["requests"]["good"]
    unborn = [name for name, told in found.beasts.items() if not told["lived"]]
    assert not unborn
    for name in ("half-close", "pipeline", "burst"):
        assert found.beasts[name]["answered"] > 0
        assert found.beasts[name]["answered"] <= found.server["requests"][name]


@pytest.mark.slow
def test_the_server_sees_nothing_of_the_bestiary(bench: Bench, server: Recorder, lane: str) -> None:
    proxy = bench.proxy({"legacy": table(server)})
    found = play(server, proxy.address, SECONDS[lane], good=GOOD, each=EACH, kinds=HERE)
    good(found)
    quiet(found)
    NOTES.clear()


@pytest.mark.slow
def test_without_aborts_no_exchange_is_left_before_its_end(bench: Bench, server: Recorder) -> None:
    """``abort_upstream = []``: not even what its client does not want any more."""
    proxy = bench.proxy({"legacy": table(server, abort_upstream=[])})
    found = play(server, proxy.address, SHORT, good=GOOD, each=EACH, kinds=HERE, seed=2)
    good(found)
    quiet(found)
    assert not found.ends.wished
    NOTES.clear()


@pytest.mark.slow
def test_the_instruments_see_a_streaming_proxy(bench: Bench, server: Recorder) -> None:
    """``buffer_request = "stream"``: uploads that break off arrive, so that quiet would tell."""
    route = [{"upstream": "legacy", "buffer_request": "stream", "buffer_response": "stream"}]
    proxy = bench.proxy({"legacy": table(server)}, route=route)
    found = play(server, proxy.address, 4.0, good=2, each=2, kinds=["half-body", "reset-body"], seed=3)
    assert not found.good["errors"], found.good["faults"]
    assert found.server["no_request"] > 0
    assert found.ends.halves or found.ends.resets
    NOTES.clear()


@pytest.mark.slow
def test_a_post_without_a_client_takes_its_own_answer_and_no_more(bench: Bench, server: Recorder) -> None:
    """Seen to its end, it gives its connection back once: another's request went out on it in between."""
    proxy = bench.proxy({"legacy": table(server)})
    found = play(server, proxy.address, 3.0, good=GOOD, each=8, kinds=["reset-post"], seed=4)
    assert not found.good["errors"], found.good["faults"]
    quiet(found)
    assert not found.ends.wished
    NOTES.clear()
