"""The proxy's own responses: which status when, what they look like, and that they end in an orderly way."""

import re
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench, Connect, MakeProxy, Wire, wire_over
from tests.kit.answers import held, reply
from tests.kit.client import request
from tests.kit.proxy import Proxy, free_address
from tests.kit.upstream import Upstream
from tests.kit.wire import Response

ERRORS = frozenset(
    [
        *["dns_timeout", "dns_error", "destination_not_found", "destination_unavailable"],
        *["destination_ip_prohibited", "destination_ip_unroutable", "connection_refused"],
        *[
            "connection_terminated",
            "connection_timeout",
            "connection_read_timeout",
            "connection_write_timeout",
        ],
        *[
            "connection_limit_reached",
            "http_request_error",
            "http_request_denied",
            "http_response_incomplete",
        ],
        *["http_response_header_section_size", "http_response_header_size", "http_response_body_size"],
        *[
            "http_response_trailer_section_size",
            "http_response_trailer_size",
            "http_response_transfer_coding",
        ],
        *["http_response_content_coding", "http_response_timeout", "http_upgrade_failed"],
        *["http_protocol_error", "proxy_internal_response", "proxy_internal_error"],
        *["proxy_configuration_error", "proxy_loop_detected"],
    ]
)
"""RFC 9209 2.3."""

SMALL = {"head": "4KiB", "fields": 20, "body": "1KiB", "user_agent": 100, "response_head": "8KiB"}


@pytest.fixture(scope="module")
def small(module_bench: Bench) -> tuple[Proxy, Upstream]:
    """A proxy with small limits and short times."""
    upstream = module_bench.upstream()
    times = {"head": "600ms", "keep_alive": "500ms", "body_idle": "500ms"}
    server = {
        "servers": [upstream.address],
        "response_timeout": "500ms",
        "queue_timeout": "300ms",
        "max_connections": 1,
    }
    dead = {"servers": [free_address()]}
    routes = [
        {"upstream": "legacy"},
        {"path": "/dead", "upstream": "dead"},
        {"host": "only.example", "upstream": "legacy"},
    ]
    proxy = module_bench.proxy({"legacy": server, "dead": dead}, limits=SMALL, timeouts=times, route=routes)
    return proxy, upstream


@pytest.fixture
def tight(small: tuple[Proxy, Upstream], connect: Connect) -> Iterator[Wire]:
    yield from wire_over(*small, connect)


def own(answer: Response, status: int) -> None:
    """An own response: short text, dated, not stored, and a reason in Proxy-Status."""
    assert answer.status == status, answer.raw
    assert (answer.get("content-type") or b"").startswith(b"text/plain")
    assert answer.framing == "length"
    assert len(answer.body) < 1000
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.get("date") or b"")
    assert answer.get("cache-control") == b"no-store"
    status_field = answer.get("proxy-status") or b""
    assert status_field.startswith(b"shieldproxy;"), status_field
    assert answer.error in ERRORS, status_field


def refused(wire: Wire, data: bytes, status: int) -> dict[str, object]:
    """Ask, see the refusal and a clean end; the log line."""
    client = wire.client()
    answer = client.ask(data)
    own(answer, status)
    assert not answer.persistent
    assert client.ending() == "fin"
    line = wire.log(client)[0]
    assert line["status"] == status
    assert line["reason"]
    return line


def test_400(wire: Wire) -> None:
    line = refused(wire, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400)
    assert (line["outcome"], line["phase"]) == ("refused", "head")


def test_413_by_length(tight: Wire) -> None:
    line = refused(tight, request(method="POST", body=b"x" * 1025), 413)
    assert line["outcome"] == "refused"
    assert not tight.upstream.links


def test_exactly_the_limit_passes(tight: Wire) -> None:
    assert tight.client().ask(request(method="POST", body=b"x" * 1024)).status == 200
    body = b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"
    assert (
        tight.client().ask(request(method="POST", fields=["Transfer-Encoding: chunked"]) + body).status == 200
    )


def test_413_by_chunks(tight: Wire) -> None:
    """The sum is found out on the way: what the upstream has of it must not look whole."""
    tight.may_reset = True
    client = tight.client()
    client.send(request(method="POST", fields=["Transfer-Encoding: chunked"]))
    for _ in range(6):
        client.send_or_fail(b"100\r\n" + b"x" * 256 + b"\r\n")
    own(client.response(), 413)
    assert client.ending() == "fin"
    for link in tight.upstream.links:
        assert link.ended.wait(5)
    assert not tight.upstream.requests


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request("/" + "a" * 5000), id="target"),
        pytest.param(request("/?" + "a" * 5000), id="query"),
    ],
)
def test_414(tight: Wire, data: bytes) -> None:
    """RFC 9110 15.5.15: the target is what is too long."""
    refused(tight, data, 414)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["X: " + "a" * 5000], id="head"),
        pytest.param([f"X-{number}: a" for number in range(25)], id="fields"),
        pytest.param(["User-Agent: " + "a" * 101], id="user agent"),
    ],
)
def test_431(tight: Wire, fields: list[str]) -> None:
    """RFC 6585 5."""
    refused(tight, request(fields=fields), 431)
    assert not tight.upstream.links


