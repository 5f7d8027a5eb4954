"""The drawing of the close table in docs/closing.md: ``python -m shieldproxy.closingdoc docs/closing.md``.

It puts the state diagram and the table, both made from `core.closing.TABLE`, between two marks of the page
and leaves the prose around them alone. A test holds the page to what this module would write.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from shieldproxy.core.closing import FINAL, TABLE, Action, Event, State

BEGIN: Final = "<!-- begin: drawn by python -m shieldproxy.closingdoc from shieldproxy/core/closing.py -->"
END: Final = "<!-- end -->"

ABOUT: Final = {
    State.IDLE: "waits, fresh, in a head or kept alive",
    State.ACTIVE: "a request of it is answered",
    State.LINGER: "our FIN is out, what comes is thrown away",
    State.CLOSED: "given up, in order",
    State.RESET: "given up by a reset, the client's or ours",
}


class NoMarks(ValueError):
    """The page has no place for the drawing."""


def diagram() -> str:
    """The table as a state diagram of Mermaid: one arrow for each pair of states."""
    arrows: dict[tuple[State, State], list[Event]] = {}
    for (before, event), (after, _) in TABLE.items():
        arrows.setdefault((before, after), []).append(event)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> IDLE : accepted"]
    lines += [f"    {state.name} : {state.name}<br/>{about}" for state, about in ABOUT.items()]
    lines += [
        f"    {before.name} --> {after.name} : {'<br/>'.join(event.name for event in events)}"
        for (before, after), events in arrows.items()
    ]
    lines += [f"    {state.name} --> [*]" for state in State if state in FINAL]
    return "\n".join([*lines, "```"])


def _rows(cells: Iterable[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def table() -> str:
    """The table as one of Markdown, with what each action is below it."""
    steps = [
        (before.name, f"{event.name}: {event.value}", after.name, ", ".join(a.name for a in actions))
        for (before, event), (after, actions) in TABLE.items()
    ]
    head = [("state", "event", "next", "actions"), ("---",) * 4]
    actions = [("action", "what is done"), ("---",) * 2, *((a.name, a.value) for a in Action)]
    return _rows([*head, *steps]) + "\n\n" + _rows(actions)


def drawing() -> str:
    """What stands between the marks."""
    return f"{BEGIN}\n\n{diagram()}\n\n{table()}\n\n{END}"


def redrawn(page: str) -> str:
    """Return a page with its drawing made anew.

    Raises:
        NoMarks: it has no beginning or no end for one.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarks(f"no place for the drawing: it goes between {BEGIN} and {END}")
    return before + drawing() + after


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(redrawn(path.read_text()))
