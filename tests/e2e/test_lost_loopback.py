"""The lost response without root: loopback, and clients with buffers smaller than response and request."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.lossy import Scene, legacy
from tests.kit.client import Client
from tests.kit.lost import EARLY, PIPELINED, REFUSALS, Cell, Hasty, tables

SMALL, LARGE = EARLY[0], EARLY[1]


@pytest.fixture(scope="module")
def scene(module_bench: Bench) -> Iterator[Scene]:
    """One proxy for all cells."""
    server = Hasty()
    proxy = module_bench.proxy(legacy(server), **tables())

    def connect() -> Client:
        client = Client(proxy.address, rcvbuf=4096, timeout=20)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return client

    with ThreadPoolExecutor(20) as clients:
        yield Scene(proxy, clients, connect)
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
