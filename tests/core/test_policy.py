"""Rules, one condition at a time; what they come to; how they are counted; what is wrong with them."""

import math
import sys
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

from shieldproxy.core import masks, rulebook
from shieldproxy.core.inert import inert_effects
from shieldproxy.core.limits import Limits, Timeouts
from shieldproxy.core.match import cidr_fault, host_fault, path_fault, pattern_fault, plain_path
from shieldproxy.core.policy import EFFECTS, Policy, Rule, Verdict, amend, value_of
from shieldproxy.core.rulebook import ENTRIES, RuleBook

OFF = (("keep_alive", False),)


def ask(book: RuleBook, **facts: Any) -> Verdict:
    usual: dict[str, Any] = {
        "client": "192.0.2.1",
        "method": b"GET",
        "path": b"/",
        "host": b"www.example",
        "minor": 1,
        "user_agent": b"",
        "now": 1.0,
    }
    return book.decide(**{**usual, **facts})


def matched(rule: Rule, **facts: Any) -> bool:
    return bool(ask(RuleBook([rule], Policy()), **facts).rules)


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("Mozilla/2", b"Mozilla/2.02 (X11)", True),
        ("Mozilla/2", b"x Mozilla/2", True),
        ("^Mozilla/2", b"x Mozilla/2", False),
        ("mozilla", b"Mozilla/2", False),
        ("(?i)mozilla", b"Mozilla/2", True),
        ("Mozilla", b"\xff\xfe Mozilla", True),
        (r"\xff", b"\xff", True),
        (r"^.$", b"\xc3\xa9", False),
        ("a.b", b"a\xffb", True),
        ("^$", b"", True),
        ("^$", b"x", False),
        ("Mozilla", b"", False),
    ],
)
def test_user_agent_is_searched_in_raw_bytes(pattern: str, value: bytes, expected: bool) -> None:
    assert matched(Rule("r", user_agent=pattern), user_agent=value) is expected


@pytest.mark.parametrize(
    ("network", "client", "expected"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "::a01:203", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("0.0.0.0/0", "1.2.3.4", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "2001:db8::1", True),
        ("::/0", "1.2.3.4", False),
        ("2001:db8::/32", "2001:db8:1::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "11.1.2.3", False),
        ("0.0.0.0/0", "", False),
        ("0.0.0.0/0", "unknown", False),
        ("::/0", "unknown", False),
    ],
)
def test_client_networks(network: str, client: str, expected: bool) -> None:
    assert matched(Rule("r", client=("198.51.100.0/24", network)), client=client) is expected


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("/", b"/", True),
        ("/", b"/any/where", True),
        ("/", b"*", True),
        ("/a", b"*", False),
        ("/a", b"/a", True),
        ("/a", b"/a/", True),
        ("/a", b"/a/b/c", True),
        ("/a", b"/ab", False),
        ("/a", b"/b/a", False),
        ("/a/", b"/a", True),
        ("/a/b", b"/a", False),
        ("/a/b", b"/a/b", True),
        ("/a/b", b"/a/b/c", True),
        ("/a/b", b"/a/c/b", False),
        ("/admin", b"//admin", True),
        ("/admin", b"/x/../admin", True),
        ("/admin", b"/./admin", True),
        ("/admin", b"/%61dmin/x", True),
        ("/admin", b"/x/%2e%2e/admin", True),
        ("/admin", b"/x%2f..%2Fadmin", True),
        ("/admin", b"/../../admin", True),
        ("/admin", b"/admin/..", False),
        ("/admin", b"/%2561dmin", False),
        ("/admin", b"/%zz", False),
        ("/café", b"/caf%C3%A9/x", True),
        ("/caf%C3%A9", b"/caf%c3%a9", True),
    ],
)
def test_path_is_a_prefix_by_whole_segments_as_a_server_reads_it(
    prefix: str, path: bytes, expected: bool
) -> None:
    assert matched(Rule("r", path=prefix), path=path) is expected


def test_a_plain_path_is_not_copied() -> None:
    path = b"/static/a.css"
    assert plain_path(path) is path


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("*", b"", True),
        ("*", b"x", True),
        ("a.example", b"a.example", True),
        ("a.example", b"a.example:8080", True),
        ("a.example", b"a.example.", True),
        ("a.example", b"a.example.:80", True),
        ("a.example", b"b.a.example", False),
        ("a.example", b"", False),
        ("*.example", b"a.example", True),
        ("*.example", b"b.a.example:80", True),
        ("*.example", b"example", False),
        ("*.example", b"example.org", False),
        ("[::1]", b"[::1]:80", True),
        ("[::1]", b"[::1]", True),
        ("[::1]", b"[::2]", False),
        ("127.0.0.1", b"127.0.0.1:80", True),
    ],
)
def test_hosts(pattern: str, host: bytes, expected: bool) -> None:
    assert matched(Rule("r", host=pattern), host=host) is expected


