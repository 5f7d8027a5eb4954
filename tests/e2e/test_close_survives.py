"""No response is lost to our own close: early final responses, and closes while the client sends on.

The clients here give up at a send error, as many HTTP libraries do, or have a receive buffer smaller than the
response: others get their response on loopback whatever a server does, and would prove nothing. With
``linger = "off"`` the same clients lose responses: the last tests show that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.conftest import Bench
from tests.kit.answers import reply
from tests.kit.client import Client, request
from tests.kit.endings import early, give_up, lost, page
from tests.kit.proxy import Proxy
from tests.kit.upstream import Handler

TRIES = 20
UPLOAD = 400_000


@dataclass(frozen=True)
class Case:
    """One way for a response to meet a client that is still sending."""

    head: bytes
    status: int
    upload: int = UPLOAD
    answer: Handler = field(default_factory=reply)
    size: int | None = None
    rcvbuf: int = 0
    chunked: bool = False
    at: str = "head"


def post(target: str, upload: int = UPLOAD, host: str = "test.example") -> bytes:
    return request(target, method="POST", host=host, fields=[f"Content-Length: {upload}"])


def too_large(size: int, fields: str = "") -> bytes:
    return page(size, "413 Content Too Large", fields)


CHUNKED = request("/chunked", method="POST", fields=["Transfer-Encoding: chunked"])
CLOSING = request("/page", fields=["Connection: close"])

CASES = {
    "413 of ours, by length": Case(post("/too-large", 2_000_000), 413),
    "413 of ours, chunked, by what came": Case(CHUNKED, 413, 2_000_000, chunked=True, at="end"),
    "400 of ours": Case(b"POST / HTTP/1.1\r\nHost: a\r\nBad Name: 1\r\n\r\n", 400),
    "400 of ours, CL and TE": Case(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", 400
    ),
    "431 of ours": Case(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 431),
    "403 of ours, by a rule": Case(post("/denied"), 403),
    "404 of ours, no route": Case(post("/", host="nowhere"), 404),
    "413 of the upstream, 200 B": Case(post("/a"), 413, answer=early(too_large(200)), size=200),
    "413 of the upstream, 60 kB": Case(post("/b"), 413, answer=early(too_large(60_000)), size=60_000),
    "401 of the upstream, chunked upload": Case(
        CHUNKED, 401, answer=early(page(60_000, "401 Unauthorized")), size=60_000, chunked=True
    ),
    "413 of the upstream, small receive buffer": Case(
        post("/c"), 413, answer=early(too_large(300_000)), size=300_000, rcvbuf=4096
    ),
    "413 of the upstream that closes": Case(
        post("/d"),
        413,
        answer=early(too_large(60_000, "Connection: close\r\n")),
        size=60_000,
    ),
    "close while 2 kB are pipelined": Case(
        CLOSING, 200, 2_000, answer=page(60_000), size=60_000, rcvbuf=4096
    ),
    "close while 400 kB are pipelined": Case(CLOSING, 200, answer=page(60_000), size=60_000, rcvbuf=4096),
    "close while 400 kB are pipelined, small response": Case(CLOSING, 200, answer=page(200), size=200),
}


@pytest.fixture(scope="module")
def build(module_bench: Bench) -> Callable[[str], Proxy]:
    """A proxy for each kind of linger, shared by the cases."""
    upstream = module_bench.upstream()
    built: dict[str, Proxy] = {}

    def proxy(linger: str) -> Proxy:
        if linger not in built:
            rules: list[dict[str, Any]] = [
                {"name": "linger", "linger": linger},
                {"name": "denied", "path": "/denied", "deny": 403},
            ]
            built[linger] = module_bench.proxy(
                upstream,
                rule=rules,
                limits={"body": "1MiB"},
                timeouts={"linger_gap": "300ms", "send_idle": "5s"},
                route=[{"upstream": "legacy", "host": "test.example", "buffer_request": "stream"}],
            )
        return built[linger]

    return proxy


def attempt(proxy: Proxy, case: Case) -> bool:
    """One client's try: whether the whole response came."""
    with Client(proxy.address, rcvbuf=case.rcvbuf) as client:
        got = give_up(client, case.head, case.upload, chunked=case.chunked)
    if got is None:
        return False
    assert got.status == case.status, got.raw[:500]
    return case.size is None or len(got.body) == case.size


def tries(bench: Bench, proxy: Proxy, case: Case) -> int:
    """So many tries of a case; how many responses were lost."""
    upstream = bench.upstreams[0]
    target = case.head.split(b" ", 2)[1].decode()
    upstream.on(target, case.answer, at=case.at if callable(case.answer) else "end")
    return lost(TRIES, lambda: attempt(proxy, case))


@pytest.mark.parametrize("name", CASES)
def test_no_response_is_lost(module_bench: Bench, build: Callable[[str], Proxy], name: str) -> None:
    """20 tries, 20 whole responses."""
    assert tries(module_bench, build("ack"), CASES[name]) == 0


@pytest.mark.parametrize("name", ["413 of ours, by length", "413 of the upstream, 60 kB"])
def test_timed_loses_none_either(module_bench: Bench, build: Callable[[str], Proxy], name: str) -> None:
    """The lingering close without a look at the acknowledgement saves these as well."""
    assert tries(module_bench, build("timed"), CASES[name]) == 0


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("413 of ours, by length", 9),
        ("413 of the upstream, 60 kB", 4),
        ("close while 400 kB are pipelined", 12),
    ],
)
def test_without_linger_responses_are_lost(
    module_bench: Bench, build: Callable[[str], Proxy], name: str, least: int
) -> None:
    """The proof that the tests above can fail. Each loss is chance: so many in three times 20 tries."""
    found = 0
    for _ in range(3):
        found += tries(module_bench, build("off"), CASES[name])
        if found >= least:
            return
    raise AssertionError(f"{found} lost, {least} expected")


def test_a_response_reaches_a_client_that_uploads_first_and_reads_later(
    module_bench: Bench, build: Callable[[str], Proxy]
) -> None:
    """Response and upload are both larger than all buffers, and the client sends all before it reads."""
    size = 6_000_000
    proxy, upstream = build("ack"), module_bench.upstreams[0]
    upstream.on("/both", early(too_large(size)), at="head")
    with Client(proxy.address, rcvbuf=65536) as client:
        got = give_up(client, post("/both", 1_000_000), 1_000_000)
    assert got is not None, "upload and response stand in each other's way"
    assert got.status == 413
    assert len(got.body) == size
