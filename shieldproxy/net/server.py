"""One address of an upstream and its books; and what a pool grants to whom."""

from collections.abc import Callable
from math import inf
from typing import Any, Final, Protocol

import trio

from shieldproxy.core.address import Address
from shieldproxy.core.health import Health
from shieldproxy.core.idle import Patience
from shieldproxy.net.record import Downstream, Upstream

AVOID: Final = 2.0
"""Seconds for which a server that refused a connection comes last."""


class Server:
    """One address of an upstream, and its connections."""

    __slots__ = (
        "address",
        "asking",
        "avoid_until",
        "dead",
        "given",
        "group",
        "health",
        "idle",
        "keep",
        "name",
        "open",
        "patience",
        "resolved",
        "taken",
        "turn",
    )

    def __init__(self, address: Address, group: Any) -> None:
        self.address = address
        self.name = str(address)
        self.group = group
        self.idle: list[Upstream] = []
        """Unused connections, the one used last at the end."""
        self.keep: float = group.spec.pool_idle
        """Seconds for which an unused connection is kept."""
        self.open = 0
        """Connections in any state, and places granted for one."""
        self.taken = 0
        """Leases begun, ever: requests that it was asked, or was to be."""
        self.given = 0
        """Leases ended, ever."""
        self.patience = Patience()
        """How long it keeps idle connections."""
        self.health = Health(group.spec)
        self.avoid_until = -inf
        """It has refused a connection: it comes last until then."""
        self.asking = trio.Lock()
        """Held while its name is looked up."""
        self.resolved: tuple[tuple[int, Any], ...] = ()
        """Its addresses, if it is set by name and was found."""
        self.turn = -1
        """Of these, the one that the last connection tried first."""
        self.dead: dict[tuple[int, Any], float] = {}
        """Those of several that could not be reached, and until when they come last."""

    @property
    def leased(self) -> int:
        """Connections in use, and places granted for one."""
        return self.taken - self.given


Grant = Upstream | Server


class Ticket(Protocol):
    """Somebody who waits in line."""

    rec: Downstream
    client: str
    grant: Callable[[Any, Grant], None]

    @property
    def once(self) -> bool:
        """Whether its request cannot be sent a second time."""
