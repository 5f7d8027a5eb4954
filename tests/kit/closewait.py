"""The watch for CLOSE_WAIT: over the whole test run, on every proxy that a test starts, on both of its sides.

A socket in CLOSE_WAIT is one whose peer has ended and whose owner has not. That is a leak or a stall, but
for one case: a client that has half-closed, or a server that has ended behind its response, while their
exchange is still being served. So a socket that is seen in CLOSE_WAIT must be out of it within `GRACE` of an
exchange that covers the time: one of the same client for a socket to a client, any for a socket to a server
(the log does not name our port to it). What lies between two such exchanges, or behind the last, or has none,
counts.

One thread looks every `STEP` seconds, through a netlink socket of the proxy's own network namespace: the
kernel picks the sockets by state, so that a look costs the same beside thousands of others. Whether there
was an exchange is known when the log is whole: `Guarded.verdict` is asked when the proxy has ended.
A socket that nobody has accepted yet counts too: its peer has ended and nobody knows.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.kit.diagnosis import Diagnosis, Found
from tests.kit.sockets import CLOSE_WAIT, held_by

GRACE: Final = 0.5
"""Seconds; what the proxy stood ready to run without a CPU is added."""
STEP: Final = 0.1


@dataclass(slots=True)
class Span:
    """One socket's time in CLOSE_WAIT, as seen; seconds of the wall clock, as the log has them."""

    side: str
    port: int
    """The peer's, of a client; ours, of a connection to a server."""
    first: float
    last: float
    starved: float = 0.0
    """How long the proxy stood ready without a CPU meanwhile."""
    waited: float = 0.0
    """Its `schedstat` when this was first seen."""


@dataclass(slots=True)
class Totals:
    """What a whole run saw."""

    proxies: int = 0
    samples: int = 0
    connections: int = 0
    """Clients' connections that the proxies logged."""
    sockets: int = 0
    """Sockets that were seen in CLOSE_WAIT."""
    longest: float = 0.0
    """The longest time in it, half-closes that were being served included."""
    beyond: float = 0.0
    """The longest time in it beyond an exchange."""
    defects: int = 0

    def add(self, other: Mapping[str, Any]) -> None:
        """Take in what another process saw."""
        for one in fields(self):
            mine, theirs = getattr(self, one.name), other[one.name]
            setattr(self, one.name, max(mine, theirs) if isinstance(mine, float) else mine + theirs)

    @property
    def red(self) -> bool:
        """Whether the run fails by it; a watch that never looked is a failure too."""
        return self.defects > 0 or (self.proxies > 0 and not self.samples)

    def as_dict(self) -> dict[str, Any]:
        """For the way between processes."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"CLOSE_WAIT: {self.proxies} proxies, {self.connections} connections, {self.samples} looks; "
            f"{self.sockets} sockets seen in it, {self.longest:.2f} s at most while served, "
            f"{self.beyond:.2f} s at most beyond an exchange ({GRACE:g} s and the wait for a CPU allowed): "
            f"{self.defects} defects"
        )


TOTALS = Totals()


def intervals(lines: Iterable[Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """The exchanges of a log: port, begin and end, in seconds of the wall clock."""
    found = []
    for line in lines:
        if line.get("kind") == "exchange":
            end = datetime.fromisoformat(line["time"]).timestamp()
            found.append((int(line.get("port", 0)), end - line.get("seconds", 0.0), end))
    return found


def uncovered(span: Span, exchanges: Iterable[tuple[int, float, float]]) -> float:
    """The longest time within a span in which no exchange of its own was served."""
    at, longest = span.first, 0.0
    own = [(begin, end) for port, begin, end in exchanges if span.side == "server" or port == span.port]
    for begin, end in sorted(own):
        if end <= at:
            continue
        if begin >= span.last:
            break
        longest = max(longest, begin - at)
        at = end
    return max(longest, span.last - at)


@dataclass(eq=False)
class Guarded:
    """One proxy under watch: its process, its listening ports, its servers' ports."""

    pid: int
    listening: frozenset[int]
    servers: frozenset[int]
    spans: list[Span] = field(default_factory=list)
    open: dict[Found, Span | None] = field(default_factory=dict)
    """Those that the last look saw; None: somebody else's."""
    samples: int = 0

    def look(self, rows: Iterable[Found]) -> None:
        """Take one look's sockets in CLOSE_WAIT."""
        self.samples += 1
        now, seen = time.time(), {}
        for row in rows:
            key = row._replace(unread=0)
            if key in self.open:
                span = self.open[key]
            elif row.local in self.listening:
                span = self._begin("client", row.remote, now)
            elif row.remote in self.servers and row.inode in _inodes(self.pid):
                span = self._begin("server", row.local, now)
            else:
                span = None
            if span is not None:
                span.last, span.starved = now, _waited(self.pid) - span.waited
            seen[key] = span
        if _stopped(self.pid):
            seen.clear()  # a process that is held still can end nothing
        self.open = seen

    def _begin(self, side: str, port: int, now: float) -> Span:
        span = Span(side, port, now, now, 0.0, _waited(self.pid))
        self.spans.append(span)
        return span

    def verdict(self, lines: Iterable[Mapping[str, Any]], totals: Totals = TOTALS) -> list[str]:
        """Judge what was seen, by the whole log; one line for each defect."""
        lines = list(lines)
        exchanges = intervals(lines)
        totals.proxies += 1
        totals.samples += self.samples
        totals.connections += len({(line.get("client"), line["port"]) for line in lines if "port" in line})
        totals.sockets += len(self.spans)
        wrong = []
        for span in self.spans:
            beyond = uncovered(span, exchanges)
            totals.beyond = max(totals.beyond, beyond)
            totals.longest = max(totals.longest, span.last - span.first)
            if beyond > GRACE + span.starved:
                wrong.append(
                    f"CLOSE_WAIT, {span.side}'s side, port {span.port}: {beyond:.2f} s beyond an exchange "
                    f"({span.starved:.2f} s without a CPU)"
                )
        totals.defects += len(wrong)
        return wrong


