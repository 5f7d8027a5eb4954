"""The rule book against a slow and obvious one, on random rules and random requests.

The reference goes through the rules one by one with the standard library (``re`` on bytes where the product
has RE2, ``ipaddress`` networks where it has tables) and applies effects one by one. The same requests are
asked in the same book again and again, so that caches are hit as well as filled.
"""

import random
import re
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from hypothesis import given, settings
from hypothesis import strategies as st

from shieldproxy.core.limits import Limits
from shieldproxy.core.policy import EFFECTS, Policy, Rule, value_of
from shieldproxy.core.rulebook import RuleBook

PATTERNS = [
    "Mozilla/2",
    r"^Mozilla/[2-5]\.",
    "b",
    "^$",
    r"\bJava/1\.0\b",
    r"(X11|Win)",
    r"[^a-z]$",
    r"\xff",
    "^.{5}$",
    "(?i)gold",
]
AGENTS = [
    b"",
    b"Mozilla/2.02 (X11; I)",
    b"Mozilla/4.0b2 (Win95)",
    b"Mozilla/5.0 Java/1.0.2",
    b"HotJava/1.01",
    b"abcde",
    b"GOLD",
    b"\xff\xfe",
    b"b" * 50,
    b"X11" * 30,
]
NETWORKS = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "fe80::/10",
    "192.0.2.0/24",
]
CLIENTS = [
    "10.1.2.3",
    "10.9.9.9",
    "192.0.2.7",
    "::ffff:10.1.2.3",
    "2001:db8::1",
    "fe80::1",
    "::1",
    "",
    "unknown",
]
PREFIXES = ["/", "/a", "/a/b", "/a/b/c", "/b", "/ab", "/a/c/"]
PATHS = [
    b"/",
    b"*",
    b"/a",
    b"/a/",
    b"/a/b",
    b"/a/b/c/d",
    b"/ab",
    b"/b/a",
    b"//a",
    b"/x/../a/b",
    b"/%61/c",
    b"/a/./c",
]
HOSTS = ["*", "example", "a.example", "*.example", "*.a.example", "[::1]"]
AUTHORITIES = [b"", b"example", b"a.example", b"a.example:80", b"b.a.example.", b"x.org", b"[::1]:8080"]
METHODS = ["GET", "POST", "PUT"]
VALUES: dict[str, list[object]] = {
    "keep_alive": [True, False],
    "linger": ["ack", "timed", "kernel", "off"],
    "response_version": ["1.0", None],
    "interim": ["all", "100", "none"],
    "deny": [403, None],
    "timeouts.head": [1.0, 2.0],
    "timeouts.keep_alive": [3.0, 4.0],
    "limits.body": [10, 20],
    "limits.user_agent": [20, 60, 100],
}


class Head(NamedTuple):
    client: str
    method: bytes
    path: bytes
    host: bytes
    minor: int
    user_agent: bytes


effects = st.lists(
    st.sampled_from(sorted(VALUES)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name]))
    ),
    max_size=3,
)
rules = st.builds(
    Rule,
    name=st.sampled_from(["one", "two", "three"]),
    user_agent=st.none() | st.sampled_from(PATTERNS),
    client=st.just(()) | st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=2).map(tuple),
    method=st.just(()) | st.lists(st.sampled_from(METHODS), min_size=1, max_size=2).map(tuple),
    path=st.none() | st.sampled_from(PREFIXES),
    host=st.none() | st.sampled_from(HOSTS),
    version=st.sampled_from([None, "1.0", "1.1"]),
    effects=effects.map(tuple),
)
heads = st.builds(
    Head,
    st.sampled_from(CLIENTS),
    st.sampled_from([b"GET", b"POST", b"DELETE"]),
    st.sampled_from(PATHS),
    st.sampled_from(AUTHORITIES),
    st.sampled_from([0, 1]),
    st.sampled_from(AGENTS) | st.binary(max_size=40),
)
bases = st.sampled_from([Policy(), Policy(keep_alive=False), Policy(limits=Limits(user_agent=40))])


def in_network(client: str, network: str) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address in ip_network(network)


def segments(path: bytes) -> list[bytes]:
    found: list[bytes] = []
    for part in unquote_to_bytes(path).split(b"/"):
        if part == b"..":
            found = found[:-1]
        elif part not in (b"", b"."):
            found.append(part)
    return found


def under(path: bytes, prefix: str) -> bool:
    wanted = [part.encode() for part in prefix.split("/") if part]
    return not wanted or (path != b"*" and segments(path)[: len(wanted)] == wanted)


def same_host(authority: bytes, pattern: str) -> bool:
    name = re.sub(r":\d+$", "", authority.decode()).removesuffix(".")
    if pattern.startswith("*"):
        return name.endswith(pattern[1:]) and not name.startswith("[" if len(pattern) > 1 else "*")
    return name == pattern


def applied(policy: Policy, effects: tuple[tuple[str, Any], ...]) -> Policy:
    for effect, value in effects:
        group, _, name = effect.rpartition(".")
        change: dict[str, Any] = {name: value}
        if group:
            change = {group: replace(getattr(policy, group), **change)}
        policy = replace(policy, **change)
    return policy


