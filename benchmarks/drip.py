"""A head that comes byte by byte: CPU of a head of n bytes and of one of 4n bytes.

Whoever reads each byte once pays four times as much, whoever starts anew with each byte sixteen times.

Each byte is an event of its own: after every byte of every client another client asks for a response, and
only when that has come does the next byte go.
"""

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from benchmarks import procfs
from benchmarks.browser import browser_head
from benchmarks.heartbeat import ask
from benchmarks.holder import connect, read_response
from benchmarks.model import Bar, Grid, Part, middle, ratios, spread_text
from benchmarks.product import EXPRESS, VARIANTS
from benchmarks.rig import BenchError, Server
from benchmarks.stage import Options, Stage

SIZES = (4 * 1024, 16 * 1024)
CLIENTS = 32
LINEAR = SIZES[1] / SIZES[0]


def drip(stage: Stage, options: Options) -> Part:
    """Both sizes, in alternating rounds."""
    part = Part("drip")
    if not options.wanted([EXPRESS]):
        return part
    spent: dict[int, list[float]] = {size: [] for size in SIZES}
    try:
        with stage.proxy(VARIANTS[EXPRESS], patient=True) as server:
            for turn in range(1 if options.short else 3):
                for size in SIZES[:: 1 if turn % 2 == 0 else -1]:
                    spent[size].append(dripped(server, size))
    except (BenchError, OSError) as error:
        part.failures.append(f"drip: {error}")
        spent = {size: [] for size in SIZES}
    return conclude(part, spent)


def head_of(size: int) -> bytes:
    """A head of so many bytes, in fields of a few hundred."""
    head = browser_head(1).encode()[:-2]
    while len(head) < size - 2:
        head += b"X-Drip: " + b"x" * max(1, min(400, size - len(head) - 12)) + b"\r\n"
    return head + b"\r\n"


def dripped(server: Server, size: int) -> float:
    """Drip heads through a server, each to its response; CPU microseconds of the server a head."""
    head = head_of(size)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server.port, "127.0.0.1")) for _ in range(CLIENTS)]
        for client in clients:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        other = stack.enter_context(connect(server.port, "127.0.0.1"))
        ask(other, 0)
        before = procfs.cpu_seconds(server.pid)
        for at in range(len(head)):
            for client in clients:
                client.send(head[at : at + 1])
            ask(other, at)
        for client in clients:
            read_response(client)
        spent = procfs.cpu_seconds(server.pid) - before
    return spent / CLIENTS * 1e6


def conclude(part: Part, spent: Mapping[int, Sequence[float]]) -> Part:
    """Table, data and bar."""
    rows = [
        [f"{size // 1024} KiB", spread_text(us, 0), spread_text([one / size for one in us])]
        for size, us in spent.items()
    ]
    columns = ("head", "CPU us a head", "CPU us a byte")
    note = f"one exchange after every {CLIENTS} bytes, which keeps them apart, is in it"
    part.grids.append(Grid("a head that comes byte by byte", columns, rows, note))
    small, large = (spent[size] for size in SIZES)
    title = f"head dripped byte by byte, {SIZES[1] // 1024} KiB x {SIZES[0] // 1024} KiB ({LINEAR:g}: linear)"
    part.bars.append(Bar(title, middle(ratios(large, small)), 1.25 * LINEAR))
    part.data["spent"] = {str(size): list(us) for size, us in spent.items()}
    return part
