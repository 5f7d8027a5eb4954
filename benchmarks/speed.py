"""CPU microseconds a request: small and large messages, kept and new connections, in alternating rounds."""

from collections.abc import Mapping, Sequence

from benchmarks import load
from benchmarks.load import Scenario
from benchmarks.model import (
    Bar,
    Grid,
    Part,
    Sample,
    best_of,
    disturbance,
    least_ratio,
    longest,
    middle,
    number,
    ratios,
    sample_json,
    spread_text,
)
from benchmarks.peers import LARGE, SMALL
from benchmarks.product import EXPRESS, TASK, counters, express_share
from benchmarks.rig import BenchError, Server
from benchmarks.stage import Options, Stage

ALL = (EXPRESS, TASK, "nginx", "nginx tuned", "haproxy", "caddy", "apache event")
BODIES = (EXPRESS, TASK, "nginx", "nginx tuned", "haproxy", "caddy")
FEW = (EXPRESS, TASK, "nginx", "nginx tuned")
RIVALS = ("nginx", "nginx tuned", "haproxy", "caddy")
"""Those whose best is the measure for large messages."""

KEEPALIVE = Scenario("keepalive", "1 KiB responses, keep-alive, 64 connections")
FOUR = Scenario("four", "1 KiB responses, keep-alive, 4 connections", connections=4)
CLOSE = Scenario("close", "1 KiB responses, a new connection for each request, 64 at a time", close=True)
LARGE_GET = Scenario(
    "large-get", "1 MiB responses, 16 connections", path="/large", answer=LARGE, connections=16
)
SMALL_POST = Scenario(
    "small-post", "POST of 1 KiB, 64 connections", method="POST", path="/upload", body=SMALL
)
LARGE_POST = Scenario(
    "large-post", "POST of 1 MiB, 16 connections", method="POST", path="/upload", body=LARGE, connections=16
)

COLUMNS = (
    "proxy",
    "CPU us a request",
    "x nginx",
    "x nginx tuned",
    "least x nginx",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "longest ms",
)
ROUND = 1
"""Seconds of a run: many short rounds, because what disturbs a machine lasts longer than one of them."""

Rounds = Mapping[str, Sequence[Sample | None]]


def keepalive(stage: Stage, options: Options) -> Part:
    """1 KiB responses over 64 kept connections, over 4, and over a new one each."""
    part = Part("keepalive")
    rounds = measure(stage, options, part, KEEPALIVE, ALL)
    part.bars += [
        against("express lane, keep-alive, x nginx", rounds, EXPRESS, ["nginx"], 1.7),
        against("task lane, keep-alive, x nginx", rounds, TASK, ["nginx"], 3.5),
        against("express lane, keep-alive, x Caddy", rounds, EXPRESS, ["caddy"], 0.5),
        against("express lane, keep-alive, x Apache event", rounds, EXPRESS, ["apache event"], 0.5),
        Bar(
            "exchanges that end in the express lane",
            part.data[KEEPALIVE.name]["express_share"],
            0.99,
            "at least",
            digits=4,
        ),
    ]
    part.bars.append(stall("longest wait, keep-alive", rounds))
    rounds = measure(stage, options, part, FOUR, FEW)
    part.bars.append(against("express lane, 4 connections, x nginx", rounds, EXPRESS, ["nginx"], 3.0))
    part.bars.append(stall("longest wait, 4 connections", rounds))
    rounds = measure(stage, options, part, CLOSE, ALL)
    part.bars.append(against("new connection for each request, x nginx", rounds, EXPRESS, ["nginx"], 2.2))
    part.bars.append(stall("longest wait, new connections", rounds))
    return part


