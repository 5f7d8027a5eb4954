"""One address of an upstream and its books; and what a pool grants to whom."""

from collections.abc import Callable
from math import inf
from typing import Any, Protocol

import trio

from shieldproxy.core.address import Address
from shieldproxy.net.record import Downstream, Upstream


class Server:
    """One address of an upstream, and its connections."""

    __slots__ = (
        "address",
        "asking",
        "avoid_until",
        "given",
        "group",
        "idle",
        "name",
        "open",
        "resolved",
        "resolved_until",
        "taken",
    )

    def __init__(self, address: Address, group: Any) -> None:
        self.address = address
        self.name = str(address)
        self.group = group
        self.idle: list[Upstream] = []
        """Unused connections, the one used last at the end."""
        self.open = 0
        """Connections in any state, and places granted for one."""
        self.taken = 0
        """Leases begun, ever: requests that it was asked, or was to be."""
        self.given = 0
        """Leases ended, ever."""
        self.avoid_until = -inf
        self.asking = trio.Lock()
        """Held while its name is looked up."""
        self.resolved: tuple[tuple[int, Any], ...] = ()
        self.resolved_until = -inf

    @property
    def leased(self) -> int:
        """Connections in use, and places granted for one."""
        return self.taken - self.given


Grant = Upstream | Server


class Ticket(Protocol):
    """Somebody who waits in line."""

    rec: Downstream
    grant: Callable[[Any, Grant], None]
