"""The scene of clients that leave: a server with one place, and what it has seen of their requests."""

import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.kit.answers import held, reply
from tests.kit.client import Client, request
from tests.kit.endings import outcome, receipt
from tests.kit.link import Link
from tests.kit.proxy import Proxy
from tests.kit.scene import PATIENT, Builder
from tests.kit.sockets import ESTABLISHED, eventually, of_port, to_port
from tests.kit.upstream import Upstream
from tests.kit.watch import Watch

WHOLE = b"0123456789" * 20_000
BEGUN = reply(WHOLE)[: len(WHOLE) // 2]
"""The first half of a response that does not fit the buffers of the express lane."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SOON = 1.0
"""Seconds in which whoever has gone is noticed, with room for a busy machine."""


def _ended(link: Link) -> str:
    """How the proxy has ended a connection whose story waits and does not read; the empty text: not yet."""
    try:
        return "" if link.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) else "fin"
    except BlockingIOError:
        return ""
    except OSError:
        return "rst"


@dataclass
class Leaving:
    """A proxy before a server with one place, whose "/held" and "/half" wait for the release."""

    proxy: Proxy
    upstream: Upstream
    release: threading.Event

    def gone(self, port: int, reason: str, phase: str, status: int = 499) -> None:
        """The log says at once that the client has gone, and why."""
        begun = Watch()
        line = outcome(self.proxy, port)
        begun.took(0, SOON)
        assert (line["outcome"], line["by"], line["reason"], line["phase"], line["status"]) == (
            "aborted",
            "client",
            reason,
            phase,
            status,
        )
        last = receipt(self.proxy, port)
        assert (last["by"], last["reason"]) == ("client", reason)

    def all_read(self) -> bool:
        """Wait until the clients have had nothing to read for a while."""
        port, quiet = int(self.proxy.address.rpartition(":")[2]), 0
        for _ in range(500):
            rows = to_port(port, ESTABLISHED) + of_port(port, ESTABLISHED)
            quiet = 0 if any(row.unread or row.unsent for row in rows) else quiet + 1
            if quiet > 20:
                return True
            time.sleep(0.01)
        return False

    def still_asked(self) -> None:
        """The server's connection stays as it is."""
        link = self.upstream.links[0]
        assert not eventually(lambda: _ended(link), 0.4)

    def left_alone(self, method: str, count: int = 1) -> None:
        """A GET is given up with a FIN; a POST is seen to its end, and the connection serves on."""
        link = self.upstream.links[0]
        if method == "GET":
            assert eventually(lambda: _ended(link), SOON) == "fin"
            self.release.set()
            return
        assert not eventually(lambda: _ended(link), 0.2)
        self.release.set()
        self.serves_on(count)

    def serves_on(self, count: int = 1) -> None:
        """The next request goes out on the first connection, behind the response to the one before."""
        with Client(self.proxy.address) as other:
            assert other.ask(request("/next")).body == b"hello"
        assert [seen.connection for seen in self.upstream.requests] == [0] * (count + 1)
        assert not self.upstream.violations
        assert not self.upstream.incomplete


def leaving(bench: Builder, half_close: str, legacy: dict[str, Any] | None = None, **tables: Any) -> Leaving:
    """Such a scene under one rule for everybody."""
    upstream, release = bench.upstream(), threading.Event()
    upstream.on("/held", held(release, reply(b"late")))
    upstream.on("/half", held(release, reply(WHOLE)[len(BEGUN) :], before=BEGUN))
    rule = {"name": "fin", "half_close": half_close, **tables.pop("effects", {})}
    proxy = bench.proxy(
        upstream,
        rule=[rule],
        legacy={"max_connections": 1, **(legacy or {})},
        timeouts=PATIENT,
        **tables,
    )
    return Leaving(proxy, upstream, release)
