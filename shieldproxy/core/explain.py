"""Why a request is treated as it is: plain data for ``explain``, as a table or as JSON.

It judges nothing. ``RuleBook.explain`` hands in the masks that its look-ups gave and the verdict that
``decide`` came to; what is done here is to put them into words, rule by rule and value by value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shieldproxy.core.policy import EFFECTS, Policy, Rule, Verdict, value_of


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition of a rule, held against the request."""

    condition: str
    """``user_agent``, ``client``, ``method``, ``path``, ``host`` or ``version``."""
    wanted: str
    given: str
    met: bool


@dataclass(frozen=True, slots=True)
class Considered:
    """One rule, in the order of the rules."""

    name: str
    matched: bool
    reasons: tuple[Reason, ...]
    """Each condition that it has; none: it is for everybody."""
    why: str
    source: str
    effects: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Effective:
    """One value in force."""

    name: str
    value: object
    origin: str
    """``default``, ``config timeouts.head``, ``rule NAME``, or what the configuration said of it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What ``decide`` came to for a request, and why."""

    policy: Policy
    rules: tuple[str, ...]
    considered: tuple[Considered, ...]
    values: tuple[Effective, ...]


def account(
    rules: Sequence[Rule],
    masks: Mapping[str, int],
    given: Mapping[str, str],
    verdict: Verdict,
    base: Policy,
    origins: Mapping[str, str],
) -> Explanation:
    """Put a verdict into words.

    Args:
        rules: All of them, in order.
        masks: For each condition, the mask of the rules that the request satisfies in it.
        given: For each condition, the request's value.
        verdict: What ``decide`` returned.
        base: The policy that rules change.
        origins: For values of ``base``, where they come from, as the configuration knows it.
    """
    considered = tuple(
        Considered(
            name=rule.name,
            matched=bool(verdict.mask >> index & 1),
            reasons=tuple(
                Reason(condition, wanted, given[condition], bool(masks[condition] >> index & 1))
                for condition, wanted in conditions(rule)
            ),
            why=rule.why,
            source=rule.source,
            effects=rule.effects,
        )
        for index, rule in enumerate(rules)
    )
    setters: dict[str, str] = {}
    for seen in considered:
        if seen.matched:
            setters.update((effect, f"rule {seen.name}") for effect, _ in seen.effects)
    values = tuple(
        Effective(name, value_of(verdict.policy, name), setters.get(name) or _origin(name, base, origins))
        for name in EFFECTS
    )
    return Explanation(verdict.policy, verdict.rules, considered, values)


def conditions(rule: Rule) -> list[tuple[str, str]]:
    """The conditions that a rule has, as (name, text)."""
    texts = (
        ("user_agent", rule.user_agent),
        ("client", ", ".join(rule.client)),
        ("method", ", ".join(rule.method)),
        ("path", rule.path),
        ("host", rule.host),
        ("version", rule.version),
    )
    return [(name, text) for name, text in texts if text]


def _origin(name: str, base: Policy, origins: Mapping[str, str]) -> str:
    if name in origins:
        return origins[name]
    return "default" if value_of(base, name) == value_of(_DEFAULT, name) else f"config {name}"


_DEFAULT = Policy()
