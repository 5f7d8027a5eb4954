"""shieldproxy as one more proxy: its configuration, and the counters it prints when it ends."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import PATIENCE, Place
from benchmarks.rig import REPOSITORY, Launch

KNOWN_CLIENTS = REPOSITORY / "config" / "known-clients.toml"
WAITS = ("head", "keep_alive", "linger_gap", "linger_total", "fin_wait_1", "fin_wait_2")
LINE_WAITS = ("queue_timeout", "response_timeout")
EXPRESS, TASK = "shieldproxy", "shieldproxy task"


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run shieldproxy: its lane, and a file of rules beside known-clients.toml."""

    name: str
    express: bool = True
    rules: Path | None = None

    def launch(self, place: Place) -> Launch:
        """Write the configuration and say how to start."""
        file = place.folder / "shieldproxy.toml"
        file.write_text(self.configuration(place))
        return Launch(
            [sys.executable, "-m", "shieldproxy", "run", str(file)], env={"PYTHONPATH": str(REPOSITORY)}
        )

    def configuration(self, place: Place) -> str:
        """The TOML: known clients, the access log in a file, every deadline on, one worker."""
        included = [KNOWN_CLIENTS, *([self.rules] if self.rules else [])]
        include = ", ".join(json.dumps(str(path)) for path in included)
        patience = "".join(f'{key} = "{PATIENCE}s"\n' for key in WAITS) if place.patient else ""
        line = "".join(f'{key} = "{PATIENCE}s"\n' for key in LINE_WAITS) if place.patient else ""
        limits = '[limits]\nlinger = "1024GiB"\n' if place.patient else ""
        return f"""include = [{include}]

[server]
listen = ["127.0.0.1:{place.port}"]
workers = 1
max_connections = {max(place.capacity, 20000)}
express = {json.dumps(self.express)}

[log]
access = "{place.folder}/access.log"
error = "{place.folder}/error.log"

[timeouts]
{patience}
{limits}
[upstream.origin]
servers = ["127.0.0.1:{place.origin}"]
max_connections = 128
{line}
[[route]]
upstream = "origin"
"""


VARIANTS = {variant.name: variant for variant in (Variant(EXPRESS), Variant(TASK, express=False))}


def parse_counters(text: str) -> dict[str, Any]:
    """The last line of kind ``counters`` in an error log; empty when there is none."""
    for line in reversed(text.splitlines()):
        if '"counters"' in line:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("kind") == "counters":
                return record
    return {}


def counters(folder: Path) -> dict[str, Any]:
    """The counters that a shieldproxy which has ended left in its error log (or on standard error)."""
    for name in ("error.log", "stderr"):
        file = folder / name
        found = parse_counters(file.read_text(errors="replace")) if file.exists() else {}
        if found:
            return found
    return {}


def express_share(record: dict[str, Any]) -> float | None:
    """Of the exchanges counted, the part that ended in the express lane."""
    exchanges = record.get("exchanges", {})
    total = sum(exchanges.values())
    return exchanges.get("express", 0) / total if total else None
