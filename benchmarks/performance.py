"""Puts the tables of the last ``make bench`` into docs/performance.md, between its two marks.

``python -m benchmarks.performance [RESULTS]``: the text around the tables is written by hand and stays.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import OUTPUT

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- tables: made by python -m benchmarks.performance -->", "<!-- end of the tables -->"


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown; figures stand at the right."""
    marks = ["---"] + ["---:"] * (len(columns) - 1)
    return ["| " + " | ".join(row) + " |" for row in [columns, marks, *rows]]


def figure(value: float | None, unit: str, digits: int = 2) -> str:
    """A bar's figure with its unit."""
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def bars(parts: dict[str, Any]) -> list[str]:
    """Every bar beside its figure."""
    rows = [
        [
            bar["name"],
            figure(bar["value"], bar["unit"], bar["digits"]),
            "" if bar["least"] is None else figure(bar["least"], bar["unit"], bar["digits"]),
            f"{bar['sense']} {bar['limit']:,g}{bar['unit']}",
            bar["verdict"],
        ]
        for part in parts.values()
        for bar in part["bars"]
    ]
    return table(["what", "median", "cheapest rounds", "bar", "verdict"], rows)


def page(results: dict[str, Any]) -> str:
    """The tables as text."""
    where = results["environment"]
    versions = ", ".join(where["versions"].values())
    made = f"Made at commit {where['commit']} on {where['time'][:10]}"
    machine = f"{where['processor']}, {where['cpus']} cores, Linux {where['kernel']}"
    lines = [
        f"{made}: {machine}, Python {where['python']}, {where['congestion_control']}; {versions}.",
        "",
        *bars(results["parts"]),
    ]
    for part in results["parts"].values():
        for grid in part["grids"]:
            note = [grid["note"], ""] if grid["note"] else []
            lines += ["", f"### {grid['title']}", "", *note, *table(grid["columns"], grid["rows"])]
        if part.get("skipped"):
            lines += ["", "Skipped: " + part["skipped"]]
        if part["failures"]:
            lines += ["", "Failed: " + "; ".join(part["failures"])]
    return "\n".join(lines)


def main() -> None:
    """Write the page anew."""
    results = json.loads(Path(sys.argv[1] if sys.argv[1:] else OUTPUT).read_text())
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{page(results)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
