"""Real clients before the proxy: every response whole, every refusal seen, every receipt right."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.clients.measure import PROGRAMS, measuring
from tests.clients.model import CLOSED, KEPT, REFUSAL, Program, Row
from tests.clients.ran import Ran

WATCH = 3.0
"""Seconds; ``make clients`` watches for longer."""
LONGEST_FIRST = PROGRAMS[::-1]
ENDED_WELL = {"fin", "quiet"}


def chosen(request: pytest.FixtureRequest) -> list[Program]:
    """Those of the tests of this run that can run here."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    names = {spec.id for spec in specs if spec is not None}
    return [each for each in LONGEST_FIRST if each.name in names and not each.needs.missing()]


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Row]]]:
    """All chosen programs are measured at the same time; each test waits for its own."""
    with (
        tempfile.TemporaryDirectory(prefix="clients-", ignore_cleanup_errors=True) as top,
        measuring(chosen(request), WATCH, Path(top)) as futures,
    ):
        yield futures


@pytest.mark.slow
@pytest.mark.parametrize("program", LONGEST_FIRST, ids=lambda program: program.name)
def test_client(program: Program, rows: dict[str, Future[Row]]) -> None:
    if missing := program.needs.missing():
        pytest.skip(missing)
    row = rows[program.name].result()
    assert not row.faults, "\n".join(row.faults)
    if program.idles and KEPT in row.seen:
        assert row.idle is not None
        assert row.idle.receipt["reason"] in ("keep-alive-timeout", "close-asked", "fin")
    assert row.asked is not None
    assert row.asked.receipt["reason"] in ("rule", "close-asked"), f"/{CLOSED}: {row.asked.receipt}"
    assert row.asked.receipt["linger"] in ENDED_WELL
    assert row.asked.receipt["acknowledged"]
    if REFUSAL in program.steps:
        assert row.refusal is not None
        assert row.refusal.receipt["reason"] == "body-long"
        assert row.refusal.receipt["linger"] in ENDED_WELL


def test_too_few_programs_are_noticed() -> None:
    ran = Ran()
    for number, program in enumerate(PROGRAMS):
        ran.note(f"tests/clients/test_clients.py::test_client[{program.name}]", number < 13)
    for number in range(6):
        ran.note(f"tests/clients/test_servers.py::test_server[{number}]", number < 4)
    assert ran.too_few() == ["13 clients, 14 at least", "no Chromium"]
    ran.note("tests/clients/test_clients.py::test_client[Chromium]", True)
    assert ran.too_few() == []
