"""What the search has found, and where it begins, again; and the checks are seen to be able to fail."""

import sys
from collections.abc import Iterator

import pytest

from shieldproxy.core import body, framing
from shieldproxy.core import head as head_module
from tests.fuzz import __main__ as runner
from tests.fuzz import checks, messages, pieces, seeds
from tests.fuzz.finds import FINDS, Find


@pytest.mark.parametrize("find", FINDS, ids=lambda find: find.why[:40])
def test_finds_stay_mended(find: Find) -> None:
    checks.CHECKS[find.check](find.choice, find.data)


@pytest.mark.parametrize("number", range(len(checks.CHECKS)), ids=list(checks.CHECKS))
def test_every_seed_passes(number: int) -> None:
    mine = [data for data in seeds.inputs() if data[0] == number]
    assert len(mine) > 40
    for data in mine:
        checks.run(data)
