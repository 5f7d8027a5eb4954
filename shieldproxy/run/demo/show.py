"""What a person sees of the demonstration: how each half goes while it runs, and the table at the end.

On a terminal the state of a half is drawn anew in its place; elsewhere it is a line every few seconds. Rich
looks after widths, and colours nothing where NO_COLOR is set or no terminal is.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shieldproxy.run.demo.count import ALL, GOOD, KINDS, Half, Row
from shieldproxy.run.demo.stage import Failed

WAYS: Final = ("without", "with")
HEADINGS: Final = ("clients", "proxy", "served", "waiting, s", "threads", "lost", "sockets")
NOTHING: Final = "–"
PLAIN_GAP: Final = 3.0
"""Seconds between two lines where there is no terminal, or none that is wide enough."""
LEAST_WIDTH: Final = 78
"""Columns of the table: on a narrower terminal its lines are broken there, rather than figures cut off."""


@dataclass(frozen=True, slots=True)
class State:
    """How a half stands: seconds gone and of how many, and what is counted so far."""

    gone: float
    seconds: float
    asked: int
    served: int
    waiting: int
    held: int
    threads: int
    lost: int
    sockets: int


def line(way: str, state: State) -> str:
    """The state of a half as a line of text."""
    return (
        f"{way:>7} {state.gone:4.0f} s: {state.served} of {state.asked} good clients served, "
        f"{state.held} of {state.threads} threads held, {state.lost} lost, {state.sockets} sockets"
    )


def bar(part: float, whole: float, style: str) -> ProgressBar:
    """A bar of one colour, full or not."""
    return ProgressBar(max(whole, 0.001), part, complete_style=style, finished_style=style)


def picture(way: str, state: State) -> Table:
    """The state of a half with bars."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=18)
    grid.add_column(width=24)
    grid.add_column(no_wrap=True)
    over = state.gone >= state.seconds
    grid.add_row(
        Text(f"{way} the proxy", "bold"),
        bar(min(state.gone, state.seconds), state.seconds, "blue"),
        Text("done" if over else f"{state.gone:.0f} of {state.seconds:.0f} s", "dim"),
    )
    happy = state.served >= 0.9 * max(1, state.asked - state.waiting)
    grid.add_row(
        "  good clients",
        bar(state.served, state.asked, "green" if happy else "yellow"),
        Text(f"{state.served} of {state.asked} served" + (f", {state.waiting} waiting" if not over else "")),
    )
    full = state.held >= state.threads
    grid.add_row(
        "  server's threads",
        bar(state.held, state.threads, "red" if full else "green"),
        Text(f"{state.held} of {state.threads} held", "red" if full else ""),
    )
    grid.add_row("  lost, sockets", "", Text(f"{state.lost} responses lost, {state.sockets} sockets held"))
    return grid


class Paper(Console):
    """Rich's console ends the process when nobody reads on; here the programs have to be ended too."""

    def on_broken_pipe(self) -> None:
        """Say so, after standard output is turned away."""
        try:
            super().on_broken_pipe()
        except SystemExit:
            raise Failed("nobody reads what it prints") from None


class Screen:
    """Where all of it is printed."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self._console = console or Paper(highlight=False, quiet=quiet)
        self._live: Live | None = None
        self._next = 0.0

    def intro(self, seconds: float, threads: int) -> None:
        """Say what is going to be seen."""
        self._console.print(
            f"An old HTTP/1.0 server with {threads} threads. Good clients ask it for pages, and beside them "
            "come such as it has always had: slow ones, some that never close, some that vanish. "
            f"{seconds:g} s straight at the server, then {seconds:g} s through shieldproxy. Ctrl-C ends it.\n"
        )

    def half(self, way: str, state: State) -> AbstractContextManager[object]:
        """Begin to show a half; leave the context when it is over."""
        self._next = 0.0
        self._live = None
        console = self._console
        if console.quiet or not console.is_terminal or console.width < LEAST_WIDTH:
            return nullcontext()
        self._live = Live(picture(way, state), console=console, auto_refresh=False)
        return self._live

    def update(self, way: str, state: State) -> None:
        """Show how the half stands now."""
        if self._live is not None:
            self._live.update(picture(way, state), refresh=True)
        elif state.gone >= self._next:
            self._next = state.gone + PLAIN_GAP
            self._console.print(line(way, state), soft_wrap=True)

    def result(self, halves: tuple[Half, Half], notes: str) -> None:
        """Print the table, and what its columns count."""
        width = self._console.width
        self._console.width = max(width, LEAST_WIDTH)
        self._console.print("", table(halves), "", sep="\n")
        self._console.width = width
        self._console.print(Padding(Text(notes, "dim"), (0, 1)))


def as_json(halves: tuple[Half, Half], notes: str) -> str:
    """The figures for machines: times in seconds, null where there is nothing to count."""
    made = {way: asdict(half) for way, half in zip(WAYS, halves, strict=True)}
    return json.dumps({**made, "notes": notes}, indent=2)


def table(halves: tuple[Half, Half]) -> Table:
    """Two lines for each kind of client: without the proxy, and with it."""
    made = Table(box=None, padding=(0, 1), title_justify="left", header_style="bold")
    for number, heading in enumerate(HEADINGS):
        made.add_column(heading, justify="left" if number < 2 else "right", no_wrap=number > 0)
    deeds = {kind.name: kind.deed for kind in KINDS} | {ALL: ""}
    for name in halves[0].rows:
        before, after = (half.rows[name] for half in halves)
        style = "bold" if name in (GOOD, ALL) else ""
        made.add_row(Text(name, style), WAYS[0], *cells(before))
        made.add_row(Text("  " + deeds[name], "dim"), Text(WAYS[1], "green"), *cells(after), end_section=True)
    return made


def cells(row: Row) -> list[str]:
    """The figures of a row as they are printed."""
    waiting = NOTHING
    if row.wait_median is not None and row.wait_worst is not None:
        waiting = f"{row.wait_median:.2f} / {row.wait_worst:.2f}"
    return [
        NOTHING if row.asked is None else f"{row.served} of {row.asked}",
        waiting,
        f"{row.threads:.1f}",
        NOTHING if row.lost is None else str(row.lost),
        str(row.sockets),
    ]
