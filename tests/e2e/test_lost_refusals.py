"""Refusals of our own, over a wire with delay and loss, to clients that still send: none is lost.

With ``linger = "off"`` the same clients lose theirs: the harness is seen to be able to fail.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.lossy import Scene, on_wire
from tests.kit.lost import EARLY, REFUSALS, Cell
from tests.kit.netns import missing

LACK = missing()
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACK), reason=LACK or "namespaces can be had"),
]
SMALL, LARGE = EARLY[0], EARLY[1]


@pytest.fixture(scope="module")
def scene(module_bench: Bench) -> Iterator[Scene]:
    """One proxy for all cells."""
    with on_wire(module_bench) as scene:
        yield scene


@pytest.mark.parametrize("cell", REFUSALS, ids=lambda cell: f"{cell.name}, {cell.sizes}")
def test_no_refusal_is_lost(scene: Scene, cell: Cell) -> None:
    """100 tries, 100 answers, 100 receipts that say so."""
    scene.none_lost(cell)


@pytest.mark.parametrize(
    ("cell", "least"),
    [(REFUSALS[2], 45), (SMALL, 45), (LARGE, 95)],
    ids=["own / 500 kB", "200 B / 200 kB", "60 kB / 200 kB"],
)
def test_without_linger_they_are_lost(scene: Scene, cell: Cell, least: int) -> None:
    """A bare close() loses every client that gives up on a send error, and all of a longer response.

    The rest of 200 kB would be read out, and the connection kept (core/readout.py).
    """
    assert scene.count(cell, "off").lost >= least


def test_so_linger_does_not_help(scene: Scene) -> None:
    """SO_LINGER holds back close(), not the reset."""
    assert scene.count(LARGE, "kernel").lost >= 95


def test_timed_loses_none(scene: Scene) -> None:
    """Nor does the lingering close by the clock alone, on a wire that never stalls for its gap."""
    scene.none_lost(LARGE, "timed")
