"""Rules together: what they come to, how they are counted and remembered, which effects can never act."""

import math
import sys
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

from shieldproxy.core import masks, rulebook
from shieldproxy.core.inert import inert_effects
from shieldproxy.core.limits import Limits, Timeouts
from shieldproxy.core.policy import EFFECTS, Policy, Rule, amend, value_of
from shieldproxy.core.rulebook import ENTRIES, RuleBook
from tests.core.rules import ask

OFF = (("keep_alive", False),)


def test_all_rules_that_match_apply_in_order_and_later_ones_win() -> None:
    book = RuleBook(
        [
            Rule("first", effects=(("timeouts.head", 5.0), ("linger", "timed"))),
            Rule("second", user_agent="Foo", effects=(("timeouts.head", 3.0), ("limits.body", 10))),
            Rule("third", path="/a", effects=(("timeouts.head", 4.0), ("keep_alive", False))),
        ],
        Policy(timeouts=Timeouts(keep_alive=7.0)),
    )
    verdict = ask(book, user_agent=b"Foo", path=b"/a")
    assert verdict.rules == ("first", "second", "third")
    assert verdict.policy == Policy(
        keep_alive=False,
        linger="timed",
        timeouts=Timeouts(head=4.0, keep_alive=7.0),
        limits=Limits(body=10),
    )
    assert ask(book, user_agent=b"Foo").policy.timeouts.head == 3.0
    assert ask(book).policy.timeouts.head == 5.0


def test_no_rules_is_the_base_policy_itself() -> None:
    base = Policy(keep_alive=False)
    book = RuleBook([], base)
    assert ask(book).policy is base
    assert book.at_accept("192.0.2.1") is base


def test_more_rules_than_a_machine_word_has_bits() -> None:
    rules = [Rule(f"r{n}", user_agent=rf"\bT/{n}\.", effects=(("limits.fields", n),)) for n in range(700)]
    book = RuleBook(rules, Policy())
    for n in (0, 63, 64, 699):
        verdict = ask(book, user_agent=b"T/%d.5" % n)
        assert (verdict.rules, verdict.policy.limits.fields) == ((f"r{n}",), n)
    assert ask(book, user_agent=b"T/699. T/3. T/64.").rules == ("r3", "r64", "r699")


def test_a_set_that_runs_out_of_memory_does_not_lose_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [Rule("foo", user_agent="Foo"), Rule("any"), Rule("bar", user_agent="^Bar")]
    book = RuleBook(rules, Policy())
    exhausted = SimpleNamespace(Match={}.get)  # RE2 then finds nothing, and says nothing
    monkeypatch.setattr(book._agents, "_set", exhausted)
    assert ask(book, user_agent=b"Bar Foo").rules == ("foo", "any", "bar")
    assert ask(book, user_agent=b"Bar").rules == ("any", "bar")


def test_one_pass_for_each_user_agent_whatever_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    book = RuleBook([Rule(f"r{n}", user_agent=f"t{n};") for n in range(600)], Policy())
    passes: list[bytes] = []
    real = book._agents._set.Match

    def counted(text: bytes) -> Any:
        passes.append(text)
        return real(text)

    monkeypatch.setattr(book._agents, "_set", SimpleNamespace(Match=counted))
    for _ in range(3):
        for agent in (b"t1; t599;", b"none", b""):
            ask(book, user_agent=agent)
    assert passes == [b"t1; t599;", b"none", b""]


def test_patterns_get_more_memory_or_are_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [Rule(f"r{n}", user_agent=f"a{{{n}}}b") for n in range(300, 400)]
    monkeypatch.setattr(masks, "_PATTERN_MEMORY", 0)
    monkeypatch.setattr(masks, "_SET_MEMORY", 1 << 20)
    assert ask(RuleBook(rules, Policy()), user_agent=b"a" * 310 + b"b").rules[-1] == "r310"
    monkeypatch.setattr(masks, "_SET_MEMORY", 1 << 10)
    with pytest.raises(ValueError, match="too large; allowed: "):
        RuleBook(rules, Policy())


