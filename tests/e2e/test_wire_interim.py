"""Interim responses and Expect (RFC 9110 10.1.1, 15.2; design.md section 4)."""

import threading
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import STREAMED, Bench, Connect, MakeProxy, Wire, wire_over
from tests.kit.answers import dripped, held, reply
from tests.kit.client import request
from tests.kit.link import Turn
from tests.kit.proxy import Proxy
from tests.kit.upstream import Upstream

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = ["Expect: 100-continue"]


@pytest.fixture(scope="module")
def rules(module_bench: Bench) -> tuple[Proxy, Upstream]:
    """A proxy whose rules choose the interim policy by User-Agent."""
    upstream = module_bench.upstream()
    rule = [
        {"name": f"interim-{policy}", "user_agent": f"^interim-{policy}$", "interim": policy}
        for policy in ("all", "100", "none")
    ]
    return module_bench.proxy(upstream, rule=rule, limits={"body": "1KiB"}), upstream


@pytest.fixture
def ruled(rules: tuple[Proxy, Upstream], connect: Connect) -> Iterator[Wire]:
    proxy, upstream = rules
    yield from wire_over(proxy, upstream, connect)


def test_103_is_forwarded(wire: Wire) -> None:
    wire.upstream.then(HINTS + reply(b"final"))
    got = wire.client().ask(request())
    assert [part.status for part in got.interims] == [103]
    assert got.interims[0].get("link") == b"</a.css>; rel=preload"
    assert got.body == b"final"


def test_103_comes_before_the_final_response_is_there(wire: Wire) -> None:
    release = threading.Event()
    wire.upstream.then(held(release, reply(b"final"), before=HINTS))
    client = wire.client()
    client.send(request())
    assert client.interim().status == 103
    assert client.quiet()
    release.set()
    assert client.response().body == b"final"


def test_who_does_not_take_them_holds_no_place(bench: Bench, connect: Connect, upstream: Upstream) -> None:
    """The server has one connection; what this client leaves unread are hints."""
    link = HINTS.replace(b"/a.css", b"/" + b"a" * 5000)
    upstream.on("/hints", dripped(link * 8 + reply(b"final"), len(link)))
    proxy = bench.proxy({"legacy": {"servers": [upstream.address], "max_connections": 1}})
    client = connect(proxy, rcvbuf=4096, timeout=20.0)
    client.send(request("/hints") * 20)
    client.wait_readable()
    asking = connect(proxy, timeout=10.0)
    for _ in range(20):
        assert asking.ask(request("/other")).body == b"hello"
    for _ in range(20):
        got = client.response()
        assert (len(got.interims), got.body) == (8, b"final")


def test_many_in_a_row(wire: Wire) -> None:
    wire.upstream.then((PROCESSING + HINTS) * 5 + reply(b"final"))
    client = wire.client()
    got = client.ask(request())
    assert [part.status for part in got.interims] == [102, 103] * 5
    assert client.ask(request("/again")).body == b"hello"


def test_http_1_0_clients_get_none(wire: Wire) -> None:
    """RFC 9110 15.2: a server MUST NOT send a 1xx to an HTTP/1.0 client."""
    wire.upstream.then(CONTINUE + PROCESSING + HINTS + reply(b"final"))
    got = wire.client().ask(request(version="1.0"))
    assert got.interims == []
    assert got.body == b"final"


@pytest.mark.parametrize(("policy", "statuses"), [("all", [102, 103]), ("100", []), ("none", [])])
def test_the_policy_decides(ruled: Wire, policy: str, statuses: list[int]) -> None:
    """Python's http.client takes a 102 or 103 for the final response: interim = "100"."""
    ruled.upstream.then(PROCESSING + HINTS + reply(b"final"))
    got = ruled.client().ask(request(fields=[f"User-Agent: interim-{policy}"]))
    assert [part.status for part in got.interims] == statuses
    assert got.body == b"final"


@pytest.mark.parametrize(("policy", "statuses"), [("all", [100]), ("100", [100]), ("none", [])])
def test_the_policy_and_100_of_the_upstream(ruled: Wire, policy: str, statuses: list[int]) -> None:
    ruled.upstream.then(CONTINUE + reply(b"final"))
    got = ruled.client().ask(request(fields=[f"User-Agent: interim-{policy}"]))
    assert [part.status for part in got.interims] == statuses
    assert got.body == b"final"


def test_101_without_an_upgrade_is_a_bad_response(wire: Wire) -> None:
    """Upgrade is not forwarded, so nobody may switch protocols."""
    wire.may_reset = True
    wire.upstream.then(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    got = wire.client().ask(request(fields=["Upgrade: x", "Connection: upgrade"]))
    assert got.status == 502


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(PROCESSING * 70, id="count"),
        pytest.param(b"HTTP/1.1 103 X\r\nA: " + b"b" * 30000 + b"\r\n\r\n", id="size"),
    ],
)
def test_a_flood_of_interim_responses_is_ended(wire: Wire, flood: bytes) -> None:
    """At most 64 of them and 64 KiB an exchange."""
    wire.may_reset = True
    wire.upstream.then(flood * 3 + reply(b"final"))
    client = wire.client()
    client.send(request())
    seen = 0
    while True:
        head = client.response_head()
        if head.status >= 200:
            break
        seen += 1
    assert head.status == 502
    assert seen <= 64


def test_expect_is_answered_and_not_forwarded(wire: Wire) -> None:
    client = wire.client()
    client.send(request("/a", method="POST", fields=[*EXPECT, "Content-Length: 5"]))
    assert client.interim().status == 100
    client.send(b"hello")
    assert client.response().status == 200
    got = wire.upstream.one()
    assert got.body == b"hello"
    assert "expect" not in got


