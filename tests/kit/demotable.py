"""Reads the table of ``shieldproxy demo`` as it is printed, from a run or from the README."""

import re
from typing import NamedTuple

NOTHING = "–"
ROW = re.compile(
    r" *(?P<words>.*?) {2,}(?P<way>without|with) +(?P<served>\d+ of \d+|–) +(?P<waiting>[\d.]+ / [\d.]+|–)"
    r" +(?P<threads>[\d.]+) +(?P<lost>\d+|–) +(?P<sockets>\d+)\s*"
)


class Line(NamedTuple):
    """One line of the table. None where it says that there is nothing to count."""

    served: int | None
    asked: int | None
    waiting: tuple[float, float] | None
    threads: float
    lost: int | None
    sockets: int


def _line(found: re.Match[str]) -> Line:
    served, asked = found["served"].split(" of ") if found["served"] != NOTHING else (None, None)
    middle, worst = found["waiting"].split(" / ") if found["waiting"] != NOTHING else (None, None)
    return Line(
        int(served) if served is not None else None,
        int(asked) if asked is not None else None,
        (float(middle), float(worst)) if middle is not None and worst is not None else None,
        float(found["threads"]),
        int(found["lost"]) if found["lost"] != NOTHING else None,
        int(found["sockets"]),
    )


def read(text: str) -> tuple[list[str], dict[str, dict[str, Line]]]:
    """Return the table's headings and its rows: kind of client -> "without" and "with" -> figures."""
    lines = iter(text.splitlines())
    headings = next(
        re.split(r" {2,}", line.strip()) for line in lines if line.strip().startswith("clients  ")
    )
    rows: dict[str, dict[str, Line]] = {}
    kind = ""
    for line in lines:
        found = ROW.fullmatch(line)
        if found is None:
            break
        if found["way"] == "without":
            kind = found["words"]
            rows[kind] = {}
        rows[kind][found["way"]] = _line(found)
    return headings, rows
