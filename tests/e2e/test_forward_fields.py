"""Fields on the way: what is added, rewritten, removed, and left alone (RFC 9110 7.6; RFC 7239)."""

import re
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench, Connect, Wire, wire_over
from tests.kit.answers import broken, reply
from tests.kit.client import request
from tests.kit.proxy import Proxy
from tests.kit.upstream import Upstream

EDITS = [
    {"upstream": "legacy", "request_id": "X-Request-Id"},
    {
        "upstream": "legacy",
        "path": "/edit",
        "request_headers": {"set": {"X-From": "edge", "X-Two": "2"}, "remove": ["Cookie", "x-gone"]},
        "response_headers": {
            "set": {"X-Frame-Options": "DENY", "Server": "edge"},
            "remove": ["X-Powered-By"],
        },
    },
]


@pytest.fixture(scope="module")
def edited(module_bench: Bench) -> tuple[Proxy, Upstream]:
    """A proxy that edits fields, and trusts 127.0.0.2 and 127.0.1.0/24."""
    upstream = module_bench.upstream()
    server = {"trusted": ["127.0.0.2", "127.0.1.0/24"]}
    return module_bench.proxy(upstream, route=EDITS, server=server), upstream


@pytest.fixture
def edge(edited: tuple[Proxy, Upstream], connect: Connect) -> Iterator[Wire]:
    yield from wire_over(*edited, connect)


def elements(value: bytes | None) -> list[bytes]:
    return [part.strip() for part in (value or b"").split(b",")]


def test_via_is_added_both_ways(wire: Wire) -> None:
    """RFC 9110 7.6.3: each intermediary appends its own."""
    got = wire.client().ask(request())
    assert got.get("via") == b"1.1 shieldproxy"
    assert wire.upstream.one().get("via") == b"1.1 shieldproxy"


def test_via_is_appended(wire: Wire) -> None:
    wire.upstream.then(reply(fields="Via: 1.0 inner\r\n"))
    got = wire.client().ask(request(fields=["Via: 1.0 fred, 1.1 p.example"]))
    assert b", ".join(wire.upstream.one().all("via")) == b"1.0 fred, 1.1 p.example, 1.1 shieldproxy"
    assert b", ".join(got.all("via")) == b"1.0 inner, 1.1 shieldproxy"


def test_via_names_the_version_received(wire: Wire) -> None:
    """RFC 9110 7.6.3: received-protocol is that of the message received."""
    wire.client().ask(request(version="1.0"))
    assert wire.upstream.one().get("via") == b"1.0 shieldproxy"


def test_forwarding_fields_are_written(wire: Wire) -> None:
    wire.client().ask(request(host="shop.example:8080"))
    got = wire.upstream.one()
    assert got.get("x-forwarded-for") == b"127.0.0.1"
    assert got.get("x-forwarded-proto") == b"http"
    assert got.get("x-forwarded-host") == b"shop.example:8080"
    forwarded = (got.get("forwarded") or b"").lower()
    pairs = dict(part.strip().split(b"=", 1) for part in forwarded.split(b";"))
    assert pairs[b"for"].strip(b'"') == b"127.0.0.1"
    assert pairs[b"proto"] == b"http"
    assert pairs[b"host"] == b'"shop.example:8080"'


SPOOFED = [
    "X-Forwarded-For: 1.2.3.4",
    "x-forwarded-for: 5.6.7.8",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "Forwarded: for=1.2.3.4;proto=https;host=evil.example",
]


def test_spoofed_forwarding_fields_are_rewritten(wire: Wire) -> None:
    """Never trusted from outside."""
    wire.client().ask(request(fields=SPOOFED))
    got = wire.upstream.one()
    assert got.get("x-forwarded-for") == b"127.0.0.1"
    assert got.get("x-forwarded-proto") == b"http"
    assert got.get("x-forwarded-host") == b"test.example"
    for word in (b"1.2.3.4", b"5.6.7.8", b"https", b"evil"):
        assert word not in got.raw


