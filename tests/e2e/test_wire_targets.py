"""Targets, methods and Hosts (RFC 9112 3.2; RFC 9110 7.2, 7.6.2, 7.8, 9.3)."""

import pytest

from tests.e2e.conftest import Wire
from tests.kit.client import request


@pytest.mark.parametrize(
    ("target", "origin", "host"),
    [
        ("http://other.example/a?b", b"/a?b", b"other.example"),
        ("http://other.example:8080/a", b"/a", b"other.example:8080"),
        ("http://other.example", b"/", b"other.example"),
        ("http://other.example?q=1", b"/?q=1", b"other.example"),
        ("HTTP://Other.Example/A", b"/A", b"other.example"),
        ("http://[::1]:80/a", b"/a", b"[::1]:80"),
    ],
)
def test_absolute_form_replaces_host(wire: Wire, target: str, origin: bytes, host: bytes) -> None:
    """RFC 9112 3.2.2: the Host field is ignored and replaced by the target's authority."""
    assert wire.client().ask(request(target, host="first.example")).status == 200
    got = wire.upstream.one()
    assert got.target == origin
    assert (got.get("host") or b"").lower() == host


def test_an_https_target_is_misdirected(wire: Wire) -> None:
    """RFC 9110 7.4: what was asked to be secured is not served on a plain connection."""
    got = wire.client().ask(request("https://other.example/a"))
    assert got.status in (400, 421)
    assert not wire.upstream.links


def test_absolute_form_of_http_1_0_without_host(wire: Wire) -> None:
    assert wire.client().ask(request("http://other.example/a", host="", version="1.0")).status == 200
    got = wire.upstream.one()
    assert (got.target, got.get("host")) == (b"/a", b"other.example")


def test_options_star(wire: Wire) -> None:
    assert wire.client().ask(request("*", method="OPTIONS")).status == 200
    assert wire.upstream.one().target == b"*"


def test_options_of_an_absolute_form_without_a_path_is_star(wire: Wire) -> None:
    """RFC 9112 3.2.4: the last proxy sends "*" for an OPTIONS with an empty path; a gateway may use "/"."""
    assert wire.client().ask(request("http://test.example", method="OPTIONS")).status == 200
    assert wire.upstream.one().target in (b"*", b"/")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "//a//b",
        "/a%2Fb",
        "/a;b=c?d=e&f=%20",
        "/~user/*.html",
        "/a?b?c",
        "/:@!$&'()+,=-._~",
        "/" + "a" * 8000,
        "/?" + "q" * 8000,
    ],
)
def test_a_target_is_forwarded_as_it_is(wire: Wire, target: str) -> None:
    """RFC 9110 7.7: a proxy must not change the path and query it received."""
    assert wire.client().ask(request(target)).status == 200
    assert wire.upstream.one().target == target.encode()


@pytest.mark.parametrize(
    "line",
    [b"CONNECT other.example:443 HTTP/1.1", b"CONNECT other.example:443 HTTP/1.0", b"CONNECT / HTTP/1.1"],
)
def test_connect_is_refused(wire: Wire, line: bytes) -> None:
    client = wire.client()
    client.send(line + b"\r\nHost: other.example:443\r\n\r\n")
    got = client.response()
    assert got.status in (400, 405, 501)
    assert got.error
    assert client.ending() == "fin"
    assert not wire.upstream.links


def test_trace_is_refused(wire: Wire) -> None:
    """It would show the forwarding fields and cookies of others; the proxy answers by itself."""
    client = wire.client()
    got = client.ask(request(method="TRACE"))
    assert got.status in (405, 501)
    if got.status == 405:
        assert b"TRACE" not in (got.get("allow") or b"")
        assert "allow" in got
    assert not wire.upstream.links


@pytest.mark.parametrize("value", ["1", "5", "70"])
def test_max_forwards_is_counted_down(wire: Wire, value: str) -> None:
    """RFC 9110 7.6.2."""
    client = wire.client()
    assert client.ask(request(method="OPTIONS", fields=[f"Max-Forwards: {value}"])).status == 200
    assert wire.upstream.one().get("max-forwards") == str(int(value) - 1).encode()


