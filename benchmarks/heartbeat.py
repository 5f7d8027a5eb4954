"""A client that asks for one response every 20 ms on a connection of its own, and notes the longest wait.

It runs beside every load. A stall of a proxy's loop shows here, whatever the load generator's percentiles
say; so does a busy machine.
"""

import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.beside import beside
from benchmarks.browser import browser_head
from benchmarks.holder import connect, read_response
from benchmarks.rig import Rig, Server

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
    with beside(rig, server, "heartbeat") as told:
        yield beats
    beats.count, beats.longest_ms = told["count"], told["longest_ms"]


def ask(client: socket.socket, number: int) -> float:
    """One beat; seconds until its response was whole."""
    began = time.monotonic()
    client.sendall(browser_head(number).encode())
    read_response(client)
    return time.monotonic() - began


def joined() -> socket.socket:
    """A connection that has had its first response."""
    client = connect(int(sys.argv[1]), "127.0.0.1")
    ask(client, 0)
    return client


def main() -> None:
    """Connect, beat until standard input ends, report; the first, which connects upstream, does not count."""
    count, longest = 0, 0.0
    client = joined()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], BEAT)[0]:
        count += 1
        if select.select([client], [], [], 0)[0]:  # Apache ends idle connections when it is busy
            client.close()
            client = joined()
        longest = max(longest, ask(client, count))
    client.close()
    print(json.dumps({"count": count, "longest_ms": round(longest * 1000, 2)}))


if __name__ == "__main__":
    main()
