"""5,000 slow uploads, then 5,000 slow readers of 1 MiB each: what they take, and what is left for others.

Each on a fresh proxy: calm, the clients come into their state, memory is weighed, storm, and when they have
gone calm again. Spooled are the bytes of unlinked files that the proxy holds; tasks are counted from inside.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks import load, procfs
from benchmarks.clients import holding
from benchmarks.held import await_none
from benchmarks.load import Scenario
from benchmarks.model import Bar, Grid, Part, Sample, disturbance, longest, middle, number
from benchmarks.product import EXPRESS, counters
from benchmarks.rig import BenchError, Server
from benchmarks.stage import Options, Proxy, Stage

COUNT, FEW = 5000, 500
CONNECTIONS = 32
SCENARIO = Scenario("bodies", "good clients beside slow bodies", connections=CONNECTIONS)
NAMES = (EXPRESS, "nginx")
TITLES = {"upload": "slow uploads", "reader": "slow readers of 1 MiB"}
TASKS = 2 * CONNECTIONS
"""What good clients may need while connections to the server are made."""
STEADY, PATIENCE = 1.0, 60.0
"""Seconds for which spooled bytes stay the same, and that this may take."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What holding them took; sizes in bytes."""

    wanted: int
    held: int
    """At the end of the storm."""
    resident: int
    kernel: int
    """Of both ends: /proc/net/sockstat."""
    spooled: int
    calm: Sequence[Sample]
    storm: Sequence[Sample]
    tasks: int | None
    """Of the task lane, at most."""

    @property
    def share(self) -> float:
        """Of the throughput that is left, medians."""
        return median(one.rate for one in self.storm) / median(one.rate for one in self.calm)


def bodies(stage: Stage, options: Options) -> Part:
    """Both states on each proxy; the short run has ours alone."""
    part = Part("bodies")
    count = FEW if options.short else COUNT
    found: dict[str, dict[str, Weight]] = {state: {} for state in TITLES}
    for state, by_name in found.items():
        for proxy in options.wanted(NAMES[:1] if options.short else NAMES):
            try:
                by_name[proxy.name] = weigh(stage, proxy, state, count, options)
            except (BenchError, OSError) as error:
                part.failures.append(f"bodies, {state}, {proxy.name}: {error}")
    return conclude(part, found, count)


def weigh(stage: Stage, proxy: Proxy, state: str, count: int, options: Options) -> Weight:
    """One state on a fresh proxy.

    Raises:
        BenchError: not all were held.
    """
    with stage.proxy(proxy, capacity=count + 2000) as server:
        calm = spell(stage, server, options)
        before, kernel = procfs.memory(server.pid)["Rss"], procfs.tcp_memory()
        with holding(stage.rig, server, state, count, module="trickler") as failed:
            spooled = settled(server)
            after, kernel = procfs.memory(server.pid)["Rss"], procfs.tcp_memory() - kernel
            storm = spell(stage, server, options)
            held = procfs.held(server.pid, server.port)
        await_none(server)
        calm += spell(stage, server, options)
        if failed > count // 100 or held < count * 0.99:
            raise BenchError(f"{held} were held, {failed} failed, of {count}")
    return Weight(
        count, held, after - before, kernel, spooled, calm, storm, counters(server.folder).get("tasks")
    )


def spell(stage: Stage, server: Server, options: Options) -> list[Sample]:
    """Good clients alone, or beside whoever is there: a few runs."""
    count, seconds = (2, 1) if options.short else (3, 3)
    return [load.run(stage.rig, server, SCENARIO, seconds, options.tries) for _ in range(count)]


def settled(server: Server) -> int:
    """Wait until what is spooled grows no more; bytes."""
    end, seen, since = time.monotonic() + PATIENCE, -1, time.monotonic()
    while time.monotonic() < end:
        now = procfs.spooled(server.pid)
        # uploads trickle on: a thousandth is no growth
        if abs(now - seen) > max(seen, 0) // 100:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > STEADY:
            break
        time.sleep(STEADY / 5)
    return max(seen, 0)


def conclude(part: Part, found: Mapping[str, Mapping[str, Weight]], count: int) -> Part:
    """Table, data and bars."""
    rows = []
    for state, by_name in found.items():
        for name, one in by_name.items():
            rows.append(
                [
                    f"{name}, {TITLES[state]}",
                    number(one.held, 0),
                    number(one.resident / one.held, 0),
                    number(one.kernel / one.held, 0),
                    number(one.spooled / one.held, 0),
                    "-" if one.tasks is None else number(one.tasks, 0),
                    number(one.share, 3),
                    number(middle([sample.p99_ms for sample in one.storm]), 2),
                    number(longest(one.storm)),
                ]
            )
        part.bars += bars(state, by_name.get(EXPRESS), count)
    columns = (
        "state",
        "held",
        "resident B",
        "kernel B",
        "spooled B",
        "tasks",
        "share",
        "p99 ms",
        "longest ms",
    )
    samples = [sample for by in found.values() for one in by.values() for sample in [*one.calm, *one.storm]]
    note = "; ".join(
        text
        for text in (
            "bytes: of each; share: of good clients' throughput that is left; p99: theirs",
            disturbance(samples),
        )
        if text
    )
    part.grids.append(Grid(f"{count:,} slow bodies each way", columns, rows, note))
    part.data["figures"] = {
        state: {name: asdict(one) for name, one in by.items()} for state, by in found.items()
    }
    return part


def bars(state: str, one: Weight | None, count: int) -> list[Bar]:
    """No task, and nine tenths of the throughput; a reader's memory here and in the kernel."""
    title = f"{count:,} {TITLES[state]}"
    tasks, share, resident, kernel = (
        (one.tasks, one.share, one.resident / one.held, one.kernel / one.held / 1024) if one else [None] * 4
    )
    found = [
        Bar(f"{title}: tasks, with those of {CONNECTIONS} good clients", tasks, TASKS, digits=0),
        Bar(f"{title}: share of throughput left", share, 0.9, "at least", digits=3),
    ]
    if state == "reader":
        found += [
            Bar(f"{title}: resident each", resident, 4096, unit=" B", digits=0),
            Bar(f"{title}: kernel each", kernel, 256, unit=" KiB", digits=1),
        ]
    return found
