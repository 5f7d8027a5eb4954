"""From tables of TOML to typed values, collecting every fault instead of stopping at the first.

msgspec stops at the first fault of what it converts, so each key, and each item of a list, is converted by
itself. A fault names the file, the key's path, what is wrong and what is allowed, on one line. Items are
counted from 0: ``rule[0]`` is the first rule of its file.
"""

import datetime as dt
import difflib
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from shieldproxy import configtypes, units
from shieldproxy.configjudges import quoted

T = TypeVar("T", bound=msgspec.Struct)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that is wrong. ``key`` is empty where the file as a whole is meant."""

    file: str
    key: str
    wrong: str
    allowed: str = ""

    def __str__(self) -> str:
        place = f"{self.file}: {self.key}" if self.key else self.file
        return f"{place}: {self.wrong}" + (f"; allowed: {self.allowed}" if self.allowed else "")


@dataclass(frozen=True, slots=True)
class Where:
    """The place of a table. In a merged table single keys may come from another file."""

    file: str
    prefix: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def at(self, key: str) -> "Where":
        """The place of a key in this table; its ``prefix`` is the key's whole path."""
        return Where(self.files.get(key, self.file), dotted(self.prefix, key))

    def item(self, index: int) -> "Where":
        """The place of an item in this list."""
        return Where(self.file, f"{self.prefix}[{index}]")

    def __str__(self) -> str:
        return f"{self.file}: {self.prefix}"


class Faults(list[ConfigFault]):
    """The faults found so far."""

    def add(self, where: Where, wrong: str, allowed: str = "") -> None:
        """Note a fault, one for each place; ``wrong`` may carry its own "; allowed: ..."."""
        if any(fault.key == where.prefix and fault.file == where.file for fault in self if where.prefix):
            return
        text = wrong if wrong.isprintable() else ascii(wrong)[1:-1]
        what, own, better = text.partition("; allowed: ")
        self.append(ConfigFault(where.file, where.prefix, what, better if own else allowed))

    def tell(self, since: int, name: object) -> None:
        """Add the name of a rule to the faults found in it, where it has one."""
        if isinstance(name, str) and name:
            self[since:] = [
                replace(fault, wrong=f"{fault.wrong}, in rule {quoted(name)}") for fault in self[since:]
            ]


def dotted(prefix: str, key: str) -> str:
    """Append a key to a path, quoted as TOML would where it is no bare key."""
    part = key if _BARE.fullmatch(key) else json.dumps(key)
    return f"{prefix}.{part}" if prefix else part


def guess(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean "x"?)' where a known word is near, else nothing."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1) or [
        one for one in known if word and one.startswith(word)
    ]
    return f' (did you mean "{near[0]}"?)' if near else ""


def either(words: Iterable[str]) -> str:
    """Join as people do: "a, b or c"."""
    *most, last = [str(word) for word in words]
    return f"{', '.join(most)} or {last}" if most else last


def unwrap(kind: Any) -> tuple[Any, msgspec.Meta]:
    """Take ``| None`` and ``Annotated`` off a type; the Meta is an empty one where there is none."""
    meta = msgspec.Meta()
    while True:
        origin = typing.get_origin(kind)
        if origin is Annotated:
            kind, meta = typing.get_args(kind)[:2]
        elif origin in (typing.Union, types.UnionType):
            (kind,) = [arg for arg in typing.get_args(kind) if arg is not types.NoneType]
        else:
            return kind, meta


def shown(value: object) -> str:
    """Name a value in a fault."""
    names: list[tuple[type | tuple[type, ...], str]] = [
        (bool, str(value).lower()),
        ((int, float), str(value)),
        (dict, "a table"),
        (list, "a list"),
        ((dt.date, dt.time), "a date or time of day"),
    ]
    if isinstance(value, str):
        return quoted(value)
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def allowed(kind: Any, meta: msgspec.Meta) -> str:
    """Tell what a key may be."""
    extra, origin = meta.extra or {}, typing.get_origin(kind)
    if origin is Literal:
        text = either(json.dumps(word) for word in typing.get_args(kind))
    elif origin is list:
        item, item_meta = unwrap(typing.get_args(kind)[0])
        text = f"a list, each {allowed(item, item_meta)}"
        if extra.get("one"):
            text = f"{allowed(item, item_meta)}, or {text}"
    elif origin is dict:
        text = "a table of names and texts"
    elif kind is bool:
        text = "true or false"
    elif kind is int:
        text = f"a whole number from {meta.ge} to {meta.le}"
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        text = "a table with " + ", ".join(keys(kind))
        if short := extra.get("short"):
            inner, inner_meta = unwrap(keys(kind)[short].type)
            text = f"{allowed(inner, inner_meta)}, or {text}"
    else:
        text = configtypes.ALLOWED[kind]
    if "most" in extra:
        show, comma = configtypes.SHOWN.get(kind, str), "" if kind is configtypes.Count else ","
        text += f"{comma} from {show(extra['least'])} to {show(extra['most'])}"
    if kind in configtypes.OFF and ("most" not in extra or extra.get("off")):
        text += ', or "off"'
    return text


