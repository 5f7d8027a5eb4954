"""What ``explain`` prints: a request put to the rule book and the route table, as tables or as JSON.

The rule book and the routes are those that serve requests; here their answer is only laid out.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shieldproxy import units
from shieldproxy.configplan import ROUTE_VALUES, UPSTREAM_VALUES
from shieldproxy.core.explain import Considered, Effective, Explanation, Reason
from shieldproxy.core.plan import Plan
from shieldproxy.core.routes import Route, RouteTable
from shieldproxy.core.rulebook import RuleBook

NONE = {
    "deny": units.OFF,
    "request_version": "as sent",
    "buffer_request": "as the route says",
    "buffer_response": "as the route says",
    "host": "as sent",
    "source": "as the kernel chooses",
}
"""What None means, where it is not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Request:
    """The facts of a head that rules and routes look at."""

    client: str
    method: bytes
    path: bytes
    host: bytes
    minor: int
    user_agent: bytes
    listen: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A request, what is in force for it, and where it goes. ``files`` has the file of each rule."""

    request: Request
    explanation: Explanation
    route: Route | None
    values: tuple[Effective, ...]
    """What is in force: the policy, with the route's values where no rule has one; then the route's own."""
    files: tuple[str, ...]
    beyond: tuple[Effective, ...] = ()
    """How the route's upstream is asked, and what is held of bodies: no rule changes these."""


def explained(plan: Plan, request: Request, files: Sequence[str]) -> Explained:
    """Put a request to the rules and routes of a plan."""
    facts = (request.client, request.method, request.path, request.host, request.minor, request.user_agent)
    explanation = RuleBook(plan.rules, plan.base).explain(*facts, origins=plan.origins)
    route = RouteTable(plan.routes).find(request.listen, request.host, request.path)
    values = explanation.values if route is None else _with_route(explanation.values, route, plan.origins)
    beyond = () if route is None else _beyond(plan, route)
    return Explained(request, explanation, route, tuple(values), tuple(files), tuple(beyond))


def _beyond(plan: Plan, route: Route) -> Iterator[Effective]:
    """The values of a route's upstream and of the buffers."""
    tables = (
        (f"upstream.{route.upstream}", plan.upstreams[route.upstream], UPSTREAM_VALUES),
        ("buffers", plan.buffers, [field.name for field in fields(plan.buffers)]),
    )
    for table, values, names in tables:
        for name in (f"{table}.{key}" for key in names):
            value = getattr(values, name.rpartition(".")[2])
            if isinstance(value, frozenset):
                value = b", ".join(sorted(value)) or b"none"
            shown = value.decode("latin-1") if isinstance(value, bytes) else value
            yield Effective(name, shown, plan.origins.get(name, "default"))


def _with_route(values: Sequence[Effective], route: Route, origins: Mapping[str, str]) -> Iterator[Effective]:
    """Put a route's values where the policy says "as the route does", and the others behind all."""
    own = {
        key: Effective(key, getattr(route, key), origins.get(f"{key} of {route.place}", "default"))
        for key in ROUTE_VALUES
    }
    for value in values:
        routed = own.pop(value.name, None)
        yield value if routed is None or value.value is not None else routed
    yield from (replace(value, name=f"route.{key}") for key, value in own.items())


def readable(name: str, value: object) -> object:
    """A value as the configuration would write it; numbers without a unit, switches and texts stay."""
    if value is None:
        return NONE.get(name.rpartition(".")[2], "1.1")
    if name.startswith("buffers."):
        return units.show_size(value) if isinstance(value, int) else value or "the system's"
    if value == sys.maxsize:
        return units.OFF
    if name.endswith("_rate") and isinstance(value, float):
        return units.show_rate(value)
    if isinstance(value, float):
        return value if name.endswith(".retry_budget") else units.show_seconds(value)
    size = name.startswith("limits.") and name != "limits.fields"
    if (size or name.endswith(".max_head")) and isinstance(value, int):
        return units.show_size(value)
    return value


def _number(value: object) -> object:
    """JSON has no infinity, and no word for a limit beyond all bounds."""
    off = (isinstance(value, float) and math.isinf(value)) or value == sys.maxsize
    return units.OFF if off else value


