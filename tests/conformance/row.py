"""A row of the tables: one requirement, whom it binds, what became of it, and which tests show that."""

from typing import Final, Literal, NamedTuple

Level = Literal["MUST", "MUST NOT", "SHOULD", "SHOULD NOT"]
Verdict = Literal["met", "not done", "does not apply"]

MUST: Final = "MUST"
MUST_NOT: Final = "MUST NOT"
SHOULD: Final = "SHOULD"
SHOULD_NOT: Final = "SHOULD NOT"


class Row(NamedTuple):
    """One requirement, in our words."""

    section: str
    level: Level
    who: str
    """Whom the RFC binds: server (towards clients), client (towards servers), proxy, gateway, sender, ..."""
    requirement: str
    verdict: Verdict
    tests: tuple[str, ...]
    """Node ids below tests/, without the lane."""
    why: str
    """Of whatever is not plainly met."""


def met(section: str, level: Level, who: str, requirement: str, *tests: str, why: str = "") -> Row:
    """A requirement that is met, and shown."""
    return Row(section, level, who, requirement, "met", tests, why)


def undone(section: str, level: Level, who: str, requirement: str, why: str, *tests: str) -> Row:
    """One that is not met; tests show what is done in its place."""
    return Row(section, level, who, requirement, "not done", tests, why)


def void(section: str, level: Level, who: str, requirement: str, why: str) -> Row:
    """One of a role that this gateway does not play, or of something that it never sends."""
    return Row(section, level, who, requirement, "does not apply", (), why)
