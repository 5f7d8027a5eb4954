"""Whatever stands in a file, reading it gives faults of one line each, or a plan that can be served by."""

import datetime as dt
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shieldproxy.config import assemble
from shieldproxy.configfiles import Document
from shieldproxy.configplan import plan
from shieldproxy.configread import Faults, keys
from shieldproxy.configschema import EVERY, TABLES
from shieldproxy.configupstream import ServerEntry
from shieldproxy.configwarnings import pointless
from shieldproxy.core.routes import RouteTable
from shieldproxy.core.rulebook import RuleBook

plain = st.one_of(
    st.sampled_from(
        ["5s", "500ms", "off", "64KiB", "500B/s", "127.0.0.1:80", "[::1]:80", "unix:/a", "legacy"]
    ),
    st.sampled_from(
        ["10.0.0.0/8", "::1", "*.example", "/a", "1.0", "GET", "ack", "X-A", "json", "a(", "(?i)a+"]
    ),
    st.text(max_size=8),
    st.sampled_from(["stream", "whole", "probe", "title", "client_hash", "lifo", "a:1", "b:2", "unix:s"]),
    st.sampled_from([0.2, 1, 200, 1 << 40, 1 << 63, -(1 << 63), float("nan"), float("inf"), True]),
    st.integers(-2, 500),
    st.floats(),
    st.booleans(),
    st.dates(max_value=dt.date(2030, 1, 1)),
)
known_names = st.sampled_from(
    sorted({*keys(ServerEntry), *(key for table in EVERY.values() for key in keys(table))})
)
anything = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(known_names | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def table(name: str) -> st.SearchStrategy[dict[str, object]]:
    """A table whose keys are mostly known, and whose values are mostly not what they should be."""
    return st.dictionaries(
        st.sampled_from(sorted(keys(TABLES[name]))) | st.text(max_size=5), anything, max_size=5
    )


documents = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: table(name) | anything
            for name in ("server", "log", "admin", "timeouts", "limits", "buffers")
        },
        "upstream": st.dictionaries(st.just("legacy") | st.text(max_size=5), table("upstream"), max_size=2)
        | anything,
        "route": st.lists(table("route"), max_size=3) | anything,
        "rule": st.lists(table("rule"), max_size=3) | anything,
        "include": anything,
        "other": anything,
    },
)


@settings(max_examples=200, deadline=None)
@given(documents)
def test_any_document_gives_faults_or_a_plan(data: dict[str, object]) -> None:
    loaded = assemble([Document("a.toml", data, main=True)], Faults())
    assert (loaded.config is None) == bool(loaded.faults)
    assert all(str(fault).isprintable() for fault in loaded.faults)
    if loaded.config is not None:
        made = plan(loaded.config)
        pointless(loaded.config, made)
        RuleBook(made.rules, made.base)
        RouteTable(made.routes)


weights = st.integers(1, 9)
good_server = st.sampled_from(["a:1", "127.0.0.1:2", "unix:s"]) | st.fixed_dictionaries(
    {"address": st.sampled_from(["b:1", "127.0.0.1:3", "unix:t"])},
    optional={"weight": weights, "backup": st.booleans()},
)
spans = st.sampled_from(["100ms", "1.5s", "5m"])
counts = st.sampled_from([1, 7, 1000, "off"])
switches = st.booleans()
good_upstream = st.fixed_dictionaries(
    {"servers": st.lists(good_server, max_size=3).map(lambda more: ["first:1", *more])},
    optional={
        "queue_length": counts | st.just(0),
        "queue_order": st.sampled_from(["adaptive", "fifo", "lifo"]),
        "balance": st.sampled_from(["least_connections", "round_robin", "client_hash"]),
        "max_fails": counts,
        "fail_window": spans,
        "eject": spans,
        "resolve": spans | st.just("off"),
        "retries": st.integers(0, 10),
        "retry_budget": st.floats(0, 1) | st.sampled_from([0, 1]),
        "abort_upstream": st.lists(st.sampled_from(["GET", "POST", "X-OWN"]), max_size=3),
        "http_version": st.sampled_from(["1.0", "1.1"]),
        "keep_alive": switches,
        "max_requests": counts,
        "host": st.sampled_from(["a", "a.example:80", "[::1]", "[::1]:8080"]),
        "header_case": st.sampled_from(["as-is", "title"]),
        "max_head": st.sampled_from([64, "1KiB", "1MiB", "off"]),
        "source": st.just("127.0.0.7"),
        "health": st.fixed_dictionaries(
            {},
            optional={
                "path": st.sampled_from(["/", "/up?a=b"]),
                "interval": spans,
                "timeout": spans,
                "status": st.integers(200, 599) | st.lists(st.integers(200, 599), min_size=1),
                "fall": weights,
                "rise": weights,
            },
        ),
        "repair": st.fixed_dictionaries({}, optional={"date": switches, "wrong_length": switches}),
    },
)
good_route = st.fixed_dictionaries(
    {"upstream": st.just("x")},
    optional={
        "buffer_request": st.sampled_from(["whole", "stream"]),
        "buffer_response": st.sampled_from(["whole", "stream"]),
        "retry_unsafe": switches,
        "normalise_path": switches,
        "max_ranges": counts | st.just(0),
        "max_query_duplicates": counts,
    },
)


