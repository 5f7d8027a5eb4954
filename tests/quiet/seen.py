"""What the recording server counts."""

from collections import Counter
from typing import Any


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
        self.worst: list[tuple[float, str]] = []

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
            "waited": {
                "count": len(waits),
                **{f"p{part}": share(waits, part) for part in (50, 99)},
                "worst": share(waits, 100),
            },
            "slowest": [(round(value, 2), what) for value, what in self.worst],
        }


def share(values: list[float], part: int) -> float:
    """A percentile of sorted values."""
    return round(values[min(len(values) - 1, len(values) * part // 100)], 3) if values else 0.0
