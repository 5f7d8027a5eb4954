"""The benchmark's parts that set one load against another: what they make of their samples."""

from typing import cast

import pytest

from benchmarks import drip, flood, load, pairs, product, slowhead, speed
from benchmarks.model import Part, Sample, longest
from benchmarks.stage import Options, Stage


def test_pairs_change_their_order() -> None:
    order: list[str] = []

    def run(name: str, value: float) -> float:
        order.append(name)
        return value

    plain, loaded = pairs.alternate(lambda: run("a", 1.0), lambda: run("b", 1.1), 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert (plain, loaded) == ([1.0] * 3, [1.1] * 3)


def test_a_storm_is_measured_against_its_own_calm() -> None:
    def spell(rate: float, p99: float, longest: float) -> slowhead.Spell:
        return slowhead.Spell(Sample(1, rate, 1, p99), longest, 5000)

    pairs_of_spells = [
        (spell(1000, 2, 3), spell(900, 3, 4)),
        (spell(500, 2, 3), spell(450, 3, 9)),
        (spell(100, 1, 99), spell(1, 9, 5)),
    ]
    found = slowhead.effect(pairs_of_spells)
    assert found.share == pytest.approx(0.9)
    assert found.p99 == pytest.approx(1.5)
    assert found.longest_ms == 9
    assert slowhead.effect([]) == slowhead.Effect(None, None, None)
    part = slowhead.conclude(Part("x"), {product.EXPRESS: pairs_of_spells})
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
