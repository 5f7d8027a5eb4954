"""Faults in how things end, switched on one by one: the tests that must notice do so."""

import pytest

from tests.kit.planting import Run
from tests.kit.plants_ends import ENDS


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENDS))
def test_a_planted_fault_is_noticed(planted: Run, name: str) -> None:
    planted.noticed(name)
