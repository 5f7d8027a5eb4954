"""What a test has seen, so that its two runs (express lane and task lane) can be compared.

Whole responses that a client read, whole requests that the test awaited at the upstream, and the log lines it
asked for are noted here, without what may differ from run to run: ports, dates, ids, times, and the lane.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.kit.wire import Message

NOTES: list[str] = []

CHANGING = frozenset(
    {"time", "port", "seconds", "queued", "upstream_seconds", "lane", "linger_seconds", "lingered_bytes"}
    | {"id", "in", "out"}
)
TIMELY = frozenset({"acknowledged", "client_fin"})
"""Facts of the kernel that depend on which packet came first."""

_PORT = re.compile(r"(127\.0\.\d+\.\d+|0\.0\.0\.0|\[::1?\]|localhost):\d+")
_DATE = re.compile(r"(?i)date: [^\r\n]*")
_ID = re.compile(r"(?i)(x-[a-z-]*id): [^\r\n]*")
_PATH = re.compile(r"/tmp/[^\s\"']*")


def _plain(text: str) -> str:
    return _PATH.sub("/tmp/-", _ID.sub(r"\1: -", _DATE.sub("date: -", _PORT.sub(r"\1:N", text))))


def note_message(kind: str, message: Message) -> None:
    """Keep a message: its head, what it carried, not how that was cut into chunks."""
    head = message.raw.partition(b"\r\n\r\n")[0].decode("latin-1")
    body = hashlib.sha256(message.body).hexdigest()[:16]
    if len(message.body) < 200:
        body = _plain(message.body.decode("latin-1"))
    NOTES.append(f"{kind} {_plain(head)!r} {message.framing} {body!r} {message.trailers!r}")


def note_line(line: Mapping[str, Any]) -> None:
    """Keep a log line."""
    kept = {key: value for key, value in line.items() if key not in CHANGING | TIMELY}
    NOTES.append("log " + _plain(json.dumps(kept, sort_keys=True)))