@settings(max_examples=150, deadline=None)
@given(good_upstream, good_route)
def test_an_upstream_in_order_is_served_by(upstream: dict[str, Any], route: dict[str, object]) -> None:
    addresses = [one if isinstance(one, str) else one["address"] for one in upstream["servers"]]
    assume(len(set(addresses)) == len(addresses))
    data: dict[str, object] = {"upstream": {"x": upstream}, "route": [route]}
    loaded = assemble([Document("a.toml", data, main=True)], Faults())
    assert loaded.faults == ()
    assert loaded.config is not None
    made = plan(loaded.config)
    spec = made.upstreams["x"]
    assert sorted(map(str, [*spec.servers, *spec.backup])) == sorted(addresses)
    assert not spec.weights or len(spec.weights) == len(spec.servers)
    assert hash(spec) == hash(plan(loaded.config).upstreams["x"]), "values of core: frozen, to be compared"
    assert len(pointless(loaded.config, made)) <= len(upstream) + len(route) + 3


good_rule = st.fixed_dictionaries(
    {},
    optional={
        "user_agent": st.sampled_from(["Mozilla/2", "^a+$", "(?i)msie"]),
        "client": st.lists(st.sampled_from(["10.0.0.0/8", "::1", "192.0.2.7"]), max_size=2),
        "method": st.lists(st.sampled_from(["GET", "POST"]), max_size=2),
        "path": st.sampled_from(["/", "/a/b"]),
        "host": st.sampled_from(["*", "*.example", "a.example"]),
        "version": st.sampled_from(["1.0", "1.1"]),
        "keep_alive": st.booleans(),
        "linger": st.sampled_from(["ack", "timed", "kernel", "off"]),
        "deny": st.sampled_from([403, "off"]),
        "buffer_request": st.sampled_from(["whole", "stream"]),
        "half_close": st.sampled_from(["serve", "abort", "probe"]),
        "timeouts": st.fixed_dictionaries({}, optional={"head": st.sampled_from(["1s", "off"])}),
        "limits": st.fixed_dictionaries({}, optional={"body": st.sampled_from([0, "1MiB", "off"])}),
    },
)


@settings(max_examples=100, deadline=None)
@given(st.lists(good_rule, max_size=5))
def test_rules_in_order_are_served_by(rules: list[dict[str, object]]) -> None:
    data: dict[str, object] = {
        "upstream": {"x": {"servers": ["a:1"]}},
        "route": [{"upstream": "x"}],
        "rule": [{"name": f"r{index}", **rule} for index, rule in enumerate(rules)],
    }
    loaded = assemble([Document("a.toml", data, main=True)], Faults())
    assert loaded.faults == ()
    assert loaded.config is not None
    made = plan(loaded.config)
    names = [rule.name for rule in RuleBook(made.rules, made.base).rules]
    assert names == [f"r{index}" for index in range(len(rules))]
