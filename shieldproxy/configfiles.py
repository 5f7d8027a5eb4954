"""The files of a configuration: reading them, following ``include``, and laying them over one another.

What is included comes first, so that the including file's values are later and win. Tables are merged key by
key while they are still raw, and each key remembers its file: a fault, and ``explain``, can name it.
"""

import os.path
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import tomli

from shieldproxy.configread import Faults, Where, dotted, guess, shown
from shieldproxy.configschema import MAIN_ONLY, TABLES
from shieldproxy.core.address import Address

LISTS = ("route", "rule")


@dataclass(frozen=True, slots=True)
class Document:
    """One file as TOML read it. ``main`` is the file that was asked for."""

    file: str
    data: dict[str, object]
    main: bool


@dataclass(slots=True)
class Raw:
    """A table before it is typed."""

    where: Where
    values: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Merged:
    """All files laid over one another, still untyped."""

    files: tuple[str, ...]
    tables: dict[str, Raw] = field(default_factory=dict)
    upstreams: dict[str, Raw] = field(default_factory=dict)
    lists: dict[str, list[tuple[object, Where]]] = field(default_factory=lambda: {name: [] for name in LISTS})


def beside(path: str, file: str) -> str:
    """A path as the file that names it means it, without the way there and back where it has one."""
    joined = Path(file).parent / path
    plain = Path(os.path.normpath(joined))
    # Behind a symbolic link, ".." is not the way back.
    return str(plain if plain.parent.resolve() == joined.parent.resolve() else joined)


def address_beside(text: str, file: str) -> Address:
    """Parse an address; a unix socket's path is relative to the file that names it.

    Raises:
        ValueError: the path has become longer than a unix socket's may be.
    """
    address = Address.parse(text)
    return Address.parse(f"unix:{beside(address.path, file)}") if address.is_unix else address


def read_files(path: str, faults: Faults) -> list[Document]:
    """Read a file and what it includes, in the order in which they count: the main file is last."""
    data = _read(path, lambda what: faults.add(Where(path), what))
    if data is None:
        return []
    found = _included(path, data, (_same(path),), {_same(path)}, faults)
    return [*found, Document(path, data, main=True)]


def _same(path: str) -> str:
    """What two spellings of one file have in common."""
    return str(Path(path).resolve())


def _read(path: str, refuse: Callable[[str], None]) -> dict[str, object] | None:
    try:
        return tomli.loads(Path(path).read_bytes().decode())
    except OSError as error:
        refuse(f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        refuse(f"is no text in UTF-8, from byte {error.start} on")
    except tomli.TOMLDecodeError as error:
        refuse(f"is no TOML: {error}")
    return None


def _included(
    file: str, data: dict[str, object], stack: tuple[str, ...], seen: set[str], faults: Faults
) -> list[Document]:
    names, where = data.get("include", []), Where(file, "include")
    if not isinstance(names, list):
        faults.add(where, f"{shown(names)} is no list", 'a list of files, such as ["known-clients.toml"]')
        return []
    found: list[Document] = []
    for index, name in enumerate(names):
        at = where.item(index)
        if not isinstance(name, str) or not name or "\0" in name:
            faults.add(at, f"{shown(name)} is no file", "a path, relative to this file")
            continue
        path = beside(name, file)
        if _same(path) in stack:
            faults.add(at, f"{shown(name)} includes this file in turn", "no circles")
        elif _same(path) not in seen:
            seen.add(_same(path))
            found += _include(path, at, name, (*stack, _same(path)), seen, faults)
    return found


def _include(
    path: str, at: Where, name: str, stack: tuple[str, ...], seen: set[str], faults: Faults
) -> list[Document]:
    data = _read(path, lambda what: faults.add(at, f"{shown(name)} {what}"))
    if data is None:
        return []
    return [*_included(path, data, stack, seen, faults), Document(path, data, main=False)]


def merge(documents: list[Document], faults: Faults) -> Merged:
    """Lay the files over one another, later ones on top; unknown tables are faults."""
    merged = Merged(tuple(document.file for document in documents))
    for document in documents:
        for key, value in document.data.items():
            where = Where(document.file).at(key)
            if key == "include":
                continue
            if key not in TABLES:
                faults.add(where, f"unknown key{guess(key, TABLES)}", ", ".join(["include", *TABLES]))
            elif key in MAIN_ONLY and not document.main:
                faults.add(
                    where,
                    "belongs in the main file",
                    "rule, route, upstream, timeouts and limits in an included file",
                )
            elif key in LISTS:
                _add_list(merged.lists[key], value, where, faults)
            elif key == "upstream":
                _add_upstreams(merged.upstreams, value, where, faults)
            else:
                _lay_over(merged.tables, key, value, where, faults)
    return merged


def _add_list(into: list[tuple[object, Where]], value: object, where: Where, faults: Faults) -> None:
    if isinstance(value, list):
        into += [(item, where.item(index)) for index, item in enumerate(value)]
    else:
        faults.add(where, f"{shown(value)} is no list of tables", f"[[{where.prefix}]], once for each")


def _add_upstreams(into: dict[str, Raw], value: object, where: Where, faults: Faults) -> None:
    allowed = '[upstream.NAME] with servers = ["127.0.0.1:9000"]'
    if not isinstance(value, dict):
        faults.add(where, f"{shown(value)} is no table", allowed)
        return
    for name, table in value.items():
        if not isinstance(table, dict):
            faults.add(where.at(name), f"{shown(table)} is no table", allowed)
        elif dotted("", name) != name:
            faults.add(where.at(name), "is no name of an upstream", "letters, digits, _ and -")
        else:
            _lay_over(into, name, table, where.at(name), faults)


def _lay_over(into: dict[str, Raw], key: str, value: object, where: Where, faults: Faults) -> None:
    if not isinstance(value, dict):
        faults.add(where, f"{shown(value)} is no table", f"[{where.prefix}]")
        return
    under = into.get(key)
    files = {**(under.where.files if under else {}), **dict.fromkeys(value, where.file)}
    into[key] = Raw(replace(where, files=files), {**(under.values if under else {}), **value})
