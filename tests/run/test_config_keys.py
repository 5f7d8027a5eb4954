"""The keys of buffers, upstreams and routes: what each becomes in the plan, and where a server is a table."""

import math
from dataclasses import fields
from pathlib import Path
from sys import maxsize

import pytest

from shieldproxy.configplan import plan
from shieldproxy.configread import keys
from shieldproxy.configupstream import HealthTable, RepairTable, UpstreamTable
from shieldproxy.core.address import Address
from shieldproxy.core.limits import Buffers
from shieldproxy.core.routes import Route
from shieldproxy.core.upstreams import HealthSpec, Repair, UpstreamSpec
from tests.kit.configs import LEAST, Write, least


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    return Write(tmp_path)


def test_what_is_not_set_has_the_defaults_of_core(write: Write) -> None:
    made = write.plan(LEAST)
    assert made.buffers == Buffers()
    assert made.upstreams["legacy"] == UpstreamSpec("legacy", (Address("127.0.0.1", 9000, ""),))
    assert made.routes == (Route("legacy"),)
    assert write.plan(LEAST + "[upstream.legacy.health]").upstreams["legacy"].health == HealthSpec()


def test_each_key_of_an_upstream_is_a_value_of_core() -> None:
    """Nothing is configured that nobody reads, and nothing in core is out of reach."""
    told = set(keys(UpstreamTable)) | {"name", "weights", "backup"}
    assert told == {each.name for each in fields(UpstreamSpec)}
    assert set(keys(HealthTable)) == {each.name for each in fields(HealthSpec)}
    assert set(keys(RepairTable)) == {each.name for each in fields(Repair)}


def test_every_key_of_an_upstream_becomes_its_value(write: Write) -> None:
    made = write.plan(
        least(
            """
            queue_length = 7
            queue_order = "lifo"
            balance = "round_robin"
            max_fails = "off"
            fail_window = "1m"
            eject = "200ms"
            eject_max = "24h"
            resolve = "off"
            retries = 0
            retry_budget = 1
            abort_upstream = ["GET", "PROPFIND"]
            http_version = "1.0"
            keep_alive = false
            max_requests = 9
            host = "app.internal:8080"
            header_case = "title"
            max_head = "4KiB"
            source = "127.0.0.7"
            health = { path = "/up?x=1", interval = "1s", timeout = "500ms", status = [200, 404], fall = 3 }
            repair = { bare_lf = false, wrong_length = false }
            """
        )
    )
    assert made.upstreams["legacy"] == UpstreamSpec(
        name="legacy",
        servers=(Address("127.0.0.1", 9000, ""),),
        queue_length=7,
        queue_order="lifo",
        balance="round_robin",
        max_fails=maxsize,
        fail_window=60.0,
        eject=0.2,
        eject_max=86_400.0,
        resolve=math.inf,
        retries=0,
        retry_budget=1.0,
        abort_upstream=frozenset((b"GET", b"PROPFIND")),
        http_version="1.0",
        keep_alive=False,
        max_requests=9,
        host=b"app.internal:8080",
        header_case="title",
        max_head=4096,
        source="127.0.0.7",
        health=HealthSpec("/up?x=1", 1.0, 0.5, (200, 404), 3),
        repair=Repair(bare_lf=False, wrong_length=False),
    )
    spec = made.upstreams["legacy"]
    assert {type(getattr(spec, each.name)) for each in fields(spec)} == {
        str,
        bytes,
        int,
        float,
        bool,
        tuple,
        frozenset,
        HealthSpec,
        Repair,
    }, "core's own types, none of the configuration's"


@pytest.mark.parametrize(
    ("servers", "main", "weights", "backup"),
    [
        ("['a:1', 'b:2']", ["a:1", "b:2"], (), []),
        ("['a:1', { address = 'b:2', weight = 3 }]", ["a:1", "b:2"], (1, 3), []),
        ("[{ address = 'a:1', weight = 2 }, { address = 'b:2', weight = 2 }]", ["a:1", "b:2"], (), []),
        ("['a:1', { address = 'b:2', backup = true }]", ["a:1"], (), ["b:2"]),
        (
            "[{ address = 'c:3', backup = true }, { address = 'a:1', weight = 5 }, 'unix:s']",
            ["a:1", "unix:s"],
            (5, 1),
            ["c:3"],
        ),
    ],
)
def test_servers_are_texts_or_tables(
    write: Write, servers: str, main: list[str], weights: tuple[int, ...], backup: list[str]
) -> None:
    text = f"[upstream.x]\nservers = {servers}\n[[route]]\nupstream = 'x'"
    spec = write.plan(text).upstreams["x"]
    assert [str(server) for server in spec.servers] == main
    assert spec.weights == weights
    assert [str(server) for server in spec.backup] == backup


