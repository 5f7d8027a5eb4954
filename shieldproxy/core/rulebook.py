"""The rule book: which rules match a request, and what they come to.

For each kind of condition a look-up gives a bit mask of the rules that the request satisfies in it (a rule
without that condition is satisfied). Their AND is the set of matching rules, and each distinct set has one
verdict, made when it first occurs. So a request costs a few dict look-ups whatever the number of rules, and
no pattern is run twice on a User-Agent that is remembered. The caches hold what clients send, so each has a
bound in entries and in bytes an entry. Those of single values are emptied when full: to fill them again costs
one RE2 pass an entry, less than to know at each request which entry is old.

Both lanes call ``decide`` once for each head, ``explain`` calls the same. It is told the time and never asks.
A User-Agent longer than ``limits.user_agent`` is refused (431) whatever matches, so no pattern is run on it.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Final, TypeVar

from shieldproxy.core.explain import Explanation, account, conditions
from shieldproxy.core.masks import Agents, Hosts, Networks, Paths, Words
from shieldproxy.core.match import cidr_fault, host_fault, path_fault, pattern_fault
from shieldproxy.core.policy import EFFECTS, Amendments, Policy, Rule, Verdict

ENTRIES: Final = 4096
"""At most so many User-Agents, hosts, paths and verdicts are remembered, and four times as many clients."""
KEY_BYTES: Final = 1024
"""Longer User-Agents, hosts and paths are looked at each time, so that no cache outgrows a few MiB."""

K = TypeVar("K", bytes, str)

_NO_ORIGINS: Final[Mapping[str, str]] = MappingProxyType({})


def rule_faults(rule: Rule) -> list[tuple[str, str]]:
    """Return (condition or effect, what is wrong and what is allowed) for each fault of a rule."""
    faults: list[tuple[str, str | None]] = []
    if rule.user_agent is not None:
        faults.append(("user_agent", pattern_fault(rule.user_agent)))
    faults.extend(("client", _quoted(cidr, cidr_fault(cidr))) for cidr in rule.client)
    if rule.path is not None:
        faults.append(("path", path_fault(rule.path)))
    if rule.host is not None:
        faults.append(("host", host_fault(rule.host)))
    if rule.version not in (None, "1.0", "1.1"):
        faults.append(("version", 'is neither "1.0" nor "1.1"'))
    faults.extend(
        ("effects", f"has an unknown effect {name!r}") for name, _ in rule.effects if name not in EFFECTS
    )
    return [(place, fault) for place, fault in faults if fault is not None]


class RuleBook:
    """All rules over one base policy.

    Raises:
        ValueError: A rule has a bad pattern, network, host, path, version or effect (the text names it), or
            the User-Agent patterns are too large together.
    """

    def __init__(self, rules: Sequence[Rule], base: Policy) -> None:
        self.rules = tuple(rules)
        self.base = base
        for rule in self.rules:
            for place, fault in rule_faults(rule):
                raise ValueError(f"rule {rule.name}: {place} {fault}")
        self._amendments = Amendments(self.base, [rule.effects for rule in self.rules])
        self._agents = Agents([rule.user_agent for rule in self.rules])
        self._networks = Networks([rule.client for rule in self.rules])
        self._methods = Words([rule.method for rule in self.rules])
        self._paths = Paths([rule.path for rule in self.rules])
        self._hosts = Hosts([rule.host for rule in self.rules])
        self._versions = Words([(rule.version,) if rule.version else () for rule in self.rules])
        self._all = (1 << len(self.rules)) - 1
        self._at_accept = sum(1 << index for index, rule in enumerate(self.rules) if _known_at_accept(rule))
        # A kind of condition that no rule has is not looked up at all.
        self._any_client = self._networks.free != self._all
        self._any_path = self._paths.free != self._all
        self._any_host = self._hosts.free != self._all
        self._method_masks = self._methods.masks
        self._minor_masks = [self._versions.mask(b"1.0"), self._versions.mask(b"1.1")]
        self._by_agent: dict[bytes, int] = {}
        self._by_client: dict[str, int] = {}
        self._by_path: dict[bytes, int] = {}
        self._by_host: dict[bytes, int] = {}
        self._by_mask: dict[int, Verdict] = {}
        self._order: deque[int] = deque()
        self._accept_policies: dict[int, Policy] = {}
        self._retired = [(0, 0.0)] * len(self.rules)

    def decide(
        self, client: str, method: bytes, path: bytes, host: bytes, minor: int, user_agent: bytes, now: float
    ) -> Verdict:
        """Return what the matching rules come to, and count the request.

        Args:
            client: The client's address as text; "" or "unknown" (a unix socket) is in no network.
            method: As in the request line.
            path: As in the request line, without its query.
            host: In lower case, perhaps with a port.
            minor: 0 or 1, of HTTP/1.x.
            user_agent: The raw value, ``b""`` when there is none.
            now: Any clock's seconds; kept as the time of the last match.
        """
        rest = self._minor_masks[minor]
        if self._method_masks:
            rest &= self._method_masks.get(method, self._methods.free)
        if self._any_client:
            mask = self._by_client.get(client)
            rest &= self._client_mask(client) if mask is None else mask
        if self._any_host:
            mask = self._by_host.get(host)
            rest &= self._host_mask(host) if mask is None else mask
        if self._any_path:
            mask = self._by_path.get(path)
            rest &= self._path_mask(path) if mask is None else mask
        mask = self._by_agent.get(user_agent)
        rest &= self._agent_mask(user_agent, rest) if mask is None else mask
        verdict = self._by_mask.get(rest)
        if verdict is None:
            verdict = self._new_verdict(rest)
        verdict.hits += 1
        verdict.last = now
        return verdict

    def at_accept(self, client: str) -> Policy:
        """Return the policy before a head is read: of the rules with ``client`` alone, or no condition."""
        if not self._at_accept:
            return self.base
        mask = self._by_client.get(client)
        if mask is None:
            mask = self._client_mask(client)
        mask &= self._at_accept
        policy = self._accept_policies.get(mask)
        if policy is None:
            policy = self._accept_policies[mask] = self._policy(mask)
        return policy

    def matches(self) -> list[tuple[str, int, float]]:
        """Return (name, requests matched, time of the last) for each rule, in order; 0.0 is never."""
        totals = list(self._retired)
        for verdict in self._by_mask.values():
            self._add(totals, verdict)
        return [(rule.name, *total) for rule, total in zip(self.rules, totals, strict=True)]

    def explain(
        self,
        client: str,
        method: bytes,
        path: bytes,
        host: bytes,
        minor: int,
        user_agent: bytes,
        origins: Mapping[str, str] = _NO_ORIGINS,
    ) -> Explanation:
        """Return each rule considered and the values in force with their origin; nothing is counted.

        ``origins`` says where values of the base policy come from, by the names of ``policy.EFFECTS``;
        without an entry a value is called "default", or "config NAME" when it differs from the default.
        """
        masks = {
            "client": self._networks.mask(client),
            "method": self._methods.mask(method),
            "path": self._paths.mask(path),
            "host": self._hosts.mask(host),
            "version": self._minor_masks[minor],
        }
        rest = reduce(int.__and__, masks.values())
        masks["user_agent"] = self._agent_mask(user_agent, rest)
        before = self._by_mask.get(rest & masks["user_agent"])
        counted = (before.hits, before.last) if before is not None else (0, 0.0)
        verdict = self.decide(client, method, path, host, minor, user_agent, 0.0)
        verdict.hits, verdict.last = counted
        agent = user_agent.decode("latin-1")
        if len(user_agent) > verdict.policy.limits.user_agent:
            agent = f"({len(user_agent)} bytes: refused, not matched)"
        given = {
            "user_agent": agent,
            "client": client,
            "method": method.decode("latin-1"),
            "path": path.decode("latin-1"),
            "host": host.decode("latin-1"),
            "version": f"1.{minor}",
        }
        return account(self.rules, masks, given, verdict, self.base, origins)

    def _client_mask(self, client: str) -> int:
        return _remember(self._by_client, client, self._networks.mask(client), 4 * ENTRIES)

    def _host_mask(self, host: bytes) -> int:
        return _remember(self._by_host, host, self._hosts.mask(host))

    def _path_mask(self, path: bytes) -> int:
        return _remember(self._by_path, path, self._paths.mask(path))

    def _agent_mask(self, user_agent: bytes, rest: int) -> int:
        """Match a User-Agent that is not remembered; ``rest``: the rules whose other conditions are met."""
        if len(user_agent) > self.base.limits.user_agent:
            # Longer than usual: only for whom a rule allows that, and never into the cache.
            free = self._agents.free
            allowed = self._policy(rest & free).limits.user_agent
            return free if len(user_agent) > allowed else self._agents.mask(user_agent)
        return _remember(self._by_agent, user_agent, self._agents.mask(user_agent))

    def _new_verdict(self, mask: int) -> Verdict:
        if len(self._order) >= ENTRIES:  # the oldest goes; its count stays
            self._add(self._retired, self._by_mask.pop(self._order.popleft()))
        self._order.append(mask)
        found = tuple(_indices(mask))
        names = tuple([self.rules[index].name for index in found])
        verdict = self._by_mask[mask] = Verdict(self._amendments.policy(found), names, mask)
        return verdict

    def _policy(self, mask: int) -> Policy:
        return self._amendments.policy(tuple(_indices(mask)))

    def _add(self, totals: list[tuple[int, float]], verdict: Verdict) -> None:
        for index in _indices(verdict.mask):
            hits, last = totals[index]
            totals[index] = (hits + verdict.hits, max(last, verdict.last))


def _known_at_accept(rule: Rule) -> bool:
    return all(name == "client" for name, _ in conditions(rule))


def _indices(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first: the order of the rules."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _remember(cache: dict[K, int], key: K, mask: int, entries: int = ENTRIES) -> int:
    if len(key) <= KEY_BYTES:
        if len(cache) >= entries:
            cache.clear()
        cache[key] = mask
    return mask


def _quoted(text: str, fault: str | None) -> str | None:
    return None if fault is None else f'"{text}" {fault}'
