"""Resident bytes of a held connection in each state, with a fresh proxy for each.

The base is taken after some traffic, so that what a proxy allocates once is in it. *Held* are the sockets
of the proxy's own processes on its port: a figure is void unless they are at least 99 % of what the clients
hold, and where a proxy does not keep a state at all (HAProxy closes and forgets instead of lingering) there
is none.
"""

import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from benchmarks import procfs
from benchmarks.clients import holding
from benchmarks.model import Bar, Grid, Part, number
from benchmarks.product import EXPRESS
from benchmarks.rig import BenchError, Server
from benchmarks.stage import Options, Proxy, Stage

STATES = ("fresh", "idle", "head", "linger")
LINE = "line"
TITLES = {"fresh": "fresh", "idle": "idle", "head": "slow head", "linger": "lingering", LINE: "in line"}
IN_LINE = 2000
NAMES = (EXPRESS, "nginx", "haproxy")
ENOUGH = 0.99
WARM = 200
SETTLE = 0.6


@dataclass(frozen=True, slots=True)
class Held:
    """What holding ``wanted`` connections took; sizes in bytes."""

    wanted: int
    held: int
    failed: int
    base: int
    resident: int
    proportional: int
    kernel: int
    """Of the whole machine: /proc/net/sockstat."""
    sockets: int | None = None
    """Of the proxy's own ends: ss(8)."""

    @property
    def valid(self) -> bool:
        """Whether the proxy held what the clients did."""
        return self.held >= ENOUGH * self.wanted

    @property
    def each(self) -> float | None:
        """Resident bytes a connection, None when the figure is void."""
        return self.resident / self.held if self.valid else None


def held(stage: Stage, options: Options) -> Part:
    """Every state on every proxy, and for shieldproxy the line in front of the upstream."""
    part = Part("held")
    found: dict[str, dict[str, Held]] = {}
    for proxy in options.wanted(NAMES):
        for state in (*STATES, LINE) if proxy.name == EXPRESS else STATES:
            try:
                one = hold_line(stage, proxy) if state == LINE else hold(stage, proxy, state, options.held)
            except (BenchError, OSError) as error:
                part.failures.append(f"held {state}, {proxy.name}: {error}")
                continue
            found.setdefault(proxy.name, {})[state] = one
            if proxy.name == EXPRESS and not one.valid:
                part.failures.append(f"held {state}: {one.held} of {one.wanted} held, {one.failed} failed")
    part.data["figures"] = {name: {key: asdict(one) for key, one in by.items()} for name, by in found.items()}
    part.grids.append(grid(found, options.held))
    part.bars += bars(found.get(EXPRESS, {}))
    return part


def bars(ours: Mapping[str, Held]) -> list[Bar]:
    """1,024 bytes in each state, 8 KiB in the line, 60 MiB before anybody is there."""
    found = []
    for state, title in TITLES.items():
        one = ours.get(state)
        limit = 8192 if state == LINE else 1024
        found.append(Bar(f"held, {title}", one.each if one else None, limit, unit=" B", digits=0))
    base = max((one.base for one in ours.values()), default=None)
    found.append(Bar("held, base", None if base is None else base / 2**20, 60, unit=" MiB", digits=1))
    return found


def hold(stage: Stage, proxy: Proxy, state: str, count: int) -> Held:
    """One state on a fresh proxy."""
    with stage.proxy(proxy, patient=True, capacity=max(9900, count + 100)) as server:
        with holding(stage.rig, server, "idle", WARM):
            pass
        await_none(server)
        return weigh(stage, server, state, count)


def hold_line(stage: Stage, proxy: Proxy) -> Held:
    """Whole requests before an upstream whose connections are all taken, because it never answers.

    Its kernel takes the connections, nobody accepts them: a listening socket of this process.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as silent:
        port: int = silent.getsockname()[1]
        with replace(stage, origin=port).proxy(proxy, patient=True, checked=False) as server:
            return weigh(stage, server, LINE, IN_LINE)


def weigh(stage: Stage, server: Server, state: str, count: int) -> Held:
    """Memory before and while ``count`` connections are held."""
    before, kernel = procfs.memory(server.pid), procfs.tcp_memory()
    with holding(stage.rig, server, state, count) as crowd:
        time.sleep(SETTLE)
        after = procfs.memory(server.pid)
        return Held(
            wanted=count,
            held=procfs.held(server.pid, server.port),
            failed=crowd.failed,
            base=before["Rss"],
            resident=after["Rss"] - before["Rss"],
            proportional=after["Pss"] - before["Pss"],
            kernel=procfs.tcp_memory() - kernel,
            sockets=procfs.socket_memory(server.port),
        )


def await_none(server: Server, limit: float = 10.0) -> None:
    """Wait until the proxy has let go of every client, at most ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while procfs.held(server.pid, server.port) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(SETTLE / 2)


def grid(found: dict[str, dict[str, Held]], count: int) -> Grid:
    """One row for each proxy and state."""
    rows = []
    for name, by_state in found.items():
        for state, one in by_state.items():
            void = "not kept" if one.held == 0 else "void"
            rows.append(
                [
                    f"{name}, {TITLES[state]}",
                    f"{one.held:,}",
                    number(one.each, 0) if one.valid else void,
                    number(one.sockets / one.held, 0) if one.valid and one.sockets is not None else "-",
                    number(one.kernel / one.held, 0) if one.valid else "-",
                    number(one.base / 2**20, 1),
                ]
            )
    columns = ("state", "held", "resident B each", "its sockets B each", "kernel TCP B each", "base MiB")
    note = (
        "its sockets: the kernel's memory for the proxy's ends, by ss -m; "
        "kernel TCP: the change of /proc/net/sockstat's mem: both ends, and whatever else the machine did"
    )
    return Grid(f"{count:,} held connections", columns, rows, note)