def as_json(found: Explained) -> str:
    """Everything as JSON; values in seconds and bytes, ``"off"`` for none."""
    request = found.request
    answer: dict[str, Any] = {
        "request": {
            "client": request.client,
            "method": request.method.decode("latin-1"),
            "path": request.path.decode("latin-1"),
            "host": request.host.decode("latin-1"),
            "version": f"1.{request.minor}",
            "user_agent": request.user_agent.decode("latin-1"),
            "listen": request.listen,
        },
        "route": None
        if found.route is None
        else {key: getattr(found.route, key) for key in ("upstream", "listen", "host", "path")},
        "rules": [
            {
                "name": seen.name,
                "file": file,
                "matched": seen.matched,
                "conditions": [msgspec.to_builtins(reason) for reason in seen.reasons],
                "effects": {name: _number(value) for name, value in seen.effects},
                "why": seen.why,
                "source": seen.source,
            }
            for seen, file in zip(found.explanation.considered, found.files, strict=True)
        ],
        "policy": {
            value.name: {"value": _number(value.value), "origin": value.origin} for value in found.values
        },
        "beyond": {
            value.name: {"value": _number(value.value), "origin": value.origin} for value in found.beyond
        },
    }
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def show(found: Explained, *, everything: bool = False) -> None:
    """Print it; colour only on a terminal, and none where NO_COLOR is set (rich looks at both).

    Only a terminal's lines are laid out in columns and wrapped: elsewhere each rule and each value is one
    line, to be searched.

    Args:
        found: what to print.
        everything: also each rule that does not match, and by what.
    """
    console = Console(highlight=False, emoji=False, markup=False)
    plain = not console.is_terminal
    for line in (_route_line(found), Text(), *_rules(found, everything=everything), Text()):
        console.print(
            line, soft_wrap=plain, overflow="ignore", crop=False
        )  # at spaces: a pattern stays whole
    if not plain:
        console.print(_values(found))
        return
    for cells, style in _cells(found):
        console.print(Text("  ".join(cells), style=style), soft_wrap=True)


def _route_line(found: Explained) -> Text:
    if found.route is None:
        return Text("route: none, so 404", style="red")
    return Text(f"route: {found.route.place} -> {found.route.upstream}")


def _rules(found: Explained, *, everything: bool) -> Iterator[Text]:
    """The rules that match, with what they change and why; then the others."""
    seen = list(zip(found.explanation.considered, found.files, strict=True))
    matching = [(rule, file) for rule, file in seen if rule.matched]
    others = [(rule, file) for rule, file in seen if not rule.matched]
    for rule, file in matching:
        yield Text(f"rule {rule.name} matches ({file})", style="green")
        yield Text(f"  by       {_by(rule)}")
        yield Text(f"  changes  {_changes(rule)}")
        if rule.why:
            yield Text(f"  why      {rule.why}")
    if everything:
        yield from (
            Text(f"rule {rule.name} does not: {_by(rule)} ({file})", style="dim") for rule, file in others
        )
    elif others:
        more = "other does" if len(others) == 1 else "others do"
        told = f"{len(others)} {more} not match" if matching else f"none of {len(others)} rules matches"
        yield Text(f"{told} (--all shows why)", style="dim")
    if not seen:
        yield Text("there are no rules")


def _by(seen: Considered) -> str:
    """The conditions that decided: all of them where it matches, else those that failed."""
    told = [reason for reason in seen.reasons if reason.met == seen.matched]
    return "; ".join(_condition(reason) for reason in told) or "everybody"


def _condition(reason: Reason) -> str:
    verb = "is" if reason.met else "is not"
    return f"{reason.condition} {verb} {reason.wanted}"


def _changes(seen: Considered) -> str:
    return ", ".join(f"{name} = {_text(name, value)}" for name, value in seen.effects) or "nothing"


def _text(name: str, value: object) -> str:
    shown = readable(name, value)
    return str(shown).lower() if isinstance(shown, bool) else str(shown)


def _cells(found: Explained) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Name, value and origin of each value in force, and its style."""
    for value in (*found.values, *found.beyond):
        shown = _text(value.name, value.value)
        yield (value.name, shown, value.origin), "" if value.origin == "default" else "cyan"


def _values(found: Explained) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("value", "in force", "from"):
        table.add_column(column, overflow="fold")
    for cells, style in _cells(found):
        table.add_row(*cells, style=style)
    return table
