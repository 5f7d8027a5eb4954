"""The rig of these tests, one for each test."""

from collections.abc import Iterator

import pytest

from tests.net.rig import Rig, rig


@pytest.fixture
def house() -> Iterator[Rig]:
    """A lobby of its own, closed at the end; no record may have failed in it unasked."""
    with rig() as made:
        yield made
        assert made.faults == []
