"""docs/closing.md shows the table as it is, and every word that a receipt may say about a close."""

import re
from pathlib import Path

import pytest

from shieldproxy import closingdoc
from shieldproxy.core.closing import TABLE, Action, Event, State
from shieldproxy.core.outcome import Receipt
from shieldproxy.net.linger import ENDING

PAGE = Path(__file__).resolve().parents[2] / "docs" / "closing.md"


def test_the_page_is_current() -> None:
    page = PAGE.read_text()
    assert page == closingdoc.redrawn(page), "python -m shieldproxy.closingdoc docs/closing.md"


def test_the_drawing_is_made_from_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the table makes the page old."""
    page = PAGE.read_text()
    monkeypatch.setitem(TABLE, (State.IDLE, Event.BYTES), (State.RESET, (Action.RST,)))
    redrawn = closingdoc.redrawn(page)
    assert redrawn != page
    assert "| IDLE | BYTES: the client still sends | RESET | RST |" in redrawn
    assert re.search(r"IDLE --> RESET : PEER_RESET<br/>BYTES\n", redrawn)


def test_the_diagram_has_each_arrow_of_the_table_and_no_other() -> None:
    lines = closingdoc.diagram().splitlines()
    assert lines[:2] == ["```mermaid", "stateDiagram-v2"]
    assert lines[-1] == "```"
    drawn: set[tuple[str, str, str]] = set()
    for line in lines[2:-1]:
        arrow = re.fullmatch(r"    (\w+|\[\*\]) --> (\w+|\[\*\])(?: : ([\w<>/]+))?", line)
        if arrow is None:
            assert re.fullmatch(r"    \w+ : [^:#;]+", line), line
        elif "[*]" not in arrow.group(1, 2):
            drawn |= {(arrow[1], arrow[2], event) for event in arrow[3].split("<br/>")}
    assert drawn == {(before.name, after.name, event.name) for (before, event), (after, _) in TABLE.items()}


def test_the_prose_stays_when_the_drawing_is_made_anew() -> None:
    page = f"before\n{closingdoc.BEGIN}\nold\n{closingdoc.END}\nafter\n"
    assert closingdoc.redrawn(page) == f"before\n{closingdoc.drawing()}\nafter\n"


@pytest.mark.parametrize("page", ["", closingdoc.BEGIN, closingdoc.END])
def test_a_page_without_marks_is_left_alone(page: str) -> None:
    with pytest.raises(closingdoc.NoMarks, match="no place for the drawing"):
        closingdoc.redrawn(page)


def test_every_way_in_which_a_close_ends_is_explained() -> None:
    page = PAGE.read_text()
    for word in ENDING.values():
        assert re.search(rf"^\|[^|]*`{word}`", page, re.MULTILINE), word


def test_the_example_is_a_receipt() -> None:
    """Its keys are those of the log."""
    (example,) = re.findall(r"^    \{.*?\}$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names = dict(zip(Receipt.__struct_fields__, Receipt.__struct_encode_fields__, strict=True))
    assert set(re.findall(r'"(\w+)":', example)) <= set(names.values())