def test_methods_and_versions() -> None:
    rule = Rule("r", method=("POST", "PUT"))
    assert [matched(rule, method=name) for name in (b"POST", b"PUT", b"GET", b"post", b"")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [matched(Rule("r", version="1.0"), minor=minor) for minor in (0, 1)] == [True, False]
    assert [matched(Rule("r", version="1.1"), minor=minor) for minor in (0, 1)] == [False, True]


def test_all_conditions_of_a_rule_must_hold() -> None:
    rule = Rule(
        "r",
        user_agent="Foo",
        client=("192.0.2.0/24",),
        method=("POST",),
        path="/a",
        host="*.example",
        version="1.1",
    )
    good: dict[str, Any] = {"user_agent": b"Foo/1", "method": b"POST", "path": b"/a/b"}
    assert matched(rule, **good)
    bad = {
        "user_agent": b"Bar",
        "client": "198.51.100.1",
        "method": b"GET",
        "path": b"/",
        "host": b"x.org",
        "minor": 0,
    }
    for condition, value in bad.items():
        assert not matched(rule, **{**good, condition: value}), condition


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
    ("rule", "said"),
    [
        (Rule("bad one", user_agent="(a"), "rule bad one: user_agent missing )"),
        (Rule("x", user_agent="(?=a)"), "rule x: user_agent invalid perl operator"),
        (Rule("x", client=("10.0.0.0/8", "10.0.0.1/8")), 'rule x: client "10.0.0.1/8" has bits set'),
        (Rule("x", path="a"), "rule x: path does not begin"),
        (Rule("x", host="A_b:80"), "rule x: host is not a host name"),
        (Rule("x", version="2"), "rule x: version is neither"),
        (
            Rule("x", effects=(("timeouts.heed", 1.0),)),
            "rule x: effects has an unknown effect 'timeouts.heed'",
        ),
    ],
)
def test_a_bad_rule_is_refused_by_name(rule: Rule, said: str) -> None:
    with pytest.raises(ValueError, match=r"^rule ") as raised:
        RuleBook([Rule("good", user_agent="x"), rule], Policy())
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize(
    "pattern", ["(", ")", "a{2000}", "(a{1000}){1000}", "(?=a)", "(?<!a)b", r"(a)\1", "[z-a]", "é", "", "a**"]
)
def test_bad_patterns_say_what_is_allowed(pattern: str) -> None:
    fault = pattern_fault(pattern)
    assert fault is not None
    assert "; allowed: " in fault
    assert "\n" not in fault


@pytest.mark.parametrize("pattern", ["a", "^$", r"MSIE [2-5]\.", r"\xff", "(?i)a|b", r"\bx\b", ".*"])
def test_good_patterns(pattern: str) -> None:
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            cidr_fault,
            ["10.0.0.0/8", "10.0.0.1", "::/0", "2001:db8::/32", "::ffff:10.0.0.0/104"],
            ["", "10", "10.0.0.1/8", "10.0.0.0/33", "a", "::1/64", "10.0.0.0/-1"],
        ),
        (
            host_fault,
            ["*", "a", "a.example", "*.example", "a_b.example", "127.0.0.1", "[::1]", "xn--caf-dma.example"],
            [
                "",
                "*.",
                "*a",
                "a.*",
                "a:80",
                "A",
                "a..b",
                ".a",
                "a.",
                "[::1",
                "[x]",
                "a b",
                "café",
                "-a",
                "a" * 64,
            ],
        ),
        (
            path_fault,
            ["/", "/a", "/a/", "/a/b", "/a%20b", "/café", "/.well-known", "/a;b"],
            ["", "a", "*", "/a?b", "/a#b", "/a b", "//", "/a//b", "/a/../b", "/.", "/a/./", "/a\n"],
        ),
    ],
)
def test_what_a_condition_may_say(check: object, good: list[str], bad: list[str]) -> None:
    assert callable(check)
    assert [text for text in good if check(text) is not None] == []
    assert [text for text in bad if "; allowed: " not in (check(text) or "")] == []


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
