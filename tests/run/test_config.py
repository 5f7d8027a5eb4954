"""Reading a configuration: what is refused and how that is told, and what comes of what is accepted."""

import math
import sys
from pathlib import Path

import pytest

from shieldproxy.config import Loaded, from_arguments, load
from shieldproxy.configplan import inert, plan
from shieldproxy.core.address import Address
from shieldproxy.core.plan import Plan
from shieldproxy.core.policy import Policy

LEAST = """
[upstream.legacy]
servers = ["127.0.0.1:9000"]
[[route]]
upstream = "legacy"
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Write":
    monkeypatch.chdir(tmp_path)
    return Write(tmp_path)


class Write:
    """Writes files into the directory of the test and reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, text: str, name: str = "a.toml") -> str:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
        return name

    def faults(self, text: str) -> list[str]:
        """Every fault of a configuration, as check prints them."""
        loaded = load(self(text))
        assert (loaded.config is None) == bool(loaded.faults)
        lines = [str(fault) for fault in loaded.faults]
        assert all(line.isprintable() for line in lines)
        return lines

    def plan(self, text: str) -> Plan:
        """The plan of a configuration that is in order."""
        loaded = load(self(text))
        assert loaded.config is not None, [str(fault) for fault in loaded.faults]
        return plan(loaded.config)


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


def test_seven_faults_give_seven_lines(write: Write) -> None:
    lines = write.faults(
        """
        [server]
        listen = ["localhost:8080"]
        max_conections = 5
        [timeouts]
        head = 5
        fin_wait_2 = "500ms"
        [upstream.legacy]
        servers = ["127.0.0.1:9000", "nowhere"]
        [[route]]
        upstream = "legasy"
        [[rule]]
        name = "first"
        timeouts = { head = "5" }
        """
    )
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        "server.max_conections",
        "server.listen[0]",
        "upstream.legacy.servers[1]",
        "timeouts.head",
        "timeouts.fin_wait_2",
        "rule[0].timeouts.head",
        "route[0].upstream",
    ]
    assert all(line.startswith("a.toml: ") and "; allowed: " in line for line in lines)


