"""Clients with small buffers that send all before they read, over a wire with delay and loss."""

from dataclasses import replace

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.lossy import on_wire
from tests.kit.lost import AT_ONCE, EARLY, PIPELINED, Cell, narrow
from tests.kit.netns import missing

LACK = missing()
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACK), reason=LACK or "namespaces can be had"),
]


@pytest.mark.parametrize("cell", [EARLY[1], PIPELINED[1]], ids=lambda cell: cell.name)
def test_clients_that_send_all_before_they_read(module_bench: Bench, cell: Cell) -> None:
    """Neither side's buffers hold what is on its way: to wait for the other to read is to wait for ever."""
    with on_wire(module_bench, ("ack",), narrow, ample=False) as scene:
        scene.none_lost(replace(cell, request=400_000), tries=AT_ONCE)
