"""What RFC 9110 and RFC 9112 ask of an intermediary: each requirement with its verdict and its tests.

The tables (`messages`, `connections`, `fields`, `semantics`) are the only place where a requirement and a
test are tied together. A test is named by its node id below tests/, without its lane; one case of it with
the case's id in brackets. tests/test_conformance.py collects the named files and turns red where a name
leads nowhere, so that no test is renamed or dropped without its requirement. The page docs/conformance.md is
written from the tables (`python -m tests.conformance`), and a test that fails says which requirements it was
to show (tests/e2e/conftest.py).
"""

from typing import Final

from tests.conformance import connections, fields, messages, semantics
from tests.conformance.row import Row

TABLES: Final[dict[int, tuple[Row, ...]]] = {
    9110: (*fields.ROWS, *semantics.ROWS),
    9112: (*messages.ROWS, *connections.ROWS),
}
"""RFC -> its requirements, in the order of its sections."""


def shown_by(node_id: str) -> list[str]:
    """The requirements that a test shows, as lines; ``node_id``: as pytest has it, with lane and case."""
    plain = node_id.removeprefix("tests/").partition("[")[0]
    return [
        f"RFC {rfc} section {row.section}: {row.level} {row.requirement}"
        for rfc, rows in TABLES.items()
        for row in rows
        if any(test.partition("[")[0] == plain for test in row.tests)
    ]