def test_matches_are_counted_with_the_last_one() -> None:
    book = RuleBook([Rule("foo", user_agent="Foo"), Rule("bar", user_agent="Bar"), Rule("all")], Policy())
    ask(book, user_agent=b"Foo", now=10.0)
    ask(book, user_agent=b"Foo Bar", now=12.0)
    ask(book, user_agent=b"Foo", now=11.0)
    assert book.matches() == [("foo", 3, 12.0), ("bar", 1, 12.0), ("all", 3, 12.0)]
    ask(book, user_agent=b"", now=20.0)
    assert book.matches() == [("foo", 3, 12.0), ("bar", 1, 12.0), ("all", 4, 20.0)]


def test_explaining_counts_nothing() -> None:
    book = RuleBook([Rule("foo", user_agent="Foo")], Policy())
    explained = book.explain("192.0.2.1", b"GET", b"/", b"h", 1, b"Foo")
    assert explained.rules == ("foo",)
    assert book.matches() == [("foo", 0, 0.0)]
    ask(book, user_agent=b"Foo", now=5.0)
    book.explain("192.0.2.1", b"GET", b"/", b"www.example", 1, b"Foo")
    assert book.matches() == [("foo", 1, 5.0)]


def test_caches_are_bounded_and_counts_survive() -> None:
    rules = [Rule(f"r{n}", user_agent=f"t{n};", effects=(("limits.fields", n),)) for n in range(14)]
    book = RuleBook(
        [*rules, Rule("net", client=("10.0.0.0/8",)), Rule("p", path="/a"), Rule("h", host="h1")], Policy()
    )
    asked = 0
    for bits in range(1 << 13):  # each a set of rules of its own
        agent = b"".join(b"t%d;" % n for n in range(14) if bits >> n & 1)
        ask(book, user_agent=agent, client=f"10.0.{bits >> 8}.{bits & 255}", path=b"/a/%d" % bits, now=bits)
        asked += 1
    for n in range(4 * ENTRIES):
        ask(book, client=f"11.0.{n >> 8}.{n & 255}", host=b"h%d" % n)
    for cache in (book._by_agent, book._by_path, book._by_host, book._by_mask):
        assert 0 < len(cache) <= ENTRIES
    assert len(book._order) == len(book._by_mask)
    assert 0 < len(book._by_client) <= 4 * ENTRIES
    counts = {name: hits for name, hits, _ in book.matches()}
    assert counts["net"] == counts["p"] == asked
    assert counts["r0"] == counts["r12"] == asked // 2
    assert counts["r13"] == 0
    assert {name: last for name, _, last in book.matches()}["r0"] == (1 << 13) - 1


def test_long_keys_are_not_remembered() -> None:
    book = RuleBook(
        [Rule("p", path="/a"), Rule("ua", user_agent="x")], Policy(limits=Limits(user_agent=sys.maxsize))
    )
    long = b"x" * (rulebook.KEY_BYTES + 1)
    assert ask(book, path=b"/a/" + long, user_agent=long).rules == ("p", "ua")
    assert not book._by_path
    assert not book._by_agent


def test_no_pattern_runs_on_a_user_agent_that_will_be_refused() -> None:
    book = RuleBook(
        [
            Rule("foo", user_agent="Foo", effects=(("limits.user_agent", 5000),)),
            Rule("friends", client=("10.0.0.0/8",), effects=(("limits.user_agent", 2000),)),
        ],
        Policy(),
    )
    fits, long, longer = b"Foo" * 300, b"Foo" * 400, b"Foo" * 700
    assert ask(book, user_agent=fits).rules == ("foo",)
    assert ask(book, user_agent=long).rules == ()
    assert ask(book, user_agent=long).policy.limits.user_agent == 1024
    assert ask(book, user_agent=long, client="10.0.0.1").rules == ("foo", "friends")
    assert ask(book, user_agent=long).rules == ()
    assert ask(book, user_agent=longer, client="10.0.0.1").rules == ("friends",)


def test_at_accept_only_what_needs_no_head() -> None:
    book = RuleBook(
        [
            Rule("all", effects=(("timeouts.head", 9.0),)),
            Rule("net", client=("10.0.0.0/8",), effects=(("timeouts.head", 3.0),)),
            Rule("both", client=("10.0.0.0/8",), user_agent="Foo", effects=(("timeouts.head", 1.0),)),
            Rule("path", path="/", effects=OFF),
        ],
        Policy(),
    )
    assert book.at_accept("10.1.1.1").timeouts.head == 3.0
    assert book.at_accept("10.1.1.1") is book.at_accept("10.9.9.9")
    assert book.at_accept("11.1.1.1").timeouts.head == 9.0
    assert book.at_accept("unknown").timeouts.head == 9.0
    assert book.at_accept("10.1.1.1").keep_alive
    assert all(hits == 0 for _, hits, _ in book.matches())
    late = RuleBook([Rule("path", path="/a", effects=OFF)], Policy())
    assert late.at_accept("10.1.1.1") is late.base


