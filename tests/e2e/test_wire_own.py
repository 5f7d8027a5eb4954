"""The proxy's own responses: which status when, what they look like, and that they end in an orderly way."""

import threading

from tests.e2e.conftest import Connect, MakeProxy, Wire
from tests.kit.answers import held, reply
from tests.kit.client import request
from tests.kit.judge import own, refused
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch


def test_400(wire: Wire) -> None:
    line = refused(wire, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400)
    assert (line["outcome"], line["phase"]) == ("refused", "head")


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
    start = Watch()
    while start.seconds < 3 and client.quiet(0.05):
        client.send(b"X")
    own(client.response(), 408)
    start.took(0.5, 1.5)


def test_no_408_for_a_silent_connection(tight: Wire) -> None:
    """Browsers open connections ahead: closed without a word."""
    client = tight.client()
    start = Watch()
    assert client.ending() == "fin"
    start.took(0.5, 2)


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