def test_a_trusted_peer_s_fields_are_kept_and_appended_to(edge: Wire) -> None:
    fields = [
        "X-Forwarded-For: 1.2.3.4, 127.0.1.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: shop.example",
    ]
    fields.append("Forwarded: for=1.2.3.4;proto=https")
    client = edge.client(source="127.0.0.2")
    client.ask(request(fields=fields))
    got = edge.upstream.one()
    assert elements(b", ".join(got.all("x-forwarded-for"))) == [b"1.2.3.4", b"127.0.1.7", b"127.0.0.2"]
    assert got.get("x-forwarded-proto") == b"https"
    assert got.get("x-forwarded-host") == b"shop.example"
    forwarded = elements(b", ".join(got.all("forwarded")))
    assert forwarded[0] == b"for=1.2.3.4;proto=https"
    assert b"127.0.0.2" in forwarded[-1]
    assert len(forwarded) == 2
    assert edge.log(client)[0]["client"] == "1.2.3.4"


def test_what_a_trusted_peer_leaves_out_is_filled_in(edge: Wire) -> None:
    edge.client(source="127.0.0.2").ask(request(host="shop.example", fields=["X-Forwarded-For: 1.2.3.4"]))
    got = edge.upstream.one()
    assert got.get("x-forwarded-proto") == b"http"
    assert got.get("x-forwarded-host") == b"shop.example"
    assert b"proto=http" in (got.get("forwarded") or b"")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
        ("1.2.3.4, 127.0.1.9, 127.0.1.8", "1.2.3.4"),
        ("127.0.1.9, 127.0.1.8", "127.0.1.9"),
        ("9.9.9.9, unknown, 127.0.1.8", "127.0.1.8"),
        ("9.9.9.9, _hidden", "127.0.1.5"),
        ("2001:db8::5", "2001:db8::5"),
    ],
)
def test_the_client_is_the_rightmost_untrusted(edge: Wire, value: str, client: str) -> None:
    """What stands left of it, or of a word that is no address, was said by nobody who is trusted."""
    peer = edge.client(source="127.0.1.5")
    peer.ask(request(fields=[f"X-Forwarded-For: {value}"]))
    assert edge.log(peer)[0]["client"] == client


def test_an_untrusted_peer_beside_trusted_ones(edge: Wire) -> None:
    client = edge.client(source="127.0.0.3")
    client.ask(request(fields=SPOOFED))
    assert edge.upstream.one().get("x-forwarded-for") == b"127.0.0.3"
    assert edge.log(client)[0]["client"] == "127.0.0.3"


HOP_BY_HOP = [
    "Connection: close, X-Private, te, keep-alive",
    "X-Private: 1",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: trailers",
    "Upgrade: h2c",
]


def test_hop_by_hop_fields_end_here(wire: Wire) -> None:
    """RFC 9110 7.6.1: those, and what Connection names."""
    wire.upstream.then(reply(fields="".join(f"{line}\r\n" for line in HOP_BY_HOP if "TE:" not in line)))
    got = wire.client().ask(request(fields=[*HOP_BY_HOP, "X-Public: 1"]))
    seen = wire.upstream.one()
    for message in (seen, got):
        for name in ("x-private", "keep-alive", "proxy-connection", "upgrade"):
            assert name not in message, message.raw
    assert seen.get("x-public") == b"1"
    assert seen.get("connection") in (None, b"keep-alive", b"TE", b"te")


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "Transfer-Encoding", "Via", "X-Forwarded-For", "Cookie"]
)
def test_connection_cannot_name_what_must_stay(wire: Wire, name: str) -> None:
    """A client cannot make the proxy drop framing or its own fields (RFC 9110 7.6.1)."""
    client = wire.client()
    got = client.ask(request(method="POST", fields=[f"Connection: {name}"], body=b"hello"))
    assert got.status in (200, 400)
    if got.status == 200:
        seen = wire.upstream.one()
        assert seen.body == b"hello"
        for kept in ("host", "via", "x-forwarded-for", "forwarded"):
            assert len(seen.all(kept)) == 1


