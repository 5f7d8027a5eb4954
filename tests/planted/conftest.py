"""A run of the ordinary tests beside the tests that wait for what it says."""

from collections.abc import Iterator

import pytest

from tests.kit.planting import Run


@pytest.fixture(scope="module")
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The faults that a module asks for, one after the other."""
    asked = [item for item in request.session.items if item.getparent(pytest.Module) is request.node]
    names = [item.callspec.params["name"] for item in asked if hasattr(item, "callspec")]
    with Run(names, tmp_path_factory.mktemp("planted")) as run:
        yield run