def test_a_head_without_an_end_is_refused_at_the_limit(tight: Wire) -> None:
    """Not after the timeout: when the limit is passed."""
    client = tight.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: aaaa\r\n" * 10)
    start = time.monotonic()
    client.send_or_fail(b"Y: " + b"a" * 6000)
    own(client.response(), 431)
    assert time.monotonic() - start < 0.4
    assert client.ending() == "fin"


def test_408_for_a_slow_head(tight: Wire) -> None:
    client = tight.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    own(client.response(), 408)
    assert client.ending() == "fin"
    line = tight.log(client)[0]
    assert (line["status"], line["phase"]) == (408, "head")


def test_a_dripped_head_does_not_outlive_the_deadline(tight: Wire) -> None:
    """The deadline is absolute, from the first byte on."""
    client = tight.client()
    start = time.monotonic()
    while time.monotonic() - start < 3 and client.quiet(0.05):
        client.send(b"X")
    own(client.response(), 408)
    assert 0.5 < time.monotonic() - start < 1.5


def test_no_408_for_a_silent_connection(tight: Wire) -> None:
    """Browsers open connections ahead: closed without a word."""
    client = tight.client()
    start = time.monotonic()
    assert client.ending() == "fin"
    assert 0.5 < time.monotonic() - start < 2


def test_an_idle_connection_ends_without_a_word(tight: Wire) -> None:
    client = tight.client()
    assert client.ask(request()).persistent
    assert client.ending() == "fin"


def test_408_for_a_slow_body(tight: Wire) -> None:
    tight.may_reset = True
    client = tight.client()
    client.send(request(method="POST", fields=["Content-Length: 100"]) + b"abc")
    own(client.response(), 408)
    assert client.ending() == "fin"
    assert not tight.upstream.requests


def test_a_slow_body_that_goes_on_is_served(tight: Wire) -> None:
    """body_idle is the time between two reads, not of the whole."""
    client = tight.client()
    client.send(request(method="POST", fields=["Content-Length: 6"]))
    for _ in range(5):
        client.send(b"x")
        assert client.quiet(0.2)
    client.send(b"x")
    assert client.response().status == 200


def test_417(wire: Wire) -> None:
    refused(wire, request(fields=["Expect: tea"]), 417)


def test_501(wire: Wire) -> None:
    refused(wire, request(method="POST", fields=["Transfer-Encoding: gzip, chunked"]), 501)


def test_502_refused_connection(tight: Wire) -> None:
    client = tight.client()
    answer = client.ask(request("/dead"))
    own(answer, 502)
    assert answer.error in ("connection_refused", "destination_unavailable", "connection_terminated")
    line = tight.log(client)[0]
    assert (line["status"], line["phase"], line["outcome"]) == (502, "connect", "failed")


def test_503_when_the_line_is_too_long(tight: Wire) -> None:
    release = threading.Event()
    tight.upstream.then(held(release, reply(b"first")))
    first = tight.client()
    first.send(request("/first"))
    tight.upstream.one()
    second = tight.client()
    answer = second.ask(request("/second"))
    own(answer, 503)
    assert int(answer.get("retry-after") or b"0") >= 1
    line = tight.log(second)[0]
    assert (line["status"], line["phase"]) == (503, "admission")
    release.set()
    assert first.response().body == b"first"


def test_504_when_the_server_is_silent(tight: Wire) -> None:
    tight.may_reset = True
    release = threading.Event()
    tight.upstream.then(held(release, b""))
    client = tight.client()
    answer = client.ask(request())
    release.set()
    own(answer, 504)
    assert answer.error in ("http_response_timeout", "connection_read_timeout")
    line = tight.log(client)[0]
    assert (line["status"], line["phase"], line["outcome"]) == (504, "upstream", "failed")


def test_404_without_a_route(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    proxy = make_proxy(upstream, route=[{"upstream": "legacy", "host": "known.example"}])
    client = connect(proxy)
    answer = client.ask(request(host="other.example"))
    own(answer, 404)
    assert proxy.log_lines()[0]["status"] == 404
    assert client.ask(request(host="known.example")).status == 200 if answer.persistent else True
    assert len(upstream.requests) <= 1


def test_an_own_response_to_head_has_no_body(tight: Wire) -> None:
    answer = tight.client().ask(request("/dead", method="HEAD"))
    assert answer.status == 502
    assert answer.body == b""


def test_an_own_response_to_http_1_0(tight: Wire) -> None:
    client = tight.client()
    answer = client.ask(request("/dead", version="1.0"))
    own(answer, 502)
    assert client.ending() == "fin"


def test_an_own_response_says_nothing_of_the_client_s_bytes(wire: Wire) -> None:
    """No markup and no line of the request comes back."""
    answer = wire.client().ask(b"GET /<script>alert(1)</script> HTTP/1.1\r\nHost: a\r\nHost: <b>\r\n\r\n")
    assert answer.status == 400
    assert b"<" not in answer.raw


def test_an_own_response_names_no_server(tight: Wire) -> None:
    """Where the upstream stands is for the log, not for clients."""
    answer = tight.client().ask(request("/dead"))
    server = tight.proxy.config["upstream"]["dead"]["servers"][0]
    assert server.rpartition(":")[2].encode() not in answer.raw