FAULTS = [
    ("[servr]", 'servr: unknown key (did you mean "server"?); allowed: include, server, log, '),
    ("server = 5", "server: 5 is no table; allowed: [server]"),
    ("[server]\nlisten = []", "server.listen: is empty; allowed: a list, each "),
    (
        "[server]\nlisten = '127.0.0.1:1'",
        'server.listen: "127.0.0.1:1" is of the wrong kind; allowed: a list, each ',
    ),
    ("[server]\nlisten = [5]", "server.listen[0]: 5 is of the wrong kind; allowed: "),
    (
        "[server]\nlisten = ['[::1]:1', '[::1]:1']",
        "is there already, as server.listen[0]; allowed: each once",
    ),
    ("[server]\nlisten = ['unix:" + "a" * 108 + "']", "server.listen[0]: "),
    (
        "[server]\nworkers = true",
        "server.workers: true is of the wrong kind; allowed: a whole number from 0 to 1024",
    ),
    (
        "[server]\nmax_connections = 0",
        "server.max_connections: 0 is out of range; allowed: a whole number from 1 ",
    ),
    ("[server]\nexpress = 'yes'", 'server.express: "yes" is of the wrong kind; allowed: true or false'),
    (
        "[server]\ntrusted = ['10.0.0.1/8']",
        'server.trusted[0]: "10.0.0.1/8" has bits set beyond its prefix; ',
    ),
    (
        "[log]\nformat = 'jsno'",
        'log.format: "jsno" is not known (did you mean "json"?); allowed: "json" or "combined"',
    ),
    ('[log]\naccess = "a\\nb"', "log.access: "),
    ("[log]\nlevel = 1979-05-27", "log.level: a date or time of day is of the wrong kind; allowed: "),
    ("[admin]", "admin.listen: is missing; allowed: "),
    (
        "[timeouts]\nkeep_alive = '5sec'",
        'timeouts.keep_alive: "5sec" is no time; allowed: a time such as "500ms"',
    ),
    (
        "[timeouts]\nfin_wait_2 = '121s'",
        'timeouts.fin_wait_2: "121s" is not 1 to 120 whole seconds; allowed: ',
    ),
    ("[timeouts]\nfin_wait_2 = 'off'", 'timeouts.fin_wait_2: "off" is not 1 to 120 whole seconds; allowed: '),
    ("[timeouts]\nlinger_kernel = '1500ms'", "timeouts.linger_kernel: "),
    (
        "[timeouts]\nsend_min_rate = '5KB/s'",
        'timeouts.send_min_rate: "5KB/s" is no rate; allowed: a rate such as ',
    ),
    (
        "[limits]\nbody = '1KB'",
        'limits.body: "1KB" is no size; allowed: bytes as a whole number, or "64KiB", ',
    ),
    ("[limits]\nhead = 'off'", 'limits.head: "off" is out of range; allowed: '),
    ("[limits]\nuser_agent = '9KiB'", 'limits.user_agent: "9KiB" is out of range; allowed: '),
    (
        "[limits]\nfields = 'off'",
        'limits.fields: "off" is of the wrong kind; allowed: a whole number from 1 to 10000',
    ),
    (
        "[upstream]\nservers = ['a:1']",
        "upstream.servers: a list is no table; allowed: [upstream.NAME] with servers ",
    ),
    ("[upstream.x]", "upstream.x.servers: is missing; allowed: a list, each "),
    ("[upstream.'a b']", 'upstream."a b": is no name of an upstream; allowed: letters, digits, _ and -'),
    ("[upstream.x]\nservers = ['a:0']", 'upstream.x.servers[0]: "a:0" has port 0; allowed: 1 to 65535'),
    (
        "[upstream.x]\nservers = ['a:1', 'a:1']",
        '"a:1" is there already, as upstream.x.servers[0]; allowed: each once',
    ),
    (
        "[[route]]\nupstream = 'lgacy'\npath = '/a'",
        'upstream "lgacy" (did you mean "legacy"?); allowed: "legacy"',
    ),
    ("[[route]]\npath = '/a'", "route[1].upstream: is missing; allowed: "),
    ("[[route]]\nupstream = 'legacy'", '"* * /" is there already, as route[0]; allowed: each once'),
    (
        "[[route]]\nupstream = 'legacy'\nlisten = '[::1]:81'",
        '"[::1]:81" is not in server.listen; allowed: "127.0',
    ),
    ("[[route]]\nupstream = 'legacy'\npath = 'a'", 'route[1].path: "a" does not begin with a slash'),
    ("[[route]]\nupstream = 'legacy'\nhost = 'a b'", 'route[1].host: "a b" is not a host name'),
    (
        "[[route]]\nupstream = 'legacy'\npath = '/a'\nrequest_id = 'a b'",
        'route[1].request_id: "a b" is no field name',
    ),
    ("rule = 5", "rule: 5 is no list of tables; allowed: [[rule]], once for each"),
    ("[rule]\nname = 'x'", "rule: a table is no list of tables; allowed: [[rule]], once for each"),
    ("[[rule]]\nuser_agent = 'x'", "rule[0].name: is missing; allowed: "),
    ("[[rule]]\nname = ''", 'rule[0].name: "" cannot be a name; allowed: '),
    (
        "[[rule]]\nname = 'x'\n[[rule]]\nname = 'x'",
        'rule[1].name: "x" is there already, as rule[0].name; allowed: ',
    ),
    (
        "[[rule]]\nname = 'x'\nuser_agent = 'a('",
        'rule[0].user_agent: missing ): a(, in rule "x"; allowed: an RE2 ',
    ),
    ("[[rule]]\nname = 'x'\nuser_agent = '(?=a)'", "rule[0].user_agent: "),
    (
        "[[rule]]\nname = 'x'\nclient = ['y']",
        "rule[0].client[0]: 'y' does not appear to be an IPv4 or IPv6 network",
    ),
    (
        "[[rule]]\nname = 'x'\nmethod = ['a b']",
        'rule[0].method[0]: "a b" is no method, in rule "x"; allowed: ',
    ),
    (
        "[[rule]]\nname = 'x'\nversion = '2'",
        'rule[0].version: "2" is not known, in rule "x"; allowed: "1.0" or "1.1"',
    ),
    (
        "[[rule]]\nname = 'x'\nlinger = 'kernal'",
        '"kernal" is not known (did you mean "kernel"?), in rule "x"; allowed',
    ),
    (
        "[[rule]]\nname = 'x'\ndeny = 200",
        'rule[0].deny: 200 is no status of a refusal, in rule "x"; allowed: ',
    ),
    ("[[rule]]\nname = 'x'\ndeny = true", "rule[0].deny: True is no status of a refusal"),
    (
        "[[rule]]\nname = 'x'\ntimeouts = 5",
        'rule[0].timeouts: 5 is no table, in rule "x"; allowed: a table with head, ',
    ),
    (
        "[[rule]]\nname = 'x'\nlimits = { bdy = 5 }",
        'rule[0].limits.bdy: unknown key (did you mean "body"?), in rule ',
    ),
]