def test_max_forwards_zero_ends_here(wire: Wire) -> None:
    """RFC 9110 7.6.2: the recipient of a zero must not forward, and answers as the final one."""
    client = wire.client()
    got = client.ask(request(method="OPTIONS", fields=["Max-Forwards: 0"]))
    assert got.status in (200, 204)
    assert not wire.upstream.links
    assert client.ask(request("/next")).status == 200


def test_max_forwards_of_another_method_is_left_alone(wire: Wire) -> None:
    assert wire.client().ask(request(fields=["Max-Forwards: 0"])).status == 200
    assert wire.upstream.one().get("max-forwards") == b"0"


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0"])
def test_upgrade_is_answered_as_if_absent(wire: Wire, protocol: str) -> None:
    """RFC 9110 7.8: a server may ignore it; and it is hop-by-hop, so it is not forwarded."""
    client = wire.client()
    got = client.ask(request(fields=[f"Upgrade: {protocol}", "Connection: Upgrade, X-Hop", "X-Hop: 1"]))
    assert (got.status, got.body) == (200, b"hello")
    forwarded = wire.upstream.one()
    assert "upgrade" not in forwarded
    assert "x-hop" not in forwarded
    assert b"pgrade" not in forwarded.raw
    assert client.ask(request("/again")).status == 200


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n", b"\n"])
def test_blank_lines_before_a_request_are_swallowed(wire: Wire, blank: bytes) -> None:
    """RFC 9112 2.2: at least one empty line; old clients send one after a POST body."""
    client = wire.client()
    assert client.ask(blank + request("/1", method="POST", body=b"one"), "POST").status == 200
    assert client.ask(blank + request("/2")).status == 200
    client.send(request("/3", method="POST", body=b"three") + blank + request("/4"))
    assert client.response().status == 200
    assert client.response().status == 200
    assert [r.target for r in wire.upstream.wait_requests(4)] == [b"/1", b"/2", b"/3", b"/4"]


def test_a_blank_line_alone_is_no_request(wire: Wire) -> None:
    client = wire.client()
    client.send(b"\r\n")
    assert client.quiet(0.2)
    assert client.ask(request()).status == 200


def test_a_blank_line_after_the_last_post_then_fin(wire: Wire) -> None:
    """The extra CRLF of an old client is not the beginning of a broken request."""
    client = wire.client()
    assert client.ask(request(method="POST", body=b"one")).status == 200
    client.send(b"\r\n").half_close()
    assert client.ending() == "fin"


def test_endless_blank_lines_are_refused(wire: Wire) -> None:
    """They are no way around the limit on a head."""
    client = wire.client()
    sent = sum(client.send_or_fail(b"\r\n" * 16384) for _ in range(8))
    rest = client.drain()
    assert not rest or rest.startswith(b"HTTP/1.1 4")
    assert sent <= 8
    assert not wire.upstream.links


@pytest.mark.parametrize("host", ["test.example", "TEST.example:80", "[2001:db8::1]", "10.0.0.1:8080", "a_b"])
def test_host_is_kept(wire: Wire, host: str) -> None:
    assert wire.client().ask(request(host=host)).status == 200
    assert (wire.upstream.one().get("host") or b"").lower() == host.lower().encode()


def test_http_1_0_without_host_gets_one_on_the_way(wire: Wire) -> None:
    """RFC 9112 3.2: an HTTP/1.1 request has a Host, if only an empty one."""
    assert wire.client().ask(request(host="", version="1.0")).status == 200
    assert len(wire.upstream.one().all("host")) == 1


def test_methods_are_case_sensitive(wire: Wire) -> None:
    """RFC 9110 9.1: "connect" is not CONNECT, and nothing special."""
    got = wire.client().ask(request(method="Get"))
    assert got.status in (200, 400, 501)
    if got.status == 200:
        assert wire.upstream.one().method == b"Get"
