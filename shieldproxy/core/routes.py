"""Which upstream a request goes to.

The most specific route wins: one for this listening address before one for any, then an exact host before the
longest ``*.suffix`` before ``*``, then the longest path by whole segments. Called once for each request, by both
lanes; with one route that takes everything it is an attribute and a test.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """One ``[[route]]`` of the configuration."""

    upstream: str
    listen: str | None = None
    """An address of ``server.listen``, as written there; None is any."""
    host: str = "*"
    path: str = "/"
    request_set: tuple[tuple[bytes, bytes], ...] = ()
    request_remove: frozenset[bytes] = frozenset()
    """Field names in lower case."""
    response_set: tuple[tuple[bytes, bytes], ...] = ()
    response_remove: frozenset[bytes] = frozenset()
    """Field names in lower case."""
    request_id: bytes | None = None
    """The field that carries the id of the request."""


class RouteTable:
    """Routes, arranged for look-up."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)

    def find(self, listen: str, host: bytes, path: bytes) -> Route | None:
        """Return the most specific route for a request, None when there is none."""
        raise NotImplementedError
