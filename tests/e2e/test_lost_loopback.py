"""The lost response without root: loopback, and clients with buffers smaller than response and request."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.lossy import Scene, legacy
from tests.kit.lost import EARLY, PIPELINED, REFUSALS, Cell, Hasty, attempt, narrow, tables

SMALL, LARGE = EARLY[0], EARLY[1]


@pytest.fixture(scope="module")
def scene(module_bench: Bench) -> Iterator[Scene]:
    """One proxy for all cells."""
    server = Hasty()
    proxy = module_bench.proxy(legacy(server), **tables())
    with ThreadPoolExecutor(20) as clients:
        yield Scene(proxy, clients, partial(narrow, proxy.address))
    server.close()


@pytest.mark.parametrize(
    "cell", [*REFUSALS, *EARLY, *PIPELINED], ids=lambda cell: f"{cell.name}, {cell.sizes}"
)
def test_no_response_is_lost(scene: Scene, cell: Cell) -> None:
    """100 tries, 100 whole responses, 100 receipts that say so."""
    scene.none_lost(cell)


@pytest.mark.parametrize(
    ("cell", "least"),
    [(REFUSALS[1], 45), (SMALL, 45), (LARGE, 95)],
    ids=["own / 2 MB", "200 B / 2 MB", "60 kB / 2 MB"],
)
def test_without_linger_they_are_lost(scene: Scene, cell: Cell, least: int) -> None:
    """The same clients with ``linger = "off"``; an upload that no buffer on loopback swallows."""
    assert scene.count(replace(cell, request=2_000_000), "off").lost >= least


def test_a_long_last_response_reaches_a_client_that_pipelines_on_first(scene: Scene) -> None:
    """6 MB, streamed, to a client that sends 1 MB of requests behind its last before it reads."""
    cell = Cell("pipelined", "page/200/6000000", 200, 1_000_000, 6_000_000, "GET")
    got = attempt(partial(narrow, scene.proxy.address), cell.head("ack"), cell.rest(), patient=False)
    assert got is not None, "the pipelined requests and the response stand in each other's way"
    assert len(got.body) == cell.response
