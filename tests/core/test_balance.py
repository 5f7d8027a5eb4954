"""Which server is next: shares by weight, evenly spread, and clients that stay where they are."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.balance import CLIENTS, ClientHash, RoundRobin, least

WEIGHTS = st.lists(st.integers(1, 10), min_size=1, max_size=6)


def turns(weights: list[int], count: int) -> list[int]:
    robin, everybody = RoundRobin(weights), list(range(len(weights)))
    went = []
    for _ in range(count):
        number = robin.pick(everybody)
        robin.went(number, everybody)
        went.append(number)
    return went


def test_weights_five_one_one_are_spread() -> None:
    assert "".join("abc"[number] for number in turns([5, 1, 1], 7)) == "aabacaa"


@given(WEIGHTS)
def test_each_round_gives_every_server_its_weight(weights: list[int]) -> None:
    total = sum(weights)
    went = turns(weights, 3 * total)
    for begin in (0, total, 2 * total):
        assert Counter(went[begin : begin + total]) == Counter(dict(enumerate(weights)))


@given(WEIGHTS, st.integers(1, 60))
def test_at_any_moment_nobody_is_more_than_one_round_from_its_share(weights: list[int], count: int) -> None:
    had, total = Counter(turns(weights, count)), sum(weights)
    for number, weight in enumerate(weights):
        assert abs(had[number] - count * weight / total) <= max(1, len(weights) - 1)


def test_looking_changes_nothing() -> None:
    robin = RoundRobin([2, 1])
    assert {robin.pick([0, 1]) for _ in range(10)} == {0}


def test_only_those_that_can_take_one_are_asked() -> None:
    robin, went = RoundRobin([1, 1, 1]), []
    for _ in range(6):
        went.append(robin.pick([0, 2]))
        robin.went(went[-1], [0, 2])
    assert Counter(went) == {0: 3, 2: 3}


@given(WEIGHTS, st.data())
def test_least_connections_by_weight(weights: list[int], data: st.DataObject) -> None:
    leased = data.draw(st.lists(st.integers(0, 20), min_size=len(weights), max_size=len(weights)))
    turn = data.draw(st.integers(0, 50))
    chosen = least(range(len(weights)), leased.__getitem__, weights, turn)
    load = [(have + 1) / weight for have, weight in zip(leased, weights, strict=True)]
    assert load[chosen] == min(load)


@given(WEIGHTS)
def test_servers_that_fill_up_are_full_by_weight(weights: list[int]) -> None:
    leased = [0] * len(weights)
    for turn in range(10 * sum(weights)):
        leased[least(range(len(weights)), leased.__getitem__, weights, turn)] += 1
    for have, weight in zip(leased, weights, strict=True):
        assert abs(have - 10 * weight) <= 1


def test_ties_go_round() -> None:
    assert [least([0, 1, 2], lambda _: 0, [1, 1, 1], turn) for turn in range(6)] == [0, 1, 2, 0, 1, 2]


CROWD = [f"192.0.{n // 250}.{n % 250}" for n in range(4000)]


def homes(names: list[str], weights: list[int]) -> dict[str, str]:
    ring = ClientHash(names, weights)
    return {client: names[ring.order(client)[0]] for client in CROWD}


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [5, 3, 1, 1]])
def test_clients_are_shared_by_weight(weights: list[int]) -> None:
    had = Counter(homes(["a", "b", "c", "d"], weights).values())
    for name, weight in zip("abcd", weights, strict=True):
        assert had[name] == pytest.approx(len(CROWD) * weight / sum(weights), rel=0.15)


@given(st.integers(2, 6), st.data())
def test_losing_a_server_moves_its_clients_and_no_others(count: int, data: st.DataObject) -> None:
    names = [f"10.0.0.{n}:80" for n in range(count)]
    weights = data.draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    lost = data.draw(st.integers(0, count - 1))
    before = homes(names, weights)
    after = homes(names[:lost] + names[lost + 1 :], weights[:lost] + weights[lost + 1 :])
    for client, home in before.items():
        if home != names[lost]:
            assert after[client] == home
    ring = ClientHash(names, weights)
    for client in CROWD[:50]:
        if before[client] == names[lost]:
            assert after[client] == names[ring.order(client)[1]], "its clients go to the next of each"


def test_the_order_is_the_same_in_every_worker_and_forgets_nothing_it_needs() -> None:
    one, two = ClientHash(["a", "b", "c"], [1, 1, 1]), ClientHash(["a", "b", "c"], [1, 1, 1])
    first = [one.order(client) for client in CROWD]
    for number in range(CLIENTS + 10):
        one.order(str(number))
    assert [one.order(client) for client in CROWD] == first == [two.order(client) for client in CROWD]
