"""Rules: each effect, for the clients that it names and for nobody else."""

import threading
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench, Connect, Wire, wire_over
from tests.kit.answers import chunked, held, last, reply
from tests.kit.client import request
from tests.kit.proxy import Proxy
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch

RULES = [
    {"name": "no-keep", "user_agent": "^no-keep$", "keep_alive": False},
    {"name": "keep-again", "user_agent": "^no-keep$", "path": "/keep", "keep_alive": True},
    {"name": "old-client", "user_agent": "^old-client$", "response_version": "1.0"},
    {"name": "old-server", "user_agent": "^old-server$", "request_version": "1.0"},
    {"name": "folds", "user_agent": "^folds$", "accept_folds": True},
    {"name": "bare-lf", "user_agent": "^bare-lf$", "accept_bare_lf": True},
    {"name": "both", "user_agent": "^both$", "accept_bare_lf": True, "accept_folds": True},
    {"name": "short-body", "user_agent": "^short-body$", "limits": {"body": 100}},
    {"name": "long-body", "user_agent": "^long-body$", "limits": {"body": "40KiB"}},
    {"name": "few-fields", "user_agent": "^few-fields$", "limits": {"fields": 5}},
    {"name": "short-head", "user_agent": "^short-head$", "limits": {"head": 500}},
    {"name": "short-idle", "user_agent": "^short-idle$", "timeouts": {"keep_alive": "200ms"}},
    {"name": "short-upload", "user_agent": "^short-upload$", "timeouts": {"body_idle": "200ms"}},
    {"name": "gone", "user_agent": "^gone$", "deny": 410},
    {"name": "slow-net", "client": ["127.0.4.0/24"], "timeouts": {"head": "300ms"}},
]
TIMES = {"head": "5s", "keep_alive": "5s", "body_idle": "5s"}


