"""Faults in how things end, switched on one by one: the tests that must notice do so."""

import pytest

from tests.kit.planting import Verdicts, noticed, run
from tests.kit.plants_ends import ENDS


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdicts]:
    """What the cases said of each fault that was asked for."""
    asked = [item for item in request.session.items if item.getparent(pytest.Module) is request.node]
    names = [item.callspec.params["name"] for item in asked if hasattr(item, "callspec")]
    return run(names, tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("name", list(ENDS))
def test_a_planted_fault_is_noticed(found: dict[str, Verdicts], name: str) -> None:
    noticed(found, name)
