"""Effects that can never act: what ``check`` warns of.

A rule is known at accept when it has no condition but ``client``; every other rule is known only once the
head has been read, and then what bounds the reading of that head has done its work. Other effects stand in
each other's way within one rule. Only what is certain from the rule and the base policy is reported.
"""

from shieldproxy.core.explain import conditions
from shieldproxy.core.policy import Policy, Rule, value_of

_LATE = "the rule's {} is known only after the head"

_WITHOUT: tuple[tuple[str, tuple[object, ...], tuple[str, ...]], ...] = (
    ("keep_alive", (False,), ("timeouts.keep_alive",)),
    ("linger", ("kernel", "off"), ("timeouts.linger_gap", "timeouts.linger_total", "limits.linger")),
    ("linger", ("ack", "timed", "off"), ("timeouts.linger_kernel",)),
    ("request_version", ("1.0",), ("interim",)),
)
"""(effect, its values, the effects of the same rule that then never act)."""

_OF_WHAT_IS_SERVED = (
    "interim",
    "limits.body",
    "limits.response_head",
    "timeouts.body_idle",
    "timeouts.body_min_rate",
    "timeouts.body_total",
    "buffer_request",
    "buffer_response",
    "half_close",
)


def inert_effects(rule: Rule, base: Policy | None = None) -> list[tuple[str, str]]:
    """Return (effect, why it can never act) for a rule; ("", why) when the rule has no effect at all.

    Args:
        rule: One without faults.
        base: The policy that it changes, for limits that a late rule can only lower; None is the default one.
    """
    if not rule.effects:
        return [("", "the rule changes nothing")]
    effects = dict(rule.effects)
    found = _late(rule, effects, Policy() if base is None else base)
    for effect, values, others in _WITHOUT:
        if effects.get(effect) in values:
            shown = str(effects[effect]).lower() if effect == "keep_alive" else f'"{effects[effect]}"'
            found += [(other, f"the rule sets {effect} = {shown}") for other in others if other in effects]
    if effects.get("deny") is not None:
        reason = f"the rule denies with {effects['deny']}"
        found += [(other, reason) for other in _OF_WHAT_IS_SERVED if other in effects]
    if effects.get("half_close") == "probe":
        reason = 'half_close = "probe" sends a 100, and the rule {}, so that it is "serve"'
        for deaf, told in (
            (rule.version == "1.0", 'is for version = "1.0"'),
            (effects.get("request_version") == "1.0", 'sets request_version = "1.0"'),
            (effects.get("response_version") == "1.0", 'sets response_version = "1.0"'),
            (effects.get("interim") == "none", 'sets interim = "none"'),
        ):
            found += [("half_close", reason.format(told))] if deaf else []
    if rule.version == "1.0":
        reason = 'the rule is for version = "1.0"'
        found += [(other, reason) for other in ("interim", "request_version") if other in effects]
    return list(dict(reversed(found)).items())[::-1]


def _late(rule: Rule, effects: dict[str, object], base: Policy) -> list[tuple[str, str]]:
    """What comes too late because the rule needs the head."""
    late = [name for name, _ in conditions(rule) if name != "client"]
    if not late:
        return []
    known = _LATE.format(late[0])
    found = [("timeouts.head", known)] if "timeouts.head" in effects else []
    if _above("limits.head", effects, base):
        found.append(("limits.head", f"{known}, so that it can only lower the limit"))
    if "user_agent" in late and _above("limits.user_agent", effects, base):
        found.append(("limits.user_agent", "a longer value is refused before patterns are run on it"))
    return found


def _above(name: str, effects: dict[str, object], base: Policy) -> bool:
    value, usual = effects.get(name), value_of(base, name)
    return isinstance(value, int) and isinstance(usual, int) and value > usual
