"""Fixtures of the end-to-end tests, and their two equal counts.

Every test of this folder runs in both lanes (``lane``). What the clients and the upstream saw, and the log
lines a test asked for, are kept as a transcript (tests.kit.transcript); the two transcripts of a test must be
equal.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import shown_by
from tests.kit.client import Client
from tests.kit.proxy import Proxy, free_address, settings
from tests.kit.transcript import NOTES
from tests.kit.upstream import Upstream

LANES = ("express", "task")

STREAMED = {"upstream": "legacy", "path": "/streamed", "buffer_request": "stream"}
"""A route whose requests' bodies go on as they come."""

SEEN: dict[str, tuple[str, list[str]]] = {}
"""Test without its lane -> the lane in which it passed first, and what it saw there."""

CALL = pytest.StashKey[pytest.TestReport]()

MakeProxy = Callable[..., Proxy]
Connect = Callable[..., Client]


@pytest.fixture(scope="session", params=LANES, autouse=True)
def lane(request: pytest.FixtureRequest) -> str:
    """The lane that plain exchanges take: every test runs once in each."""
    return str(request.param)


def _without_lane(node_id: str, lane: str) -> str:
    return node_id.replace(f"[{lane}-", "[").replace(f"[{lane}]", "")


@pytest.fixture(autouse=True)
def transcript(lane: str, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What this run of the test saw; equal to what its run in the other lane saw."""
    NOTES.clear()
    yield NOTES
    report = request.node.stash.get(CALL, None)
    if report is None or not report.passed:
        return
    seen = sorted(NOTES)
    first, before = SEEN.setdefault(_without_lane(request.node.nodeid, lane), (lane, seen))
    for here, there in zip_longest(seen, before, fillvalue="(nothing)"):
        assert here == there, f"lane {lane}: {here}\nlane {first}: {there}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember how the test itself ended; a failed one says which requirements it was to show."""
    report = yield
    if call.when == "call":
        item.stash[CALL] = report
    if report.failed and (requirements := shown_by(item.nodeid)):
        report.sections.append(("shows (docs/conformance.md)", "\n".join(requirements)))
    return report


class Bench:
    """Builds proxies and upstreams, and ends them in the right order."""

    def __init__(self, directory: Path, lane: str) -> None:
        self.directory = directory
        self.express = lane == "express"
        self.proxies: list[Proxy] = []
        self.upstreams: list[Upstream] = []

    def upstream(self, address: str = "127.0.0.1:0", **options: Any) -> Upstream:
        """Another server."""
        server = Upstream(address, **options)
        self.upstreams.append(server)
        return server

    def proxy(
        self, upstream: Upstream | str | dict[str, Any], *, apart: bool = False, **tables: Any
    ) -> Proxy:
        """Start the product before an upstream; tables are laid over the default configuration."""
        where = upstream.address if isinstance(upstream, Upstream) else upstream
        directory = self.directory / f"proxy{len(self.proxies)}"
        directory.mkdir()
        proxy = Proxy(settings(directory, where, self.express, **tables), directory, apart=apart)
        self.proxies.append(proxy)
        return proxy

    def close(self) -> None:
        """Proxies first, so that their FINs are seen; then the upstreams."""
        faults: list[BaseException] = []
        for ender in [*(p.finish for p in self.proxies), *(u.close for u in self.upstreams)]:
            try:
                ender()
            except BaseException as fault:  # noqa: BLE001 - every one must be ended; the first is raised
                faults.append(fault)
        if faults:
            raise faults[0]


@pytest.fixture
def bench(lane: str, tmp_path: Path) -> Iterator[Bench]:
    """Proxies and upstreams of one test."""
    bench = Bench(tmp_path, lane)
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def module_bench(lane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Proxies and upstreams that the tests of a module share."""
    bench = Bench(tmp_path_factory.mktemp("bench"), lane)
    yield bench
    bench.close()


@pytest.fixture
def upstream(bench: Bench) -> Upstream:
    """A server for this test alone."""
    return bench.upstream()


@pytest.fixture
def make_proxy(bench: Bench) -> MakeProxy:
    """A product for this test alone: ``make_proxy(upstream, rule=[...], legacy={"retries": 0})``.

    ``legacy`` is laid over the table of the upstream, ``route`` (a dict) over that of the one route.
    """
    return bench.proxy


@pytest.fixture
def connect() -> Iterator[Connect]:
    """``connect(proxy or address, ...)``: a client that is closed at the end of the test."""
    clients: list[Client] = []

    def build(where: Proxy | str, **options: Any) -> Client:
        client = Client(where.address if isinstance(where, Proxy) else where, **options)
        clients.append(client)
        return client

    yield build
    for client in clients:
        client.close()


@dataclass
class Wire:
    """A shared proxy with the default configuration, its upstream, and clients of this test."""

    proxy: Proxy
    upstream: Upstream
    connect: Connect
    clients: list[Client] = field(default_factory=list)
    may_violate: bool = False
    may_reset: bool = False

    def client(self, **options: Any) -> Client:
        """Another client."""
        client = self.connect(self.proxy, **options)
        self.clients.append(client)
        return client

    def log(self, client: Client, count: int = 1, kind: str = "exchange") -> list[dict[str, Any]]:
        """The log lines of one client."""
        return self.proxy.log_lines(count, kind=kind, port=client.port)


def wire_over(proxy: Proxy, upstream: Upstream, connect: Connect) -> Iterator[Wire]:
    """A test's time on a shared proxy: afterwards nothing is left over, and nothing was wrong on the wire."""
    proxy.mark()
    wire = Wire(proxy, upstream, connect)
    yield wire
    for client in wire.clients:
        client.close()
    links, violations = list(upstream.links), list(upstream.violations)
    upstream.reset_scripts()
    assert proxy.process.poll() is None, f"the proxy has ended: {proxy.stderr()[-4000:]}"
    if not wire.may_violate:
        assert not violations
    if not wire.may_reset:
        assert not [link.received[-200:] for link in links if link.end == "rst"], (
            "the proxy reset the upstream"
        )


@dataclass
class Shared:
    """What the session's tests share in one lane."""

    proxy: Proxy
    upstream: Upstream


@pytest.fixture(scope="session")
def shared(lane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """One product with the default configuration for the whole session of a lane.

    What is asked below /streamed is not collected before the upstream has it.
    """
    bench = Bench(tmp_path_factory.mktemp("shared"), lane)
    upstream = bench.upstream()
    yield Shared(bench.proxy(upstream, route=[{"upstream": "legacy"}, STREAMED]), upstream)
    bench.close()


@pytest.fixture
def wire(shared: Shared, connect: Connect) -> Iterator[Wire]:
    """The shared proxy, for this test."""
    yield from wire_over(shared.proxy, shared.upstream, connect)


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
