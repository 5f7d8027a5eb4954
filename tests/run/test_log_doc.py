"""docs/log.md has every key of an exchange's line and every reason that the code can give, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from shieldproxy.core.outcome import Outcome
from shieldproxy.proxy.house import House

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "log.md").read_text()
SOURCES = sorted(
    path for part in ("core", "net", "proxy") for path in (ROOT / "shieldproxy" / part).glob("*.py")
)
REASON_AT = {"Fault": 1, "BodyFault": 0, "Ended": 2, "UpstreamClosed": 2, "Ending": 3, "Unsendable": 1} | {
    "refuse": 3, "refused": 2, "fault": 2, "_on_fault": 2, "cut_off": 1, "end_at_once": 2
}  # fmt: skip
"""Where the reason stands among the arguments of a call."""
REASON_OF = {"judge", "why_gone", "fault_of"}
"""Functions that return one."""


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, up to the next of the same depth."""
    depth = heading.partition(" ")[0]
    part = re.split(rf"^{depth} ", PAGE.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]


def words(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z_-]+)`", cell))


def texts(node: ast.expr) -> Iterator[str]:
    """The words that an expression may come to; a condition's own texts are none of them."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from texts(one)
            yield from texts(other)


def reasons() -> set[str]:
    """Every literal reason in the sources; those that are put together are listed here."""
    found = {"connect-refused", "connect-timeout", "connect-unreachable", "connect-unresolved"}
    found |= {"connect-source", "connect-shortage", "body-idle", "body-rate", "body-total"}
    found |= {"upstream-closed", "upstream-reset", "internal-error"}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in REASON_OF:
                for each in ast.walk(node):
                    if isinstance(each, ast.Return) and each.value is not None:
                        found.update(texts(each.value))
            elif isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                at = REASON_AT.get(name, 99)
                found.update(texts(node.args[at]) if len(node.args) > at else ())
    return {reason for reason in found if re.fullmatch(r"[a-z]+(-[a-z]+)*", reason)}


def test_every_reason_has_a_row_and_no_row_is_without_one() -> None:
    told = set[str]().union(*(words(cells[0]) for cells in rows("## Reasons")))
    assert len(told) > 40
    assert told == reasons()


def test_every_key_has_a_row() -> None:
    told = [word for cells in rows("## An exchange") for word in re.findall(r"`([a-z_]+)`", cells[0])]
    assert told == [name for name in Outcome.__struct_encode_fields__ if name != "referer"]


def test_every_counter_has_a_row() -> None:
    told = set[str]().union(*(words(cells[0]) for cells in rows("## The counters")))
    named: set[str] = {"dropped_lines"}
    for source in SOURCES:
        named.update(re.findall(r'\.counts\["([a-z_]+)"\]', source.read_text()))
    snapshot = Path(House.snapshot.__code__.co_filename).read_text().split("def snapshot", 1)[1]
    named.update(re.findall(r'^            "([a-z]+)": ', snapshot, re.MULTILINE))
    assert told == named
