"""Real clients before the proxy: every response whole, every refusal seen, every receipt right."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.clients.measure import PROGRAMS, measure, measuring
from tests.clients.model import CLOSED, KEPT, REFUSAL, Program, Row
from tests.clients.ran import Ran
from tests.clients.stage import roomy
from tests.clients.tools import PIPELINED
from tests.clients.watcher import Watcher

WATCH = 3.0
"""Seconds; ``make clients`` watches for longer."""
LONGEST_FIRST = PROGRAMS[::-1]
ENDED_WELL = {"fin", "quiet"}


IN_TASKS = [
    each for each in PROGRAMS if each.name in ("curl", PIPELINED, "wget", "ab", "requests", "aiohttp", "LWP")
]
"""Those that are put through the other lane too: quick, and of every kind."""

Rows = dict[str, Future[Row]]


def chosen(request: pytest.FixtureRequest, among: Sequence[Program]) -> list[Program]:
    """Those of the tests of this run that can run here."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    names = {spec.id for spec in specs if spec is not None}
    return [each for each in among if each.name in names and not each.needs.missing()]


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[Rows]:
    """All chosen programs are measured at the same time; each test waits for its own."""
    with roomy() as top, measuring(chosen(request, LONGEST_FIRST), WATCH, top) as futures:
        yield futures


@pytest.fixture(scope="module")
def task_rows(request: pytest.FixtureRequest) -> Iterator[Rows]:
    """The same, every exchange in a task of its own."""
    with roomy() as top, measuring(chosen(request, IN_TASKS), 0.5, top, express=False) as futures:
        yield futures


def judge(program: Program, rows: Rows) -> None:
    """See that all was well with one of them."""
    row = rows[program.name].result()
    assert not row.faults, "\n".join(row.faults)
    if program.idles and KEPT in row.seen:
        assert row.idle is not None
        assert row.idle.receipt["reason"] in ("keep-alive-timeout", "close-asked", "fin")
    assert row.asked is not None
    assert row.asked.receipt["reason"] in ("rule", "close-asked", "half-close"), (
        f"/{CLOSED}: {row.asked.receipt}"
    )
    assert row.asked.receipt["linger"] in ENDED_WELL
    assert row.asked.receipt["acknowledged"]
    if REFUSAL in program.steps:
        assert row.refusal is not None
        assert row.refusal.receipt["reason"] == "body-long"
        assert row.refusal.receipt["linger"] in ENDED_WELL


@pytest.mark.slow
@pytest.mark.parametrize("program", LONGEST_FIRST, ids=lambda program: program.name)
def test_client(program: Program, rows: Rows) -> None:
    if missing := program.needs.missing():
        pytest.skip(missing)
    judge(program, rows)


@pytest.mark.slow
@pytest.mark.parametrize("program", IN_TASKS, ids=lambda program: program.name)
def test_client_in_the_task_lane(program: Program, task_rows: Rows) -> None:
    if missing := program.needs.missing():
        pytest.skip(missing)
    judge(program, task_rows)


def test_without_a_lingering_close_responses_are_lost(tmp_path: Path) -> None:
    """What all of this would look like: ab and wget often give up on the reset, and receipts know of it."""
    programs = [each for each in PROGRAMS if each.name in ("ab", "wget") and not each.needs.missing()]
    if not programs:
        pytest.skip("neither ab nor wget is installed (apt install apache2-utils wget)")
    for each in programs:
        (tmp_path / each.name).mkdir()
    watcher = Watcher()
    try:
        rows = [measure(each, tmp_path / each.name, watcher, 0.1, linger="off") for each in programs]
    finally:
        watcher.close()
    assert all(row.faults for row in rows)
    assert any("undelivered" in fault for row in rows for fault in row.faults)


def test_too_few_programs_are_noticed() -> None:
    ran = Ran()
    for number, program in enumerate(PROGRAMS):
        ran.note(f"tests/clients/test_clients.py::test_client[{program.name}]", number < 13)
    for number in range(6):
        ran.note(f"tests/clients/test_servers.py::test_server[{number}]", number < 4)
    assert ran.too_few() == ["13 clients, 14 at least", "no Chromium"]
    ran.note("tests/clients/test_clients.py::test_client[Chromium]", True)
    assert ran.too_few() == []


def test_a_whole_run_must_have_seen_programs() -> None:
    ran = Ran()
    assert ran.too_few() == []
    assert ran.too_few(whole=True) == ["0 clients, 14 at least", "0 servers, 4 at least", "no Chromium"]
    ran.note("tests/clients/test_clients.py::test_client[wget]", True)
    assert ran.too_few() == []
    assert ran.too_few(whole=True)[0] == "1 clients, 14 at least"
