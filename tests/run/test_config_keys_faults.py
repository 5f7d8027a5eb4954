"""What is refused of the keys of buffers, upstreams and routes, and how that is told."""

from pathlib import Path

import pytest

from tests.kit.configs import LEAST, Write, least


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    return Write(tmp_path)


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