def large(stage: Stage, options: Options) -> Part:
    """1 MiB responses, and bodies of requests, small and large."""
    part = Part("large")
    rounds = measure(stage, options, part, LARGE_GET, BODIES)
    part.bars.append(against("1 MiB responses, x the best peer", rounds, EXPRESS, RIVALS, 0.8))
    part.bars.append(stall("longest wait, 1 MiB responses", rounds))
    rounds = measure(stage, options, part, SMALL_POST, BODIES)
    part.bars.append(against("POST of 1 KiB, x nginx", rounds, EXPRESS, ["nginx"], 2.0))
    part.bars.append(stall("longest wait, POST of 1 KiB", rounds))
    rounds = measure(stage, options, part, LARGE_POST, BODIES)
    part.bars.append(against("POST of 1 MiB, x the best peer", rounds, EXPRESS, RIVALS, 0.8))
    part.bars.append(stall("longest wait, POST of 1 MiB", rounds))
    return part


def measure(stage: Stage, options: Options, part: Part, scenario: Scenario, names: Sequence[str]) -> Rounds:
    """Run a scenario against fresh proxies in alternating rounds; its table and data go into ``part``."""
    main = scenario is KEEPALIVE
    count = (3 if main else 2) if options.short else (11 if main else 7)
    with stage.cast(options.wanted(names)) as servers:
        rounds: dict[str, list[Sample | None]] = {name: [] for name in servers}
        for turn in range(count):
            order = list(servers) if turn % 2 == 0 else list(reversed(servers))
            for name in order:
                rounds[name].append(sample(stage, part, servers[name], scenario, options.tries))
    counted = {name: counters(servers[name].folder) for name in (EXPRESS, TASK) if name in servers}
    share = express_share(counted.get(EXPRESS, {}))
    part.failures += stage.take_failures()
    part.grids.append(grid(scenario, rounds, share))
    part.data[scenario.name] = {
        "title": scenario.title,
        "samples": sample_json(rounds),
        "counters": counted,
        "express_share": share,
    }
    return rounds


def sample(stage: Stage, part: Part, server: Server, scenario: Scenario, tries: int) -> Sample | None:
    """One run; a run with errors is noted as a failure and gives no figure."""
    try:
        return load.run(stage.rig, server, scenario, ROUND, tries)
    except (BenchError, OSError) as error:
        part.failures.append(f"{scenario.name}, {server.name}: {error}")
        return None


def cpu(samples: Sequence[Sample | None]) -> list[float | None]:
    """CPU microseconds a request of each round."""
    return [None if one is None else one.cpu_us for one in samples]


def against(title: str, rounds: Rounds, name: str, base: Sequence[str], limit: float) -> Bar:
    """A bar: the median ratio of one proxy to another, or to the best of several in each round."""
    present = [cpu(rounds[one]) for one in base if one in rounds]
    if name not in rounds or not present:
        return Bar(title, None, limit)
    mine = cpu(rounds[name])
    return Bar(title, middle(ratios(mine, best_of(present))), limit, least=least_ratio(mine, present))


def stall(title: str, rounds: Rounds) -> Bar:
    """A bar: no wait of the heartbeat beside shieldproxy's load is longer than 50 ms."""
    samples = [one for one in rounds.get(EXPRESS, ()) if one is not None]
    return Bar(title, longest(samples), 50, unit=" ms", digits=1)


def grid(scenario: Scenario, rounds: Rounds, share: float | None) -> Grid:
    """The scenario's table."""
    rows = []
    for name, samples in rounds.items():
        clean = [one for one in samples if one is not None]
        rows.append(
            [
                name,
                spread_text([one.cpu_us for one in clean], 1),
                *(
                    spread_text(ratios(cpu(samples), cpu(rounds[base]))) if base in rounds else "-"
                    for base in ("nginx", "nginx tuned")
                ),
                number(least_ratio(cpu(samples), [cpu(rounds["nginx"])]) if "nginx" in rounds else None, 2),
                number(middle([one.rate for one in clean]), 0),
                number(middle([one.p50_ms for one in clean]), 2),
                number(middle([one.p99_ms for one in clean]), 2),
                number(longest(clean)),
            ]
        )
    every = [one for samples in rounds.values() for one in samples if one is not None]
    lane = "" if share is None else f"{share:.2%} of shieldproxy's exchanges ended in the express lane"
    note = "; ".join(filter(None, (lane, disturbance(every))))
    return Grid(scenario.title, COLUMNS, rows, note)
