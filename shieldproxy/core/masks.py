"""Tables of conditions, one for each kind, looked up at each request.

Every table is built once from what the rules say and answers with a bit mask: bit i is set when rule i's
condition of that kind holds, or when rule i has none. What a request comes to is then the AND of a few masks,
whatever the number of rules. Nothing here keeps a cache or counts; ``rulebook`` does both, and has looked for
faults before. ``routes`` borrows the walk along a path.

All of it runs on hostile bytes. User-Agent patterns are RE2's alone, in one linear pass of a Set over the raw
bytes as LATIN1: under UTF-8 a single 0xFF byte makes a rule miss.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import re2

from shieldproxy.core.match import host_key, host_keys, path_key, plain_path, re2_options

T = TypeVar("T")

_SET_MEMORY = 8 << 20
_PATTERN_MEMORY = 64 << 10
"""Bytes for the Set's automaton, as a whole and for each pattern. With RE2's fixed 8 MiB, 600 patterns that
begin alike throw it away again and again: 210 us a pass instead of 1.7."""
_TRIES = 3
"""With four times the memory each."""


def free_mask(conditions: Sequence[object]) -> int:
    """The mask of those that have no condition (None, or nothing in it)."""
    return sum(1 << index for index, condition in enumerate(conditions) if not condition)


class Agents:
    """User-Agent patterns, all in one pass.

    Raises:
        ValueError: All of them together are too large, though each is good.
    """

    def __init__(self, patterns: Sequence[str | None]) -> None:
        self.free = free_mask(patterns)
        present = [(index, pattern.encode("ascii")) for index, pattern in enumerate(patterns) if pattern]
        self._bits = [1 << index for index, _ in present]
        self._single: list[Any] = [re2.compile(pattern, re2_options()) for _, pattern in present]
        # An empty pattern at the end matches always: an answer without it is no answer, but an automaton that
        # ran out of memory, of which RE2 tells nobody.
        self._set = _compiled([*(pattern for _, pattern in present), b""])

    def mask(self, user_agent: bytes) -> int:
        """Return the rules that a User-Agent satisfies (``b""``: there was none)."""
        mask = self.free
        bits = self._bits
        found = self._set.Match(user_agent)
        if found is None:
            found = [index for index, single in enumerate(self._single) if single.search(user_agent)]
        for index in found:  # in no order, which masks do not mind
            if index < len(bits):
                mask |= bits[index]
        return mask


class Networks:
    """Networks of clients: one dict for each prefix length that occurs, not one test for each network."""

    def __init__(self, conditions: Sequence[Sequence[str]]) -> None:
        self.free = free_mask(conditions)
        tables: dict[int, dict[int, dict[int, int]]] = {4: {}, 6: {}}
        for index, cidrs in enumerate(conditions):
            for cidr in cidrs:
                version, shift, prefix = _network(cidr)
                table = tables[version].setdefault(shift, {})
                table[prefix] = table.get(prefix, 0) | 1 << index
        self._v4 = tuple(tables[4].items())
        self._v6 = tuple(tables[6].items())

    def mask(self, client: str) -> int:
        """Return the rules that a client satisfies; one that is no IP address is in no network."""
        mask = self.free
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return mask
        tables = self._v4
        if isinstance(address, ipaddress.IPv6Address):
            mapped = address.ipv4_mapped
            if mapped is None:
                tables = self._v6
            else:
                address = mapped
        number = int(address)
        for shift, table in tables:
            mask |= table.get(number >> shift, 0)
        return mask


class Words:
    """Methods or versions: exact values."""

    def __init__(self, conditions: Sequence[Sequence[str]]) -> None:
        self.free = free_mask(conditions)
        self.masks: dict[bytes, int] = {}
        for index, words in enumerate(conditions):
            for word in words:
                key = word.encode("ascii")
                self.masks[key] = self.masks.get(key, self.free) | 1 << index

    def mask(self, word: bytes) -> int:
        """Return the rules that a value satisfies."""
        return self.masks.get(word, self.free)


class Hosts:
    """Host names, suffixes and ``*``."""

    def __init__(self, conditions: Sequence[str | None]) -> None:
        self.free = free_mask([None if host == "*" else host for host in conditions])
        self._names: dict[bytes, int] = {}
        for index, host in enumerate(conditions):
            if host and host != "*":
                key = host_key(host)
                self._names[key] = self._names.get(key, 0) | 1 << index

    def mask(self, host: bytes) -> int:
        """Return the rules that a Host satisfies."""
        mask = self.free
        for key in host_keys(host):
            mask |= self._names.get(key, 0)
        return mask


class Prefixes(Generic[T]):
    """Values by path prefix, whole segments, the longest prefix first.

    Every node inherits what is above it through ``join``, so that a look-up ends at the deepest node.
    """

    def __init__(self, root: T, own: Mapping[bytes, T], join: Callable[[T, T], T]) -> None:
        self.root = root
        self._nodes: dict[bytes, T] = {}
        for prefix in sorted(own, key=len):
            if not prefix:
                self.root = join(self.root, own[prefix])
                continue
            above = self.root
            for cut in _cuts(prefix):
                above = self._nodes.setdefault(cut, above)
            self._nodes[prefix] = join(above, own[prefix])

    def longest(self, path: bytes) -> T:
        """Return the value of the longest prefix of ``path``, which stands as it was in the request."""
        nodes = self._nodes
        found = self.root
        if not nodes:
            return found
        path = plain_path(path)
        end = path.find(b"/", 1)
        while end != -1:
            cut = path[:end]
            if cut not in nodes:  # None may be the value of a node
                return found
            found = nodes[cut]
            end = path.find(b"/", end + 1)
        return nodes.get(path, found)


class Paths:
    """Path prefixes of rules."""

    def __init__(self, conditions: Sequence[str | None]) -> None:
        self.free = free_mask(conditions)
        own: dict[bytes, int] = {}
        for index, path in enumerate(conditions):
            if path:
                key = path_key(path)
                own[key] = own.get(key, 0) | 1 << index
        self._prefixes = Prefixes(self.free, own, int.__or__)

    def mask(self, path: bytes) -> int:
        """Return the rules that a path (without its query) satisfies."""
        return self._prefixes.longest(path)


def _cuts(prefix: bytes) -> Iterator[bytes]:
    """``/a``, ``/a/b`` for ``/a/b/c``."""
    end = prefix.find(b"/", 1)
    while end != -1:
        yield prefix[:end]
        end = prefix.find(b"/", end + 1)


def _compiled(patterns: Sequence[bytes]) -> Any:
    memory = _SET_MEMORY + _PATTERN_MEMORY * len(patterns)
    for _ in range(_TRIES):
        found = re2.Set.SearchSet(re2_options(memory))
        for pattern in patterns:
            found.Add(pattern)
        try:
            found.Compile()
        except re2.error:
            memory *= 4
        else:
            return found
    raise ValueError(
        "the User-Agent patterns of all rules together are too large; allowed: fewer repetitions"
    )


def _network(cidr: str) -> tuple[int, int, int]:
    """(4 or 6, bits to shift an address right, what is left of the network's); v4-mapped ones are v4."""
    network = ipaddress.ip_network(cidr)
    first, prefix = network.network_address, network.prefixlen
    if isinstance(first, ipaddress.IPv6Address) and prefix >= 96 and first.ipv4_mapped is not None:
        first, prefix = first.ipv4_mapped, prefix - 96
    shift = first.max_prefixlen - prefix
    return first.version, shift, int(first) >> shift
