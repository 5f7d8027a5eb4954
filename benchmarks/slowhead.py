"""5,000 clients that drip a head, a byte a second, beside good ones: what is left for the good."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import load
from benchmarks.clients import holding
from benchmarks.load import Scenario
from benchmarks.model import Bar, Grid, Part, Sample, middle, number, sample_json
from benchmarks.product import EXPRESS
from benchmarks.rig import BenchError
from benchmarks.stage import Options, Proxy, Stage

DRIPPING = 5000
SCENARIO = Scenario("slowhead", "good clients beside slow heads", connections=32)
NAMES = (EXPRESS, "nginx")


def slowhead(stage: Stage, options: Options) -> Part:
    """Calm and stormy runs of each proxy in turn."""
    part = Part("slowhead")
    count, seconds = (1, 3) if options.short else (3, 5)
    calm: dict[str, list[Sample | None]] = {}
    storm: dict[str, list[Sample | None]] = {}
    for proxy in options.wanted(NAMES):
        try:
            calm[proxy.name], storm[proxy.name] = both(stage, proxy, count, seconds)
        except (BenchError, OSError) as error:
            part.failures.append(f"slowhead, {proxy.name}: {error}")
    return conclude(part, calm, storm)


def both(
    stage: Stage, proxy: Proxy, count: int, seconds: int
) -> tuple[list[Sample | None], list[Sample | None]]:
    """Alternate calm and storm on one process."""
    calm: list[Sample | None] = []
    storm: list[Sample | None] = []
    with stage.proxy(proxy, capacity=DRIPPING + 2000) as server:
        for _ in range(count):
            calm.append(load.run(stage.rig, server, SCENARIO, seconds))
            with holding(stage.rig, server, "drip", DRIPPING) as failed:
                if failed > DRIPPING // 100:
                    raise BenchError(f"{failed} of {DRIPPING} slow clients failed")
                storm.append(load.run(stage.rig, server, SCENARIO, seconds))
    return calm, storm


@dataclass(frozen=True, slots=True)
class Effect:
    """Storm against calm."""

    share: float | None
    """Of the throughput."""
    p99: float | None


def effect(calm: Sequence[Sample | None], storm: Sequence[Sample | None]) -> Effect:
    """The medians over the rounds."""
    pairs = [(before, after) for before, after in zip(calm, storm, strict=True) if before and after]
    return Effect(
        middle([after.rate / before.rate for before, after in pairs]),
        middle([after.p99_ms / before.p99_ms for before, after in pairs]),
    )


def conclude(part: Part, calm: dict[str, list[Sample | None]], storm: dict[str, list[Sample | None]]) -> Part:
    """Table, data and bars."""
    effects = {name: effect(calm[name], storm[name]) for name in calm}
    rows = [
        [
            name,
            number(middle([one.rate for one in calm[name] if one]), 0),
            number(middle([one.rate for one in storm[name] if one]), 0),
            number(found.share, 3),
            number(middle([one.p99_ms for one in calm[name] if one]), 2),
            number(middle([one.p99_ms for one in storm[name] if one]), 2),
            number(found.p99, 2),
        ]
        for name, found in effects.items()
    ]
    columns = (
        "proxy",
        "calm requests/s",
        "with slow heads",
        "share",
        "calm p99 ms",
        "with slow heads",
        "ratio",
    )
    part.grids.append(Grid(f"{DRIPPING:,} clients dripping a head, a byte a second", columns, rows))
    ours, theirs = effects.get(EXPRESS), effects.get("nginx")
    share = ours.share if ours else None
    part.bars.append(Bar("good clients' share beside slow heads, of calm", share, 0.9, "at least", digits=3))
    if theirs and theirs.share is not None:
        part.bars.append(
            Bar("the same, of nginx's share", share and share / theirs.share, 1.0, "at least", digits=3)
        )
    part.bars.append(Bar("good clients' p99 beside slow heads, x calm", ours.p99 if ours else None, 2.0))
    part.data.update({"calm": sample_json(calm), "storm": sample_json(storm)})
    return part
