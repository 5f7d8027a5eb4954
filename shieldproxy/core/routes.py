"""Which upstream a request goes to.

The most specific route wins: one for this listening address before one for any, then an exact host before
the longest ``*.suffix`` before ``*``, then the longest path by whole segments. Called once for each request,
by both lanes; with one route that takes everything it is an attribute and a test, else a look-up by address
and host and a walk along the path's segments. Hosts and paths are compared as ``match`` compares those of
rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from sys import maxsize
from typing import Final

from shieldproxy.core.masks import Prefixes
from shieldproxy.core.match import host_key, host_keys, path_key
from shieldproxy.core.policy import Buffering

ENTRIES: Final = 4096
"""At most so many pairs of address and host are remembered; all are forgotten when there are more."""
HOST_BYTES: Final = 300
"""Longer hosts are looked up each time: no name is longer (RFC 1035 2.3.4: 255, and a port)."""


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
    buffer_request: Buffering = "whole"
    """See ``policy.Policy``, whose value wins where a rule gives one."""
    buffer_response: Buffering = "whole"
    retry_unsafe: bool = False
    """Whether a request may be sent again that the server may have run."""
    normalise_path: bool = False
    """Dot segments and double slashes are resolved; encoded slashes and NULs refused."""
    max_ranges: int = maxsize
    """Ranges that a request may ask for; with more, its Range is dropped (RFC 9110 section 14.2)."""
    max_query_duplicates: int = maxsize
    """How often one name may stand in a query; more: 400."""
    cleans: bool = field(init=False, repr=False, compare=False, default=False)
    """Whether a request is looked at once more before it goes on."""
    rare: bool = field(init=False, repr=False, compare=False, default=False)
    """The same, or it gets an id."""
    edits_request: bool = field(init=False, repr=False, compare=False, default=False)
    """Whether fields are set or removed, or an id is."""
    edits_response: bool = field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        """Work out what is asked of a route for each request."""
        cleans = self.normalise_path or min(self.max_ranges, self.max_query_duplicates) < maxsize
        object.__setattr__(self, "cleans", cleans)
        named = self.request_id is not None
        object.__setattr__(self, "rare", cleans or named)
        object.__setattr__(self, "edits_request", bool(self.request_set or self.request_remove or named))
        object.__setattr__(self, "edits_response", bool(self.response_set or self.response_remove or named))

    @property
    def place(self) -> str:
        """For whom it is, as people read it: "*.example/app on 127.0.0.1:80"."""
        return f"{self.host}{self.path}" + (f" on {self.listen}" if self.listen else "")


_Place = Prefixes[Route | None]


class RouteTable:
    """Routes, arranged for look-up. Of two in the same place (``/a`` and ``/a/`` are) the later stands."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        grouped: dict[tuple[str | None, bytes], dict[bytes, Route]] = {}
        for route in self.routes:
            host = b"*" if route.host == "*" else host_key(route.host)
            grouped.setdefault((route.listen, host), {})[path_key(route.path)] = route
        self._places: dict[tuple[str | None, bytes], _Place] = {
            place: Prefixes[Route | None](None, paths, _deeper) for place, paths in grouped.items()
        }
        alone = [list(paths) for paths in grouped.values()] == [[b""]] and (None, b"*") in grouped
        self._only = self._places[None, b"*"].root if alone else None
        self._known: dict[tuple[str, bytes], tuple[_Place, ...]] = {}

    def find(self, listen: str, host: bytes, path: bytes) -> Route | None:
        """Return the most specific route for a request, None when there is none.

        Args:
            listen: The address that the connection came in on, as ``Route.listen`` writes it.
            host: In lower case, perhaps with a port.
            path: As in the request line, without its query; ``*`` belongs to the routes of ``/``.
        """
        if self._only is not None:
            return self._only
        places = self._known.get((listen, host))
        if places is None:
            places = self._candidates(listen, host)
        for place in places:
            route = place.longest(path)
            if route is not None:
                return route
        return None

    def _candidates(self, listen: str, host: bytes) -> tuple[_Place, ...]:
        """The places that a host may be routed from, the most specific first."""
        keys = [*host_keys(host), b"*"]
        found = (self._places.get((where, key)) for where in (listen, None) for key in keys)
        places = tuple(place for place in found if place is not None)
        if len(host) <= HOST_BYTES:
            if len(self._known) >= ENTRIES:
                self._known.clear()
            self._known[listen, host] = places
        return places


def _deeper(_above: Route | None, own: Route | None) -> Route | None:
    return own