def test_one_status_of_a_check_needs_no_list(write: Write) -> None:
    text = least() + "[upstream.legacy.health]\nstatus = 204"
    spec = write.plan(text).upstreams["legacy"]
    assert spec.health is not None
    assert spec.health.status == (204,)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("request_memory = '1MiB'", "request_memory", 1 << 20),
        ("response_memory = 4096", "response_memory", 4096),
        ("response_file = 'off'", "response_file", 0),
        ("response_file = 0", "response_file", 0),
        ("disk_total = 'off'", "disk_total", 0),
        ("disk_total = '1GiB'", "disk_total", 1 << 30),
        ("directory = 'spool'", "directory", "etc/spool"),
        ("directory = '/var/spool'", "directory", "/var/spool"),
        ("directory = ''", "directory", ""),
    ],
)
def test_buffers(write: Write, line: str, key: str, value: object) -> None:
    from shieldproxy.config import load

    loaded = load(write(f"{LEAST}[buffers]\n{line}", "etc/a.toml"))
    assert loaded.config is not None
    assert getattr(plan(loaded.config).buffers, key) == value


def test_routes_and_rules_say_how_bodies_go(write: Write) -> None:
    made = write.plan(
        least(
            route="""
            buffer_request = "stream"
            buffer_response = "stream"
            retry_unsafe = true
            normalise_path = true
            max_ranges = 0
            max_query_duplicates = 5
            """
        )
        + """
        [timeouts]
        body_total = "2h"
        [[rule]]
        name = "r"
        buffer_request = "whole"
        buffer_response = "whole"
        half_close = "probe"
        timeouts = { body_total = "off" }
        """
    )
    assert made.routes == (
        Route(
            "legacy",
            buffer_request="stream",
            buffer_response="stream",
            retry_unsafe=True,
            normalise_path=True,
            max_ranges=0,
            max_query_duplicates=5,
        ),
    )
    assert made.base.timeouts.body_total == 7200.0
    assert dict(made.rules[0].effects) == {
        "buffer_request": "whole",
        "buffer_response": "whole",
        "half_close": "probe",
        "timeouts.body_total": math.inf,
    }


FAULTS = [
    (
        "servers = [{ address = 'a:1', wieght = 2 }]",
        'servers[0].wieght: unknown key (did you mean "weight"?); allowed: address, weight, backup',
    ),
    ("servers = [{ weight = 3 }]", "servers[0].address: is missing; allowed: "),
    ("servers = [{ address = 'a' }]", 'servers[0].address: "a" has no port; allowed: '),
    ("servers = [{ address = 'a:1', weight = 0 }]", "servers[0].weight: 0 is out of range; allowed: "),
    ("servers = [{ address = 'a:1', backup = 1 }]", "servers[0].backup: 1 is of the wrong kind; allowed: "),
    ("servers = ['a:1', 5]", 'servers[1]: 5 is of the wrong kind; allowed: "127.0.0.1:80", '),
    ("servers = ['a:1', { address = 'a:1' }]", "servers[1]: "),
    ("servers = [{ address = 'a:1', backup = true }]", "servers: are all backups; allowed: at least one "),
    ("queue_length = -1", "queue_length: -1 is out of range; allowed: a whole number from 0 to 1000000, or "),
    ("queue_length = 'none'", 'queue_length: "none" is no whole number; allowed: '),
    ("queue_length = true", "queue_length: true is no whole number; allowed: "),
    ("queue_length = 1.5", "queue_length: 1.5 is no whole number; allowed: "),
    ("queue_order = 'filo'", 'queue_order: "filo" is not known (did you mean "fifo"?); allowed: '),
    ("balance = 'ip_hash'", 'balance: "ip_hash" is not known'),
    ("max_fails = 0", "max_fails: 0 is out of range; allowed: a whole number from 1 to 1000, or "),
    ("fail_window = 'off'", 'fail_window: "off" is out of range; allowed: a time '),
    ("eject = '0s'", 'eject: "0s" is out of range; allowed: a time such as '),
    ("eject = '10m'", "eject_max: 5m is below eject; allowed: 10m or more"),
    ("resolve = '1ms'", 'resolve: "1ms" is out of range; allowed: '),
    ("retries = 11", "retries: 11 is out of range; allowed: a whole number from 0 to 10"),
    ("retry_budget = 1.01", "retry_budget: 1.01 is no share from 0 to 1; allowed: a number from 0 to 1"),
    ("retry_budget = nan", "retry_budget: nan is no share from 0 to 1; allowed: "),
    ("retry_budget = '20%'", 'retry_budget: "20%" is no share from 0 to 1; allowed: '),
    ("abort_upstream = '*'", 'abort_upstream: "*" is of the wrong kind; allowed: a list, each a method '),
    ("abort_upstream = ['*']", 'abort_upstream[0]: "*" is no method; allowed: a method by its name, '),
    ("http_version = 1.0", 'http_version: 1.0 is of the wrong kind; allowed: "1.0" or "1.1"'),
    ("max_requests = 0", "max_requests: 0 is out of range; allowed: "),
    ("host = 'a b'", 'host: "a b" is no host; allowed: '),
    ("host = ''", 'host: "" is no host; allowed: '),
    ("host = 'http://a'", 'host: "http://a" is no host; allowed: '),
    ('host = "a\\r\\nX: y"', "host: "),
    ("header_case = 'upper'", 'header_case: "upper" is not known'),
    ("max_head = 5", "max_head: 5 is out of range; allowed: "),
    ("source = '127.0.0.1:80'", 'source: "127.0.0.1:80" is no IP address; allowed: '),
    ("source = 'localhost'", 'source: "localhost" is no IP address; allowed: '),
    ("source = '0.0.0.0'", 'source: "0.0.0.0" is no address that connections can come from; allowed: '),
    ("source = '::1'", 'source: "::1" cannot reach upstream.legacy.servers[0], which is IPv4; allowed: '),
    ("source = '10.0.0.1'\nservers = ['[::1]:80']", "servers[0], which is IPv6; allowed: "),
    ("health = true", "health: true is no table; allowed: a table with path, interval, "),
    ("health = { path = 'up' }", 'health.path: "up" is no path that can be asked for; allowed: '),
    ("health = { path = '/a b' }", 'health.path: "/a b" is no path that can be asked for; allowed: '),
    ("health = { interval = 'off' }", 'health.interval: "off" is out of range; allowed: '),
    (
        "health = { status = [] }",
        "health.status: is empty; allowed: a whole number from 200 to 599, or a list",
    ),
    ("health = { status = 99 }", "health.status: 99 is out of range; allowed: "),
    ("health = { status = [200, 'ok'] }", 'health.status[1]: "ok" is of the wrong kind; allowed: '),
    ("health = { fall = 0 }", "health.fall: 0 is out of range; allowed: a whole number from 1 to 100"),
    ("repair = { folds = 'no' }", 'repair.folds: "no" is of the wrong kind; allowed: true or false'),
    ("repair = { lengths = true }", "repair.lengths: unknown key"),
]


