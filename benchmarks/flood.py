"""One client that sends at full speed into a linger, beside good ones: what is left for the good.

Calm and flood alternate on one process; each flood is measured against the calm beside it, and nginx goes
through the same. The client that floods has the lowest priority on the CPU of the load: it gets what the load
generator leaves, so that what is measured is the proxy's fairness and not the kernel's between the clients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks import load
from benchmarks.beside import beside
from benchmarks.load import Scenario
from benchmarks.model import Bar, Grid, Part, Sample, disturbance, longest, middle, number, spread_text
from benchmarks.product import EXPRESS, TASK
from benchmarks.rig import BenchError, Server
from benchmarks.stage import Options, Proxy, Stage

SCENARIO = Scenario("flood", "good clients beside one that floods a linger", connections=32)
NAMES = (EXPRESS, TASK, "nginx")
LOWEST = ("chrt", "--idle", "0")
"""Runs a command only when nobody else wants the CPU."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A calm and a flood."""

    calm: Sample
    flood: Sample
    speed: float
    """Bytes a second that the proxy read and threw away."""


def flood(stage: Stage, options: Options) -> Part:
    """Calm and flood for each proxy."""
    part = Part("flood")
    count, seconds = (3, 1) if options.short else (7, 2)
    found: dict[str, list[Pair]] = {}
    for proxy in options.wanted(NAMES):
        try:
            found[proxy.name] = weather(stage, proxy, count, seconds)
        except (BenchError, OSError) as error:
            part.failures.append(f"flood, {proxy.name}: {error}")
    return conclude(part, found)


def weather(stage: Stage, proxy: Proxy, count: int, seconds: int) -> list[Pair]:
    """Alternate calm and flood on one process, every second pair the other way round."""
    pairs = []
    with stage.proxy(proxy, patient=True) as server:
        for turn in range(count):
            if turn % 2:
                storm, speed = flooded(stage, server, seconds)
                calm = load.run(stage.rig, server, SCENARIO, seconds)
            else:
                calm = load.run(stage.rig, server, SCENARIO, seconds)
                storm, speed = flooded(stage, server, seconds)
            pairs.append(Pair(calm, storm, speed))
    return pairs


def flooded(stage: Stage, server: Server, seconds: int) -> tuple[Sample, float]:
    """Good clients for some seconds beside the one that floods; and how fast it was."""
    with beside(stage.rig, server, "flooder", LOWEST) as told:
        sample = load.run(stage.rig, server, SCENARIO, seconds)
    if not told["bytes"]:
        raise BenchError("nothing of the flood was read")
    return sample, told["bytes"] / told["seconds"]


def slower(pairs: Sequence[Pair]) -> list[float]:
    """The p99 of each flood against that of its calm."""
    return [pair.flood.p99_ms / pair.calm.p99_ms for pair in pairs]


def conclude(part: Part, found: Mapping[str, Sequence[Pair]]) -> Part:
    """Table, data and bars."""
    rows = []
    for name, pairs in found.items():
        for title, samples in (
            ("calm", [one.calm for one in pairs]),
            ("flood", [one.flood for one in pairs]),
        ):
            storm = title == "flood"
            rows.append(
                [
                    f"{name}, {title}",
                    number(middle([one.rate for one in samples]), 0),
                    number(middle([one.p50_ms for one in samples]), 2),
                    number(middle([one.p99_ms for one in samples]), 2),
                    spread_text(slower(pairs)) if storm else "",
                    number(longest(samples)),
                    number(middle([one.speed / 1e6 for one in pairs]), 0) if storm else "",
                ]
            )
    columns = ("proxy", "requests/s", "p50 ms", "p99 ms", "p99 x calm", "longest ms", "flood MB/s")
    note = disturbance([one for pairs in found.values() for pair in pairs for one in (pair.calm, pair.flood)])
    part.grids.append(Grid("one client sends at full speed into a linger", columns, rows, note))
    ours = found.get(EXPRESS, ())
    part.bars += [
        Bar("p99 beside a flood into a linger, x calm", middle(slower(ours)), 2.0),
        Bar("p99 beside a flood, task lane, x calm", middle(slower(found.get(TASK, ()))), 2.0),
        Bar("longest wait beside a flood", longest([one.flood for one in ours]), 50, unit=" ms", digits=1),
    ]
    part.data["pairs"] = {name: [asdict(pair) for pair in pairs] for name, pairs in found.items()}
    return part