@pytest.mark.parametrize(("text", "line"), FAULTS)
def test_a_fault_is_one_line(write: Write, text: str, line: str) -> None:
    (found,) = write.faults(f"{LEAST}\n{text}" if text.startswith("[") else f"{text}\n{LEAST}")
    assert line in found
    assert found.startswith("a.toml: ")
    assert "; allowed: " in found


HEADERS = [
    ("request_headers = { set = { Content-Length = '5' } }", "set.Content-Length: ", "frames the message"),
    (
        "request_headers = { set = { Transfer-Encoding = 'x' } }",
        "set.Transfer-Encoding: ",
        "frames the message",
    ),
    ("response_headers = { remove = ['connection'] }", "remove[0]: ", "frames the message"),
    (
        "request_headers = { set = { X-Forwarded-For = 'x' } }",
        "set.X-Forwarded-For: ",
        "written by the proxy itself",
    ),
    ("response_headers = { remove = ['Via'] }", "remove[0]: ", "written by the proxy itself"),
    ("request_headers = { remove = ['Host'] }", "remove[0]: ", "cannot be without Host"),
    ("request_headers = { set = { 'a b' = 'x' } }", 'set."a b": ', "no field name"),
    ('request_headers = { set = { A = "x\\r\\nB: y" } }', "set.A: ", "no field value"),
    ("request_headers = { set = { A = ' x' } }", "set.A: ", "no field value"),
    ("request_headers = { set = { A = 5 } }", "set.A: ", "wrong kind"),
    ("request_headers = { set = { A = 'x', a = 'y' } }", "set.a: ", "there already"),
    ("request_headers = { sett = {} }", "sett: ", "did you mean"),
    ("request_id = 'Connection'", "request_id: ", "frames the message"),
]


@pytest.mark.parametrize(("line", "key", "wrong"), HEADERS)
def test_header_fields_that_a_route_may_not_touch(write: Write, line: str, key: str, wrong: str) -> None:
    (found,) = write.faults(LEAST + line)
    assert found.startswith("a.toml: route[0].")
    assert key in found
    assert wrong in found


def test_what_is_missing_altogether_is_said(write: Write) -> None:
    upstream, route = write.faults("")
    assert upstream.startswith("a.toml: upstream: is missing; allowed: [upstream.NAME] with servers = ")
    assert route.startswith("a.toml: route: is missing; allowed: [[route]] with upstream = ")
    (route,) = write.faults("[upstream.web]\nservers = ['a:1']")
    assert 'upstream = "web"' in route


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a = = 5", "a.toml: is no TOML: Invalid value (at line 1, column 5)"),
        (b"[server]\n[server]", "a.toml: is no TOML: "),
        (b"a = '\xff'", "a.toml: is no text in UTF-8, from byte 5 on"),
    ],
)
def test_a_file_that_is_no_toml(write: Write, content: bytes, line: str) -> None:
    (write.folder / "a.toml").write_bytes(content)
    (fault,) = load("a.toml").faults
    assert str(fault).startswith(line)


def test_a_file_that_cannot_be_read(write: Write) -> None:
    assert [str(fault) for fault in load("none.toml").faults] == [
        "none.toml: cannot be read: No such file or directory"
    ]
    assert [str(fault) for fault in load(str(write.folder)).faults] == [
        f"{write.folder}: cannot be read: Is a directory"
    ]


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
    }