class Watchman:
    """The thread that looks, for all proxies of this process; it lives while there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: dict[int, tuple[Diagnosis, list[Guarded]]] = {}
        self._thread: threading.Thread | None = None

    def guard(self, pid: int, listening: Iterable[int], servers: Iterable[int]) -> Guarded:
        """Watch a process that lives in the caller's network namespace."""
        one = Guarded(pid, frozenset(listening), frozenset(servers))
        diagnosis = Diagnosis()
        with self._lock:
            if diagnosis.namespace in self._posts:
                diagnosis.close()
                self._posts[diagnosis.namespace][1].append(one)
            else:
                self._posts[diagnosis.namespace] = (diagnosis, [one])
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="closewait", daemon=True)
                self._thread.start()
        return one

    def release(self, one: Guarded) -> None:
        """Look at it no more."""
        with self._lock:
            for number, (diagnosis, guarded) in list(self._posts.items()):
                if one in guarded:
                    guarded.remove(one)
                if not guarded:
                    del self._posts[number]
                    diagnosis.close()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._posts:
                    self._thread = None
                    return
                for diagnosis, guarded in self._posts.values():
                    rows = diagnosis.look(CLOSE_WAIT, pid=guarded[0].pid)
                    for one in guarded:
                        one.look(rows)
            time.sleep(STEP)


WATCHMAN = Watchman()


def _quietly(read: Callable[[int], Any], pid: int, otherwise: Any) -> Any:
    """What is asked of a process that may just have ended."""
    try:
        return read(pid)
    except (OSError, ValueError, IndexError):
        return otherwise


def _inodes(pid: int) -> set[int]:
    found: set[int] = _quietly(held_by, pid, set())
    return found


def _waited(pid: int) -> float:
    found: float = _quietly(
        lambda number: int(Path(f"/proc/{number}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9,
        pid,
        0.0,
    )
    return found


def _stopped(pid: int) -> bool:
    def state(number: int) -> str:
        return Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]

    return os.getpid() != pid and _quietly(state, pid, "") in {"T", "t"}
