"""The product with a fault in it: ``python -m tests.kit.planted FAULT run CONFIG`` (see `tests.kit.plants`).

Ends at once, with a status and a line that no test takes for a finding, if the fault cannot be planted.
"""

import sys

from shieldproxy.cli import main as shieldproxy
from tests.kit.plants import PLANTS

NOT_PLANTED = 70


def main() -> None:
    """Plant, then be the product."""
    name, *arguments = sys.argv[1:]
    try:
        PLANTS[name].apply()
    except Exception as exc:  # noqa: BLE001 - whatever it is, there must be no product without the fault
        print(f"not planted: {name}: {exc!r}", file=sys.stderr)
        sys.exit(NOT_PLANTED)
    shieldproxy(arguments, prog_name="shieldproxy")


if __name__ == "__main__":
    main()
