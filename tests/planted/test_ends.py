"""Faults in how things end, switched on one by one: the tests that must notice do so."""

from collections.abc import Iterator

import pytest

from tests.kit.planting import Run
from tests.kit.plants_ends import ENDS


@pytest.fixture(scope="module")
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The faults that are asked for, one after the other, beside the tests that wait for them."""
    asked = [item for item in request.session.items if item.getparent(pytest.Module) is request.node]
    names = [item.callspec.params["name"] for item in asked if hasattr(item, "callspec")]
    with Run(names, tmp_path_factory.mktemp("planted")) as run:
        yield run


@pytest.mark.parametrize("name", list(ENDS))
def test_a_planted_fault_is_noticed(planted: Run, name: str) -> None:
    planted.noticed(name)
