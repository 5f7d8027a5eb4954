"""5,000 clients that drip a head, a byte a second, beside good ones: what is left for the good.

Calm and storm alternate on one process; each storm is measured against the calm before it, and nginx goes
through the same, because the clients that drip take their share of the load's CPU too. A heartbeat on a
connection of its own sees the longest wait of all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks import load, procfs
from benchmarks.clients import holding
from benchmarks.heartbeat import heartbeat
from benchmarks.load import Scenario
from benchmarks.model import Bar, Grid, Part, Sample, disturbance, middle, number
from benchmarks.product import EXPRESS
from benchmarks.rig import BenchError, Server
from benchmarks.stage import Options, Proxy, Stage

DRIPPING = 5000
SCENARIO = Scenario("slowhead", "good clients beside slow heads", connections=32)
NAMES = (EXPRESS, "nginx")


@dataclass(frozen=True, slots=True)
class Spell:
    """One calm or one storm."""

    sample: Sample
    longest_ms: float
    """The heartbeat's longest wait."""
    held: int
    """Connections that the proxy held at its end."""


Pair = tuple[Spell, Spell]


def slowhead(stage: Stage, options: Options) -> Part:
    """Calm and storm for each proxy."""
    part = Part("slowhead")
    count, seconds = (1, 3) if options.short else (3, 5)
    found: dict[str, list[Pair]] = {}
    for proxy in options.wanted(NAMES):
        try:
            found[proxy.name] = weather(stage, proxy, count, seconds)
        except (BenchError, OSError) as error:
            part.failures.append(f"slowhead, {proxy.name}: {error}")
    return conclude(part, found)


def weather(stage: Stage, proxy: Proxy, count: int, seconds: int) -> list[Pair]:
    """Alternate calm and storm on one process."""
    pairs = []
    with stage.proxy(proxy, capacity=DRIPPING + 2000) as server:
        for _ in range(count):
            calm = spell(stage, server, seconds)
            with holding(stage.rig, server, "drip", DRIPPING) as crowd:
                storm = spell(stage, server, seconds)
            if crowd.failed > DRIPPING // 100 or storm.held < DRIPPING * 0.99:
                raise BenchError(f"{storm.held} slow clients were held, {crowd.failed} failed, of {DRIPPING}")
            pairs.append((calm, storm))
    return pairs


def spell(stage: Stage, server: Server, seconds: int) -> Spell:
    """Good clients for some seconds, with the heartbeat beside them."""
    with heartbeat(stage.rig, server) as beats:
        sample = load.run(stage.rig, server, SCENARIO, seconds)
        held = procfs.held(server.pid, server.port)
    return Spell(sample, beats.longest_ms, held)


@dataclass(frozen=True, slots=True)
class Effect:
    """Storm against calm, medians over the pairs."""

    share: float | None
    """Of the throughput."""
    p99: float | None
    longest_ms: float | None
    """The longest wait of all storms."""


def effect(pairs: Sequence[Pair]) -> Effect:
    """What the storm did."""
    return Effect(
        middle([storm.sample.rate / calm.sample.rate for calm, storm in pairs]),
        middle([storm.sample.p99_ms / calm.sample.p99_ms for calm, storm in pairs]),
        max((storm.longest_ms for _, storm in pairs), default=None),
    )


def conclude(part: Part, found: Mapping[str, Sequence[Pair]]) -> Part:
    """Table, data and bars."""
    rows = []
    effects = {name: effect(pairs) for name, pairs in found.items()}
    for name, pairs in found.items():
        for title, spells in (
            ("calm", [calm for calm, _ in pairs]),
            ("storm", [storm for _, storm in pairs]),
        ):
            rows.append(
                [
                    f"{name}, {title}",
                    number(middle([one.sample.rate for one in spells]), 0),
                    number(middle([one.sample.cpu_us for one in spells])),
                    number(middle([one.sample.p50_ms for one in spells]), 2),
                    number(middle([one.sample.p99_ms for one in spells]), 2),
                    number(max(one.longest_ms for one in spells)),
                    number(middle([one.held for one in spells]), 0),
                ]
            )
    columns = ("proxy", "requests/s", "CPU us a request", "p50 ms", "p99 ms", "longest ms", "held")
    note = disturbance([one.sample for pairs in found.values() for pair in pairs for one in pair])
    part.grids.append(Grid(f"{DRIPPING:,} clients dripping a head, a byte a second", columns, rows, note))
    ours, theirs = effects.get(EXPRESS, effect([])), effects.get("nginx", effect([]))
    against = ours.share / theirs.share if ours.share and theirs.share else None
    part.bars += [
        Bar("share of throughput beside slow heads, of calm", ours.share, 0.9, "at least", digits=3),
        Bar("share of throughput beside slow heads, x nginx's", against, 1.0, "at least", digits=3),
        Bar("p99 beside slow heads, x calm", ours.p99, 2.0),
        Bar("longest wait beside slow heads", ours.longest_ms, 50, unit=" ms", digits=1),
    ]
    part.data["pairs"] = {
        name: [{"calm": asdict(calm), "storm": asdict(storm)} for calm, storm in pairs]
        for name, pairs in found.items()
    }
    return part
