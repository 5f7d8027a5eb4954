"""What comes of a configuration that is in order: defaults, includes, the plan, warnings."""

import math
import sys
from pathlib import Path

import pytest

from shieldproxy.config import from_arguments, load
from shieldproxy.configplan import plan
from shieldproxy.core.address import Address
from shieldproxy.core.policy import Policy
from tests.kit.configs import LEAST, Write


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    return Write(tmp_path)


def test_the_least_that_serves_gets_every_default(write: Write) -> None:
    made = write.plan(LEAST)
    assert made.listen == (Address("127.0.0.1", 8080, ""),)
    assert made.base == Policy()
    assert made.origins == {}
    assert (made.max_connections, made.drain_timeout, made.express, made.trusted) == (20_000, 30.0, True, ())
    assert (made.access, made.log_format, made.error, made.level) == ("stdout", "json", "stderr", "info")
    spec = made.upstreams["legacy"]
    assert (spec.name, spec.servers) == ("legacy", (Address("127.0.0.1", 9000, ""),))
    assert (spec.max_connections, spec.connect_timeout, spec.response_timeout) == (32, 5.0, 60.0)
    assert (spec.pool_idle, spec.queue_timeout) == (30.0, 10.0)
    (route,) = made.routes
    assert (route.upstream, route.listen, route.host, route.path) == ("legacy", None, "*", "/")


def test_what_is_included_comes_first_and_the_including_file_wins(write: Write) -> None:
    write("[[rule]]\nname = 'deep'\n[limits]\nfields = 5\nhead = 100\n", "sub/deep.toml")
    write(
        """
        include = ["deep.toml"]
        [timeouts]
        head = "1s"
        keep_alive = "2s"
        [limits]
        fields = 6
        [[rule]]
        name = "inner"
        [upstream.legacy]
        servers = ["unix:s.sock"]
        max_connections = 3
        [[route]]
        upstream = "legacy"
        path = "/a"
        [[route]]
        upstream = "legacy"
        """,
        "sub/inner.toml",
    )
    made = write.plan(
        """
        include = ["sub/inner.toml", "sub/deep.toml"]
        [timeouts]
        keep_alive = "3s"
        [upstream.legacy]
        queue_timeout = "off"
        [upstream.other]
        servers = ["127.0.0.1:1"]
        [[route]]
        upstream = "other"
        [[rule]]
        name = "own"
        """
    )
    assert [rule.name for rule in made.rules] == ["deep", "inner", "own"]
    assert (made.base.timeouts.head, made.base.timeouts.keep_alive) == (1.0, 3.0)
    assert (made.base.limits.fields, made.base.limits.head) == (6, 100)
    assert made.upstreams["legacy"].servers == (Address("", 0, "sub/s.sock"),)
    assert (made.upstreams["legacy"].max_connections, made.upstreams["legacy"].queue_timeout) == (3, math.inf)
    assert {route.path: route.upstream for route in made.routes} == {"/a": "legacy", "/": "other"}
    assert made.origins == {
        "timeouts.head": "sub/inner.toml: timeouts.head",
        "timeouts.keep_alive": "a.toml: timeouts.keep_alive",
        "limits.fields": "sub/inner.toml: limits.fields",
        "limits.head": "sub/deep.toml: limits.head",
        "upstream.legacy.max_connections": "sub/inner.toml: upstream.legacy.max_connections",
        "upstream.legacy.queue_timeout": "a.toml: upstream.legacy.queue_timeout",
    }


