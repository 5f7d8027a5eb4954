"""What a test has seen, so that its two runs (express lane and task lane) can be compared.

Whole responses that a client read, whole requests that the test awaited at the upstream, and the log lines it
asked for are noted here, without what may differ from run to run: ports, dates, ids, times, and the lane.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

NOTES: list[str] = []

CHANGING = frozenset(
    {"time", "port", "seconds", "lane", "linger_seconds", "lingered_bytes", "id", "in", "out"}
)
TIMELY = frozenset({"acknowledged", "client_fin"})
"""Facts of the kernel that depend on which packet came first."""

_PORT = re.compile(r"(127\.0\.\d+\.\d+|\[::1\]|localhost):\d+")
_DATE = re.compile(r"(?i)date: [^\r\n]*")
_ID = re.compile(r"(?i)(x-[a-z-]*id): [^\r\n]*")
_PATH = re.compile(r"/tmp/[^\s\"']*")


def _plain(text: str) -> str:
    return _PATH.sub("/tmp/-", _ID.sub(r"\1: -", _DATE.sub("date: -", _PORT.sub(r"\1:N", text))))


def note(kind: str, data: bytes) -> None:
    """Keep bytes of the wire."""
    NOTES.append(f"{kind} {_plain(data.decode('latin-1'))!r}")


def note_line(line: Mapping[str, Any]) -> None:
    """Keep a log line."""
    kept = {key: value for key, value in line.items() if key not in CHANGING | TIMELY}
    NOTES.append("log " + _plain(json.dumps(kept, sort_keys=True)))