def test_a_fault_names_the_file_that_it_is_in(write: Write) -> None:
    write("[timeouts]\nhead = 1\n[server]\n[[rule]]\nname = 'x'\nlinger = 1", "b.toml")
    lines = write.faults("include = ['b.toml']\n[timeouts]\nkeep_alive = 2\n[[rule]]\nname = 'x'" + LEAST)
    assert [" ".join(line.split()[:2]) for line in lines] == [
        "b.toml: server:",
        "b.toml: timeouts.head:",
        "a.toml: timeouts.keep_alive:",
        "b.toml: rule[0].linger:",
        "a.toml: rule[0].name:",
    ]
    assert "as b.toml: rule[0].name" in lines[-1]


def test_includes_in_a_circle_are_refused(write: Write) -> None:
    write("include = ['c.toml']", "b.toml")
    write("include = ['./a.toml']", "c.toml")
    (line,) = write.faults("include = ['b.toml']" + LEAST)
    assert line == 'c.toml: include[0]: "./a.toml" includes this file in turn; allowed: no circles'


@pytest.mark.parametrize(
    ("include", "line"),
    [
        ("'b.toml'", 'include: "b.toml" is no list; allowed: a list of files'),
        ("[5]", "include[0]: 5 is no file; allowed: a path"),
        ("['none.toml']", 'include[0]: "none.toml" cannot be read: No such file or directory'),
        ("['broken.toml']", 'include[0]: "broken.toml" is no TOML: '),
    ],
)
def test_what_cannot_be_included(write: Write, include: str, line: str) -> None:
    write("a =", "broken.toml")
    (found,) = write.faults(f"include = {include}\n{LEAST}")
    assert found.startswith(f"a.toml: {line}")


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
    assert route.request_remove == {b"cookie", b"x-from"}
    assert route.response_set == ()
    assert route.response_remove == {b"server"}
    assert route.request_id == b"X-Request-Id"


def warnings_of(loaded: Loaded) -> list[str]:
    assert loaded.config is not None
    return [*loaded.warnings, *inert(loaded.config, plan(loaded.config))]


def test_keys_that_are_not_honoured_yet_are_named_on_one_line(write: Write) -> None:
    text = """
    [server]
    workers = 0
    [admin]
    listen = "127.0.0.1:9080"
    [timeouts]
    body_min_rate = "1KiB/s"
    [[rule]]
    name = "x"
    timeouts = { send_min_rate = "off" }
    """
    (line,) = warnings_of(load(write(LEAST + text)))
    assert line == (
        "a.toml: not honoured yet, read and left aside: "
        "timeouts.body_min_rate, rule[0].timeouts.send_min_rate, server.workers, [admin]"
    )
    assert warnings_of(load(write(LEAST))) == []


def test_an_effect_that_can_never_act_is_warned_of(write: Write) -> None:
    text = "[[rule]]\nname = 'x'\nuser_agent = 'y'\ntimeouts = { head = '5s' }\n[[rule]]\nname = 'idle'\n"
    late, idle = warnings_of(load(write(LEAST + text)))
    assert late.startswith("a.toml: rule[0].timeouts.head: never acts: ")
    assert idle.startswith("a.toml: rule[1]: never acts: ")


def test_arguments_alone_make_a_plan() -> None:
    loaded = from_arguments([], ["legacy:80", "unix:s.sock"])
    assert loaded.config is not None
    made = plan(loaded.config)
    assert [str(address) for address in made.listen] == ["127.0.0.1:8080"]
    assert [str(address) for address in made.upstreams["default"].servers] == ["legacy:80", "unix:s.sock"]
    assert (made.routes[0].upstream, made.base, made.access) == ("default", Policy(), "stdout")


def test_faults_of_arguments_name_the_option() -> None:
    listen, to = from_arguments(["8080"], ["nowhere"]).faults
    assert str(listen).startswith('--listen: "8080" has no port; allowed: ')
    assert str(to).startswith('--to: "nowhere" has no port; allowed: ')
