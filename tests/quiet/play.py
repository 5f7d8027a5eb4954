"""Brings recorder, bestiary and good clients together before a proxy."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.quiet.bestiary import WISHED
from tests.quiet.control import Late, excused

ROOT = Path(__file__).resolve().parents[2]
SETTLE = 1.5
"""Seconds in which a proxy ends what clients have left behind."""


Starter = Callable[[], "subprocess.Popen[str]"]


def start(module: str, *words: object, before: Sequence[str] = ()) -> "subprocess.Popen[str]":
    """Start one of the processes; ``before`` are words before its command."""
    command = [*before, sys.executable, "-m", f"tests.quiet.{module}", *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def told(process: "subprocess.Popen[str]", limit: float) -> dict[str, Any]:
    """What a process says at its end."""
    output, _ = process.communicate(timeout=limit)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
    found: dict[str, Any] = json.loads(output)
    return found


class Recorder:
    """The server's process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def report(self) -> dict[str, Any]:
        """What it has seen since the last report."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._line())
        return found


@contextmanager
def recorder(
    before: Sequence[str] = (), run: Callable[[Starter], "subprocess.Popen[str]"] = lambda begin: begin()
) -> Iterator[Recorder]:
    """A recording server while the block runs; ``run`` calls what starts it, in its own network perhaps."""
    process = run(partial(start, "recorder", before=before))
    try:
        yield Recorder(process)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def control(port: int, pids: Sequence[int], near: Sequence[str]) -> Iterator[list[Late]]:
    """Watch the machine while the block runs; when it was late is in the list afterwards."""
    late: list[Late] = []
    process = start("control", port, *pids, before=near)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the control did not begin")
        yield late
        output, _ = process.communicate(timeout=20)
        late += [(begin, end, much) for begin, end, much in json.loads(output)]
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True, slots=True)
class Ends:
    """How the proxy ended connections; each is a mapping from "phase kind" to a count."""

    resets: Mapping[str, int]
    """That it caused."""
    halves: Mapping[str, int]
    """FINs while a request was on its way, worked on or answered, that it caused."""
    wished: Mapping[str, int]
    """Of either, because the client of a GET had gone."""


def ends(report: Mapping[str, Any]) -> Ends:
    """Sort the ends of a recorder's report; a FIN on an idle connection is as it should be."""
    sorted_ends: dict[str, dict[str, int]] = {"rst": {}, "fin": {}, "wish": {}}
    for text, count in report["ends"].items():
        how, phase, kind = text.split(" ")
        if (how, phase) == ("fin", "idle"):
            continue
        wished = kind in WISHED and phase != "request"
        sorted_ends["wish" if wished else how][f"{phase} {kind}"] = count
    return Ends(sorted_ends["rst"], sorted_ends["fin"], sorted_ends["wish"])


@dataclass(frozen=True, slots=True)
class Play:
    """What one run came to."""

    server: dict[str, Any]
    good: dict[str, Any]
    beasts: dict[str, dict[str, int]]
    machine: list[Late] = field(default_factory=list)
    """When the machine was late (``control``)."""

    @property
    def late(self) -> list[tuple[float, str]]:
        """Requests that kept the server waiting too long, and what it was less the machine's part, ms."""
        return sorted(
            (
                (waited - excused(spans, self.machine) * 1000, what)
                for waited, spans, what in self.server["late"]
            ),
            reverse=True,
        )

    @property
    def ends(self) -> Ends:
        """How the proxy ended connections."""
        return ends(self.server)


def play(
    server: Recorder,
    address: str,
    seconds: float,
    *,
    good: int = 12,
    each: int = 4,
    kinds: Sequence[str] = (),
    calm: bool = False,
    seed: int = 1,
    before: Sequence[str] = (),
    beside: Sequence[int] = (),
    near: Sequence[str] = (),
) -> Play:
    """Good clients for so many seconds, with the bestiary beside them unless it is calm.

    Args:
        server: the recording one, behind the proxy.
        address: the proxy's.
        seconds: how long.
        good: how many good clients.
        each: how many of each kind of the others.
        kinds: only these; none: all.
        calm: none of the others.
        seed: of all that they do.
        before: words before each command.
        beside: the proxy's processes, if the machine's lateness is to be known.
        near: words that put the control on their CPUs.
    """
    server.report()
    crowd = [start("good", address, seconds, seed, good, before=before)]
    if not calm:
        crowd.append(start("bestiary", address, seconds, seed, each, *kinds, before=before))
    watch: AbstractContextManager[list[Late]] = nullcontext([])
    if beside:
        watch = control(server.port, beside, near)
    try:
        with watch as machine:
            found = [told(process, seconds + 40) for process in crowd]
            time.sleep(SETTLE)
        return Play(server.report(), found[0], found[1] if found[1:] else {}, machine)
    finally:
        for process in crowd:
            process.kill()
            process.communicate()
