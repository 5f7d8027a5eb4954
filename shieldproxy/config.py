"""Reading a configuration: files to one checked ``Config``, or to a list of everything that is wrong.

``load`` reads the file and what it includes, types every table, and checks what only shows between tables:
a route to an unknown upstream, a name that is there twice. It never resolves a name, binds an address or
opens a log; that a file reads well says nothing of whether it can be served on this host.

Included files hold ``[[rule]]``, ``[[route]]``, ``[upstream.*]``, ``[timeouts]`` and ``[limits]``. Their
rules come first; of any single value, the including file's wins. A file included twice counts once.

``configplan.plan`` turns a ``Config`` into what the worker serves by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from shieldproxy import configtypes
from shieldproxy.configbounds import BuffersTable, LimitsTable, TimeoutsTable
from shieldproxy.configfiles import Document, Merged, Raw, address_beside, merge, read_files
from shieldproxy.configjudges import FORWARDING, host_value, ipv4, quoted
from shieldproxy.configread import ConfigFault, Faults, Where, either, guess, keys, read_table
from shieldproxy.configschema import (
    AdminTable,
    LogTable,
    RouteTable,
    RuleTable,
    ServerTable,
)
from shieldproxy.configtypes import ALLOWED, HostValue
from shieldproxy.configupstream import UpstreamTable
from shieldproxy.core.match import path_key
from shieldproxy.units import show_seconds

T = TypeVar("T", bound=msgspec.Struct)
DEFAULT_LISTEN = "127.0.0.1:8080"
ELSEWHERE = {
    "route": dict.fromkeys(keys(RuleTable), ': it belongs into a [[rule]] with path = "..."'),
}
"""What is said of keys that stand in the wrong table."""


@dataclass(frozen=True, slots=True)
class Placed(Generic[T]):
    """A table and the place it was read from."""

    table: T
    where: Where


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration without a fault. ``files`` are in the order in which they count, the main one last."""

    files: tuple[str, ...]
    server: ServerTable
    log: LogTable
    admin: AdminTable | None
    timeouts: Placed[TimeoutsTable]
    limits: Placed[LimitsTable]
    buffers: Placed[BuffersTable]
    upstreams: Mapping[str, Placed[UpstreamTable]]
    routes: tuple[Placed[RouteTable], ...]
    rules: tuple[Placed[RuleTable], ...]

    @property
    def main(self) -> str:
        """The file that was asked for."""
        return self.files[-1]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of reading: a config, or faults. Warnings come with either."""

    config: Config | None
    faults: tuple[ConfigFault, ...]
    warnings: tuple[str, ...] = ()


def load(path: str) -> Loaded:
    """Read a configuration file. Every fault is collected; nothing is raised for what the file says."""
    faults = Faults()
    documents = read_files(path, faults)
    return assemble(documents, faults) if documents else Loaded(None, tuple(faults))


def from_arguments(listen: Sequence[str], to: Sequence[str]) -> Loaded:
    """Build the configuration of ``run --listen ADDR --to ADDR``: one upstream, one route, every default."""
    listen = listen or [DEFAULT_LISTEN]
    faults = Faults()
    for option, kind, texts in (
        ("--listen", configtypes.ListenAddress, listen),
        ("--to", configtypes.ServerAddress, to),
    ):
        for text in texts:
            try:
                configtypes.convert(kind, text)
            except ValueError as error:
                faults.add(Where(option), str(error), configtypes.ALLOWED[kind])
    if faults:
        return Loaded(None, tuple(faults))
    data: dict[str, object] = {
        "server": {"listen": list(listen)},
        "upstream": {"default": {"servers": list(to)}},
        "route": [{"upstream": "default"}],
    }
    return assemble([Document("arguments", data, main=True)], faults)


def assemble(documents: list[Document], faults: Faults) -> Loaded:
    """Lay documents over one another, the main one last, and check what comes of them."""
    config = _typed(merge(documents, faults), faults)
    if config is None or faults:
        return Loaded(None, tuple(faults))
    return Loaded(config, (), tuple(_warnings(config)))


def _typed(merged: Merged, faults: Faults) -> Config | None:
    main = merged.files[-1]

    def table(key: str, kind: type[T]) -> T:
        raw = merged.tables.get(key, Raw(Where(main, key)))
        read = read_table(kind, raw.values, raw.where, faults)
        # After a fault the defaults stand in, so that what depends on this table is still looked at.
        return kind() if read is None else read

    def placed(key: str, kind: type[T]) -> list[Placed[T]]:
        found = []
        for raw, where in merged.lists[key]:
            before = len(faults)
            read = read_table(kind, raw, where, faults, ELSEWHERE.get(key))
            # An index is hard to find in a long file, a name is not.
            faults.tell(before, raw.get("name") if isinstance(raw, dict) and key == "rule" else None)
            if read is not None:
                found.append(Placed(read, where))
        return found

    server, log = table("server", ServerTable), table("log", LogTable)
    upstreams = {
        name: Placed(found, raw.where)
        for name, raw in merged.upstreams.items()
        if (found := read_table(UpstreamTable, raw.values, raw.where, faults)) is not None
    }
    admin = merged.tables.get("admin")
    config = Config(
        files=merged.files,
        server=server,
        log=log,
        admin=read_table(AdminTable, admin.values, admin.where, faults) if admin else None,
        timeouts=Placed(table("timeouts", TimeoutsTable), _place(merged, "timeouts")),
        limits=Placed(table("limits", LimitsTable), _place(merged, "limits")),
        buffers=Placed(table("buffers", BuffersTable), _place(merged, "buffers")),
        upstreams=upstreams,
        routes=tuple(placed("route", RouteTable)),
        rules=tuple(placed("rule", RuleTable)),
    )
    _check(config, merged, faults)
    return config


def _place(merged: Merged, key: str) -> Where:
    return merged.tables[key].where if key in merged.tables else Where(merged.files[-1], key)


def _check(config: Config, merged: Merged, faults: Faults) -> None:
    """Look at what shows only between tables."""
    listens = _listens(config, faults)
    if not merged.upstreams:
        faults.add(
            Where(config.main, "upstream"), "is missing", '[upstream.NAME] with servers = ["127.0.0.1:9000"]'
        )
    if not merged.lists["route"]:
        name = next(iter(merged.upstreams), "NAME")
        faults.add(
            Where(config.main, "route"), "is missing", f'[[route]] with upstream = "{name}", for every path'
        )
    for placed in config.upstreams.values():
        _check_upstream(placed.table, placed.where, faults)
    _no_twins(((rule.table.name, rule.where.at("name")) for rule in config.rules), faults)
    for route in config.routes:
        _check_route(route, listens, merged, faults)
    _no_twins(
        ((_place_of(r.table), r.where) for r in config.routes),
        faults,
        across_files=False,
    )


def _place_of(route: RouteTable) -> str:
    """Where a route stands: ``/a`` and ``/a/`` are the same path to it."""
    path = path_key(route.path).decode("latin-1") or "/"
    return f"{route.listen or '*'} {route.host.lower()} {path}"


def _listens(config: Config, faults: Faults) -> set[str]:
    at = Where(config.main, "server.listen")
    listens = [(text, at.item(i)) for i, text in enumerate(config.server.listen)]
    for text, where in listens:
        try:
            address_beside(text, where.file)
        except ValueError as error:
            faults.add(where, str(error))
    # Port 0 is a different free port each time, so it may stand there twice.
    _no_twins(((text, where) for text, where in listens if not text.endswith(":0")), faults)
    return {text for text, _ in listens}


def _check_upstream(table: UpstreamTable, where: Where, faults: Faults) -> None:
    at = where.at("servers")
    _no_twins(((str(one.address), at.item(i)) for i, one in enumerate(table.servers)), faults)
    if table.servers and all(one.backup for one in table.servers):
        faults.add(at, "are all backups", "at least one that is none")
    if table.eject > table.eject_max:
        most, first = show_seconds(table.eject_max), show_seconds(table.eject)
        faults.add(where.at("eject_max"), f"{most} is below eject", f"{first} or more")
    if table.source:
        other = 4 if ":" in table.source else 6
        for index, one in enumerate(table.servers):
            host = one.address.rpartition(":")[0]
            if (other == 6 and host.startswith("[")) or (other == 4 and ipv4(host)):
                wrong = f"{quoted(table.source)} cannot reach {at.item(index).prefix}, which is IPv{other}"
                faults.add(where.at("source"), wrong, "an address of the family of all servers")


def _check_route(route: Placed[RouteTable], listens: set[str], merged: Merged, faults: Faults) -> None:
    table, where = route.table, route.where
    if table.upstream not in merged.upstreams and merged.upstreams:
        known = sorted(merged.upstreams)
        wrong = f"there is no upstream {quoted(table.upstream)}{guess(table.upstream, known)}"
        faults.add(where.at("upstream"), wrong, either(f'"{name}"' for name in known))
    if table.listen is not None and table.listen not in listens:
        wrong = f"{quoted(table.listen)} is not in server.listen{guess(table.listen, listens)}"
        faults.add(where.at("listen"), wrong, either(f'"{text}"' for text in sorted(listens)))
    if table.request_id is not None and table.request_id.lower() in FORWARDING | {"host", "date"}:
        wrong = f"{quoted(table.request_id)} has a meaning of its own"
        faults.add(where.at("request_id"), wrong, 'a field for ids alone, such as "X-Request-Id"')
    for key, headers, refused in (
        ("request_headers", table.request_headers, FORWARDING),
        ("response_headers", table.response_headers, frozenset({"via"})),
    ):
        if headers is None:
            continue
        at = where.at(key)
        named = [(name, at.at("set").at(name)) for name in headers.put]
        removed = [(name, at.at("remove").item(i)) for i, name in enumerate(headers.remove)]
        for name, place in [*named, *removed]:
            if name.lower() in refused:
                faults.add(place, f"{quoted(name)} is written by the proxy itself", "any other field")
            elif name.lower() == "host" and key == "request_headers":
                _host(place, headers.put.get(name), faults)
        _no_twins(((name.lower(), place) for name, place in named), faults)


def _host(where: Where, value: str | None, faults: Faults) -> None:
    """Judge a Host that a route sets; None: it takes it away."""
    if value is None:
        faults.add(where, "a request cannot be without Host", "to set it, or any other field")
        return
    try:
        host_value(value)
    except ValueError as exc:
        faults.add(where, str(exc), ALLOWED[HostValue])


def _no_twins(named: Iterable[tuple[str, Where]], faults: Faults, *, across_files: bool = True) -> None:
    seen: dict[tuple[str, str], Where] = {}
    for name, where in named:
        first = seen.setdefault((name, "" if across_files else where.file), where)
        if first is not where:
            place = first.prefix if first.file == where.file else str(first)
            faults.add(where, f"{quoted(name)} is there already, as {place}", "each once")


def _warnings(config: Config) -> list[str]:
    """What is read and changes nothing yet, on one line."""
    keys = []
    if config.server.workers != 1:
        keys.append("server.workers")
    if config.admin is not None:
        keys.append("[admin]")
    return [f"{config.main}: not honoured yet, read and left aside: {', '.join(keys)}"] if keys else []
