"""``shieldproxy demo`` as a newcomer starts it: it shows the contrast that it promises, and in time.

One short run, its output read as it is printed. README.md opens with such a table, held to the same claims.
"""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from shieldproxy.run.demo.count import ALL, GOOD, KINDS
from shieldproxy.run.demo.show import HEADINGS, WAYS
from tests.kit import demotable
from tests.kit.demotable import Line

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "shieldproxy", "demo"]
Rows = dict[str, dict[str, Line]]


@dataclass(frozen=True, slots=True)
class Ran:
    status: int
    out: str
    err: str
    seconds: float
    left: list[Path]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run, printed to a pipe."""
    folder = tmp_path_factory.mktemp("demo")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "COLUMNS": "80"}
    begin = time.monotonic()
    done = subprocess.run(
        [*COMMAND, "--seconds", "9"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env=environment,
    )
    return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - begin, list(folder.iterdir()))


@pytest.fixture(scope="module")
def rows(ran: Ran) -> Rows:
    return demotable.read(ran.out)[1]


def check_claims(rows: Rows, most: float) -> None:
    """What the table is there to show; ``most``: the part of good clients that may be served without."""
    without, with_ = (rows[GOOD][way] for way in WAYS)
    assert without.served is not None
    assert without.asked is not None
    assert without.served < most * without.asked
    assert with_.served == with_.asked
    assert with_.waiting is not None
    assert with_.waiting[1] < 4
    for kind, lines in rows.items():
        served, asked = lines["with"].served, lines["with"].asked
        assert served == asked, kind
        assert lines["with"].lost in (0, None), kind
        assert lines["with"].sockets == 0, kind
    assert rows[ALL]["without"].lost
    assert rows[ALL]["without"].sockets
    assert rows[ALL]["with"].threads < rows[ALL]["without"].threads


def check_shape(headings: list[str], rows: Rows) -> None:
    assert headings == list(HEADINGS)
    assert list(rows) == [*(kind.name for kind in KINDS), ALL]
    assert all(list(lines) == list(WAYS) for lines in rows.values())


@pytest.mark.slow
def test_ends_by_itself_in_time_and_leaves_nothing(ran: Ran) -> None:
    assert (ran.status, ran.err) == (0, "")
    assert 18 <= ran.seconds < 60
    assert ran.left == []


@pytest.mark.slow
def test_the_table_has_every_kind_both_ways(ran: Ran) -> None:
    check_shape(*demotable.read(ran.out))
    assert max(map(len, ran.out.splitlines())) <= 100
    assert "\x1b" not in ran.out


@pytest.mark.slow
def test_it_shows_what_it_is_there_to_show(rows: Rows) -> None:
    check_claims(rows, 0.8)
    asked = rows[GOOD]["with"].asked
    assert asked is not None
    assert asked > 25


@pytest.mark.slow
def test_without_each_kind_costs_what_it_is_known_for(rows: Rows) -> None:
    assert rows["slow head"]["without"].threads > 0.5
    assert rows["slow head"]["with"].threads == 0
    assert rows["uploads"]["without"].lost
    assert rows["pipelines"]["without"].lost
    for kind in ("slow head", "slow body"):
        assert rows[kind]["without"].sockets > 0
    waiting = rows[GOOD]["without"].waiting
    assert waiting is not None
    assert waiting[1] > 3.9


@pytest.mark.slow
def test_it_tells_how_it_goes_while_it_runs(ran: Ran) -> None:
    for way in WAYS:
        told = re.findall(rf"^ *{way} +(\d+) s: \d+ of \d+ good clients served", ran.out, re.MULTILINE)
        assert len(told) >= 3
        assert told == sorted(told, key=int)


def test_the_readme_opens_with_its_table() -> None:
    text = (ROOT / "README.md").read_text()
    block = text.split("```")[1]
    assert text.index(block) < text.index("\n## ")
    headings, rows = demotable.read(block)
    check_shape(headings, rows)
    check_claims(rows, 0.3)
    assert "shieldproxy demo" in text[: text.index("\n## ")]
