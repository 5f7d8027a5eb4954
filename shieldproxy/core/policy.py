"""What a rule says, and what is in force for one request.

Values only: a :class:`Rule` is what an operator wrote (or ``known-clients.toml``), a :class:`Policy` is
everything that an exchange and its close need to know, a :class:`Verdict` is the policy that one set of
matching rules comes to. ``rulebook.RuleBook`` finds the verdict of a request; ``config`` builds rules and the
base policy; the phases of an exchange read single fields of a policy. Nothing here looks at a request.

Effects are named as the configuration names them: ``keep_alive``, ``timeouts.head``, ``limits.body``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal, TypeVar

from shieldproxy.core.limits import Limits, Timeouts

Linger = Literal["ack", "timed", "kernel", "off"]
"""``ack``: until the client has acknowledged all and is silent; ``timed``: by the clock alone; ``kernel``:
SO_LINGER; ``off``: close() at once."""

Interim = Literal["all", "100", "none"]
"""Which interim responses (1xx) an HTTP/1.1 client is shown."""

Buffering = Literal["whole", "stream"]
"""``whole``: a body is taken from its sender as fast as it comes, whoever is to have it; ``stream``: as fast
as the other side takes it."""

HalfClose = Literal["serve", "abort", "probe"]
"""A client's FIN behind its request: it wants its answer; it has gone; a ``100 Continue`` finds out."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that rules can change for one request and the close after it."""

    keep_alive: bool = True
    """May the connection serve another request after this one?"""
    linger: Linger = "ack"
    response_version: str | None = None
    """``"1.0"``: the status line says HTTP/1.0, whatever the request was (Apache's force-response-1.0)."""
    request_version: str | None = None
    """``"1.0"``: the request is treated as an HTTP/1.0 one (Apache's downgrade-1.0)."""
    interim: Interim = "all"
    accept_folds: bool = False
    """Folded header lines are normalised instead of refused (RFC 9112 5.2)."""
    accept_bare_lf: bool = False
    """Lines that end with LF alone are normalised instead of refused (RFC 9112 2.2)."""
    deny: int | None = None
    """Refuse with this status."""
    buffer_request: Buffering | None = None
    """Whether a request's body is collected before the upstream sees any of it; None: as the route says."""
    buffer_response: Buffering | None = None
    """Whether a response is read as fast as it is sent; None: as the route says."""
    half_close: HalfClose = "serve"
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[rule]]``: conditions, all of which must hold, and what they change. None of them: everybody."""

    name: str
    why: str = ""
    source: str = ""
    user_agent: str | None = None
    """An RE2 pattern, searched for anywhere in the raw bytes of the field; ``^$``: there is none."""
    client: tuple[str, ...] = ()
    """Networks in CIDR notation, any of which will do; a v4 network also holds v4-mapped v6 addresses."""
    method: tuple[str, ...] = ()
    """Methods, any of which will do; case matters (RFC 9110 9.1)."""
    path: str | None = None
    """A prefix by whole segments: ``/a`` is for ``/a`` and ``/a/b``, not for ``/ab``."""
    host: str | None = None
    """``a.example``, ``*.example`` (any name below it) or ``*``; a port in the request is left aside."""
    version: str | None = None
    """``"1.0"`` or ``"1.1"``, as the request says."""
    effects: tuple[tuple[str, object], ...] = ()
    """Pairs of a name in :data:`EFFECTS` and a value in the unit of that field (seconds, bytes)."""


@dataclass(slots=True)
class Verdict:
    """What one distinct set of matching rules comes to. Only its counters change."""

    policy: Policy
    rules: tuple[str, ...]
    """Names of the rules that matched, in order."""
    mask: int = 0
    """The same as bits: bit i is rule i."""
    hits: int = 0
    """Requests that came to it."""
    last: float = 0.0
    """The ``now`` of the last of them."""


EFFECTS: Final[tuple[str, ...]] = (
    *(each.name for each in fields(Policy) if each.name not in ("timeouts", "limits")),
    *(f"timeouts.{each.name}" for each in fields(Timeouts)),
    *(f"limits.{each.name}" for each in fields(Limits)),
)
"""Every name that a rule's effects may have."""

_SHARED: Final = 1024
"""At most so many combinations of timeouts, and of limits, are kept to be shared."""


def value_of(policy: Policy, effect: str) -> object:
    """The value that ``policy`` has for a name of :data:`EFFECTS`."""
    value: object = policy
    for part in effect.split("."):
        value = getattr(value, part)
    return value


def amend(policy: Policy, effects: Iterable[tuple[str, object]]) -> Policy:
    """Return ``policy`` with ``effects`` applied in order, later ones winning.

    Raises:
        ValueError: An effect has a name that is not in :data:`EFFECTS`.
    """
    return Amendments(policy, [tuple(effects)]).policy((0,))


class Amendments:
    """What each rule changes, arranged so that the policy of a set of rules is made in about 3 us.

    Raises:
        ValueError: An effect has a name that is not in :data:`EFFECTS`.
    """

    def __init__(self, base: Policy, effects: Sequence[Sequence[tuple[str, object]]]) -> None:
        self._base = base
        self._own: dict[str, Any] = {each.name: getattr(base, each.name) for each in fields(Policy)}
        self._changes = [_grouped(pairs) for pairs in effects]
        # Timeouts and limits repeat among sets of rules: they are shared, not made again.
        self._timeouts: dict[tuple[tuple[str, Any], ...], Timeouts] = {}
        self._limits: dict[tuple[tuple[str, Any], ...], Limits] = {}

    def policy(self, found: Sequence[int]) -> Policy:
        """Return the base policy with the changes of the rules ``found`` (their numbers, in order)."""
        if not found:
            return self._base
        own = self._own.copy()
        timeouts: dict[str, Any] = {}
        limits: dict[str, Any] = {}
        for index in found:
            first, second, third = self._changes[index]
            own.update(first)
            timeouts.update(second)
            limits.update(third)
        if timeouts:
            own["timeouts"] = _shared(self._timeouts, self._base.timeouts, timeouts)
        if limits:
            own["limits"] = _shared(self._limits, self._base.limits, limits)
        return Policy(**own)


_Group = TypeVar("_Group", Timeouts, Limits)


def _shared(
    known: dict[tuple[tuple[str, Any], ...], _Group], base: _Group, changes: dict[str, Any]
) -> _Group:
    key = tuple(changes.items())
    group = known.get(key)
    if group is None:
        if len(known) >= _SHARED:
            known.clear()
        group = known[key] = replace(base, **changes)
    return group


def _grouped(effects: Iterable[tuple[str, object]]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Effects as changes of a policy's own fields, of its timeouts and of its limits."""
    own: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {"timeouts": {}, "limits": {}}
    for effect, value in effects:
        if effect not in EFFECTS:
            raise ValueError(f"unknown effect {effect!r}")
        group, dot, name = effect.partition(".")
        (groups[group] if dot else own)[name or group] = value
    return own, groups["timeouts"], groups["limits"]