def keys(table: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The keys of a table as TOML spells them."""
    return {info.encode_name: info for info in msgspec.structs.fields(table)}


def is_changed(table: msgspec.Struct, key: str) -> bool:
    """Whether a key of a table has another value than its default."""
    info = keys(type(table))[key]
    factory = info.default_factory
    return bool(getattr(table, key) != (info.default if factory is msgspec.NODEFAULT else factory()))


def read_table(
    table: type[T], raw: object, where: Where, faults: Faults, elsewhere: Mapping[str, str] | None = None
) -> T | None:
    """Read a table; None where it is none, or lacks what it must have.

    After a fault the rest of it still comes back, so that what lies between tables is looked at as well.
    ``elsewhere``: what is said of keys that belong into another table.
    """
    if not isinstance(raw, dict):
        faults.add(where, f"{shown(raw)} is no table", allowed(table, msgspec.Meta()))
        return None
    known = keys(table)
    for key in raw:
        if key not in known:
            faults.add(
                where.at(key),
                f"unknown key{(elsewhere or {}).get(key) or guess(key, known)}",
                ", ".join(known),
            )
    values = {}
    for key, info in known.items():
        kind, meta = unwrap(info.type)
        if key in raw:
            value = read_value(kind, meta, raw[key], where.at(key), faults)
            if value is not None:
                values[info.name] = value
        elif info.required:
            faults.add(where.at(key), "is missing", allowed(kind, meta))
    return table(**values) if all(info.name in values for info in known.values() if info.required) else None


def read_value(kind: Any, meta: msgspec.Meta, raw: object, where: Where, faults: Faults) -> Any:
    """Read one value, by items where it is a list or a table; after a fault None, or a text as it is."""
    origin = typing.get_origin(kind)
    extra = meta.extra or {}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _read_inner(kind, meta, raw, where, faults)
    if origin is list and (isinstance(raw, list) or extra.get("one")):
        item, item_meta = unwrap(typing.get_args(kind)[0])
        if not isinstance(raw, list):
            return [read_value(item, item_meta, raw, where, faults)]
        if not raw and extra.get("some"):
            faults.add(where, "is empty", allowed(kind, meta))
        read = [read_value(item, item_meta, one, where.item(at), faults) for at, one in enumerate(raw)]
        # An empty text keeps the place of what was none, so that indices stay true.
        return ["" if one is None else one for one in read]
    if origin is dict and isinstance(raw, dict):
        names, texts = typing.get_args(kind)
        return {
            read_value(names, msgspec.Meta(), key, where.at(key), faults): read_value(
                texts, msgspec.Meta(), value, where.at(key), faults
            )
            for key, value in raw.items()
        }
    return _read_one(kind, meta, raw, where, faults)


def _read_inner(kind: Any, meta: msgspec.Meta, raw: object, where: Where, faults: Faults) -> Any:
    """Read a table inside a table; where one of its keys will do, that alone may stand in its place."""
    short = (meta.extra or {}).get("short")
    if short is None:
        return read_table(kind, raw, where, faults)
    if not isinstance(raw, dict):
        inner, inner_meta = unwrap(keys(kind)[short].type)
        before = len(faults)
        read = read_value(inner, inner_meta, raw, where, faults)
        if len(faults) > before and not isinstance(raw, str):
            faults[before:] = []
            faults.add(where, f"{shown(raw)} is of the wrong kind", allowed(kind, meta))
    else:
        table = read_table(kind, raw, where, faults)
        if table is not None:
            return table
        read = None
    return kind(**{short: "" if read is None else read})


def _read_one(kind: Any, meta: msgspec.Meta, raw: object, where: Where, faults: Faults) -> Any:
    try:
        value = msgspec.convert(raw, Annotated[kind, meta], dec_hook=configtypes.convert)
    except msgspec.ValidationError as error:
        faults.add(where, _wrong(kind, raw, error), allowed(kind, meta))
        return raw if kind in configtypes.TEXTS and isinstance(raw, str) else None
    extra = meta.extra or {}
    unbound = extra.get("off") and raw == units.OFF
    if "most" in extra and not unbound and not extra["least"] <= value <= extra["most"]:
        faults.add(where, f"{shown(raw)} is out of range", allowed(kind, meta))
    return value


def _wrong(kind: Any, raw: object, error: msgspec.ValidationError) -> str:
    """Say in our words what msgspec found."""
    if kind in configtypes.NUMBERS or (kind in configtypes.TEXTS and isinstance(raw, str)):
        return str(error)
    if typing.get_origin(kind) is Literal and isinstance(raw, str):
        return f"{shown(raw)} is not known{guess(raw, typing.get_args(kind))}"
    if kind is int and isinstance(raw, int) and not isinstance(raw, bool):
        return f"{raw} is out of range"
    return f"{shown(raw)} is of the wrong kind"
