"""What a rule says, and what is in force for one request.

Values only: a :class:`Rule` is what an operator wrote (or ``known-clients.toml``), a :class:`Policy` is
everything that an exchange and its close need to know, a :class:`Verdict` is the policy that one set of
matching rules comes to. ``rulebook.RuleBook`` finds the verdict of a request; ``config`` builds rules and the
base policy; the phases of an exchange read single fields of a policy. Nothing here looks at a request.

Effects are named as the configuration names them: ``keep_alive``, ``timeouts.head``, ``limits.body``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from shieldproxy.core.limits import Limits, Timeouts

Linger = Literal["ack", "timed", "kernel", "off"]
"""``ack``: until the client has acknowledged all and is silent; ``timed``: by the clock alone; ``kernel``:
SO_LINGER; ``off``: close() at once."""

Interim = Literal["all", "100", "none"]
"""Which interim responses (1xx) an HTTP/1.1 client is shown."""


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
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[rule]]``: conditions, all of which must hold, and what they change. None of them: everybody."""

    name: str
    why: str = ""
    source: str = ""
    user_agent: str | None = None
    """An RE2 pattern, searched for anywhere in the raw bytes of the field; ``^$`` is a request without one."""
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
    *(field.name for field in fields(Policy) if field.name not in ("timeouts", "limits")),
    *(f"timeouts.{field.name}" for field in fields(Timeouts)),
    *(f"limits.{field.name}" for field in fields(Limits)),
)
"""Every name that a rule's effects may have."""


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
    own: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {"timeouts": {}, "limits": {}}
    for effect, value in effects:
        if effect not in EFFECTS:
            raise ValueError(f"unknown effect {effect!r}")
        group, dot, name = effect.partition(".")
        (groups[group] if dot else own)[name or group] = value
    if groups["timeouts"]:
        own["timeouts"] = replace(policy.timeouts, **groups["timeouts"])
    if groups["limits"]:
        own["limits"] = replace(policy.limits, **groups["limits"])
    return replace(policy, **own) if own else policy