def test_rules_become_effects_in_seconds_and_bytes(write: Write) -> None:
    made = write.plan(
        LEAST
        + """
        [[rule]]
        name = "all"
        why = "w"
        source = "s"
        user_agent = "Mozilla/2"
        client = ["10.0.0.0/8", "::1"]
        method = ["GET"]
        path = "/a"
        host = "*.example"
        version = "1.0"
        keep_alive = false
        linger = "timed"
        response_version = "1.0"
        request_version = "1.0"
        interim = "none"
        accept_folds = true
        accept_bare_lf = true
        deny = 403
        timeouts = { head = "500ms", send_idle = "off", fin_wait_2 = "7s", send_min_rate = "off" }
        limits = { body = "1MiB", linger = "off", fields = 3 }
        [[rule]]
        name = "back"
        response_version = "1.1"
        request_version = "1.1"
        deny = "off"
        """
    )
    rule, back = made.rules
    assert (rule.name, rule.why, rule.source, rule.user_agent) == ("all", "w", "s", "Mozilla/2")
    assert (rule.client, rule.method) == (("10.0.0.0/8", "::1"), ("GET",))
    assert (rule.path, rule.host, rule.version) == ("/a", "*.example", "1.0")
    assert dict(rule.effects) == {
        "keep_alive": False,
        "linger": "timed",
        "response_version": "1.0",
        "request_version": "1.0",
        "interim": "none",
        "accept_folds": True,
        "accept_bare_lf": True,
        "deny": 403,
        "timeouts.head": 0.5,
        "timeouts.send_idle": math.inf,
        "timeouts.fin_wait_2": 7.0,
        "timeouts.send_min_rate": 0.0,
        "limits.body": 1 << 20,
        "limits.linger": sys.maxsize,
        "limits.fields": 3,
    }
    assert {type(value) for _, value in rule.effects} == {bool, str, int, float}
    assert dict(back.effects) == {"response_version": None, "request_version": None, "deny": None}


def test_routes_and_logs_become_what_serves(write: Write) -> None:
    write(
        """
        [server]
        listen = ["unix:run/in.sock", "[::1]:81"]
        trusted = ["10.0.0.0/8"]
        [log]
        access = "log/access.log"
        error = "stdout"
        [upstream.legacy]
        servers = ["unix:/abs.sock", "unix:out.sock", "legacy:80"]
        [[route]]
        upstream = "legacy"
        listen = "unix:run/in.sock"
        request_headers = { set = { X-From = "edge" }, remove = ["Cookie"] }
        response_headers = { remove = ["Server"] }
        request_id = "X-Request-Id"
        """,
        "etc/a.toml",
    )
    loaded = load("etc/a.toml")
    assert loaded.config is not None
    made = plan(loaded.config)
    assert [str(address) for address in made.listen] == ["unix:etc/run/in.sock", "[::1]:81"]
    assert (made.access, made.error, made.trusted) == ("etc/log/access.log", "stdout", ("10.0.0.0/8",))
    servers = [str(address) for address in made.upstreams["legacy"].servers]
    assert servers == ["unix:/abs.sock", "unix:etc/out.sock", "legacy:80"]
    (route,) = made.routes
    assert route.listen == str(made.listen[0])
    assert route.request_set == ((b"X-From", b"edge"),)
    assert route.request_remove == {b"cookie"}
    assert route.response_set == ()
    assert route.response_remove == {b"server"}
    assert route.request_id == b"X-Request-Id"


def test_keys_that_are_not_honoured_yet_are_named_on_one_line(write: Write) -> None:
    text = """
    [server]
    workers = 0
    [admin]
    listen = "127.0.0.1:9080"
    """
    (line,) = write.warnings(LEAST + text)
    assert line == "a.toml: not honoured yet, read and left aside: server.workers, [admin]"
    assert write.warnings(LEAST) == []


def test_an_effect_that_can_never_act_is_warned_of(write: Write) -> None:
    text = "[[rule]]\nname = 'x'\nuser_agent = 'y'\ntimeouts = { head = '5s' }\n[[rule]]\nname = 'idle'\n"
    late, idle = write.warnings(LEAST + text)
    assert late.startswith("a.toml: rule[0].timeouts.head: never acts: ")
    assert idle.startswith("a.toml: rule[1]: never acts: ")


def test_arguments_alone_make_a_plan() -> None:
    loaded = from_arguments([], ["legacy:80", "unix:s.sock"])
    assert loaded.config is not None
    made = plan(loaded.config)
    assert [str(address) for address in made.listen] == ["127.0.0.1:8080"]
    assert [str(address) for address in made.upstreams["default"].servers] == ["legacy:80", "unix:s.sock"]
    assert (made.routes[0].upstream, made.base, made.access) == ("default", Policy(), "stdout")
