"""The results: samples, ratios of alternating rounds, bars, and grids that can be printed. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

MISSING = "-"
QUIET = 0.15
"""A run during which others used less than this of a CPU was not disturbed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of the load generator against one proxy."""

    cpu_us: float
    """User and system time of the proxy's process tree, microseconds a request."""
    rate: float
    """Requests a second."""
    p50_ms: float
    p99_ms: float
    others: float = 0.0
    """CPUs that somebody else used meanwhile: 0.5 is half of one."""
    longest_ms: float = 0.0
    """The heartbeat's longest wait."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the smallest and the largest value it was taken from."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """The spread of ``values``, None when there are none."""
        return cls(median(values), min(values), max(values)) if values else None

    def text(self, digits: int = 2) -> str:
        """``1.40 (1.38-1.43)``."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def ratios(values: Sequence[float | None], base: Sequence[float | None]) -> list[float]:
    """``values`` against ``base``, round by round; rounds in which either is missing are left out."""
    pairs = zip(values, base, strict=True)
    return [value / unit for value, unit in pairs if value is not None and unit]


def best_of(rounds: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The smallest value of each round over several proxies; None where all are missing."""
    best: list[float | None] = []
    for values in zip(*rounds, strict=True):
        there = [value for value in values if value is not None]
        best.append(min(there) if there else None)
    return best


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise about a figure, and the figure."""

    name: str
    value: float | None
    limit: float
    sense: Literal["at most", "at least"] = "at most"
    unit: str = ""
    digits: int = 2
    least: float | None = None
    """The same figure from the cheapest round of each side: what a busy machine disturbs least."""

    @property
    def met(self) -> bool | None:
        """Whether the promise is kept; None when there is no figure."""
        if self.value is None:
            return None
        return self.value <= self.limit if self.sense == "at most" else self.value >= self.limit

    @property
    def verdict(self) -> str:
        """``met``, ``missed`` or ``no figure``."""
        return {True: "met", False: "missed", None: "no figure"}[self.met]

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "name": self.name,
            "value": self.value,
            "least": self.least,
            "limit": self.limit,
            "sense": self.sense,
            "unit": self.unit,
            "digits": self.digits,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Grid:
    """One printed table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(slots=True)
class Part:
    """What one part of the benchmark found."""

    name: str
    grids: list[Grid] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    skipped: str = ""
    """Why there is no figure, where that is no failure."""

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "bars": [bar.as_json() for bar in self.bars],
            "grids": [asdict(grid) for grid in self.grids],
            "failures": self.failures,
            "skipped": self.skipped,
            **self.data,
        }


def least_ratio(values: Sequence[float | None], bases: Sequence[Sequence[float | None]]) -> float | None:
    """The cheapest round of ``values`` against the cheapest round of all ``bases``."""
    mine = [value for value in values if value is not None]
    theirs = [value for base in bases for value in base if value]
    return min(mine) / min(theirs) if mine and theirs else None


def number(value: float | None, digits: int = 1) -> str:
    """A figure for a table cell, ``-`` when there is none."""
    return MISSING if value is None else f"{value:,.{digits}f}"


def spread_text(values: Sequence[float], digits: int = 2) -> str:
    """A spread for a table cell, ``-`` when there is none."""
    spread = Spread.of(values)
    return MISSING if spread is None else spread.text(digits)


def middle(values: Sequence[float]) -> float | None:
    """The median, None of nothing."""
    return median(values) if values else None


def longest(samples: Sequence[Sample]) -> float | None:
    """The heartbeat's longest wait in the runs that nobody disturbed; without one, the median of all.

    A stall of the machine and one of a proxy look the same: only a quiet run tells of the proxy.
    """
    quiet = [one.longest_ms for one in samples if one.others < QUIET]
    return max(quiet) if quiet else middle([one.longest_ms for one in samples])


def disturbance(samples: Sequence[Sample]) -> str:
    """How much of the machine others had during these samples, for a table's note; empty when little."""
    worst = max((one.others for one in samples), default=0.0)
    if worst < QUIET:
        return ""
    median_share = median(one.others for one in samples)
    return f"not alone: others used {median_share:.2f} CPUs (median), {worst:.2f} at worst"


def sample_json(rounds: Mapping[str, Sequence[Sample | None]]) -> dict[str, list[dict[str, float] | None]]:
    """Every sample of every proxy, for the results file."""
    return {name: [asdict(one) if one else None for one in samples] for name, samples in rounds.items()}
