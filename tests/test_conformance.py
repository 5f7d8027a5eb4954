"""The tables of tests.conformance: every name in them leads to a test, every verdict has what it needs."""

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import TABLES, shown_by
from tests.conformance.page import page
from tests.conformance.row import Row, met, undone, void

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "conformance.md"
ROWS = [(rfc, row) for rfc, rows in TABLES.items() for row in rows]
OWN_FILES = sorted((ROOT / "tests" / "e2e").glob("test_rfc_*.py"))
LANES = ("express", "task")


def collected(files: set[str]) -> set[str]:
    """Node ids below tests/ of everything that pytest finds in these files."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    paths = [f"tests/{file}" for file in sorted(files)]
    run = subprocess.run(
        [*command, "-o", "addopts=--import-mode=importlib", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return {line.removeprefix("tests/") for line in run.stdout.splitlines() if "::" in line}


def without_lane(node: str) -> list[str]:
    """A collected node's names in the tables: the test, and this case of it if it has one."""
    plain, bracket, case = node.partition("[")
    for lane in LANES:
        if plain.startswith("e2e/") and case.startswith(lane):
            case = case.removeprefix(lane).removeprefix("-")
    return [plain, f"{plain}[{case}"] if bracket and case != "]" else [plain]


def lost(rows: list[Row], nodes: set[str]) -> list[str]:
    """Tests that rows name and that are not there, in each lane where there are lanes."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        for name in without_lane(node):
            found.setdefault(name, set()).add(next((lane for lane in LANES if f"[{lane}" in node), ""))
    wanted = {test for row in rows for test in row.tests}
    lanes = {test: set(LANES) if test.startswith("e2e/") else {""} for test in wanted}
    return sorted(test for test in wanted if not lanes[test] <= found.get(test, set()))


def test_every_test_that_is_named_is_collected() -> None:
    """In both lanes. A test that was renamed, moved or dropped shows here."""
    rows = [row for _, row in ROWS]
    files = {test.partition("::")[0] for row in rows for test in row.tests}
    assert not [file for file in files if not (ROOT / "tests" / file).is_file()]
    assert not lost(rows, collected(files)), "named in tests/conformance, and not there in both lanes"


@pytest.mark.parametrize(
    ("named", "there", "found"),
    [
        ("e2e/a.py::t", ["e2e/a.py::t[express]", "e2e/a.py::t[task]"], True),
        ("e2e/a.py::t", ["e2e/a.py::t[express]"], False),
        ("e2e/a.py::t[x [y]]", ["e2e/a.py::t[express-x [y]]", "e2e/a.py::t[task-x [y]]"], True),
        ("e2e/a.py::t[x]", ["e2e/a.py::t[express-y]", "e2e/a.py::t[task-y]"], False),
        ("e2e/a.py::t", ["e2e/a.py::t2[express]", "e2e/a.py::t2[task]"], False),
        ("core/a.py::t", ["core/a.py::t[1]"], True),
        ("core/a.py::t", ["core/b.py::t"], False),
    ],
)
def test_a_name_that_leads_nowhere_is_found(named: str, there: list[str], found: bool) -> None:
    assert (lost([met("1", "MUST", "server", "be there", named)], set(there)) == []) is found


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(TABLES), "make docs (python -m tests.conformance > docs/conformance.md)"


def test_the_page_shows_verdicts_totals_and_reasons() -> None:
    rows = (
        met("1.1", "MUST", "server", "serve", "e2e/test_a.py::test_serves[a b]"),
        undone("1.2", "SHOULD", "client", "ask", "Nobody to ask.", "e2e/test_a.py::T::test_asks_not"),
        void("2", "MUST NOT", "proxy", "tunnel", "No tunnels."),
    )
    text = page({9110: rows})
    assert "| RFC 9110 MUST | 1 | 0 | 0 | 1 |\n" in text
    assert "| **together** | 1 | 1 | 1 | 3 |\n" in text
    assert "[`test_serves[a b]`](../tests/e2e/test_a.py)" in text
    assert "client SHOULD ask. Nobody to ask.\n" in text
    assert "| **not done** | [`test_asks_not`](../tests/e2e/test_a.py) (Nobody to ask.) |" in text
    assert "| **does not apply** | (No tunnels.) |" in text


def test_there_are_enough_requirements() -> None:
    assert len(ROWS) >= 200
    assert len({(rfc, row.section, row.level, row.requirement) for rfc, row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("rfc", TABLES)
def test_sections_are_in_order(rfc: int) -> None:
    sections = [[int(part) for part in row.section.split(".")] for row in TABLES[rfc]]
    for before, after in itertools.pairwise(sections):
        assert before <= after


def test_each_verdict_has_what_it_needs() -> None:
    """What is met is shown on the wire where it is a MUST; what is not, or does not apply, says why."""
    for rfc, row in ROWS:
        where = f"{rfc} {row.section} {row.requirement}"
        assert "|" not in "".join((row.requirement, row.why, *row.tests)), where
        if row.verdict == "does not apply":
            assert row.why, where
            assert not row.tests, where
        else:
            assert row.tests, where
            assert row.verdict == "met" or row.why, where
            on_the_wire = any(test.startswith("e2e/") for test in row.tests)
            assert on_the_wire or row.level.startswith("SHOULD"), where


def own_tests() -> Iterator[tuple[str, str]]:
    """Node and docstring of each test in tests/e2e/test_rfc_*.py."""
    for path in OWN_FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield f"e2e/{path.name}::{node.name}", ast.get_docstring(node) or ""


def test_a_test_that_was_written_for_a_section_names_it_and_is_named() -> None:
    """Tests of the rfc files: each shows a row at least, and its docstring names the section of each row."""
    for node, said in own_tests():
        sections = {
            row.section for _, row in ROWS if any(test.partition("[")[0] == node for test in row.tests)
        }
        assert sections, f"{node} shows nothing"
        numbers = set(re.findall(r"\d+(?:\.\d+)*", said))
        assert sections & numbers, f"{node}: {sections}, not {numbers}"


def test_a_failing_test_can_say_what_it_was_to_show() -> None:
    lines = shown_by("tests/e2e/test_wire_own.py::test_501[express]")
    assert lines == ["RFC 9112 section 6.1: SHOULD answer a coding that it does not know with 501"]
    assert shown_by("tests/core/test_units.py::test_nothing[1]") == []
