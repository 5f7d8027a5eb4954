"""The scene of most tests of endings: a proxy with quick deadlines, an upstream that can hold a request."""

import threading
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from tests.kit.answers import held, reply
from tests.kit.client import Client, request
from tests.kit.endings import DEBUG, QUICK, page
from tests.kit.proxy import Proxy
from tests.kit.sockets import CLOSE_WAIT, ESTABLISHED, Row, eventually, facing, gone, held_by, of_port, table
from tests.kit.upstream import Upstream

PATIENT = {
    "head": "20s",
    "keep_alive": "20s",
    "body_idle": "20s",
    "linger_gap": "20s",
    "linger_total": "30s",
    "send_idle": "20s",
}
"""For tests in which nobody shall leave by a deadline."""
LAST = request("/", fields=["Connection: close"])
BIG = 14_000
"""More than a small receive buffer, less than what our kernel takes of us at once."""


class Builder(Protocol):
    """What builds and ends them: the fixture ``bench``."""

    def upstream(self) -> Upstream:
        """Start a server."""
        ...

    def proxy(self, upstream: Upstream | str | dict[str, Any], **tables: Any) -> Proxy:
        """Start the product before it."""
        ...


@dataclass
class Scene:
    """One proxy before one upstream whose "/held" waits for the release."""

    proxy: Proxy
    upstream: Upstream
    release: threading.Event

    @property
    def port(self) -> int:
        """Where the proxy listens."""
        return int(self.proxy.address.rpartition(":")[2])

    @property
    def server(self) -> int:
        """Where the upstream listens."""
        return int(self.upstream.address.rpartition(":")[2])

    def empty(self) -> None:
        """Wait until the proxy has let go of the connection by which its start was seen."""
        assert eventually(lambda: self.proxy.lines("connection"))

    def close_waits(self) -> list[str]:
        """Sockets of the proxy whose peer has closed: those to clients and those to the server."""
        return [str(row) for row in _close_waits(self.proxy.pid, [self.port], [self.server])]

    def all_read(self) -> None:
        """Wait until the proxy has read all that its clients sent."""
        eventually(lambda: not any(row.unread for row in of_port(self.port, ESTABLISHED, pid=self.proxy.pid)))


def stage(bench: Builder, **tables: Any) -> Scene:
    """A proxy with quick deadlines that logs every receipt."""
    upstream, release = bench.upstream(), threading.Event()
    upstream.on("/held", held(release, reply(b"late")))
    tables["timeouts"] = {**QUICK, **tables.get("timeouts", {})}
    return Scene(bench.proxy(upstream, **{"log": DEBUG, **tables}), upstream, release)


def lingering(bench: Builder, *, size: int = 200, linger: str = "ack", **tables: Any) -> Proxy:
    """A proxy with quick deadlines and one way to linger, before an upstream whose page has this size."""
    rule = [{"name": "linger", "linger": linger}]
    scene = stage(bench, rule=rule, **tables)
    scene.upstream.default = page(size)
    return scene.proxy


def states(client: Client, proxy: Proxy) -> list[int]:
    """What the proxy's kernel holds of the client's connection."""
    return [row.state for row in facing(client.sock, proxy.pid)]


def is_held(client: Client, proxy: Proxy) -> bool:
    """Whether the proxy itself holds the client's connection open."""
    inodes = held_by(proxy.pid)
    return any(row.inode in inodes for row in facing(client.sock, proxy.pid))


def no_close_wait(proxies: list[Proxy], servers: list[Upstream], timeout: float = 3.0) -> None:
    """See that no proxy keeps a socket whose peer has closed; to be called when the clients have closed."""
    behind = [int(server.address.rpartition(":")[2]) for server in servers if "unix" not in server.address]
    for proxy in proxies:
        own = [int(address.rpartition(":")[2]) for address in proxy.addresses if "unix" not in address]
        if proxy.process.poll() is None:
            gone(partial(_close_waits, proxy.pid, own, behind), timeout)


def _close_waits(pid: int, own: list[int], behind: list[int]) -> list[Row]:
    rows = table(pid, states=[CLOSE_WAIT])
    return [row for row in rows if row.local[1] in own or row.remote[1] in behind]
