"""A client that asks for one response every 20 ms on a connection of its own, and notes the longest wait.

``python -m benchmarks.heartbeat PORT`` runs until its standard input ends, then prints one JSON line. A
stall of a proxy's loop shows here, whatever the load generator's percentiles say; so does a busy machine.
"""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.holder import connect, read_response
from benchmarks.load import browser_head
from benchmarks.product import REPOSITORY
from benchmarks.rig import BenchError, Rig, Server

BEAT = 0.02


@dataclass(slots=True)
class Beats:
    """What the heartbeat saw: filled in when its block has ended."""

    count: int = 0
    longest_ms: float = 0.0


@contextmanager
def heartbeat(rig: Rig, server: Server) -> Iterator[Beats]:
    """Beat while the block runs.

    Raises:
        BenchError: a beat had no clean response.
    """
    beats = Beats()
    cpus = ",".join(map(str, sorted(rig.load_cpus)))
    command = ["taskset", "-c", cpus, sys.executable, "-m", "benchmarks.heartbeat", str(server.port)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        yield beats
        output, errors = child.communicate(timeout=15)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{server.name}: the heartbeat did not end") from error
    finally:
        child.kill()
        child.wait()
    if child.returncode != 0:
        raise BenchError(f"{server.name}: the heartbeat failed: {errors.strip()[-200:]}")
    found = json.loads(output)
    beats.count, beats.longest_ms = found["count"], found["longest_ms"]


def beat(client: socket.socket) -> dict[str, float]:
    """Ask until standard input ends; the first beat, which connects upstream, is not counted."""
    count, longest = 0, 0.0
    while not select.select([sys.stdin], [], [], BEAT)[0]:
        began = time.monotonic()
        client.sendall(browser_head(count).encode())
        read_response(client)
        if count:
            longest = max(longest, time.monotonic() - began)
        count += 1
    return {"count": count, "longest_ms": round(longest * 1000, 2)}


def main() -> None:
    """Connect, beat, report."""
    with connect(int(sys.argv[1]), "127.0.0.1") as client:
        sys.stdout.write(json.dumps(beat(client)) + "\n")


if __name__ == "__main__":
    main()
