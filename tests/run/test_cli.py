"""The command line: what each command prints, where, and with which exit status."""

import json
import random
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import shieldproxy
from shieldproxy import run as run_package
from shieldproxy.cli import main
from shieldproxy.config import load
from shieldproxy.configplan import plan
from shieldproxy.core.plan import Plan
from shieldproxy.core.policy import EFFECTS, value_of
from shieldproxy.core.rulebook import RuleBook
from shieldproxy.explaining import Request, as_json, explained

KNOWN_CLIENTS = Path(__file__).resolve().parents[2] / "config/known-clients.toml"
LEAST = """
[upstream.legacy]
servers = ["127.0.0.1:9000"]
[[route]]
upstream = "legacy"
"""
RULES = """
[timeouts]
head = "7s"
[[rule]]
name = "old"
user_agent = "Mozilla/2"
why = "confused"
keep_alive = false
[[rule]]
name = "inside"
client = ["10.0.0.0/8", "2001:db8::/32"]
timeouts = { keep_alive = "off" }
limits = { body = "off" }
[[rule]]
name = "writes"
method = ["POST", "PUT"]
path = "/app"
host = "*.example"
keep_alive = true
[[rule]]
name = "old-version"
version = "1.0"
deny = 403
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(LEAST)
    (tmp_path / "rules.toml").write_text(RULES + LEAST)
    (tmp_path / "bad.toml").write_text("[timeouts]\nhead = 5\nkeep = '1s'\n" + LEAST)
    return tmp_path


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="shieldproxy")
    assert "Traceback" not in result.output
    return result


class Worker(types.ModuleType):
    """Stands in for the worker: keeps the plan, and ends as it is told to."""

    def __init__(self, ends: int | str) -> None:
        super().__init__("shieldproxy.run.worker")
        self.plans: list[Plan] = []
        self.ends = ends
        self.StartFailed = type("StartFailed", (Exception,), {})

    def main(self, plan: Plan) -> int:
        self.plans.append(plan)
        if isinstance(self.ends, str):
            raise self.StartFailed(self.ends)
        return self.ends


def put_in_place(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, worker.__name__, worker)
    monkeypatch.setattr(run_package, "worker", worker, raising=False)


def test_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.output) == (0, f"shieldproxy {shieldproxy.__version__}\n")


@pytest.mark.parametrize("command", [[], ["run"], ["check"], ["explain"]])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(command: list[str], option: str) -> None:
    result = call(*command, option)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: shieldproxy")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "say what to serve"),
        (["run", "--listen", "127.0.0.1:0"], "say what to serve"),
        (["run", "good.toml", "--to", "127.0.0.1:1"], "not both"),
        (["check"], "Missing argument"),
        (["chekc"], "No such command"),
        (["explain", "good.toml", "--client", "x"], "IPv4 or IPv6"),
        (["explain", "good.toml", "--path", "x"], "slash"),
        (["explain", "good.toml", "--version", "2"], "1.0"),
        (["explain", "good.toml", "--listen", "127.0.0.1:1"], "server.listen; allowed: 127.0.0.1:8080"),
        (["explain", "good.toml", "--listen", "x"], "no port"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_misuse_is_exit_2_on_stderr(arguments: list[str], said: str) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.usefixtures("folder")
def test_check_of_a_good_file_sums_it_up() -> None:
    result = call("check", "rules.toml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "rules.toml: in order",
        "  listen     127.0.0.1:8080",
        "  route      */ -> legacy",
        "  upstream   legacy: 127.0.0.1:9000, 32 connections each",
        "  rules      4 from rules.toml",
    ]


def test_check_warns_of_a_log_without_a_folder(folder: Path) -> None:
    (folder / "good.toml").write_text("[log]\naccess = 'logs/a.log'\nerror = 'e.log'\n" + LEAST)
    result = call("check", "good.toml")
    assert (result.exit_code, result.stderr) == (
        0, "warning: good.toml: log.access: there is no folder logs\n"
    )  # fmt: skip
    (folder / "logs").mkdir()
    assert call("check", "good.toml").stderr == ""


@pytest.mark.parametrize("command", ["check", "explain", "run"])
@pytest.mark.usefixtures("folder")
def test_faults_are_exit_2_and_a_line_each_on_stderr(command: str) -> None:
    result = call(command, "bad.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    unknown, head = result.stderr.splitlines()
    assert unknown.startswith(
        'bad.toml: timeouts.keep: unknown key (did you mean "keep_alive"?); allowed: head, '
    )
    assert head.startswith("bad.toml: timeouts.head: 5 has no unit; allowed: ")


@pytest.mark.parametrize("command", ["check", "explain", "run"])
@pytest.mark.usefixtures("folder")
def test_a_missing_file_is_one_line(command: str) -> None:
    result = call(command, "none.toml")
    assert result.exit_code == 2
    assert result.stderr == "none.toml: cannot be read: No such file or directory\n"


def test_warnings_go_to_stderr(folder: Path) -> None:
    (folder / "warned.toml").write_text("[server]\nworkers = 4\n" + LEAST)
    result = call("check", "warned.toml")
    assert result.exit_code == 0
    assert result.stderr == "warning: warned.toml: not honoured yet, read and left aside: server.workers\n"


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.usefixtures("folder")
def test_run_hands_the_plan_over_and_ends_as_the_worker_does(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(status)
    put_in_place(worker, monkeypatch)
    assert call("run", "good.toml").exit_code == status
    assert call("run", "--listen", "[::1]:0", "--to", "legacy:80").exit_code == status
    file, arguments = worker.plans
    assert str(file.upstreams["legacy"].servers[0]) == "127.0.0.1:9000"
    assert [str(address) for address in arguments.listen] == ["[::1]:0"]
    assert [str(server) for server in arguments.upstreams["default"].servers] == ["legacy:80"]


@pytest.mark.usefixtures("folder")
def test_a_start_that_fails_is_one_line_and_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(Worker("127.0.0.1:8080: address in use"), monkeypatch)
    result = call("run", "good.toml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "shieldproxy: 127.0.0.1:8080: address in use\n"


def test_python_m_shieldproxy_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "shieldproxy", "--version"], capture_output=True, check=True)
    assert done.stdout.decode() == f"shieldproxy {shieldproxy.__version__}\n"


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
    assert [name for name, value in told["policy"].items() if not value["honoured"]] == [
        "timeouts.body_min_rate",
        "timeouts.send_min_rate",
    ]
    assert list(told["policy"]) == list(EFFECTS)


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
    assert "timeouts.send_min_rate  500B/s (not honoured yet)  default" in lines
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
            given = told["policy"][name]["value"]
            assert given == value or (given == "off" and value in (float("inf"), sys.maxsize)), name
        seen.add(verdict.rules)
    assert len(seen) > 30, "the heads meet too few of the rules to prove anything"
