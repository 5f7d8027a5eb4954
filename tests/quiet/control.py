"""How late the machine itself is: ``python -m tests.quiet.control PORT PID ...``, a process of its own.

A connection may be occupied at most some milliseconds beyond the server's own time, each one. On a machine
that others use too, some are occupied longer through no fault of the proxy's. So this control runs beside it,
on the same CPUs, and writes down when the machine was late, and by how much:

- its own small requests go to the recorder directly, all the time. What one takes beyond ``PROMPT`` is the
  recorder's lateness, or that of the CPU on which both the control and the proxy are.
- the kernel counts how long each process was ready to run and others had its CPU (``schedstat``). It is taken
  for the processes of the proxy, less the time that its own other threads had.

A proxy that computes or sleeps for 50 ms is late in neither: the control has the CPU a few ms later.
It prints a line when it is ready; when its standard input ends, one line of JSON with moments of the
monotonic clock: ``[[begin, end, late], ...]``, seconds.
"""

import gc
import json
import os
import select
import socket
import sys
import time
from collections.abc import Sequence

from tests.quiet.pages import SMALL, Ask, request

SOURCE = "127.0.0.253"
"""Where it comes from: the recorder counts its connection apart."""
PROMPT = 0.005
"""Seconds that a request of its own may take."""
PAUSE = 0.001
LEAST = 0.0002
"""Less is not written down."""

Late = tuple[float, float, float]
"""From when to when, and how much of it, seconds."""
ASK = request(Ask("control", 1, 0, SMALL))


class Waiting:
    """How long the first threads of some processes were kept from their CPUs by others."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._files = [os.open(f"/proc/{pid}/schedstat", os.O_RDONLY) for pid in pids]
        self._clocks = [(~pid << 3) | 2 for pid in pids]
        self._last = self._read()

    def _read(self) -> float:
        total = 0.0
        try:
            for file, clock in zip(self._files, self._clocks, strict=True):
                ran, waited = map(int, os.pread(file, 100, 0).split()[:2])
                # a thread of its own that had the CPU is not "others"
                total += (waited + ran) / 1e9 - time.clock_gettime(clock)
        except OSError:
            return self._last  # it has ended
        return total

    def more(self) -> float:
        """Seconds since the last call."""
        last, self._last = self._last, self._read()
        return self._last - last


def exchange(client: socket.socket) -> None:
    """Ask, and read the answer."""
    client.sendall(ASK)
    got = bytearray()
    while len(got.partition(b"\r\n\r\n")[2]) < SMALL:
        if not (data := client.recv(4096)):
            raise OSError("the recorder has closed")
        got += data


def excused(spans: Sequence[tuple[float, float]], late: Sequence[Late]) -> float:
    """How much of these spans the machine was late, seconds; no moment counts twice."""
    total = 0.0
    for begin, end in spans:
        told = begin
        for since, until, much in sorted(late):
            total += min(much, max(0.0, min(end, until) - max(told, since)))
            told = max(told, until)
    return total


def main() -> None:
    """Ask and look until standard input ends."""
    gc.disable()
    port, *pids = map(int, sys.argv[1:])
    client = socket.create_connection(("127.0.0.1", port), source_address=(SOURCE, 0))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    exchange(client)
    waiting, found = Waiting(pids), list[Late]()
    print("ready", flush=True)
    since = time.monotonic()
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        exchange(client)
        now = time.monotonic()
        took = now - since - PAUSE
        late = max(took if took > PROMPT else 0.0, waiting.more())
        if late > LEAST:
            # the kernel counts a wait when it is over
            found.append((min(since, now - late), now, late))
        since = now
    client.close()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
