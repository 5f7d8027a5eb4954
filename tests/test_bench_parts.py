"""The benchmark's parts that set one load against another: what they make of their samples."""

import socket
import time
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from benchmarks import before, bodies, drip, flood, load, pairs, product, quiet, slowhead, speed, trickler
from benchmarks.model import Part, Sample, longest
from benchmarks.stage import Options, Stage
from tests.quiet.control import Late
from tests.quiet.play import Play


def test_pairs_change_their_order_on_a_machine_that_becomes_slower() -> None:
    order: list[str] = []
    now = 0.0

    def run(name: str, cost: float, seconds: int) -> float:
        nonlocal now
        order.append(name * seconds)
        now += seconds
        return cost * (10 + now - seconds / 2)

    plain, loaded = pairs.alternate(partial(run, "a", 1.0), partial(run, "b", 2.0), 3)
    assert order == ["a", "bb", "a", "b", "aa", "b", "a", "bb", "a"]
    assert plain == pytest.approx([12.0, 16.0, 20.0])
    assert loaded == pytest.approx([24.0, 32.0, 40.0])


def test_a_storm_is_measured_against_the_calms_around_it() -> None:
    def spell(rate: float, p99: float, longest: float) -> slowhead.Spell:
        return slowhead.Spell(Sample(1, rate, 1, p99), longest, 5000)

    between = spell(1200, 2, 70)
    bouts = [
        slowhead.Bout(spell(800, 2, 3), spell(900, 3, 4), between),
        slowhead.Bout(between, spell(900, 3, 9), spell(800, 2, 3)),
        slowhead.Bout(spell(100, 1, 99), spell(1, 9, 5), spell(100, 1, 99)),
    ]
    assert len(slowhead.calms(bouts)) == 5
    found = slowhead.effect(bouts)
    assert found.share == pytest.approx(0.9)
    assert found.p99 == pytest.approx(1.5)
    assert found.longest_ms == 9
    assert slowhead.effect([]) == slowhead.Effect(None, None, None)
    part = slowhead.conclude(Part("x"), {product.EXPRESS: bouts})
    assert [bar.verdict for bar in part.bars] == ["met", "no figure", "met", "met"]


def test_a_flood_is_measured_against_the_calm_beside_it() -> None:
    def pair(calm: float, storm: float, longest_ms: float = 9) -> flood.Pair:
        return flood.Pair(Sample(1, 1, 1, calm), Sample(1, 1, 1, storm, 0, longest_ms), 3e8)

    pairs_of_spells = [pair(1, 1.5), pair(4, 12, 60), pair(2, 2.2)]
    assert flood.slower(pairs_of_spells) == pytest.approx([1.5, 3, 1.1])
    part = flood.conclude(Part("x"), {product.EXPRESS: pairs_of_spells})
    assert [bar.verdict for bar in part.bars] == ["met", "no figure", "missed"]
    assert [bar.value for bar in part.bars] == [1.5, None, 60]


def test_a_dripped_head_is_linear_up_to_five_times_for_four() -> None:
    for size in drip.SIZES:
        head = drip.head_of(size)
        assert len(head) == size
        assert head.endswith(b"\r\n\r\n")
        assert head.count(b"\r\n") < 100
    for large, verdict in ((400.0, "met"), (520.0, "missed")):
        part = drip.conclude(Part("x"), dict(zip(drip.SIZES, ([100.0], [large]), strict=True)))
        assert [bar.verdict for bar in part.bars] == [verdict]
    assert drip.conclude(Part("x"), {size: [] for size in drip.SIZES}).bars[0].verdict == "no figure"


def test_the_longest_wait_is_of_the_quiet_runs() -> None:
    def run(longest_ms: float, others: float) -> Sample:
        return Sample(1, 1, 1, 1, others, longest_ms)

    assert longest([run(3, 0.0), run(7, 0.1), run(90, 0.9)]) == 7
    assert longest([run(30, 0.5), run(70, 0.8), run(90, 0.9)]) == 70
    assert longest([]) is None
    rounds = {"shieldproxy": [run(51, 0.0), None]}
    assert speed.stall("x", rounds).verdict == "missed"


def test_every_load_has_a_bar_for_its_longest_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def measured(
        stage: object, options: object, part: Part, scenario: load.Scenario, names: object
    ) -> speed.Rounds:
        loads.append(scenario.name)
        part.data[scenario.name] = {"express_share": 1.0}
        return {product.EXPRESS: [Sample(1, 1, 1, 1, 0.0, 40.0 + len(loads))]}

    monkeypatch.setattr(speed, "measure", measured)
    stage, options = cast(Stage, None), cast(Options, None)
    bars = [*speed.keepalive(stage, options).bars, *speed.large(stage, options).bars]
    waits = [bar for bar in bars if bar.name.startswith("longest wait")]
    assert [bar.value for bar in waits] == [40.0 + number for number in range(1, len(loads) + 1)]
    assert {bar.limit for bar in waits} == {50}
    assert len({bar.name for bar in waits}) == len(loads) == 6


