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


EVERYTHING = """
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


def test_every_key_of_an_upstream_becomes_its_value(write: Write) -> None:
    made = write.plan(least(EVERYTHING))
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
    own = {str, bytes, int, float, bool, tuple, frozenset, HealthSpec, Repair}
    assert {type(getattr(spec, each.name)) for each in fields(spec)} == own, "none of the configuration's"


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


def test_a_table_in_an_upstream_is_one_value_of_it(write: Write) -> None:
    write(
        "[upstream.legacy]\nretries = 3\nhealth = { path = '/a', fall = 5 }\nrepair = { date = false }",
        "b.toml",
    )
    spec = write.plan("include = ['b.toml']\n" + least("health = { rise = 4 }")).upstreams["legacy"]
    assert spec.health == HealthSpec(rise=4)
    assert (spec.retries, spec.repair) == (3, Repair(date=False))
