"""Faults in what is read and written, switched on one by one: the tests that must notice do so."""

import pytest

from tests.kit.planting import Run
from tests.kit.plants_messages import MESSAGES


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MESSAGES))
def test_a_planted_fault_is_noticed(planted: Run, name: str) -> None:
    planted.noticed(name)
