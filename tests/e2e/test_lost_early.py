"""Early answers of the upstream, which closes at once, and closes before pipelined requests: none is lost.

Over a wire with delay and loss. What the same clients lose without a lingering close: test_lost_refusals.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.lossy import Scene, on_wire
from tests.kit.lost import EARLY, PIPELINED, Cell
from tests.kit.netns import missing

LACK = missing()
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACK), reason=LACK or "namespaces can be had"),
]


@pytest.fixture(scope="module")
def scene(module_bench: Bench) -> Iterator[Scene]:
    """One proxy for all cells."""
    with on_wire(module_bench, ("ack",)) as scene:
        yield scene


@pytest.mark.parametrize("cell", [*EARLY, *PIPELINED], ids=lambda cell: f"{cell.name}, {cell.sizes}")
def test_no_response_is_lost(scene: Scene, cell: Cell) -> None:
    """100 tries, 100 whole responses, 100 receipts that say so."""
    scene.none_lost(cell)
