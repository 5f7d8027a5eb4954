"""Starts the processes that hold connections, and waits until they do."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.rig import REPOSITORY, BenchError, Rig, Server

EACH = 9000
"""Connections of one client process: a descriptor each, of 20,000."""
LIMIT = 180.0
"""Seconds that the clients may take."""


def shares(count: int, each: int = EACH) -> list[int]:
    """``count`` split into nearly equal parts of at most ``each``."""
    parts = -(-count // each)
    return [count // parts + (1 if index < count % parts else 0) for index in range(parts)]


@dataclass(slots=True)
class Crowd:
    """Processes that hold connections."""

    name: str
    """The proxy's."""
    failed: int = 0
    """Connections that did not come into their state."""
    children: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def told(self) -> list[dict[str, Any]]:
        """What each tells when it is asked to: those that move bytes know how many.

        Raises:
            BenchError: one did not.
        """
        for child in self.children:
            if child.stdin is not None:
                child.stdin.write("\n")
                child.stdin.flush()
        return [line_of(child, self.name) for child in self.children]


@contextmanager
def holding(
    rig: Rig,
    server: Server,
    state: str,
    count: int,
    *,
    module: str = "holder",
) -> Iterator[Crowd]:
    """Hold ``count`` connections in a state while the block runs.

    Args:
        rig: on whose load CPUs the clients run.
        server: whose port they get.
        state: one that the module knows.
        count: how many, over as many processes as it takes.
        module: its name in this package.

    Raises:
        BenchError: a client process ended, or did not report in time.
    """
    cpus = ",".join(map(str, sorted(rig.load_cpus)))
    crowd = Crowd(server.name)
    try:
        for index, share in enumerate(shares(count)):
            command = [
                "taskset",
                "-c",
                cpus,
                sys.executable,
                "-m",
                f"benchmarks.{module}",
                str(server.port),
                state,
                str(share),
                f"127.0.1.{index + 1}",
            ]
            crowd.children.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
                )
            )
        crowd.failed = sum(line_of(child, server.name)["failed"] for child in crowd.children)
        yield crowd
    finally:
        for child in crowd.children:
            child.terminate()
            child.communicate()


def line_of(child: "subprocess.Popen[str]", name: str) -> dict[str, Any]:
    """Wait for a client's line of JSON."""
    output = child.stdout
    if output is None or not select.select([output], [], [], LIMIT)[0]:
        raise BenchError(f"{name}: the clients did not come into their state")
    line = output.readline()
    if not line:
        raise BenchError(f"{name}: a client process ended")
    found: dict[str, Any] = json.loads(line)
    return found
