"""Rules: each kind of condition, seen by its effect on the wire and by its name in the log."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench, Connect, Wire, wire_over
from tests.kit.client import request
from tests.kit.proxy import Proxy
from tests.kit.upstream import Upstream

RULES = [
    {"name": "by-agent", "user_agent": "Mozilla/2", "deny": 403},
    {"name": "by-agent-anchored", "user_agent": "^Exact$", "deny": 403},
    {"name": "by-agent-bytes", "user_agent": r"caf\xe9", "deny": 403},
    {"name": "by-client", "client": ["127.0.2.0/24", "::1/128"], "deny": 403},
    {"name": "by-method", "method": ["PROPFIND"], "deny": 403},
    {"name": "by-path", "path": "/private", "deny": 403},
    {"name": "by-host", "host": "denied.example", "deny": 403},
    {"name": "by-host-suffix", "host": "*.wild.example", "deny": 403},
    {"name": "by-version", "version": "1.0", "path": "/modern", "deny": 403},
    {"name": "by-two", "method": ["POST"], "path": "/read-only", "deny": 403},
    {"name": "order-1", "path": "/order", "deny": 410},
    {"name": "order-2", "path": "/order/late", "deny": 451},
    {"name": "everything-about", "path": "/all", "method": ["GET"], "host": "all.example", "version": "1.1",
     "user_agent": "All", "client": ["127.0.0.0/24"], "deny": 403},
]  # fmt: skip


@pytest.fixture(scope="module")
def ruled(module_bench: Bench) -> tuple[Proxy, Upstream]:
    """One proxy with a rule for each kind of condition."""
    upstream = module_bench.upstream()
    server = {"trusted": ["127.0.3.0/24"]}
    return module_bench.proxy(upstream, rule=RULES, server=server), upstream


@pytest.fixture
def rules(ruled: tuple[Proxy, Upstream], connect: Connect) -> Iterator[Wire]:
    yield from wire_over(*ruled, connect)


CASES = [
    pytest.param(request(fields=["User-Agent: Mozilla/2.02 (X11)"]), "by-agent", id="user agent"),
    pytest.param(request(fields=["user-agent:Some Mozilla/2"]), "by-agent", id="user agent, unanchored"),
    pytest.param(request(fields=["User-Agent: Mozilla/5.0"]), "", id="another user agent"),
    pytest.param(request(fields=["User-Agent: mozilla/2"]), "", id="user agent in another case"),
    pytest.param(request(), "", id="no user agent"),
    pytest.param(request(fields=["User-Agent: \xff Mozilla/2"]), "by-agent", id="hostile bytes around it"),
    pytest.param(request(fields=["User-Agent: a caf\xe9 b"]), "by-agent-bytes", id="a pattern of latin-1"),
    pytest.param(request(fields=["User-Agent: Exact"]), "by-agent-anchored", id="anchored"),
    pytest.param(request(fields=["User-Agent: Exactly"]), "", id="anchored, longer"),
    pytest.param(request(method="PROPFIND"), "by-method", id="method"),
    pytest.param(request(method="PROPPATCH"), "", id="another method"),
    pytest.param(request("/private"), "by-path", id="path"),
    pytest.param(request("/private/"), "by-path", id="path with slash"),
    pytest.param(request("/private/a/b"), "by-path", id="below the path"),
    pytest.param(request("/private?a"), "by-path", id="path with query"),
    pytest.param(request("/privateer"), "", id="path, not a whole segment"),
    pytest.param(request("/a/private"), "", id="path elsewhere"),
    pytest.param(request("/a?/private"), "", id="path in the query"),
    pytest.param(request("http://test.example/private"), "by-path", id="path in absolute form"),
    pytest.param(request(host="denied.example"), "by-host", id="host"),
    pytest.param(request(host="DENIED.example:8080"), "by-host", id="host in another case, with port"),
    pytest.param(request(host="sub.denied.example"), "", id="below an exact host"),
    pytest.param(request(host="a.wild.example"), "by-host-suffix", id="host suffix"),
    pytest.param(request(host="a.b.wild.example"), "by-host-suffix", id="host suffix, two labels"),
    pytest.param(request(host="wild.example"), "", id="the suffix itself"),
    pytest.param(request(host="awild.example"), "", id="the suffix without a dot"),
    pytest.param(request("http://denied.example/", host="a.example"), "by-host", id="host in absolute form"),
    pytest.param(request("/modern", version="1.0"), "by-version", id="version"),
    pytest.param(request("/modern"), "", id="another version"),
    pytest.param(request("/read-only", method="POST", body=b"a"), "by-two", id="two conditions"),
    pytest.param(request("/read-only"), "", id="one of two conditions"),
    pytest.param(request("/write", method="POST", body=b"a"), "", id="the other of two"),
    pytest.param(
        request("/all", host="all.example", fields=["User-Agent: All"]),
        "everything-about",
        id="all conditions",
    ),
    pytest.param(request("/all", host="all.example", fields=["User-Agent: Al"]), "", id="all but one"),
]


@pytest.mark.parametrize(("data", "name"), CASES)
def test_a_condition(rules: Wire, data: bytes, name: str) -> None:
    client = rules.client()
    got = client.ask(data)
    line = rules.log(client)[0]
    if name:
        assert got.status == 403
        assert line["rules"] == [name]
        assert (line["outcome"], line["phase"]) == ("refused", "policy")
        assert not rules.upstream.requests
    else:
        assert got.status == 200
        assert not line.get("rules")


@pytest.mark.parametrize(
    ("source", "denied"), [("127.0.2.1", True), ("127.0.2.254", True), ("127.0.1.255", False)]
)
def test_by_client(rules: Wire, source: str, denied: bool) -> None:
    """A rule of a client alone holds from accept on: it may be refused with or without an answer."""
    client = rules.client(source=source)
    client.send_or_fail(request())
    if denied:
        got = client.response()
        assert got.status == 403
        assert got.persistent or client.ending() == "fin"
    else:
        assert client.response().status == 200


def test_by_client_behind_a_trusted_peer(rules: Wire) -> None:
    """The rules see the client that a trusted peer names."""
    got = rules.client(source="127.0.3.1").ask(request(fields=["X-Forwarded-For: 127.0.2.9"]))
    assert got.status == 403
    assert rules.client(source="127.0.3.1").ask(request(fields=["X-Forwarded-For: 10.0.0.1"])).status == 200
    assert rules.client(source="127.0.0.1").ask(request(fields=["X-Forwarded-For: 127.0.2.9"])).status == 200


def test_later_rules_win(rules: Wire) -> None:
    client = rules.client()
    assert client.ask(request("/order")).status == 410
    other = rules.client()
    assert other.ask(request("/order/late")).status == 451
    assert rules.log(other)[0]["rules"] == ["order-1", "order-2"]


def test_each_request_of_a_connection_is_judged(rules: Wire) -> None:
    """The policy belongs to the request, not to the connection."""
    client = rules.client()
    assert client.ask(request("/a", fields=["User-Agent: Mozilla/5"])).status == 200
    got = client.ask(request("/a", fields=["User-Agent: Mozilla/2"]))
    assert got.status == 403
    if got.persistent:
        assert client.ask(request("/a")).status == 200


def test_a_denied_upload_is_refused_whole(rules: Wire) -> None:
    """The 403 reaches a client that is still sending its body."""
    client = rules.client(rcvbuf=4096)
    client.send(request("/private", method="POST", fields=["Content-Length: 3000000"]))
    for _ in range(40):
        assert client.send_or_fail(b"x" * 10_000)
    got = client.response()
    assert got.status == 403
    assert got.error == "http_request_denied"
    assert client.ending() == "fin"
    assert not rules.upstream.links
