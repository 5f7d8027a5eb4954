"""What the tests of collected bodies share: a plan with little memory, and clients that send in parts."""

import socket
from pathlib import Path
from typing import Any

import trio

from shieldproxy.core.limits import Buffers, Limits
from shieldproxy.core.policy import Policy
from tests.kit.upstream import Upstream
from tests.run.worker_rig import HOURS, Running, plan

MEMORY = 4096
LIMIT = 400_000
BODY = bytes(range(251)) * 2000
BASE = Policy(timeouts=HOURS, limits=Limits(body=LIMIT))
HEAD = b"PUT /%b HTTP/1.1\r\nHost: a\r\n%b\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def where(server: Upstream, log: Path, **changes: Any) -> Any:
    changes.setdefault("base", BASE)
    changes.setdefault("buffers", Buffers(request_memory=MEMORY, directory=str(log)))
    return plan(server, log, **changes)


def framed(body: bytes, framing: str, piece: int = 5000) -> tuple[bytes, bytes]:
    """A head and its body as it goes over the wire."""
    if framing == "length":
        return HEAD % (b"a", b"Content-Length: %d\r\n" % len(body)), body
    chunks = [body[at : at + piece] for at in range(0, len(body), piece)]
    return HEAD % (b"a", CHUNKED), b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


async def give(client: socket.socket, data: bytes) -> None:
    """Send everything, however long it takes."""
    view = memoryview(data)
    with trio.fail_after(10):
        while view:
            try:
                view = view[client.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(client)


async def told(house: Running, client: socket.socket, what: bytes) -> bytes:
    """Read until this has come."""
    got = b""
    while what not in got:
        piece = await house.some(client)
        assert piece, f"ended after {got[-300:]!r}"
        got += piece
    return got


def in_phase(house: Running, phase: str) -> int:
    return house.phases().get(phase, 0)
