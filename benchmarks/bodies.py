"""5,000 slow uploads, then 5,000 slow readers of 1 MiB each: what they take, and what is left for others.

They are *weighed* alone on a fresh proxy, where every task is theirs: tasks are counted from inside, against
a proxy that had none of them. Spooled are the bytes of unlinked files that the proxy holds. Then, on another
fresh proxy, *weather*: calm, the slow ones come, storm, and when they have gone calm again, and so on; each
storm is measured against the calms before and behind it. What they move in the storms is counted: beside
clients that stand still there would be nothing to measure.
"""

import time
from collections.abc import Sequence
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
from benchmarks.trickler import FIRST, LITTLE

COUNT, FEW = 5000, 500
CONNECTIONS = 32
SCENARIO = Scenario("bodies", "good clients beside slow bodies", connections=CONNECTIONS)
NAMES = (EXPRESS, "nginx")
TITLES = {
    "small": "slow uploads, 1 KiB and more",
    "upload": "slow uploads, 72 KiB and more",
    "reader": "slow readers of 1 MiB",
}
STORMS = ("upload", "reader")
COME = {"small": LITTLE, "upload": FIRST}
"""Bytes of each upload's body that come at once."""
ADDED = {"small": 0, "upload": 0, "reader": 16}
"""Tasks that they may add; of readers, those whose answers the server is sending at that moment."""
ON_DISK = {"upload": 1, "reader": 512 * 1024}
"""Bytes of each that lie in files at least; of a reader's, the kernel may have 256 KiB."""
WARM = 200
STEADY, PATIENCE = 1.0, 60.0
"""Seconds for which spooled bytes stay the same, and that this may take."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What holding them took; sizes in bytes."""

    held: int
    come: float
    """Of their bodies."""
    resident: int
    kernel: int
    """Of both ends: /proc/net/sockstat."""
    spooled: int
    tasks: int | None
    """Of the task lane: what they added."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What others noticed."""

    held: int
    """At the end of the last storm."""
    calm: Sequence[Sample]
    """One more than storms: each of these has one before it and one behind it."""
    storm: Sequence[Sample]
    moved: float
    """In the storms, of what the slow ones were to move."""

    @property
    def share(self) -> float:
        """Of the throughput that is left, the storms' median."""
        calms = zip(self.calm, self.calm[1:], self.storm, strict=False)
        return median(2 * storm.rate / (before.rate + after.rate) for before, after, storm in calms)


Found = dict[str, dict[str, tuple[Weight, Weather | None]]]


def bodies(stage: Stage, options: Options) -> Part:
    """Each state on each proxy; the short run has ours alone."""
    part = Part("bodies")
    count = FEW if options.short else COUNT
    found: Found = {state: {} for state in TITLES}
    for proxy in options.wanted(NAMES[:1] if options.short else NAMES):
        try:
            base = tasks_alone(stage, proxy)
            for state, by_name in found.items():
                weight = weigh(stage, proxy, state, count, base)
                storm = weather(stage, proxy, state, count, options) if state in STORMS else None
                by_name[proxy.name] = weight, storm
        except (BenchError, OSError) as error:
            part.failures.append(f"bodies, {proxy.name}: {error}")
    return conclude(part, found, count)


def warm(stage: Stage, server: Server) -> None:
    """Have everything allocated that is allocated once; two responses of 1 MiB among it."""
    for state in ("idle", "large"):
        with holding(stage.rig, server, state, WARM if state == "idle" else 2):
            pass
        await_none(server)


def tasks_alone(stage: Stage, proxy: Proxy) -> int | None:
    """The tasks of a proxy that has only been warmed."""
    with stage.proxy(proxy) as server:
        warm(stage, server)
    return counters(server.folder).get("tasks")


def weigh(stage: Stage, proxy: Proxy, state: str, count: int, base: int | None) -> Weight:
    """They alone on a fresh proxy.

    Raises:
        BenchError: not all were held.
    """
    with stage.proxy(proxy, capacity=count + 2000) as server:
        warm(stage, server)
        before, kernel = procfs.memory(server.pid)["Rss"], procfs.tcp_memory()
        with holding(stage.rig, server, state, count, module="trickler") as crowd:
            spooled = settled(server)
            after, kernel = procfs.memory(server.pid)["Rss"], procfs.tcp_memory() - kernel
            come = count * COME.get(state, 0) + sum(one["moved"] for one in crowd.told())
            held = procfs.held(server.pid, server.port)
        all_held(held, crowd.failed, count)
    tasks = counters(server.folder).get("tasks")
    added = None if tasks is None or base is None else tasks - base
    return Weight(held, come, after - before, kernel, spooled, added)


