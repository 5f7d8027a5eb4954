"""Times with bounds, on a machine that others use too.

A test may say that something takes at least so long (a deadline is never early) and at most so long (it is
not forgotten). The upper bound speaks of us, not of the machine: it moves by the time in which a thread of
this process or of a process that it started stood ready to run and had no CPU, as the kernel counts it in
``schedstat``. On a quiet machine that is next to nothing.
"""

import os
import time
from contextlib import suppress
from pathlib import Path


def _tasks(pid: int) -> list[Path]:
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _family(pid: int) -> list[Path]:
    """The threads of a process and of everybody that it started."""
    found = _tasks(pid)
    children: list[str] = []
    for task in found:
        with suppress(OSError):
            children += (task / "children").read_text(encoding="ascii").split()
    return [*found, *(task for child in children for task in _family(int(child)))]


def waits() -> dict[Path, float]:
    """How long each of our threads has waited for a CPU so far, in seconds; empty where nobody counts."""
    found = {}
    for task in _family(os.getpid()):
        with suppress(OSError):
            found[task] = int((task / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    return found


class Watch:
    """Runs from its making on."""

    def __init__(self) -> None:
        self._before = waits()
        self._seen = dict(self._before)
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time so far."""
        return time.monotonic() - self._start

    def waited(self) -> float:
        """Seconds in which we stood ready and had no CPU, all threads together.

        Who ends meanwhile counts as far as a call saw it.
        """
        self._seen |= waits()
        return sum(now - self._before.get(task, 0.0) for task, now in self._seen.items())

    def took(self, least: float, most: float, seconds: float | None = None) -> None:
        """See that the time so far (or one that somebody else measured meanwhile) is within bounds."""
        passed = self.seconds if seconds is None else seconds
        assert least <= passed, f"{passed:.3f} s, too early: {least:g} s at least"
        if passed > most:
            waited = self.waited()
            assert passed <= most + waited, (
                f"{passed:.3f} s, {most:g} s at most, {waited:.3f} s without a CPU"
            )
