"""What is refused in a configuration, and how that is told: file, key, what is wrong, what is allowed."""

from pathlib import Path

import pytest

from shieldproxy.config import from_arguments, load
from tests.kit.configs import LEAST, Write


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    return Write(tmp_path)


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
        "[[route]]\npath = '/a'\nupstream = 'legacy'\n[[route]]\npath = '/a/'\nupstream = 'legacy'",
        '"* * /a" is there already, as route[1]; allowed: each once',
    ),
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
        'rule[0].user_agent: "a(": missing ): a(, in rule "x"; allowed: an RE2 ',
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
    ("[[rule]]\nname = 'x'\ndeny = 401", "rule[0].deny: 401 needs a WWW-Authenticate field"),
    ("[[rule]]\nname = 'x'\ndeny = true", "rule[0].deny: true is no status of a refusal"),
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
    ("request_headers = { set = { Host = 'a b' } }", "set.Host: ", "is no host"),
    ("request_headers = { set = { 'a b' = 'x' } }", 'set."a b": ', "no field name"),
    ('request_headers = { set = { A = "x\\r\\nB: y" } }', "set.A: ", "no field value"),
    ("request_headers = { set = { A = ' x' } }", "set.A: ", "no field value"),
    ("request_headers = { set = { A = 5 } }", "set.A: ", "wrong kind"),
    ("request_headers = { set = { A = 'x', a = 'y' } }", "set.a: ", "there already"),
    ("request_headers = { sett = {} }", "sett: ", "did you mean"),
    ("request_id = 'Connection'", "request_id: ", "frames the message"),
    ("request_id = 'Host'", "request_id: ", "a meaning of its own"),
    ("request_id = 'X-Forwarded-For'", "request_id: ", "a meaning of its own"),
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


def test_faults_of_arguments_name_the_option() -> None:
    listen, to = from_arguments(["8080"], ["nowhere"]).faults
    assert str(listen).startswith('--listen: "8080" has no port; allowed: ')
    assert str(to).startswith('--to: "nowhere" has no port; allowed: ')


@pytest.mark.parametrize("listen", ["8080", "localhost:8080", "[::1:80", "a:99999", ":80"])
def test_what_is_allowed_for_listen_has_no_name(write: Write, listen: str) -> None:
    [line] = write.faults(f"[server]\nlisten = ['{listen}']\n" + LEAST)
    assert line.endswith('"127.0.0.1:8080", "[::1]:8080" or "unix:/path"')
    assert "name:80" not in line


def test_a_fault_of_a_pattern_quotes_it(write: Write) -> None:
    [line] = write.faults("[[rule]]\nname = 'a'\nuser_agent = 'Old(?=x)'\n" + LEAST)
    assert '"Old(?=x)": ' in line


def test_paths_are_told_without_the_way_there_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cfg").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "cfg" / "a.toml").write_text('include = ["../shared/b.toml"]\n' + LEAST)
    (tmp_path / "shared" / "b.toml").write_text("[timeouts]\nhead = 5\n")
    assert [fault.file for fault in load("cfg/a.toml").faults] == ["shared/b.toml"]


def test_the_way_back_from_a_linked_folder_is_that_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "far" / "cfg").mkdir(parents=True)
    (tmp_path / "cfg").symlink_to("far/cfg")
    (tmp_path / "far" / "cfg" / "a.toml").write_text('include = ["../b.toml"]\n' + LEAST)
    (tmp_path / "far" / "b.toml").write_text("[timeouts]\nhead = 5\n")
    assert [fault.file for fault in load("cfg/a.toml").faults] == ["cfg/../b.toml"]