def all_held(held: int, failed: int, count: int) -> None:
    """Raise BenchError if not nearly all were held."""
    if failed > count // 100 or held < count * 0.99:
        raise BenchError(f"{held} were held, {failed} failed, of {count}")


def weather(stage: Stage, proxy: Proxy, state: str, count: int, options: Options) -> Weather:
    """Calm and storm in turns on a fresh proxy.

    Raises:
        BenchError: not all were held.
    """
    storms, seconds = (2, 2) if options.short else (7, 3)
    storm, told, held = list[Sample](), list[dict[str, float]](), 0
    with stage.proxy(proxy, capacity=count + 2000) as server:
        calm = [load.run(stage.rig, server, SCENARIO, seconds, options.tries)]
        for _ in range(storms):
            with holding(stage.rig, server, state, count, module="trickler") as crowd:
                settled(server)
                crowd.told()
                storm.append(load.run(stage.rig, server, SCENARIO, seconds, options.tries))
                told += crowd.told()
                held = procfs.held(server.pid, server.port)
            await_none(server)
            settled(server)  # closing gigabytes of files is no calm
            all_held(held, crowd.failed, count)
            calm.append(load.run(stage.rig, server, SCENARIO, seconds, options.tries))
    moved = sum(one["moved"] for one in told) / sum(one["plan"] for one in told)
    return Weather(held, calm, storm, moved)


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


def conclude(part: Part, found: Found, count: int) -> Part:
    """Tables, data and bars."""
    weights, storms, samples = [], [], []
    for state, by_name in found.items():
        for name, (one, beside) in by_name.items():
            title = f"{name}, {TITLES[state]}"
            each = [value / one.held for value in (one.come, one.resident, one.kernel, one.spooled)]
            tasks = "-" if one.tasks is None else number(one.tasks, 0)
            weights.append([title, number(one.held, 0), *(number(value, 0) for value in each), tasks])
            if beside is not None:
                samples += [*beside.calm, *beside.storm]
                storms.append(
                    [
                        title,
                        number(beside.held, 0),
                        number(beside.moved, 2),
                        number(beside.share, 3),
                        number(middle([sample.p99_ms for sample in beside.calm]), 2),
                        number(middle([sample.p99_ms for sample in beside.storm]), 2),
                        number(longest(beside.storm)),
                    ]
                )
        part.bars += bars(state, count, *by_name.get(EXPRESS, (None, None)))
    columns = ("state", "held", "come B", "resident B", "kernel B", "spooled B", "tasks")
    note = "bytes of each; come: of their bodies; tasks: added by them"
    part.grids.append(Grid(f"{count:,} slow bodies each way, alone", columns, weights, note))
    columns = ("state", "held", "moved", "share", "p99 calm", "storm", "longest")
    note = (
        "moved: of what they were to move; share: of good clients' throughput that is left; last: theirs, ms"
    )
    others = disturbance(samples)
    note += f"; {others}" if others else ""
    part.grids.append(Grid(f"Good clients beside {count:,} slow bodies", columns, storms, note))
    part.data["figures"] = {
        state: {
            name: {**asdict(one), **({"weather": asdict(beside)} if beside else {})}
            for name, (one, beside) in by_name.items()
        }
        for state, by_name in found.items()
    }
    return part


def bars(state: str, count: int, one: Weight | None, beside: Weather | None) -> list[Bar]:
    """No task; a record, the bytes and at most a file each; nine tenths of the throughput beside them."""
    title = f"{count:,} {TITLES[state]}"

    def each(value: str) -> float | None:
        return getattr(one, value) / one.held if one else None

    found = [Bar(f"{title}: tasks added", one.tasks if one else None, ADDED[state], digits=0)]
    if state == "small":
        own = (one.resident - one.come) / one.held if one else None
        found.append(Bar(f"{title}: resident each beside its bytes", own, 2048, unit=" B", digits=0))
    else:
        found.append(Bar(f"{title}: resident each", each("resident"), 4096, unit=" B", digits=0))
        found.append(
            Bar(f"{title}: on disk each", each("spooled"), ON_DISK[state], "at least", unit=" B", digits=0)
        )
    if state == "reader":
        kernel = each("kernel")
        found.append(Bar(f"{title}: kernel each", kernel and kernel / 1024, 256, unit=" KiB", digits=1))
    if state in STORMS:
        share, moved = (beside.share, beside.moved) if beside else (None, None)
        found.append(Bar(f"{title}: share of throughput left", share, 0.9, "at least", digits=3))
        found.append(Bar(f"{title}: moved in the storm, of their plan", moved, 0.8, "at least"))
    return found
