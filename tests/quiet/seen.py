"""What the recording server counts."""

from collections import Counter
from typing import Any

Span = tuple[float, float]
LATE = 10.0
"""Milliseconds that a request may wait; of more the moments are told too."""
MANY = 2000
"""Such requests that are told of."""


class Seen:
    """What is counted."""

    def __init__(self, now: int) -> None:
        self.requests = Counter[str]()
        self.faults: list[str] = []
        self.cut = 0
        self.most = now
        self.connections = 0
        self.ends = Counter[str]()
        self.waits: list[float] = []
        self.control: list[float] = []
        self.late: list[tuple[float, tuple[Span, Span], str]] = []

    def wait(self, waited: float, spans: tuple[Span, Span], target: str, *, control: bool) -> None:
        """How long a request kept the server waiting, ms, while it came and while it was answered."""
        if control:
            self.control.append(waited)
            return
        self.waits.append(waited)
        if waited > LATE and len(self.late) < MANY:
            self.late.append((waited, spans, target))

    def report(self, unfinished: int) -> dict[str, Any]:
        """As plain values; times in milliseconds."""
        waits = sorted(self.waits)
        return {
            "requests": dict(self.requests),
            "no_request": len(self.faults) + self.cut,
            "faults": self.faults[:10],
            "cut": self.cut,
            "unfinished": unfinished,
            "most": self.most,
            "connections": self.connections,
            "ends": dict(self.ends),
            "waited": spread(waits),
            "control": spread(sorted(self.control)),
            "late": sorted(self.late, reverse=True),
        }


def spread(values: list[float]) -> dict[str, float]:
    """Percentiles of sorted values."""
    return {"count": len(values), **{f"p{part}": share(values, part) for part in (50, 99)}} | {
        "worst": share(values, 100),
        "beyond": sum(value > LATE for value in values),
    }


def share(values: list[float], part: int) -> float:
    """A percentile of sorted values."""
    return round(values[min(len(values) - 1, len(values) * part // 100)], 3) if values else 0.0
