"""5,000 clients that drip a head, a byte a second, beside good ones: what is left for the good.

Calm and storm alternate on one process; each storm is measured against the two calms around it, since a
shared machine is a quarter faster in one minute than in the next. nginx goes through the same, in turns with
us, because the clients that drip take their share of the load's CPU too. A heartbeat on a connection of its
own sees the longest wait of all.
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


@dataclass(frozen=True, slots=True)
class Bout:
    """A storm between two calms."""

    before: Spell
    storm: Spell
    after: Spell

    @property
    def share(self) -> float:
        """Throughput in the storm, of the calms' mean."""
        return 2 * self.storm.sample.rate / (self.before.sample.rate + self.after.sample.rate)

    @property
    def p99(self) -> float:
        """p99 in the storm, times the calms' mean."""
        return 2 * self.storm.sample.p99_ms / (self.before.sample.p99_ms + self.after.sample.p99_ms)


def slowhead(stage: Stage, options: Options) -> Part:
    """Calm and storm for each proxy, in turns."""
    part = Part("slowhead")
    rounds, storms, seconds = (1, 2, 3) if options.short else (5, 3, 3)
    found: dict[str, list[Bout]] = {}
    for _ in range(rounds):
        for proxy in options.wanted(NAMES):
            try:
                found.setdefault(proxy.name, []).extend(weather(stage, proxy, storms, seconds))
            except (BenchError, OSError) as error:
                part.failures.append(f"slowhead, {proxy.name}: {error}")
    return conclude(part, found)


def weather(stage: Stage, proxy: Proxy, storms: int, seconds: int) -> list[Bout]:
    """Alternate calm and storm on one process."""
    bouts = []
    with stage.proxy(proxy, capacity=DRIPPING + 2000) as server:
        calm = spell(stage, server, seconds)
        for _ in range(storms):
            with holding(stage.rig, server, "drip", DRIPPING) as crowd:
                storm = spell(stage, server, seconds)
            if crowd.failed > DRIPPING // 100 or storm.held < DRIPPING * 0.99:
                raise BenchError(f"{storm.held} slow clients were held, {crowd.failed} failed, of {DRIPPING}")
            after = spell(stage, server, seconds)
            bouts.append(Bout(calm, storm, after))
            calm = after
    return bouts


def spell(stage: Stage, server: Server, seconds: int) -> Spell:
    """Good clients for some seconds, with the heartbeat beside them."""
    with heartbeat(stage.rig, server) as beats:
        sample = load.run(stage.rig, server, SCENARIO, seconds)
        held = procfs.held(server.pid, server.port)
    return Spell(sample, beats.longest_ms, held)


@dataclass(frozen=True, slots=True)
class Effect:
    """Storm against calm, medians over the bouts."""

    share: float | None
    """Of the throughput."""
    p99: float | None
    longest_ms: float | None
    """The longest wait of all storms."""


def effect(bouts: Sequence[Bout]) -> Effect:
    """What the storm did."""
    return Effect(
        middle([bout.share for bout in bouts]),
        middle([bout.p99 for bout in bouts]),
        max((bout.storm.longest_ms for bout in bouts), default=None),
    )


def calms(bouts: Sequence[Bout]) -> list[Spell]:
    """Every calm once."""
    return list({id(calm): calm for bout in bouts for calm in (bout.before, bout.after)}.values())


def conclude(part: Part, found: Mapping[str, Sequence[Bout]]) -> Part:
    """Table, data and bars."""
    rows = []
    effects = {name: effect(bouts) for name, bouts in found.items()}
    for name, bouts in found.items():
        for title, spells in (
            ("calm", calms(bouts)),
            ("storm", [bout.storm for bout in bouts]),
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
    spells = [one for bouts in found.values() for one in (*calms(bouts), *(bout.storm for bout in bouts))]
    note = disturbance([one.sample for one in spells])
    part.grids.append(Grid(f"{DRIPPING:,} clients dripping a head, a byte a second", columns, rows, note))
    ours, theirs = effects.get(EXPRESS, effect([])), effects.get("nginx", effect([]))
    against = ours.share / theirs.share if ours.share and theirs.share else None
    part.bars += [
        Bar("share of throughput beside slow heads, of calm", ours.share, 0.9, "at least", digits=3),
        Bar("share of throughput beside slow heads, x nginx's", against, 1.0, "at least", digits=3),
        Bar("p99 beside slow heads, x calm", ours.p99, 2.0),
        Bar("longest wait beside slow heads", ours.longest_ms, 50, unit=" ms", digits=1),
    ]
    part.data["bouts"] = {name: [asdict(bout) for bout in bouts] for name, bouts in found.items()}
    return part