def test_the_contract_has_a_bar_for_each_of_its_promises() -> None:
    waited = {"p50": 1, "p99": 2, "worst": 50, "beyond": 1}
    direct = {"count": 9, "p99": 1, "worst": 2, "beyond": 0}
    late = [(50.0, ((1.0, 1.05), (2.0, 2.0)), "/x")]

    def run(p99: float, machine: list[Late], **server: object) -> Play:
        seen = {
            "no_request": 0,
            "most": quiet.PLACES,
            "ends": {},
            "waited": waited,
            "control": direct,
            "late": late,
        }
        return Play({**seen, **server}, {"errors": 0, "p99": p99}, {}, machine)

    excuse = [(0.99, 1.045, 0.055)]
    part = quiet.conclude(Part("x"), {product.EXPRESS: quiet.Pair(run(10, excuse), run(19, excuse))}, 60)
    assert {bar.verdict for bar in part.bars} == {"met"}
    ends = {"fin idle good": 9, "rst idle good": 1, "fin work half-close": 1, "fin answer reset-wait": 1}
    noisy = run(21, [], no_request=1, most=quiet.PLACES + 1, ends=ends, waited={**waited, "p99": 11})
    noisy.good["errors"] = 1
    part = quiet.conclude(Part("x"), {product.EXPRESS: quiet.Pair(run(10, []), noisy)}, 60)
    assert {bar.verdict for bar in part.bars} == {"missed"}
    assert [bar.value for bar in part.bars] == [1, 17, 1, 1, 11, 1, 50, 1, 2.1]
    assert quiet.conclude(Part("x"), {}, 60).bars[0].verdict == "no figure"


def test_slow_bodies_are_weighed_by_the_connection() -> None:
    def pair(tasks: int, rate: float, moved: float) -> tuple[bodies.Weight, bodies.Weather]:
        calm = [Sample(1, 100 * speed, 1, 1) for speed in (3, 2, 1, 2)]  # of the machine
        storm = [Sample(1, rate * speed, 1, 1) for speed in (2.5, 1.5, 1.5)]
        weight = bodies.Weight(10, 20_000, 40_960, 2_621_440, 5_242_880, tasks)
        return weight, bodies.Weather(10, calm, storm, moved)

    for state, limit in (("upload", 0), ("reader", bodies.ADDED["reader"])):
        for pair_of, verdict in (((limit, 90, 0.8), "met"), ((limit + 1, 89, 0.79), "missed")):
            found: bodies.Found = {state: {product.EXPRESS: pair(*pair_of)}}
            named = {bar.name.partition(": ")[2]: bar for bar in bodies.conclude(Part("x"), found, 10).bars}
            names = ("tasks added", "share of throughput left", "moved in the storm, of their plan")
            assert [named[name].verdict for name in names] == [verdict] * 3
            assert named["resident each"].value == 4096
            assert named["on disk each"].verdict == "met"
    assert named["kernel each"].value == 256
    weight = bodies.Weight(10, 20_000, 40_960, 0, 0, 0)
    part = bodies.conclude(Part("x"), {"small": {product.EXPRESS: (weight, None)}}, 10)
    assert [bar.value for bar in part.bars] == [0, 2096]
    part = bodies.conclude(Part("x"), {"small": {}, "upload": {}, "reader": {}}, 10)
    assert {bar.verdict for bar in part.bars} == {"no figure"}


def test_who_trickles_says_what_it_moved_and_should_have() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        trickle = trickler.Trickle(lambda client: client.send(trickler.PIECE))
        trickle.clients = [ours]
        trickle.since = time.monotonic() - 4 * trickler.EVERY
        trickle.turn()
        assert trickle.report()["moved"] == 0
        trickle._last -= trickler.EVERY
        trickle.since -= trickler.EVERY
        trickle.turn()
        told = trickle.report()
    assert told["moved"] == len(trickler.PIECE)
    assert told["plan"] == pytest.approx(len(trickler.PIECE), rel=0.1)


def test_an_old_product_is_unpacked_or_said_to_be_missing(tmp_path: Path) -> None:
    missing = before.unpack("0" * 40, tmp_path)
    assert "not in the history" in missing
    if not before.unpack(before.COMMIT, tmp_path):
        assert not (tmp_path / "shieldproxy" / "net" / "spool.py").exists()
        assert (tmp_path / "config" / "known-clients.toml").exists()
