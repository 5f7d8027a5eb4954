"""How a fault is planted in the product without a hook in it: names are bound anew before it starts.

Each function changes one thing in the loaded modules of `shieldproxy`, and insists that what it changes is
there: a plant that misses, because something was renamed, raises `MissedError` and never does nothing.
"""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

from shieldproxy.core.plan import Plan

Make = Callable[[Any], Any]
"""Given what stands there, what is to stand there instead."""


def always(value: Any) -> Make:
    """A function that returns this, whatever it is asked."""
    return lambda _old: lambda *_asked, **_named: value


def forced(**values: Any) -> Make:
    """The same function, with these arguments whatever it is given."""

    def make(real: Any) -> Any:
        signature = inspect.signature(real)
        if not values.keys() <= signature.parameters.keys():
            raise MissedError(f"{real.__name__} takes no {', '.join(values)}")

        def function(*args: Any, **others: Any) -> Any:
            call = signature.bind(*args, **others)
            call.arguments.update(values)
            return real(*call.args, **call.kwargs)

        return function

    return make


class MissedError(Exception):
    """What a plant would change is not there (any more)."""


def load() -> list[ModuleType]:
    """What serves, imported; what is imported later takes its names from there, changed."""
    importlib.import_module("shieldproxy.run.worker")
    return [module for name, module in sys.modules.items() if name.partition(".")[0] == "shieldproxy"]


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"shieldproxy.{name}")
    except ImportError as exc:
        raise MissedError(f"no module {name}") from exc


def _attribute(holder: Any, name: str) -> Any:
    if name not in vars(holder):
        raise MissedError(f"no {name} in {holder.__name__}")
    return vars(holder)[name]


def everywhere(module: str, name: str, make: Make) -> None:
    """Change a function or value of a module, there and wherever it was imported by its name."""
    modules = load()
    old = _attribute(_module(module), name)
    new = make(old)
    for other in modules:
        if vars(other).get(name) is old:
            setattr(other, name, new)


def method(module: str, owner: str, name: str, make: Make) -> None:
    """Change a method that a class itself defines."""
    holder = _attribute(_module(module), owner)
    setattr(holder, name, make(_attribute(holder, name)))


def entry(module: str, table: str, key: Any, value: Any, *, new: bool = False) -> None:
    """Change an entry of a table; with ``new`` it must not be there yet."""
    found = _attribute(_module(module), table)
    if (key in found) is new:
        raise MissedError(f"{key!r} in {table} of {module}")
    found[key] = value


def text(module: str, owner: str, name: str, old: str, new: str) -> None:
    """Change the source of a method where it says `old`, which it must do exactly once."""
    source_of = _module(module)
    holder = _attribute(source_of, owner)
    function = _attribute(holder, name)
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(old) != 1 or function.__code__.co_freevars:
        raise MissedError(f"{owner}.{name} says {source.count(old)} times {old!r}")
    made: dict[str, Any] = {}
    code = compile(source.replace(old, new), inspect.getfile(function), "exec")
    exec(code, vars(source_of), made)
    setattr(holder, name, made[name])


def planned(change: Callable[[Plan], Plan]) -> None:
    """Change what the worker is told to do, whatever the configuration says."""
    load()

    def make(real: Any) -> Any:
        def init(self: Any, plan: Plan, *rest: Any) -> None:
            real(self, change(plan), *rest)

        return init

    method("run.worker", "Worker", "__init__", make)


def limits(**values: int) -> None:
    """Other limits for everybody."""
    planned(lambda p: replace(p, base=replace(p.base, limits=replace(p.base.limits, **values))))


def timeouts(**values: float) -> None:
    """Other timeouts for everybody."""
    planned(lambda p: replace(p, base=replace(p.base, timeouts=replace(p.base.timeouts, **values))))


def upstreams(**values: Any) -> None:
    """Other bounds for every upstream."""
    planned(lambda p: replace(p, upstreams={name: replace(u, **values) for name, u in p.upstreams.items()}))