def reference(rules: list[Rule], base: Policy, head: Head) -> tuple[list[int], Policy]:
    """Return the numbers of the rules that match and what they come to."""
    rest = [
        number
        for number, rule in enumerate(rules)
        if (not rule.client or any(in_network(head.client, network) for network in rule.client))
        and (not rule.method or head.method.decode() in rule.method)
        and (rule.path is None or under(head.path, rule.path))
        and (rule.host is None or same_host(head.host, rule.host))
        and (rule.version is None or rule.version == f"1.{head.minor}")
    ]
    policy = base
    for number in rest:
        if rules[number].user_agent is None:
            policy = applied(policy, rules[number].effects)
    longest = max(base.limits.user_agent, policy.limits.user_agent)
    found = []
    for number in rest:
        pattern = rules[number].user_agent
        looked_at = len(head.user_agent) <= longest
        if pattern is None or (looked_at and re.search(pattern.encode(), head.user_agent, re.DOTALL)):
            found.append(number)
    policy = base
    for number in found:
        policy = applied(policy, rules[number].effects)
    return found, policy


@settings(max_examples=400, deadline=None)
@given(st.lists(rules, max_size=12), bases, st.lists(heads, min_size=1, max_size=12))
def test_decide_and_explain_agree_with_the_slow_way(
    some: list[Rule], base: Policy, asked: list[Head]
) -> None:
    book = RuleBook(some, base)
    counts = [0] * len(some)
    for now, head in enumerate([*asked, *asked], start=1):
        found, policy = reference(some, base, head)
        explained = book.explain(*head)
        verdict = book.decide(*head, now=float(now))
        assert [some[number].name for number in found] == list(verdict.rules)
        assert verdict.mask == sum(1 << number for number in found)
        assert verdict.policy == policy
        assert explained.policy is verdict.policy
        assert explained.rules == verdict.rules
        for number in found:
            counts[number] += 1
    assert [hits for _, hits, _ in book.matches()] == counts


@settings(max_examples=200, deadline=None)
@given(st.lists(rules, max_size=8), bases, heads)
def test_an_explanation_holds_together(some: list[Rule], base: Policy, head: Head) -> None:
    book = RuleBook(some, base)
    explained = book.explain(*head)
    assert [seen.name for seen in explained.considered] == [rule.name for rule in some]
    for seen in explained.considered:
        assert seen.matched == all(reason.met for reason in seen.reasons)
    assert tuple(value.name for value in explained.values) == EFFECTS
    for value in explained.values:
        assert value.value == value_of(explained.policy, value.name)
        setters = [
            seen.name for seen in explained.considered if seen.matched and value.name in dict(seen.effects)
        ]
        if setters:
            assert value.origin == f"rule {setters[-1]}"
        else:
            assert value.value == value_of(base, value.name)
            usual = value.value == value_of(Policy(), value.name)
            assert value.origin == ("default" if usual else f"config {value.name}")


@settings(max_examples=200, deadline=None)
@given(st.lists(rules, max_size=8), bases, st.sampled_from(CLIENTS))
def test_at_accept_is_what_client_rules_alone_come_to(some: list[Rule], base: Policy, client: str) -> None:
    early = [
        rule
        for rule in some
        if not (rule.user_agent or rule.method or rule.path or rule.host or rule.version)
    ]
    _, policy = reference(early, base, Head(client, b"", b"", b"", 1, b""))
    assert RuleBook(some, base).at_accept(client) == policy


def test_explain_and_decide_agree_on_1000_random_heads() -> None:
    chance = random.Random(1997)
    pick = chance.choice
    some = [
        Rule(
            f"rule {number}",
            user_agent=pick([None, *PATTERNS]),
            client=pick([(), (), (pick(NETWORKS),)]),
            path=pick([None, None, *PREFIXES]),
            host=pick([None, None, *HOSTS]),
            effects=tuple((name, pick(VALUES[name])) for name in chance.sample(sorted(VALUES), 2)),
        )
        for number in range(60)
    ]
    book = RuleBook(some, Policy())
    seen = set()
    for now in range(1000):
        head = Head(pick(CLIENTS), b"GET", pick(PATHS), pick(AUTHORITIES), pick([0, 1]), pick(AGENTS))
        explained = book.explain(*head)
        verdict = book.decide(*head, now=float(now))
        assert (explained.policy, explained.rules) == (verdict.policy, verdict.rules)
        assert {value.name: value.value for value in explained.values} == {
            name: value_of(verdict.policy, name) for name in EFFECTS
        }
        seen.add(verdict.mask)
    assert len(seen) > 200  # the heads were not all alike


def test_an_origin_can_come_from_the_configuration() -> None:
    book = RuleBook([Rule("slow", path="/a", effects=(("timeouts.head", 9.0),))], Policy())
    origins = {"timeouts.head": "site.toml: timeouts.head", "limits.body": "site.toml: limits.body"}
    for path, expected in ((b"/a", "rule slow"), (b"/", "site.toml: timeouts.head")):
        explained = book.explain("", b"GET", path, b"", 1, b"", origins)
        origin = {value.name: value.origin for value in explained.values}
        assert origin["timeouts.head"] == expected
        assert origin["limits.body"] == "site.toml: limits.body"
        assert origin["linger"] == "default"


def test_an_explanation_shows_what_was_asked_for_and_what_was_found() -> None:
    book = RuleBook(
        [Rule("r", user_agent="Foo", client=("10.0.0.0/8", "::1"), why="because", source="me")], Policy()
    )
    (seen,) = book.explain("10.0.0.1", b"GET", b"/", b"h", 1, b"Bar\xff").considered
    assert (seen.matched, seen.why, seen.source) == (False, "because", "me")
    assert [(r.condition, r.wanted, r.given, r.met) for r in seen.reasons] == [
        ("user_agent", "Foo", "Bar\xff", False),
        ("client", "10.0.0.0/8, ::1", "10.0.0.1", True),
    ]
    (seen,) = book.explain("10.0.0.1", b"GET", b"/", b"h", 1, b"Foo" * 500).considered
    assert seen.reasons[0].given == "(1500 bytes: refused, not matched)"
    assert not seen.matched
