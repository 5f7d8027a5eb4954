"""Whatever stands in a file, reading it gives faults of one line each, or a plan that can be served by."""

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st

from shieldproxy.config import assemble
from shieldproxy.configfiles import Document
from shieldproxy.configplan import plan
from shieldproxy.configread import Faults, keys
from shieldproxy.configschema import TABLES
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
    st.integers(-2, 500),
    st.floats(),
    st.booleans(),
    st.dates(max_value=dt.date(2030, 1, 1)),
)
known_names = st.sampled_from(sorted({key for table in TABLES.values() for key in keys(table)}))
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
        **{name: table(name) | anything for name in ("server", "log", "admin", "timeouts", "limits")},
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
