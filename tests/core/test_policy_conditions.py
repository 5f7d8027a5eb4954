"""Rules, one condition at a time; what a condition may say."""

from typing import Any

import pytest

from shieldproxy.core.match import cidr_fault, host_fault, path_fault, pattern_fault, plain_path
from shieldproxy.core.policy import Policy, Rule
from shieldproxy.core.rulebook import RuleBook
from tests.core.rules import matched


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


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule("bad one", user_agent="(a"), 'rule bad one: user_agent "(a": missing )'),
        (Rule("x", user_agent="(?=a)"), 'rule x: user_agent "(?=a)": invalid perl operator'),
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
