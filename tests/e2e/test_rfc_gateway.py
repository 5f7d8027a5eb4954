"""What a gateway does itself, by the section of RFC 9110: Connection, Via, Upgrade, Expect, own answers."""

import email.utils
import re
import time

import pytest

from tests.e2e.conftest import Bench, Connect, Wire
from tests.kit.answers import reply
from tests.kit.client import request
from tests.kit.judge import own
from tests.kit.proxy import free_address

EXPECT = ["Expect: 100-continue", "Content-Length: 5"]
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade"]


def test_a_proxy_before_itself_does_not_go_round_for_ever(bench: Bench, connect: Connect) -> None:
    """RFC 9110 7.6: a message that comes back is recognised by its Via: 508 after eight rounds at most."""
    address = free_address()
    upstream = {"itself": {"servers": [address], "max_connections": 30}}
    proxy = bench.proxy(upstream, server={"listen": [address]})
    got = connect(proxy).ask(request())
    assert (got.status, got.error) == (508, "proxy_loop_detected")
    lines = proxy.log_lines(len(got.all("via")) + 1)
    assert [line["status"] for line in lines] == [508] * len(lines)
    assert 1 < len(lines) <= 9


@pytest.mark.parametrize("value", ["X-Hop", "x-hop, ,x-other", "close, X-HOP", ",,X-Hop,,"])
def test_what_connection_names_goes_with_it(wire: Wire, value: str) -> None:
    """RFC 9110 7.6.1, 5.6.1.2: with empty elements too, in both directions; then Connection itself."""
    lines = [f"Connection: {value}", "X-Hop: 1", "x-hop: 2", "X-Stays: 3"]
    wire.upstream.then(reply(fields="".join(f"{line}\r\n" for line in lines)))
    got = wire.client().ask(request(fields=lines))
    seen = wire.upstream.one()
    for message in (got, seen):
        assert "x-hop" not in message
        assert message.get("x-stays") == b"3"
    assert "connection" not in seen
    assert got.get("connection") in (None, b"close")


def test_fields_of_one_connection_go_though_nobody_named_them(wire: Wire) -> None:
    """RFC 9110 7.6.1: Keep-Alive, Proxy-Connection, TE, Upgrade and Transfer-Encoding end here."""
    lines = ["Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Upgrade: h2c"]
    wire.upstream.then(reply(fields="".join(f"{line}\r\n" for line in lines)))
    got = wire.client().ask(request(fields=lines))
    for message in (got, wire.upstream.one()):
        assert not {"keep-alive", "proxy-connection", "te", "upgrade", "connection"} & set(message.names())


def test_via_of_interim_responses_and_of_both_versions(wire: Wire) -> None:
    """RFC 9110 7.6.3: in each message, with the version that it came in; members are not combined."""
    hints = b"HTTP/1.1 103 Early Hints\r\nVia: 1.1 a\r\nLink: <a>\r\n\r\n"
    wire.upstream.then(hints + reply(fields="Via: 1.1 a, 1.1 b\r\n", version="1.0"))
    got = wire.client().ask(request(fields=["Via: 1.0 c (x), 1.1 d", "Via: 1.0 e"]))
    assert got.interims[0].all("via") == [b"1.1 a", b"1.1 shieldproxy"]
    assert got.all("via") == [b"1.1 a, 1.1 b", b"1.0 shieldproxy"]
    assert wire.upstream.one().all("via") == [b"1.0 c (x), 1.1 d", b"1.0 e", b"1.1 shieldproxy"]


def test_via_names_no_host(wire: Wire) -> None:
    """RFC 9110 7.6.3: a pseudonym stands for this host, to both sides."""
    got = wire.client().ask(request())
    for message in (got, wire.upstream.one()):
        assert re.fullmatch(rb"1\.[01] [a-z]+", message.get("via") or b"")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_nobody_switches_protocols(wire: Wire, version: str) -> None:
    """RFC 9110 7.8, 15.2.2: Upgrade is ignored, of HTTP/1.0 too, and a 101 that nobody asked for is a 502."""
    wire.may_reset = True
    client = wire.client()
    assert client.ask(request(version=version, fields=UPGRADE)).status == 200
    assert "upgrade" not in wire.upstream.one()
    wire.upstream.then(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    got = wire.client().ask(request(version=version, fields=UPGRADE))
    assert (got.status, got.interims) == (502, [])


def test_expect_comes_before_upgrade(wire: Wire) -> None:
    """RFC 9110 7.8: who sends both gets the 100 first (and here nothing of a 101)."""
    client = wire.client()
    client.send(request(method="POST", fields=[*EXPECT, *UPGRADE]))
    assert client.interim().status == 100
    client.send(b"hello")
    got = client.response()
    assert (got.status, got.interims) == (200, [])


def test_a_100_does_not_wait_for_content_and_is_followed_by_a_final_status(wire: Wire) -> None:
    """RFC 9110 10.1.1: neither is there more than one."""
    client = wire.client()
    client.send(request(method="PUT", fields=EXPECT))
    assert client.interim().raw == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert client.quiet(0.1)
    got = client.send(b"hello").response()
    assert (got.status, got.interims) == (200, [])


def test_a_426_of_the_server_is_passed_on(wire: Wire) -> None:
    """RFC 9110 15.5.22, 7.8: with its Upgrade, which says what it is about."""
    wire.upstream.then(
        reply(status="426 Upgrade Required", fields="Upgrade: HTTP/3\r\nConnection: upgrade\r\n")
    )
    client = wire.client()
    got = client.ask(request())
    assert (got.status, got.body) == (426, b"hello")
    assert (got.all("upgrade"), got.all("connection")) == ([b"HTTP/3"], [b"upgrade"])
    assert client.ask(request("/again")).status == 200


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/", [*EXPECT, "Host: another.example"], 400),
        ("/", ["Expect: 100-continue", "Content-Length: 99999999999"], 413),
        ("https://test.example/", EXPECT, 421),
        ("/", ["Expect: 100-continue, tea", "Content-Length: 5"], 417),
    ],
)
def test_what_the_head_decides_is_said_at_once(
    wire: Wire, target: str, fields: list[str], status: int
) -> None:
    """RFC 9110 10.1.1, 15.5.18: a final status in place of the 100, without a byte of the content."""
    got = wire.client().ask(request(target, method="POST", fields=fields))
    assert (got.status, got.interims, got.get("connection")) == (status, [], b"close")
    assert not wire.upstream.links


