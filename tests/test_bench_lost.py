"""The table of the lost response: its rows, and that its page has been written with it."""

from pathlib import Path

from benchmarks import lost
from tests.kit.lost import Count

CELLS = [cell for cells in lost.CELLS.values() for cell in cells]
PAGE = Path(__file__).parent.parent / "docs" / "lost-response.md"


def test_a_row_for_each_cell_and_a_column_for_each_way() -> None:
    """What was lost is a figure, nothing lost is bold, other answers have a star."""
    none, some = [Count(100) for _ in CELLS], [Count(100, gave_up=50, patient=1) for _ in CELLS]
    some[0] = Count(100, others=[b"HTTP/1.1 502"])
    lines = lost.markdown({"ack": none, "off": some}).splitlines()
    assert lines[0] == "| answer | response / request | ack | off |"
    assert lines[3] == "| 413 | own / 2 kB | **0** | 1* |"
    assert lines[4] == "| 413 | own / 200 kB | **0** | 51 |"
    assert len(lines) == 2 + len(lost.CELLS) + len(CELLS)


def test_the_grid_has_the_same() -> None:
    """For a terminal."""
    table = lost.grid({"ack": [Count(20) for _ in CELLS]}, 20)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert [row[2] for row in table.rows].count("0") == len(CELLS)


def test_the_page_has_every_row_and_a_nought_in_each() -> None:
    """docs/lost-response.md names today's cells, and its first column is ours."""
    page = PAGE.read_text().splitlines()
    for cell in CELLS:
        assert any(line.startswith(f"| {cell.name} | {cell.sizes} | **0** |") for line in page), cell
