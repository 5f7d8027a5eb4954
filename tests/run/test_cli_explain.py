"""``explain``: which rules match a request, what they change, and where each value comes from."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.config import load
from shieldproxy.configplan import plan
from shieldproxy.core.policy import EFFECTS, value_of
from shieldproxy.core.rulebook import RuleBook
from shieldproxy.explaining import Request, as_json, explained
from tests.run.test_cli import LEAST, RULES, call

KNOWN_CLIENTS = Path(__file__).resolve().parents[2] / "config/known-clients.toml"

ROUTE = [f"route.{key}" for key in ("retry_unsafe", "normalise_path", "max_ranges", "max_query_duplicates")]
"""What a route decides alone; of the rest rules decide, or the route where they are silent."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.toml").write_text(RULES + LEAST)
    return tmp_path


def asked(*arguments: str) -> Any:
    result = call("explain", "rules.toml", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("folder")
def test_explain_as_json_tells_rules_values_and_where_they_come_from() -> None:
    told = asked(
        *("--user-agent", "Mozilla/2.0", "--client", "10.1.1.1", "--method", "POST"),
        *("--path", "/app/x?y=1", "--host", "A.example", "--version", "1.1"),
    )
    assert told["request"]["path"] == "/app/x"
    assert told["request"]["host"] == "a.example"
    assert told["route"] == {"upstream": "legacy", "listen": None, "host": "*", "path": "/"}
    assert [(rule["name"], rule["matched"]) for rule in told["rules"]] == [
        ("old", True),
        ("inside", True),
        ("writes", True),
        ("old-version", False),
    ]
    assert {rule["file"] for rule in told["rules"]} == {"rules.toml"}
    assert told["rules"][0]["conditions"] == [
        {"condition": "user_agent", "wanted": "Mozilla/2", "given": "Mozilla/2.0", "met": True}
    ]
    in_force = {name: (value["value"], value["origin"]) for name, value in told["policy"].items()}
    assert in_force["keep_alive"] == (True, "rule writes")
    assert in_force["timeouts.keep_alive"] == ("off", "rule inside")
    assert in_force["limits.body"] == ("off", "rule inside")
    assert in_force["timeouts.head"] == (7.0, "rules.toml: timeouts.head")
    assert in_force["timeouts.send_idle"] == (30.0, "default")
    assert list(told["policy"]) == [*EFFECTS, *ROUTE]


@pytest.mark.usefixtures("folder")
def test_explain_as_text_is_a_line_for_each_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    result = call("explain", "rules.toml", "--user-agent", "Mozilla/2.0")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["route: */ -> legacy", ""]
    assert lines[2:4] == ["rule old matches (rules.toml)", "  by       user_agent is Mozilla/2"]
    assert lines[4].startswith("  changes  keep_alive = false")
    assert "3 others do not match (--all shows why)" in lines
    assert "keep_alive  false  rule old" in lines
    assert "timeouts.head  7s  rules.toml: timeouts.head" in lines
    assert "limits.body  16MiB  default" in lines
    assert "timeouts.send_min_rate  500B/s  default" in lines
    assert "\x1b" not in result.stdout
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.usefixtures("folder")
def test_explain_all_has_the_others_with_what_failed() -> None:
    shown = call("explain", "rules.toml", "--user-agent", "Mozilla/2.0", "--all").stdout
    assert "rule old-version does not: version is not 1.0 (rules.toml)\n" in shown
    assert "--all" not in shown
    assert "none of 4 rules matches (--all shows why)\n" in call("explain", "rules.toml").stdout


def test_a_pattern_is_not_broken_on_a_narrow_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    pattern = "^LongNamedAgentOfOldTimes/[0-9]+$"
    (folder / "rules.toml").write_text(f"[[rule]]\nname = 'a'\nuser_agent = '{pattern}'\n" + LEAST)
    shown = call("explain", "rules.toml", "--user-agent", "LongNamedAgentOfOldTimes/1").stdout
    assert pattern in shown


def test_explain_tells_why_a_rule_is_there(folder: Path) -> None:
    rule = "[[rule]]\nname = 'a'\nwhy = 'it hangs otherwise'\nkeep_alive = false\n"
    (folder / "rules.toml").write_text(rule + LEAST)
    shown = call("explain", "rules.toml").stdout
    assert "  by       everybody\n  changes  keep_alive = false\n  why      it hangs otherwise\n" in shown


@pytest.mark.usefixtures("folder")
def test_colour_is_for_terminals_and_not_where_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    green = "\x1b[32m"
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert green in call("explain", "rules.toml", "--user-agent", "Mozilla/2.0").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert green not in call("explain", "rules.toml", "--user-agent", "Mozilla/2.0").stdout


def test_explain_says_when_no_route_is_there(folder: Path) -> None:
    (folder / "rules.toml").write_text(LEAST + "path = '/app'\n")
    assert asked("--path", "/other")["route"] is None
    assert "route: none, so 404" in call("explain", "rules.toml", "--path", "/other").stdout


AGENTS = [
    b"",
    b"Mozilla/2.0 (X11; I; FreeBSD 2.1.5-RELEASE i386)",
    b"Mozilla/2.02 (X11; I; FreeBSD 2.1.5-RELEASE i386)",
    b"Mozilla/3.01 (X11; I; FreeBSD 2.1.5-RELEASE i386)",
    b"Mozilla/3.01 (Win95; I)",
    b"Mozilla/2.0 (compatible; MSIE 3.01; Windows 95)",
    b"Mozilla/4.0 (compatible; MSIE 4.0b2; Windows NT)",
    b"Mozilla/4.0 (compatible; MSIE 4.01; Windows 95)",
    b"RealPlayer 4.0",
    b"Java/1.0",
    b"JDK/1.0",
    b"Java1.2beta2",
    b"python-requests/2.31.0",
    b"python-urllib3/2.0",
    b"Python-urllib/3.11",
    b"curl/8.5.0",
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36",
    b"caf\xe9 \xff\x80",
    b"Mozilla/2 " + b"x" * 2000,
]


def heads(count: int) -> list[Request]:
    """Random heads, the same each time."""
    dice = random.Random(7)
    clients = ["10.9.8.7", "192.0.2.1", "2001:db8::5", "::ffff:10.0.0.1", "::1", "unknown"]
    return [
        Request(
            client=dice.choice(clients),
            method=dice.choice([b"GET", b"POST", b"PUT", b"HEAD", b"BREW"]),
            path=dice.choice([b"/", b"/app", b"/app/x", b"/apple", b"*", b"/%ff"]),
            host=dice.choice([b"a.example", b"a.example:8080", b"example", b"[::1]:80", b"localhost", b""]),
            minor=dice.choice([0, 1]),
            user_agent=dice.choice([*AGENTS, bytes(dice.choices(range(32, 256), k=30))]),
            listen="127.0.0.1:8080",
        )
        for _ in range(count)
    ]


def test_explain_and_decide_agree_on_a_thousand_random_heads(folder: Path) -> None:
    (folder / "all.toml").write_text(f"include = [{str(KNOWN_CLIENTS)!r}]\n{RULES}{LEAST}")
    loaded = load("all.toml")
    assert loaded.config is not None, [str(fault) for fault in loaded.faults]
    made = plan(loaded.config)
    book = RuleBook(made.rules, made.base)
    files = [placed.where.file for placed in loaded.config.rules]
    seen = set()
    for head in heads(1000):
        told = json.loads(as_json(explained(made, head, files)))
        facts = (head.client, head.method, head.path, head.host, head.minor, head.user_agent)
        verdict = book.decide(*facts, now=1.0)
        assert [rule["name"] for rule in told["rules"] if rule["matched"]] == list(verdict.rules)
        for name in EFFECTS:
            value = value_of(verdict.policy, name)
            value = "whole" if value is None and name.startswith("buffer_") else value  # as the route says
            given = told["policy"][name]["value"]
            assert given == value or (given == "off" and value in (float("inf"), sys.maxsize)), name
        seen.add(verdict.rules)
    assert len(seen) > 30, "the heads meet too few of the rules to prove anything"


BODIES = """
[upstream.legacy]
servers = ["127.0.0.1:9000"]
[[route]]
upstream = "legacy"
[[route]]
upstream = "legacy"
path = "/up"
buffer_request = "stream"
max_ranges = 5
[[rule]]
name = "whole"
method = ["PUT"]
buffer_request = "whole"
buffer_response = "stream"
"""


@pytest.mark.parametrize(
    ("arguments", "uploads", "response", "ranges"),
    [
        ((), ("whole", "default"), ("whole", "default"), ("off", "default")),
        (
            ("--path", "/up/x"),
            ("stream", "rules.toml: route[1].buffer_request"),
            ("whole", "default"),
            (5, "rules.toml: route[1].max_ranges"),
        ),
        (
            ("--path", "/up", "--method", "PUT"),
            ("whole", "rule whole"),
            ("stream", "rule whole"),
            (5, "rules.toml: route[1].max_ranges"),
        ),
    ],
)
def test_a_value_of_the_route_holds_where_no_rule_has_one(
    folder: Path,
    arguments: tuple[str, ...],
    uploads: tuple[str, str],
    response: tuple[str, str],
    ranges: tuple[object, str],
) -> None:
    (folder / "rules.toml").write_text(BODIES)
    told = {name: (value["value"], value["origin"]) for name, value in asked(*arguments)["policy"].items()}
    assert told["buffer_request"] == uploads
    assert told["buffer_response"] == response
    assert told["route.max_ranges"] == ranges
    lines = call("explain", "rules.toml", *arguments).stdout.splitlines()
    assert f"buffer_request  {uploads[0]}  {uploads[1]}" in lines


def test_without_a_route_there_is_nothing_of_one(folder: Path) -> None:
    (folder / "rules.toml").write_text(BODIES.replace('[[route]]\nupstream = "legacy"\n[[', "[["))
    told = asked("--path", "/elsewhere")
    assert told["route"] is None
    assert list(told["policy"]) == list(EFFECTS)
    assert "buffer_request  as the route says  default" in call("explain", "rules.toml").stdout.splitlines()


def test_how_the_upstream_is_asked_and_what_is_held_of_bodies(folder: Path) -> None:
    """No rule changes these, and where they come from is told all the same."""
    odd = LEAST.replace("[[route]]", 'http_version = "1.0"\nmax_head = "8KiB"\n[[route]]')
    (folder / "rules.toml").write_text(odd + '[buffers]\ndisk_total = "1MiB"\n')
    told = {name: (value["value"], value["origin"]) for name, value in asked()["beyond"].items()}
    assert told["upstream.legacy.http_version"] == ("1.0", "rules.toml: upstream.legacy.http_version")
    assert told["upstream.legacy.max_connections"] == (32, "default")
    assert told["buffers.disk_total"] == (1 << 20, "rules.toml: buffers.disk_total")
    lines = call("explain", "rules.toml").stdout.splitlines()
    assert "buffers.disk_total  1MiB  rules.toml: buffers.disk_total" in lines
    assert "upstream.legacy.max_head  8KiB  rules.toml: upstream.legacy.max_head" in lines
    assert "upstream.legacy.host  as sent  default" in lines
    assert "upstream.legacy.connect_timeout  5s  default" in lines