@pytest.mark.parametrize("value", ["100-Continue", ",100-continue,", "100-continue, 100-continue"])
def test_an_expectation_in_a_list(wire: Wire, value: str) -> None:
    """RFC 9110 10.1.1, 5.6.1.2: its name knows no case, empty elements are ignored."""
    client = wire.client()
    client.send(request(method="POST", fields=[f"Expect: {value}", "Content-Length: 5"]))
    assert client.interim().status == 100
    assert client.send(b"hello").response().status == 200


def test_the_100_of_a_server_that_was_not_asked_for_one(wire: Wire) -> None:
    """RFC 9110 15.2, 15.2.1: forwarded to a client that has had none."""
    wire.upstream.then(b"HTTP/1.1 100 Continue\r\n\r\n" + reply())
    got = wire.client().ask(request(method="POST", body=b"hello"))
    assert [part.status for part in got.interims] == [100]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (request(method="TRACE"), 405),
        (request(method="CONNECT"), 405),
        (request("https://a/"), 421),
        (request(method="POST", fields=["Transfer-Encoding: a, chunked"]), 501),
    ],
)
def test_an_answer_of_ours(wire: Wire, data: bytes, status: int) -> None:
    """RFC 9110 5.6.7, 6.6.1, 8.3, 10.2.1, 12.5.5, 15.5, 15.6: dated now, typed, explained; a 405 has Allow.

    It has no Vary, no Server, and no challenge that nobody could answer.
    """
    got = wire.client().ask(data)
    own(got, status)
    date = email.utils.parsedate_to_datetime((got.get("date") or b"").decode())
    assert abs(date.timestamp() - time.time()) < 5
    assert str(status).encode() in got.body
    assert len(got.body.splitlines()) >= 2
    assert (got.get("allow") is not None) == (status == 405)
    assert not {"vary", "server", "www-authenticate", "proxy-authenticate", "upgrade"} & set(got.names())


@pytest.mark.parametrize("target", ["*", "/", "http://test.example"])
def test_options_that_ends_here_says_what_is_served(wire: Wire, target: str) -> None:
    """RFC 9110 7.6.2, 9.3.7: answered by us at Max-Forwards: 0, with Allow."""
    got = wire.client().ask(request(target, method="OPTIONS", fields=["Max-Forwards: 0"]))
    assert (got.status, got.body) == (200, b"")
    assert {b"GET", b"HEAD", b"OPTIONS"} <= set((got.get("allow") or b"").split(b", "))
    assert not wire.upstream.links


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "PROPFIND", "M-SEARCH", "patch", "X" * 300])
def test_every_method_is_passed_on(wire: Wire, method: str) -> None:
    """RFC 9110 9.1, RFC 9112 3: known here or not; what the server does not know, it says itself."""
    wire.upstream.then(reply(b"", status="501 Not Implemented"))
    assert wire.client().ask(request(method=method), method).status == 501
    assert wire.upstream.one().method == method.encode()


def test_requests_of_one_connection_have_nothing_to_do_with_each_other(wire: Wire) -> None:
    """RFC 9110 3.3: credentials, hosts and expectations of one are not those of the next."""
    client = wire.client()
    client.ask(request("/1", host="one.example", fields=["Authorization: a", "X-Forwarded-For: 1.2.3.4"]))
    client.ask(request("/2", host="two.example"))
    first, second = wire.upstream.wait_requests(2)
    assert (first.get("host"), second.get("host")) == (b"one.example", b"two.example")
    assert first.get("authorization") == b"a"
    assert "authorization" not in second