def test_every_field_of_a_policy_is_an_effect() -> None:
    assert len(EFFECTS) == len(fields(Policy)) - 2 + len(fields(Timeouts)) + len(fields(Limits))
    changed: dict[str, object] = {
        "keep_alive": False,
        "linger": "off",
        "response_version": "1.0",
        "request_version": "1.0",
        "interim": "none",
        "accept_folds": True,
        "accept_bare_lf": True,
        "deny": 403,
    }
    for effect in EFFECTS:
        value = changed.get(effect, 77)
        assert value_of(amend(Policy(), [(effect, value)]), effect) == value
    everything = amend(Policy(), [(effect, changed.get(effect, 77)) for effect in EFFECTS])
    assert [value_of(everything, effect) for effect in EFFECTS] == [changed.get(e, 77) for e in EFFECTS]
    assert amend(Policy(), [("timeouts.head", math.inf)]).timeouts.head == math.inf


@pytest.mark.parametrize(
    ("conditions", "effects", "expected"),
    [
        ({"user_agent": "x"}, {"timeouts.head": 1.0, "keep_alive": False}, ["timeouts.head"]),
        ({"client": ("10.0.0.0/8",)}, {"timeouts.head": 1.0, "limits.head": 99999}, []),
        ({}, {"timeouts.head": 1.0}, []),
        ({"path": "/a"}, {"limits.head": 99999}, ["limits.head"]),
        ({"path": "/a"}, {"limits.head": 100, "limits.user_agent": 4096}, []),
        ({"user_agent": "x"}, {"limits.user_agent": 4096}, ["limits.user_agent"]),
        ({"user_agent": "x"}, {"limits.user_agent": 100}, []),
        ({}, {"linger": "off", "timeouts.linger_gap": 1.0}, ["timeouts.linger_gap"]),
        ({}, {"linger": "off", "timeouts.linger_kernel": 1.0}, ["timeouts.linger_kernel"]),
        ({}, {"linger": "kernel", "timeouts.linger_total": 1.0, "limits.linger": 9}, None),
        ({}, {"linger": "kernel", "timeouts.linger_kernel": 1.0}, []),
        ({}, {"linger": "ack", "timeouts.linger_gap": 1.0}, []),
        ({}, {"keep_alive": False, "timeouts.keep_alive": 1.0}, ["timeouts.keep_alive"]),
        ({}, {"keep_alive": True, "timeouts.keep_alive": 1.0}, []),
        ({}, {"deny": 403, "limits.body": 9, "keep_alive": False}, ["limits.body"]),
        ({}, {"request_version": "1.0", "interim": "none"}, ["interim"]),
        ({"version": "1.0"}, {"request_version": "1.0", "interim": "none"}, None),
        (
            {},
            {"deny": 403, "buffer_request": "stream", "half_close": "abort"},
            ["buffer_request", "half_close"],
        ),
        ({}, {"deny": 403, "timeouts.body_total": 1.0}, ["timeouts.body_total"]),
        ({"client": ("10.0.0.0/8",)}, {"half_close": "probe", "buffer_response": "stream"}, []),
        ({"version": "1.0"}, {"half_close": "probe"}, ["half_close"]),
        ({"version": "1.0"}, {"half_close": "abort"}, []),
        ({}, {"half_close": "probe", "interim": "none"}, ["half_close"]),
        ({}, {"half_close": "probe", "interim": "100"}, []),
        ({}, {"half_close": "probe", "response_version": "1.0"}, ["half_close"]),
        ({}, {}, [""]),
    ],
)
def test_effects_that_can_never_act(
    conditions: dict[str, Any], effects: dict[str, object], expected: list[str] | None
) -> None:
    rule = Rule("r", effects=tuple(effects.items()), **conditions)
    found = inert_effects(rule)
    names = [name for name, _ in found]
    wanted = [name for name in effects if name != "linger"] if expected is None else expected
    assert sorted(names) == sorted(wanted)
    assert len(set(names)) == len(names)
    assert all(why for _, why in found)
