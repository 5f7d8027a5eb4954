"""What each piece of an exchange costs: the express lane in one process, with sockets that do no I/O.

The figures of the other parts are of a whole proxy on a shared machine. These are of single functions, the
cheapest of many short batches: they say where the time goes, and a change of a twentieth shows. The peers'
bytes are those of the load of ``keepalive``: a browser's head with a cookie and a query that change, answered
with 1 KiB. What the kernel takes is measured beside it: the same bytes over a loopback connection.
"""

import gc
import socket
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.browser import browser_head
from benchmarks.model import Grid, Part, number
from benchmarks.product import KNOWN_CLIENTS
from benchmarks.stage import Options, Stage
from shieldproxy import config
from shieldproxy.configplan import plan
from shieldproxy.core import blocks
from shieldproxy.core.head import RequestHead, judge_request, read_request
from shieldproxy.core.response import ResponseHead, read_response
from shieldproxy.net.downstream import Clients
from shieldproxy.net.linger import Closer
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.record import IN, Door, Record, Upstream
from shieldproxy.net.spool import Store
from shieldproxy.proxy.answer import compose
from shieldproxy.proxy.express import Express
from shieldproxy.proxy.house import House
from shieldproxy.run.logs import Journal
from shieldproxy.run.sink import Sink

BATCH = 200
ROUNDS = {True: 30, False: 200}
EXPRESS = """
include = ["{known}"]
[log]
access = "{log}"
[upstream.legacy]
servers = ["127.0.0.1:9"]
[[route]]
upstream = "legacy"
"""
REQUESTS = [browser_head(number).encode() for number in range(BATCH)]
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 12:19:44 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n" + b"x" * 1024
)
HEAD_END = RESPONSE.index(b"\r\n\r\n") + 4


class Puppet(socket.socket):
    """A socket that reads the same bytes for ever, and swallows what is sent."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    def recv(self, _size: int, _flags: int = 0) -> bytes:
        """The bytes, whole."""
        return self.data

    def send(self, data: Any, _flags: int = 0) -> int:
        """All of it."""
        return len(data)


class Workshop:
    """One worker's express lane, a client and a pooled server connection, without a loop."""

    def __init__(self, folder: Path) -> None:
        file = folder / "costs.toml"
        file.write_text(EXPRESS.format(known=KNOWN_CLIENTS, log=folder / "costs.log"))
        loaded = config.load(str(file)).config
        assert loaded is not None
        made = plan(loaded)
        self.lobby = Lobby(time.monotonic, _broken)
        self.sink = Sink(str(folder / "costs.log"))
        self.journal = Journal(self.sink, Sink("none"), "json", "info")
        closer = Closer(self.lobby, lambda *_: None, lambda _: False)
        store = Store(self.lobby, made.buffers, self.journal.warn)
        self.house = House(made, self.lobby, self.journal, closer, store)
        self.express = Express(self.house)
        accepted = self.house.rules.at_accept
        self.clients = Clients(self.lobby, closer, accepted, self.express.begin, self.express.fault)
        self.house.go_on = self.clients.go_on
        door = Door("127.0.0.1:8080", socket.socket())
        self.browser = Puppet(REQUESTS[0])
        self.client = self.clients.welcome(self.browser, "127.0.0.1", 5555, door)
        self.group = self.house.groups["legacy"]
        server = self.group.servers[0]
        self.up = Upstream(Puppet(RESPONSE), self.group.on_pooled, self.group.on_pool_due, server, 0.0)
        self.up.uses = 1
        server.idle.append(self.up)
        server.open = 1
        self.lobby.add(self.up)
        self.turn = 0

    def exchange(self) -> None:
        """One request of the client, and its answer."""
        self.turn += 1
        self.browser.data = REQUESTS[self.turn % BATCH]
        self.client.on_event(self.client, 1)
        self.up.on_event(self.up, 1)

    def forget(self) -> None:
        """Empty what a worker would write out a few times a second."""
        self.sink._records.clear()
        self.sink._lines.clear()
        self.sink._size = 0

    def close(self) -> None:
        """Close what it opened."""
        self.client.door.sock.close()
        self.lobby.shut()


def cheapest(call: Callable[[], object], rounds: int, after: Callable[[], None] | None = None) -> float:
    """Microseconds of one call: the cheapest batch of many."""
    best = float("inf")
    for _ in range(rounds):
        best = min(best, timeit.timeit(call, number=BATCH))
        if after is not None:
            after()
    return best / BATCH * 1e6