def agent(name: str, target: str = "/", **more: object) -> bytes:
    """A request of a client with this User-Agent."""
    return request(target, fields=[f"User-Agent: {name}"], **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def ruled(module_bench: Bench) -> tuple[Proxy, Upstream]:
    """One proxy with a rule for each effect."""
    upstream = module_bench.upstream()
    return module_bench.proxy(upstream, rule=RULES, timeouts=TIMES, limits={"body": "16KiB"}), upstream


@pytest.fixture
def rules(ruled: tuple[Proxy, Upstream], connect: Connect) -> Iterator[Wire]:
    yield from wire_over(*ruled, connect)


def test_keep_alive_false(rules: Wire) -> None:
    client = rules.client()
    got = client.ask(agent("no-keep"))
    assert got.get("connection") == b"close"
    assert client.ending() == "fin"
    assert rules.log(client)[0]["rules"] == ["no-keep"]


def test_keep_alive_false_for_http_1_0(rules: Wire) -> None:
    client = rules.client()
    got = client.ask(request(version="1.0", fields=["User-Agent: no-keep", "Connection: keep-alive"]))
    assert not got.persistent
    assert client.ending() == "fin"


def test_a_later_rule_takes_it_back(rules: Wire) -> None:
    client = rules.client()
    assert client.ask(agent("no-keep", "/keep")).persistent
    assert client.ask(agent("other")).persistent
    assert not client.ask(agent("no-keep")).persistent


def test_keep_alive_false_on_a_chunked_response(rules: Wire) -> None:
    rules.upstream.then(chunked(b"a", b"b"))
    client = rules.client()
    got = client.ask(agent("no-keep"))
    assert (got.body, got.persistent) == (b"ab", False)
    assert client.ending() == "fin"


@pytest.mark.parametrize("answer", [reply(b"ab"), chunked(b"a", b"b"), last(b"HTTP/1.1 200 OK\r\n\r\nab")])
def test_response_version_1_0(rules: Wire, answer: bytes) -> None:
    """For clients that refuse a 1.1 version number: nothing of HTTP/1.1 in it (RFC 9110 2.5)."""
    rules.upstream.then(answer)
    client = rules.client()
    got = client.ask(agent("old-client"))
    assert got.version == b"1.0"
    assert got.body == b"ab"
    assert "transfer-encoding" not in got
    if not got.persistent:
        assert client.ending() == "fin"


def test_response_version_1_0_has_no_interim_responses(rules: Wire) -> None:
    rules.upstream.then(b"HTTP/1.1 103 X\r\n\r\n" + reply(b"ab"))
    got = rules.client().ask(agent("old-client"))
    assert (got.interims, got.body) == ([], b"ab")


def test_response_version_1_0_on_an_own_response(rules: Wire) -> None:
    client = rules.client()
    client.send(request(method="POST", fields=["User-Agent: old-client", "Content-Length: 999999"]))
    got = client.response()
    assert (got.status, got.version) == (413, b"1.0")
    assert client.ending() == "fin"


def test_request_version_1_0(rules: Wire) -> None:
    """Its requests count as HTTP/1.0 ones, whatever they say (Apache's downgrade-1.0): it is closed."""
    client = rules.client()
    got = client.ask(agent("old-server", method="POST", body=b"hello"))
    assert (got.status, got.persistent) == (200, False)
    assert client.ending() == "fin"
    assert rules.upstream.one().body == b"hello"


@pytest.mark.parametrize("answer", [chunked(b"a", b"b"), b"HTTP/1.1 103 X\r\n\r\n" + reply(b"ab")])
def test_request_version_1_0_gets_nothing_of_1_1(rules: Wire, answer: bytes) -> None:
    """Neither chunks nor interim responses (RFC 9112 6.1, RFC 9110 15.2)."""
    rules.upstream.then(answer)
    got = rules.client().ask(agent("old-server"))
    assert (got.interims, got.body) == ([], b"ab")
    assert "transfer-encoding" not in got


FOLDED = b"GET /a HTTP/1.1\r\nHost: test.example\r\nUser-Agent: %b\r\nX-Long: one\r\n two\r\n\tthree\r\n\r\n"
LINES = b"POST /a HTTP/1.1\nHost: test.example\nUser-Agent: %b\nContent-Length: 5\n\nhello"
BOTH = b"GET /a HTTP/1.1\nHost: test.example\nUser-Agent: %b\nX-Long: one\n two\n\n"


@pytest.mark.parametrize(
    ("data", "name", "status"),
    [
        (FOLDED, b"folds", 200),
        (FOLDED, b"both", 200),
        (FOLDED, b"bare-lf", 400),
        (FOLDED, b"other", 400),
        (LINES, b"bare-lf", 200),
        (LINES, b"both", 200),
        (LINES, b"folds", 400),
        (LINES, b"other", 400),
        (BOTH, b"both", 200),
        (BOTH, b"bare-lf", 400),
        (BOTH, b"folds", 400),
    ],
)
def test_lenient_reading(rules: Wire, data: bytes, name: bytes, status: int) -> None:
    """Bare LF and folds: normalised for clients known to send them, else 400 (RFC 9112 2.2, 5.2)."""
    got = rules.client().ask(data % name)
    assert got.status == status
    if status == 200:
        seen = rules.upstream.one()
        assert seen.body == (b"hello" if data is LINES else b"")
        if data is not LINES:
            assert (seen.get("x-long") or b"").split() in ([b"one", b"two", b"three"], [b"one", b"two"])
    else:
        assert not rules.upstream.requests


def test_a_head_of_lfs_ends_before_a_body_of_crlfs(rules: Wire) -> None:
    """CRLF CRLF in the body is not the end of the head, also when all of it comes at once."""
    body = b"a\r\n\r\nb"
    data = LINES.replace(b"5", b"%d") % (b"bare-lf", len(body))
    client = rules.client()
    client.send(data.removesuffix(b"hello") + body + agent("bare-lf", "/next"))
    assert [client.response().status, client.response().status] == [200, 200]
    assert [each.body for each in rules.upstream.requests] == [body, b""]


@pytest.mark.parametrize(
    "data",
    [
        b"GET /a HTTP/1.1\nHost: test.example\nUser-Agent: both\nContent-Length: 5\n 6\n\n",
        b"GET /a HTTP/1.1\nHost: a\nUser-Agent: both\nTransfer-Encoding:\n chunked\nContent-Length: 5\n\n",
        b"GET /a HTTP/1.1\r\nHost: test.example\r\nUser-Agent: both\r\nX: a\rY: b\r\n\r\n",
        b"GET /a HTTP/1.1\nHost: test.example\nUser-Agent: both\nX : a\n\n",
        b"GET /a HTTP/1.1\nHost: a\n b\nUser-Agent: both\n\n",
        b"GET /a HTTP/1.1\n X: y\nHost: a\nUser-Agent: both\n\n",
    ],
)
def test_lenient_is_not_careless(rules: Wire, data: bytes) -> None:
    """What has two readings is refused from these clients too."""
    client = rules.client()
    assert client.ask(data).status in (400, 501)
    assert not rules.upstream.requests


def test_limits_on_the_body(rules: Wire) -> None:
    assert rules.client().ask(agent("short-body", method="POST", body=b"x" * 100)).status == 200
    assert rules.client().ask(agent("short-body", method="POST", body=b"x" * 101)).status == 413
    assert rules.client().ask(agent("other", method="POST", body=b"x" * 16384)).status == 200
    assert rules.client().ask(agent("other", method="POST", body=b"x" * 16385)).status == 413
    assert rules.client().ask(agent("long-body", method="POST", body=b"x" * 40960)).status == 200


def test_limits_on_the_head(rules: Wire) -> None:
    many = [f"X-{number}: y" for number in range(6)]
    assert rules.client().ask(request(fields=["User-Agent: few-fields", *many])).status == 431
    assert rules.client().ask(request(fields=["User-Agent: other", *many])).status == 200
    long = "X: " + "y" * 600
    assert rules.client().ask(request(fields=["User-Agent: short-head", long])).status == 431
    assert rules.client().ask(request(fields=["User-Agent: other", long])).status == 200


def test_timeouts_of_the_next_request(rules: Wire) -> None:
    """keep_alive is that of the request before."""
    client, other = rules.client(), rules.client()
    client.ask(agent("short-idle"))
    other.ask(agent("other"))
    start = Watch()
    assert client.ending() == "fin"
    start.took(0.15, 1.0)
    assert other.quiet(0.3)


def test_timeouts_of_the_body(rules: Wire) -> None:
    rules.may_reset = True
    client = rules.client()
    client.send(request(method="POST", fields=["User-Agent: short-upload", "Content-Length: 100"]) + b"x")
    start = Watch()
    assert client.response().status == 408
    start.took(0.15, 1.0)
    assert client.ending() == "fin"


def test_timeouts_at_accept(rules: Wire) -> None:
    """A rule that has only a client holds before there is a head."""
    client, other = rules.client(source="127.0.4.1"), rules.client(source="127.0.5.1")
    start = Watch()
    assert client.ending() == "fin"
    start.took(0.2, 1.5)
    assert other.quiet(0.1)


def test_deny(rules: Wire) -> None:
    client = rules.client()
    got = client.ask(agent("gone"))
    assert got.status == 410
    assert got.error == "http_request_denied"
    line = rules.log(client)[0]
    assert (line["status"], line["rules"], line["outcome"]) == (410, ["gone"], "refused")


def test_a_rule_for_one_client_changes_nothing_for_another(rules: Wire) -> None:
    """Two clients at once, each with its own policy."""
    release = threading.Event()
    rules.upstream.on("/slow", held(release, reply(b"slow")))
    old, new = rules.client(), rules.client()
    old.send(agent("no-keep", "/slow"))
    new.send(agent("other", "/slow"))
    rules.upstream.until(lambda: len(rules.upstream.requests) == 2, "both")
    release.set()
    assert not old.response().persistent
    assert new.response().persistent
