"""Which of several servers is next, among those that can take a request now.

Servers are numbers, 0 to n - 1; each has a weight. Nothing here counts what they do: who asks knows that.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import log
from typing import Final

CLIENTS: Final = 8192
"""At most so many clients' orders are remembered; all are forgotten when there are more."""
_BITS: Final = 53


def least(servers: Sequence[int], leased: Callable[[int], int], weights: Sequence[int], turn: int) -> int:
    """Return the server with the fewest requests for its weight, this one counted; ties go round.

    Args:
        servers: those that can take one; not empty.
        leased: how many requests one has.
        weights: of all servers.
        turn: goes up by one with each request.
    """
    count = len(servers)
    turned = (servers[(turn + place) % count] for place in range(count))
    return min(turned, key=lambda number: (leased(number) + 1) / weights[number])


class RoundRobin:
    """Smooth weighted round robin: of weights 5, 1, 1 the order is a a b a c a a, not a a a a a b c.

    Each turn every server gains its weight, and the richest pays what all have gained. `pick` only looks;
    `went` is told what became of it.
    """

    __slots__ = ("_gained", "_weights")

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = tuple(weights)
        self._gained = [0] * len(self._weights)

    def pick(self, servers: Sequence[int]) -> int:
        """Return whose turn it is among `servers`, which are not empty."""
        return max(servers, key=lambda number: self._gained[number] + self._weights[number])

    def went(self, number: int, servers: Sequence[int]) -> None:
        """A request went to one of `servers`, as picked."""
        gained, weights = self._gained, self._weights
        for other in servers:
            gained[other] += weights[other]
        gained[number] -= sum(weights[other] for other in servers)


class ClientHash:
    """The order in which each client would have the servers: always the same one, whichever are there.

    Weighted rendezvous hashing. Each pair of a client and a server draws a number, and a client's order is by
    these numbers; so a server that comes or goes moves the clients that it has won or loses, and no others.
    One that is full or left out gives its clients to the next in each one's own order.
    """

    __slots__ = ("_known", "_names", "_weights")

    def __init__(self, names: Sequence[str], weights: Sequence[int]) -> None:
        self._names = tuple(name.encode() for name in names)
        self._weights = tuple(weights)
        self._known: dict[str, tuple[int, ...]] = {}

    def order(self, client: str) -> tuple[int, ...]:
        """Return all servers, the one that the client belongs to first."""
        known = self._known.get(client)
        if known is None:
            if len(self._known) >= CLIENTS:
                self._known.clear()
            key = client.encode(errors="surrogateescape")
            drawn = sorted((self._drawn(key, number), number) for number in range(len(self._names)))
            known = self._known[client] = tuple(number for _, number in drawn)
        return known

    def _drawn(self, key: bytes, number: int) -> float:
        """The number of a pair: as if drawn from an exponential distribution, the lower the more weight."""
        digest = blake2b(self._names[number] + b"\0" + key, digest_size=8).digest()
        uniform = ((int.from_bytes(digest) >> (64 - _BITS)) + 0.5) / (1 << _BITS)
        return -log(uniform) / self._weights[number]