@pytest.mark.parametrize(("line", "fault"), FAULTS)
def test_a_fault_of_an_upstream_is_one_line(write: Write, line: str, fault: str) -> None:
    own = "" if "servers = " in line else 'servers = ["127.0.0.1:9000"]\n'
    (found,) = write.faults(f"[upstream.legacy]\n{own}{line}\n[[route]]\nupstream = 'legacy'")
    assert found.startswith("a.toml: upstream.legacy.")
    assert fault in found
    assert "; allowed: " in found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[buffers]\nrequest_memory = 'off'", 'buffers.request_memory: "off" is out of range; allowed: '),
        ("[buffers]\nresponse_memory = 0", "buffers.response_memory: 0 is out of range; allowed: bytes "),
        ("[buffers]\ndisk_total = '8GB'", 'buffers.disk_total: "8GB" is no size; allowed: '),
        ("[buffers]\ndirectory = 5", "buffers.directory: 5 is of the wrong kind; allowed: "),
        ("[buffers]\nmemory = 5", "buffers.memory: unknown key"),
        ("[timeouts]\nbody_total = 3600", "timeouts.body_total: 3600 has no unit; allowed: "),
        ("[[rule]]\nname = 'r'\nhalf_close = 'close'", 'rule[0].half_close: "close" is not known'),
        ("[[rule]]\nname = 'r'\nbuffer_request = true", "rule[0].buffer_request: true is of the wrong kind"),
        ("[[rule]]\nname = 'r'\nretry_unsafe = true", "rule[0].retry_unsafe: unknown key"),
    ],
)
def test_a_fault_elsewhere_is_one_line(write: Write, text: str, fault: str) -> None:
    (found,) = write.faults(f"{LEAST}\n{text}")
    assert fault in found
    assert "; allowed: " in found


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("buffer_request = 'hole'", 'buffer_request: "hole" is not known (did you mean "whole"?); allowed: '),
        ("max_ranges = -1", "max_ranges: -1 is out of range; allowed: a whole number from 0 to 10000, or "),
        ("max_query_duplicates = 0", "max_query_duplicates: 0 is out of range; allowed: "),
        ("normalize_path = true", 'normalize_path: unknown key (did you mean "normalise_path"?); allowed: '),
    ],
)
def test_a_fault_of_a_route_is_one_line(write: Write, line: str, fault: str) -> None:
    (found,) = write.faults(least(route=line))
    assert found.startswith("a.toml: route[0].")
    assert fault in found


def test_buffers_stand_in_the_main_file_alone(write: Write) -> None:
    write("[buffers]\ndisk_total = 'off'", "b.toml")
    (found,) = write.faults("include = ['b.toml']\n" + LEAST)
    assert found.startswith("b.toml: buffers: belongs in the main file")


def test_many_faults_of_one_upstream_are_all_told(write: Write) -> None:
    found = write.faults(
        least(
            """
            retries = -1
            eject = "1ms"
            health = { path = "x", fall = 0 }
            repair = { date = 1 }
            """,
            "max_ranges = -1",
        )
    )
    assert [line.split(": ")[1] for line in found] == [
        "upstream.legacy.eject",
        "upstream.legacy.health.path",
        "upstream.legacy.health.fall",
        "upstream.legacy.retries",
        "upstream.legacy.repair.date",
        "route[0].max_ranges",
    ]