def test_end_to_end_fields_keep_their_order_and_case(wire: Wire) -> None:
    fields = [
        "accept: */*",
        "X-b: 1",
        "X-A: 2",
        "Cookie: a=b; c=d",
        "X-b: 3",
        'ETag: "x"',
        "X-Empty:",
        "Date: now",
    ]
    wire.upstream.then(
        reply(fields="".join(f"{line}\r\n" for line in [*fields, "Set-Cookie: a", "Set-Cookie: b"]))
    )
    got = wire.client().ask(request(fields=fields))
    wanted = [tuple(part.strip().encode() for part in line.split(":", 1)) for line in fields]
    names = {name for name, _ in wanted}
    assert [field for field in wire.upstream.one().fields if field[0] in names] == wanted
    assert [field for field in got.fields if field[0] in names] == wanted
    assert got.all("set-cookie") == [b"a", b"b"]


def test_date_is_added_where_it_is_missing(wire: Wire) -> None:
    """RFC 9110 6.6.1: a recipient with a clock must record it when it forwards downstream."""
    wire.upstream.then(reply(), reply(fields="Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n"))
    client = wire.client()
    first = client.ask(request())
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", first.get("date") or b"")
    assert client.ask(request()).get("date") == b"Tue, 15 Nov 1994 08:12:31 GMT"


def test_server_and_other_fields_stay(wire: Wire) -> None:
    wire.upstream.then(reply(fields="Server: old/1.0\r\nX-Powered-By: x\r\nAge: 5\r\n"))
    got = wire.client().ask(request())
    assert (got.get("server"), got.get("x-powered-by"), got.get("age")) == (b"old/1.0", b"x", b"5")


def test_edits_of_a_route(edge: Wire) -> None:
    edge.upstream.on("/edit/a", reply(fields="X-Powered-By: x\r\nServer: old\r\nX-Frame-Options: ALLOW\r\n"))
    got = edge.client().ask(request("/edit/a", fields=["cookie: a", "X-Gone: b", "X-From: me", "Accept: c"]))
    seen = edge.upstream.one()
    assert seen.get("x-from") == b"edge"
    assert seen.get("x-two") == b"2"
    assert "cookie" not in seen
    assert "x-gone" not in seen
    assert seen.get("accept") == b"c"
    assert got.get("x-frame-options") == b"DENY"
    assert got.get("server") == b"edge"
    assert "x-powered-by" not in got
    assert got.body == b"hello"


def test_another_route_is_not_edited(edge: Wire) -> None:
    got = edge.client().ask(request("/other", fields=["Cookie: a"]))
    assert edge.upstream.one().get("cookie") == b"a"
    assert "x-from" not in edge.upstream.requests[0]
    assert "x-frame-options" not in got


def test_answers_of_ours_have_the_request_s_id_too(bench: Bench, connect: Connect) -> None:
    """It is these that people report: what failed at the server, and what did not get there."""
    upstream = bench.upstream()
    upstream.then(broken())
    rule = {"name": "no", "why": "-", "path": "/no", "deny": 403}
    proxy = bench.proxy(upstream, route=EDITS, limits={"body": "1KiB"}, rule=[rule])
    asked = (request("/gone", method="POST", body=b"x"), request("/long", method="POST", body=bytes(2000)))
    for status, asking in zip((502, 413, 403), (*asked, request("/no")), strict=True):
        client = connect(proxy)
        got = client.ask(asking, "GET")
        (line,) = proxy.log_lines(1, port=client.port)
        assert (got.status, got.get("x-request-id")) == (status, line["id"].encode())
        assert line["upstream"] == "legacy"


def test_request_ids(edge: Wire) -> None:
    """One fresh id for each request: to the upstream, to the client, into the log; not the client's own."""
    client = edge.client()
    first = client.ask(request("/1", fields=["X-Request-Id: mine"]))
    second = client.ask(request("/2"))
    ids = [got.get("x-request-id") for got in (first, second)]
    assert len(set(ids)) == 2
    assert b"mine" not in ids
    assert [seen.get("x-request-id") for seen in edge.upstream.wait_requests(2)] == ids
    assert [line["id"].encode() for line in edge.log(client, 2)] == ids
    assert all(re.fullmatch(rb"[0-9A-Za-z_-]{8,64}", value or b"") for value in ids)
