"""Starts the processes that hold connections, and waits until they do."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.rig import REPOSITORY, BenchError, Rig, Server

EACH = 9000
"""Connections of one client process: a descriptor each, of 20,000."""
LIMIT = 180.0
"""Seconds that the clients may take."""


def shares(count: int, each: int = EACH) -> list[int]:
    """``count`` split into nearly equal parts of at most ``each``."""
    parts = -(-count // each)
    return [count // parts + (1 if index < count % parts else 0) for index in range(parts)]


@contextmanager
def holding(
    rig: Rig,
    server: Server,
    state: str,
    count: int,
    *,
    module: str = "holder",
) -> Iterator[int]:
    """Hold ``count`` connections in a state while the block runs; yields how many failed.

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
    children: list[subprocess.Popen[str]] = []
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
            children.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
                )
            )
        yield sum(failed(child, server) for child in children)
    finally:
        for child in children:
            child.terminate()
            child.communicate()


def failed(child: "subprocess.Popen[str]", server: Server) -> int:
    """Wait for a client's report; how many of its connections failed."""
    output = child.stdout
    if output is None or not select.select([output], [], [], LIMIT)[0]:
        raise BenchError(f"{server.name}: the clients did not come into their state")
    line = output.readline()
    if not line:
        raise BenchError(f"{server.name}: a client process ended")
    count: int = json.loads(line)["failed"]
    return count
