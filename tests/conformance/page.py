"""docs/conformance.md, from the tables: totals on top, what is not done, then a table for each RFC."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, get_args

from tests.conformance.row import Level, Row, Verdict

ABOUT: Final = """\
# Conformance

Every MUST and SHOULD of RFC 9110 (semantics) and RFC 9112 (HTTP/1.1) that binds an intermediary, in our
words, with its verdict and the tests that show it. shieldproxy is a gateway: a *server* to its clients, held
to what is asked of origin servers about messages (RFC 9110 section 3.7), a *client* to the servers behind
it, and an *intermediary* between the two. Rules for proxies are listed too, also where a gateway need not
keep to them.

Left out is what binds others alone: user agents, caches (RFC 9111), the owners of resources, and those who
write specifications or register names. So are MAYs.

Each test in `e2e` runs in both of the proxy's lanes, on real connections to the running program. The page is
written by `make docs` from the tables in `tests/conformance/`; a test holds the page to them, and each name
in them to a test that exists.
"""

COLUMNS: Final = ("§", "level", "who", "requirement", "verdict", "shown by, and why")


def page(tables: Mapping[int, Sequence[Row]]) -> str:
    """The whole page."""
    parts = [ABOUT, _totals(tables), _open(tables)]
    for rfc, rows in tables.items():
        head = (
            f"## RFC {rfc}\n\n| § | level | who | requirement | verdict | shown by, and why |\n|" + "---|" * 6
        )
        parts.append("\n".join([head, *(_line(rfc, row) for row in rows)]) + "\n")
    return "\n".join(parts)


def _totals(tables: Mapping[int, Sequence[Row]]) -> str:
    verdicts = get_args(Verdict)
    lines = [f"| | {' | '.join(verdicts)} | together |", "|---|" + "---:|" * (len(verdicts) + 1)]
    for rfc, rows in tables.items():
        lines += [
            _count(f"RFC {rfc} {level}", [row for row in rows if row.level == level])
            for level in get_args(Level)
        ]
    lines.append(_count("**together**", [row for rows in tables.values() for row in rows]))
    return "\n".join(lines) + "\n"


def _count(name: str, rows: Iterable[Row]) -> str:
    counts = Counter(row.verdict for row in rows)
    return (
        f"| {name} | {' | '.join(str(counts[verdict]) for verdict in get_args(Verdict))} | {counts.total()} |"
    )


def _open(tables: Mapping[int, Sequence[Row]]) -> str:
    """What is not done, and why, before everything else."""
    lines = [
        f"- {_section(rfc, row)}: {row.who} {row.level} {row.requirement}. {row.why}"
        for rfc, rows in tables.items()
        for row in rows
        if row.verdict == "not done"
    ]
    return "## Not done\n\n" + "\n".join(lines) + "\n"


def _section(rfc: int, row: Row) -> str:
    return f"[RFC {rfc}, {row.section}]({_address(rfc, row)})"


def _address(rfc: int, row: Row) -> str:
    return f"https://www.rfc-editor.org/rfc/rfc{rfc}.html#section-{row.section}"


def _line(rfc: int, row: Row) -> str:
    verdict = row.verdict if row.verdict == "met" else f"**{row.verdict}**"
    last = " ".join(filter(None, (", ".join(map(_test, row.tests)), row.why and f"({row.why})")))
    cells = (f"[{row.section}]({_address(rfc, row)})", row.level, row.who, row.requirement, verdict, last)
    return f"| {' | '.join(cells)} |"


def _test(node: str) -> str:
    path, _, name = node.partition("::")
    return f"[`{name.rpartition('::')[2]}`](../tests/{path})"
