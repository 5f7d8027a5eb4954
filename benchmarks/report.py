"""Printing: tables and bars for people, one JSON file for programs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.model import Bar, Grid, Part

OUTPUT = Path(__file__).parent / "results" / "latest.json"
STYLES = {"met": "green", "missed": "red", "no figure": "yellow"}


def table_of(grid: Grid) -> Table:
    """A grid as a rich table: the first column names, the others are figures."""
    table = Table(title=grid.title, title_justify="left", caption=grid.note or None, caption_justify="left")
    for index, column in enumerate(grid.columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in grid.rows:
        table.add_row(*row)
    return table


def bars_table(bars: Sequence[Bar]) -> Table:
    """Every bar beside its figure."""
    caption = "figure: the median round; least: the cheapest round of each side"
    table = Table(title="Bars", title_justify="left", caption=caption, caption_justify="left")
    for column in ("what", "figure", "least", "bar", "verdict"):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    for bar in bars:
        figure = "-" if bar.value is None else f"{bar.value:,.{bar.digits}f}{bar.unit}"
        limit = f"{bar.sense} {bar.limit:,g}{bar.unit}"
        least = "" if bar.least is None else f"{bar.least:,.{bar.digits}f}{bar.unit}"
        table.add_row(bar.name, figure, least, limit, f"[{STYLES[bar.verdict]}]{bar.verdict}[/]")
    return table


def show(console: Console, part: Part) -> None:
    """A part's tables, and what failed in it."""
    for grid in part.grids:
        console.print(table_of(grid))
    if part.skipped:
        console.print("skipped:", part.skipped, style="yellow", markup=False, highlight=False)
    for failure in part.failures:
        console.print("failed:", failure, style="red", markup=False, highlight=False)


def summary(console: Console, parts: Sequence[Part]) -> None:
    """All bars in one table."""
    bars = [bar for part in parts for bar in part.bars]
    if bars:
        console.print(bars_table(bars))


def write_json(path: Path, environment: dict[str, Any], parts: Sequence[Part]) -> None:
    """The results file: the environment, and each part with its samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    results = {"environment": environment, "parts": {part.name: part.as_json() for part in parts}}
    path.write_text(json.dumps(results, indent=1) + "\n")
