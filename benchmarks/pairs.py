"""What a thing costs shieldproxy itself: CPU a request with it against without, in alternating pairs.

In each pair one of the two has its time in one piece, between the halves of the other's: a machine that
becomes slower or faster meanwhile does so for both alike.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from benchmarks import load
from benchmarks.browser import browser_head
from benchmarks.clients import holding
from benchmarks.held import await_none
from benchmarks.load import Scenario
from benchmarks.model import Bar, Grid, Part, least_ratio, middle, ratios, spread_text
from benchmarks.product import EXPRESS, VARIANTS, Variant
from benchmarks.rig import BenchError, Server
from benchmarks.stage import Options, Stage

IDLE = 10_000
AGENTS = 1000
RULES = {"user_agent": 600, "client": 200, "path": 100, "host": 100}


HALF: Final = 1
"""Seconds of half a run."""

Run = Callable[[int], float]
"""Loads a proxy for so many seconds; CPU microseconds a request."""


def pairs_of(options: Options) -> int:
    """How many pairs."""
    return 3 if options.short else 7


def alternate(without: Run, with_it: Run, count: int) -> tuple[list[float], list[float]]:
    """Measure ``count`` pairs; every second one begins and ends with the other of the two.

    Returns CPU microseconds a request without it and with it.
    """
    plain: list[float] = []
    loaded: list[float] = []
    for turn in range(count):
        sides = ((without, plain), (with_it, loaded))
        (outer, around), (inner, between) = sides if turn % 2 == 0 else sides[::-1]
        before = outer(HALF)
        between.append(inner(2 * HALF))
        around.append((before + outer(HALF)) / 2)
    return plain, loaded


def finish(
    part: Part,
    title: str,
    plain: Sequence[float],
    loaded: Sequence[float],
    limit: float = 1.1,
    words: tuple[str, str] = ("without", "with"),
) -> Part:
    """The table and the bar of a part."""
    found = ratios(loaded, plain)
    rows = [
        [words[0], spread_text(plain, 1), ""],
        [words[1], spread_text(loaded, 1), spread_text(found)],
    ]
    part.grids.append(Grid(f"{title}, {len(plain)} pairs", ("", "CPU us a request", "ratio"), rows))
    part.bars.append(Bar(f"{title}, x {words[0]}", middle(found), limit, least=least_ratio(loaded, [plain])))
    part.data.setdefault("pairs", {})[title] = {
        words[0]: list(plain),
        words[1]: list(loaded),
        "ratios": found,
    }
    return part


def rules(stage: Stage, options: Options) -> Part:
    """1,000 rules beside known-clients.toml against known-clients.toml alone."""
    part, title = Part("rules"), "1,000 rules"
    if not options.wanted([EXPRESS]):
        return part
    file = stage.rig.folder / "rules.toml"
    file.write_text(rules_text())
    scenario = Scenario("rules", title, heads=tuple(rule_heads()))
    try:
        with (
            stage.proxy(VARIANTS[EXPRESS]) as plain,
            stage.proxy(Variant("shieldproxy rules", rules=file)) as ruled,
        ):
            found = alternate(
                lambda seconds: load.run(stage.rig, plain, scenario, seconds, options.tries).cpu_us,
                lambda seconds: load.run(stage.rig, ruled, scenario, seconds, options.tries).cpu_us,
                pairs_of(options),
            )
    except (BenchError, OSError) as error:
        part.failures.append(f"rules: {error}")
        found = ([], [])
    return finish(part, title, *found)


def rules_text() -> str:
    """600 rules by User-Agent, 200 by client, 100 by path, 100 by host, each with a harmless effect."""
    conditions = [f'user_agent = "BenchAgent/{number}[.;]"' for number in range(RULES["user_agent"])]
    conditions += [f'client = ["127.{number}.0.0/16"]' for number in range(RULES["client"])]
    conditions += [f'path = "/shop/{number}"' for number in range(RULES["path"])]
    conditions += [f'host = "h{number}.example"' for number in range(RULES["host"])]
    return "\n".join(
        f'[[rule]]\nname = "bench-{index}"\nwhy = "benchmark"\n{condition}\n'
        f'timeouts = {{ keep_alive = "{14 + index % 2}s" }}\n'
        for index, condition in enumerate(conditions)
    )


def rule_heads() -> list[str]:
    """1,000 User-Agents in rotation; half of the requests match a path rule, half a host rule."""
    return [
        browser_head(
            index,
            path=f"/shop/{index % 200}/item",
            host=f"h{(index // 8) % 200}.example",
            user_agent=f"Mozilla/5.0 (X11; Linux x86_64) BenchAgent/{index % AGENTS}.0 Safari/537.36",
        )
        for index in range(4000)
    ]


def idle10k(stage: Stage, options: Options) -> Part:
    """CPU a request while idle connections are held, against none, on one process."""
    part, title = Part("idle10k"), f"{IDLE:,} idle connections"
    if not options.wanted([EXPRESS]):
        return part
    scenario = Scenario("idle10k", title)

    def measure(server: Server, idle: int, seconds: int) -> float:
        if not idle:
            return load.run(stage.rig, server, scenario, seconds, options.tries).cpu_us
        with holding(stage.rig, server, "idle", idle) as crowd:
            if crowd.failed > idle // 100:
                raise BenchError(f"{crowd.failed} of {idle} idle connections failed")
            spent = load.run(stage.rig, server, scenario, seconds, options.tries).cpu_us
        await_none(server)
        return spent

    try:
        with stage.proxy(VARIANTS[EXPRESS], patient=True, capacity=IDLE + 1000) as server:
            found = alternate(partial(measure, server, 0), partial(measure, server, IDLE), pairs_of(options))
    except (BenchError, OSError) as error:
        part.failures.append(f"idle10k: {error}")
        found = ([], [])
    return finish(part, title, *found)