def pieces(shop: Workshop, rounds: int) -> list[tuple[str, float]]:
    """Each piece of an exchange with its microseconds."""
    house, turn = shop.house, [0]

    def request() -> RequestHead:
        turn[0] += 1
        data = REQUESTS[turn[0] % BATCH]
        read = read_request(data, len(data))
        assert isinstance(read, RequestHead)
        return read

    def response() -> ResponseHead:
        read = read_response(RESPONSE, HEAD_END, b"GET")
        assert isinstance(read, ResponseHead)
        return read

    def unknown(call: Callable[[], object], *forgotten: Callable[[], None]) -> Callable[[], None]:
        def without() -> None:
            for forget in forgotten:
                forget()
            call()

        return without

    head, resp, rules = request(), response(), house.rules
    ex = shop.express._open(shop.client, 0.0)
    ex.head, ex.route, ex.group = head, house.routes.routes[0], shop.group
    ex.server, ex.verdict = shop.group.servers[0], rules.decide("127.0.0.1", b"GET", b"/", b"a", 1, b"x", 0.0)

    def leased() -> None:
        up = shop.group.take()
        assert up is not None
        shop.group.release(up)

    def policy() -> None:
        rules.decide("127.0.0.1", head.method, head.path, head.host, head.minor, head.user_agent, 0.0)

    def log() -> None:
        shop.journal.exchange(ex, "served", "upstream", "relay", "done", shop.lobby.now)

    def counters() -> None:
        house.active += 1
        house.active -= 1
        house.lanes["express"] += 1

    def deadlines() -> None:
        shop.lobby.arm(shop.client, shop.lobby.now + 15.0)
        shop.lobby.arm(shop.up, shop.lobby.now + 60.0)

    request_blocks, response_blocks = blocks.REQUEST_BLOCKS.forget, blocks.RESPONSE_BLOCKS.forget
    calls: list[tuple[str, Callable[[], object]]] = [
        ("request head: read and checked, block known", request),
        ("request head: block not known, lines known", unknown(request, request_blocks)),
        ("request head: limits and oddities (judge_request)", lambda: judge_request(head, ex.policy)),
        ("policy: which rules match", policy),
        ("route", lambda: house.route_of(shop.client, head)),
        ("request head: written for the server", lambda: shop.express.request_of(ex, head, head.length)),
        ("pool: taken and given back", leased),
        ("response head: read and checked, block known", response),
        ("response head: block not known, lines known", unknown(response, response_blocks)),
        ("response head: written for the client", lambda: compose(house, ex, head, resp, True)),
        ("log: one JSON line", log),
        ("deadlines: client's and server's moved", deadlines),
        ("counters", counters),
        ("record: back to idle", lambda: shop.clients.go_on(shop.client)),
    ]
    return [(name, cheapest(call, rounds, shop.forget)) for name, call in calls]


def _read(record: Record, events: int) -> None:
    if events & IN:
        record.sock.recv(1)


def _ignore(_record: Record) -> None:
    pass


def _broken(_record: object, exc: Exception) -> None:
    raise exc


def lobby_turns(rounds: int) -> list[tuple[str, float]]:
    """Microseconds an event of the lobby, alone and in company, without what the event is about."""
    found = []
    for count in (1, 64):
        lobby = Lobby(time.monotonic, _broken)
        pairs = [socket.socketpair() for _ in range(count)]
        for ours, _ in pairs:
            ours.setblocking(False)
            lobby.add(Record(ours, _read, _ignore))

        def ready(pairs: Any = pairs) -> None:
            for _, theirs in pairs:
                theirs.send(b"x")

        def read(pairs: Any = pairs) -> None:
            for ours, _ in pairs:
                ours.recv(1)

        def turned(lobby: Lobby = lobby, ready: Any = ready) -> None:
            ready()
            lobby.turn()

        def bare(ready: Any = ready, read: Any = read) -> None:
            ready()
            read()

        lobby.turn()
        cost = (cheapest(turned, rounds) - cheapest(bare, rounds)) / count
        found.append((f"lobby: an event, {count} in a turn", cost))
        lobby.shut()
        for _, theirs in pairs:
            theirs.close()
    return found


def kernel(rounds: int) -> float:
    """Microseconds of the four system calls of an exchange, over loopback connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        b, _ = listener.accept()
    with a, b:
        for sock in (a, b):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def calls() -> None:
            a.send(REQUESTS[0])
            b.recv(65536)
            b.send(RESPONSE)
            a.recv(65536)

        return cheapest(calls, rounds)


def costs(stage: Stage, options: Options) -> Part:
    """The part: a table of pieces, and of the whole."""
    rounds = ROUNDS[options.short]
    folder = stage.rig.folder / "costs"
    folder.mkdir()
    shop = Workshop(folder)
    for _ in range(BATCH):
        shop.exchange()
    gc.collect()
    gc.freeze()
    try:
        whole = cheapest(shop.exchange, rounds, shop.forget)
        single = [*pieces(shop, rounds), *lobby_turns(rounds)]
    finally:
        gc.unfreeze()
        shop.close()
    rows = [
        ("a whole exchange, sockets apart", whole),
        *single,
        ("kernel: the same bytes, two sends and two receives", kernel(rounds)),
    ]
    grid = Grid(
        "What the pieces of an express exchange cost (the cheapest of many batches)",
        ("piece", "us"),
        [(name, number(us, 2)) for name, us in rows],
        "pieces alone, each with its call; the whole has them and the steps between",
    )
    return Part("costs", [grid], data={"us": {name: round(us, 3) for name, us in rows}})
