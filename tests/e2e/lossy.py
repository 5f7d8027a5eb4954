"""What the tests of the lost response share: the proxy on its wire, and what is said of a cell."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from tests.e2e.conftest import Bench
from tests.kit.client import Client
from tests.kit.lost import AT_ONCE, MODES, TRIES, Cell, Count, Hasty, patient, place, run, tables
from tests.kit.netns import SERVER
from tests.kit.proxy import Proxy, free_address
from tests.kit.sockets import eventually


class Scene:
    """A proxy before hasty servers, and the clients' side of it."""

    def __init__(self, proxy: Proxy, clients: Executor, connect: Callable[[], Client]) -> None:
        self.proxy = proxy
        self._clients = clients
        self._connect = connect

    def count(self, cell: Cell, way: str = "ack", tries: int = TRIES) -> Count:
        """Try a cell; each of its clients has left a receipt when this returns."""
        self.proxy.mark()
        count = run(self._clients, self._connect, cell, way, tries)
        eventually(lambda: len(self.proxy.lines("connection")) >= tries)
        return count

    def none_lost(self, cell: Cell, way: str = "ack", tries: int = TRIES) -> None:
        """Every client has its response, and every receipt says so."""
        count = self.count(cell, way, tries)
        receipts = self.proxy.lines("connection")
        odd = [line for line in receipts if not line.get("acknowledged") or line.get("linger") != "fin"]
        assert count.lost == 0, f"{count}; {odd[:5]}"
        assert len(receipts) == tries
        if way == "ack":
            assert all(line.get("acknowledged") for line in receipts), f"and yet it has arrived: {odd[:5]}"


def legacy(server: Hasty) -> dict[str, Any]:
    """The upstream's table: room for all clients at once."""
    return {"legacy": {"servers": [server.address], "max_connections": 2 * AT_ONCE}}


@contextmanager
def on_wire(
    bench: Bench,
    modes: tuple[str, ...] = MODES,
    client: Callable[[str], Client] = patient,
    *,
    ample: bool = True,
) -> Iterator[Scene]:
    """Clients and proxy at the two ends of a wire of 100 ms and 1 % loss."""
    with ExitStack() as stack:
        line = stack.enter_context(place(ample=ample))
        server = line.server.run(Hasty)
        stack.callback(server.close)
        proxy = line.server.run(
            lambda: bench.proxy(legacy(server), server={"listen": [free_address(SERVER)]}, **tables(modes))
        )
        clients = stack.enter_context(line.client.pool(AT_ONCE))
        yield Scene(proxy, clients, partial(client, proxy.address))