def test_one_100_though_the_upstream_sends_its_own(wire: Wire) -> None:
    """Who has had ours is not sent another."""
    wire.upstream.then(CONTINUE + reply(b"final"))
    client = wire.client()
    client.send(request("/a", method="POST", fields=[*EXPECT, "Content-Length: 5"]))
    assert client.interim().status == 100
    client.send(b"hello")
    got = client.response()
    assert (got.interims, got.body) == ([], b"final")


@pytest.mark.parametrize("size", [1, 5, 23])
def test_interim_responses_in_small_segments(wire: Wire, size: int) -> None:
    wire.upstream.then(dripped(PROCESSING + HINTS + reply(b"final"), size))
    client = wire.client()
    got = client.ask(request())
    assert [part.status for part in got.interims] == [102, 103]
    assert got.body == b"final"
    assert client.ask(request("/again")).body == b"hello"


def test_expect_with_a_chunked_body(wire: Wire) -> None:
    client = wire.client()
    client.send(request("/a", method="PUT", fields=[*EXPECT, "Transfer-Encoding: chunked"]))
    assert client.interim().status == 100
    client.send(b"5\r\nhello\r\n0\r\n\r\n")
    assert client.response().status == 200
    assert wire.upstream.one().body == b"hello"


def test_expect_in_upper_case(wire: Wire) -> None:
    client = wire.client()
    client.send(request("/a", method="PUT", fields=["EXPECT: 100-Continue", "Content-Length: 5"]))
    assert client.interim().status == 100
    client.send(b"hello")
    assert client.response().status == 200


def test_a_body_that_comes_with_its_head_is_read(wire: Wire) -> None:
    """RFC 9110 10.1.1: the 100 may be left out when the body is already there; never a second one."""
    client = wire.client()
    got = client.ask(request("/a", method="POST", fields=EXPECT, body=b"hello"))
    assert got.status == 200
    assert [part.status for part in got.interims] in ([], [100])
    assert wire.upstream.one().body == b"hello"


def test_expect_without_a_body_waits_for_nothing(wire: Wire) -> None:
    got = wire.client().ask(request("/a", fields=EXPECT))
    assert got.status == 200


def test_expect_of_http_1_0_is_ignored(wire: Wire) -> None:
    """RFC 9110 10.1.1: a server that receives it in an HTTP/1.0 request ignores it."""
    client = wire.client()
    got = client.ask(request("/a", method="POST", version="1.0", fields=EXPECT, body=b"hello"))
    assert got.interims == []
    assert got.status == 200
    assert wire.upstream.one().body == b"hello"


def test_an_unknown_expectation_is_417(wire: Wire) -> None:
    client = wire.client()
    got = client.ask(request("/a", method="POST", fields=["Expect: tea", "Content-Length: 5"]))
    assert got.status == 417
    assert got.error
    assert not wire.upstream.requests


def test_a_body_too_large_is_refused_instead_of_continued(ruled: Wire) -> None:
    """The final refusal comes instead of the 100, and nothing reaches the upstream."""
    client = ruled.client()
    got = client.ask(request("/a", method="POST", fields=[*EXPECT, "Content-Length: 2000"]))
    assert got.status == 413
    assert got.interims == []
    assert client.ending() == "fin"
    assert not ruled.upstream.links


def test_no_100_before_the_lease(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """A premature 100 makes the client send what will be refused: it is held until a connection is leased."""
    release = threading.Event()
    proxy = make_proxy({"legacy": {"servers": [upstream.address], "max_connections": 1}}, route=[STREAMED])
    upstream.then(held(release, reply(b"first")))
    first, second = connect(proxy), connect(proxy)
    first.send(request("/streamed/first"))
    upstream.one()
    second.send(request("/streamed", method="POST", fields=[*EXPECT, "Content-Length: 5"]))
    assert second.quiet(0.4)
    release.set()
    assert first.response().body == b"first"
    assert second.interim().status == 100
    second.send(b"hello")
    assert second.response().status == 200
    assert upstream.wait_requests(2)[1].body == b"hello"


def test_refused_in_line_instead_of_100(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """No lease in queue_timeout: 503, never a 100 before it."""
    release = threading.Event()
    server = {"servers": [upstream.address], "max_connections": 1, "queue_timeout": "300ms"}
    proxy = make_proxy({"legacy": server}, route=[STREAMED])
    upstream.then(held(release, reply(b"first")))
    first, second = connect(proxy), connect(proxy)
    first.send(request("/streamed/first"))
    upstream.one()
    got = second.ask(request("/streamed", method="POST", fields=[*EXPECT, "Content-Length: 5"]))
    assert got.status == 503
    assert got.interims == []
    assert got.get("retry-after")
    release.set()
    assert first.response().body == b"first"


def test_an_early_refusal_of_the_upstream_reaches_the_client(wire: Wire) -> None:
    """The upstream's own 401 while the client still uploads: whole, then the end."""
    wire.may_reset = True

    def story(turn: Turn) -> None:
        turn.send(reply(b"no" * 100, status="401 Unauthorized", fields="Connection: close\r\n"))
        turn.close()
        turn.gone()

    wire.upstream.then(story, at="head")
    client = wire.client()
    client.send(request("/streamed", method="POST", fields=["Content-Length: 3000000"]))
    client.send(b"x" * 100_000)
    got = client.response()
    assert (got.status, got.body) == (401, b"no" * 100)
    for _ in range(10):
        assert client.send_or_fail(b"x" * 10_000)
    assert client.ending() == "fin"
