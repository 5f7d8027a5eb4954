"""``python -m tests.clients [FILE [SECONDS]]``: run every program that is here and write docs/clients.md."""

import sys
import time
from concurrent.futures import as_completed
from pathlib import Path

from tests.clients.measure import PROGRAMS, measuring
from tests.clients.model import Row
from tests.clients.report import page
from tests.clients.servers import SERVERS, ServerRow, examine
from tests.clients.stage import roomy

WATCH = 12.0


def _progress(start: float, name: str, faults: list[str]) -> None:
    state = "ok" if not faults else f"{len(faults)} faults: {faults[0].splitlines()[-1][:100]}"
    print(f"{time.monotonic() - start:6.1f} s  {name}: {state}", file=sys.stderr, flush=True)


def clients(watch: float, start: float) -> list[Row]:
    """Every client that is here, in the order of the table."""
    here = [program for program in PROGRAMS[::-1] if not program.needs.missing()]
    with roomy() as top, measuring(here, watch, top) as futures:
        for future in as_completed(futures.values()):
            row = future.result()
            _progress(start, row.program.name, row.faults)
        return [future.result() for future in futures.values()][::-1]


def servers(start: float) -> list[ServerRow]:
    """Every server that is here, one after the other."""
    rows = []
    for server in SERVERS:
        if not server.needs.missing():
            with roomy() as root:
                rows.append(examine(server, root))
            _progress(start, server.name, rows[-1].faults)
    return rows


def main() -> int:
    """Write the page; the status says whether something was wrong."""
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/clients.md")
    watch = float(sys.argv[2]) if len(sys.argv) > 2 else WATCH
    start = time.monotonic()
    behind, before = servers(start), clients(watch, start)
    needs = [(each.name, each.needs) for each in PROGRAMS] + [(each.name, each.needs) for each in SERVERS]
    missing = [f"{name}: {why}" for name, need in needs if (why := need.missing())]
    file.write_text(page(before, behind, missing, watch))
    print(f"{file} has {len(before)} clients and {len(behind)} servers", file=sys.stderr)
    return 1 if any(row.faults for row in behind) or any(row.faults for row in before) else 0


if __name__ == "__main__":
    sys.exit(main())
