"""From a checked configuration to the plan that a worker serves by.

Nothing can be wrong here any more: ``config.load`` has looked at every value. What is not set keeps the
default of ``core``; what is set leaves its place in ``Plan.origins``, for ``explain``.
"""

from typing import Any

import msgspec

from shieldproxy.config import Config, Placed
from shieldproxy.configfiles import address_beside, beside
from shieldproxy.configread import is_changed, keys
from shieldproxy.configschema import HeadersTable, RouteTable, RuleTable
from shieldproxy.configupstream import HealthTable, UpstreamTable
from shieldproxy.core.limits import Buffers
from shieldproxy.core.match import path_key
from shieldproxy.core.plan import Plan
from shieldproxy.core.policy import EFFECTS, Policy, Rule, amend
from shieldproxy.core.routes import Route
from shieldproxy.core.upstreams import HealthSpec, Repair, UpstreamSpec

ROUTE_VALUES = (
    "buffer_request",
    "buffer_response",
    "retry_unsafe",
    "normalise_path",
    "max_ranges",
    "max_query_duplicates",
)
"""Keys of a route that tell how a request is treated, for ``explain``."""
UPSTREAM_VALUES = (
    "max_connections",
    "queue_length",
    "queue_timeout",
    "queue_order",
    "connect_timeout",
    "response_timeout",
    "balance",
    "max_fails",
    "fail_window",
    "eject",
    "eject_max",
    "resolve",
    "retries",
    "retry_budget",
    "abort_upstream",
    "http_version",
    "keep_alive",
    "pool_idle",
    "max_requests",
    "host",
    "header_case",
    "max_head",
    "source",
)
"""Keys of an upstream that tell how its servers are asked, for ``explain``."""
STREAMS = ("stdout", "stderr", "none")
Effects = list[tuple[str, object]]


def plan(config: Config) -> Plan:
    """Fill in every default and parse every text."""
    server, log = config.server, config.log
    effects, origins = _base(config)
    routes = _routes(config, origins)
    return Plan(
        listen=tuple(address_beside(text, config.main) for text in server.listen),
        routes=routes,
        upstreams={name: _upstream(name, placed) for name, placed in config.upstreams.items()},
        rules=tuple(_rule(placed.table) for placed in config.rules),
        base=amend(Policy(), effects),
        max_connections=server.max_connections,
        drain_timeout=float(server.drain_timeout),
        trusted=tuple(str(cidr) for cidr in server.trusted),
        express=server.express,
        buffers=_buffers(config),
        access=_stream(log.access, config.main),
        log_format=log.format,
        error=_stream(log.error, config.main),
        level=log.level,
        origins=origins,
    )


def _plain(value: object) -> object:
    """A value without the type that the configuration checked it by."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _set_keys(table: msgspec.Struct) -> list[tuple[str, Any]]:
    """The keys of a table of optional values that are set."""
    return [
        (name, _plain(getattr(table, name)))
        for name in table.__struct_fields__
        if getattr(table, name) is not None
    ]


def _base(config: Config) -> tuple[Effects, dict[str, str]]:
    effects: Effects = []
    origins: dict[str, str] = {}
    for group, placed in (("timeouts", config.timeouts), ("limits", config.limits)):
        for key, value in _set_keys(placed.table):
            effects.append((f"{group}.{key}", value))
            origins[f"{group}.{key}"] = str(placed.where.at(key))
    for key, _ in _set_keys(config.buffers.table):
        origins[f"buffers.{key}"] = str(config.buffers.where.at(key))
    for name, upstream in config.upstreams.items():
        for key in UPSTREAM_VALUES:
            if is_changed(upstream.table, key):
                origins[f"upstream.{name}.{key}"] = str(upstream.where.at(key))
    return effects, origins


def _rule(table: RuleTable) -> Rule:
    effects: Effects = []
    for name, value in _set_keys(table):
        if isinstance(value, msgspec.Struct):
            effects += [(f"{name}.{key}", one) for key, one in _set_keys(value)]
        elif name in EFFECTS:
            # A policy speaks of exceptions only: 1.1 and no denial are its None.
            plain = (
                value not in ("1.1", 0) if name in ("response_version", "request_version", "deny") else True
            )
            effects.append((name, value if plain else None))
    return Rule(
        name=str(table.name),
        why=str(table.why),
        source=str(table.source),
        user_agent=None if table.user_agent is None else str(table.user_agent),
        client=tuple(str(cidr) for cidr in table.client),
        method=tuple(str(method) for method in table.method),
        path=None if table.path is None else str(table.path),
        host=None if table.host is None else str(table.host),
        version=table.version,
        effects=tuple(effects),
    )


def _buffers(config: Config) -> Buffers:
    table, where = config.buffers.table, config.buffers.where
    values: dict[str, Any] = dict(_set_keys(table))
    if table.directory:
        values["directory"] = beside(table.directory, where.at("directory").file)
    return Buffers(**values)


def _upstream(name: str, placed: Placed[UpstreamTable]) -> UpstreamSpec:
    table, file = placed.table, placed.where.at("servers").file
    main = [entry for entry in table.servers if not entry.backup]
    weights = tuple(entry.weight for entry in main)
    # What is not told apart below has the same name and the same meaning in the file and in core.
    values: dict[str, Any] = {
        key: value
        for key, value in _set_keys(table)
        if key not in ("servers", "health", "repair", "host", "abort_upstream")
    }
    return UpstreamSpec(
        name=name,
        servers=tuple(address_beside(entry.address, file) for entry in main),
        weights=weights if len(set(weights)) > 1 else (),
        backup=tuple(address_beside(entry.address, file) for entry in table.servers if entry.backup),
        health=None if table.health is None else _health(table.health),
        repair=Repair(**dict(_set_keys(table.repair))),
        host=None if table.host is None else table.host.encode(),
        abort_upstream=frozenset(method.encode() for method in table.abort_upstream),
        **values,
    )


def _health(table: HealthTable) -> HealthSpec:
    values: dict[str, Any] = dict(_set_keys(table))
    values["status"] = tuple(dict.fromkeys(table.status))
    return HealthSpec(**values)


def _routes(config: Config, origins: dict[str, str]) -> tuple[Route, ...]:
    """The routes; of two for the same listen, host and path the later file's stands. Notes what they set."""
    routes = {}
    for placed in config.routes:
        table, route = placed.table, _route(placed.table, config.main)
        routes[table.listen, table.host.lower(), path_key(table.path)] = route
        for key in keys(RouteTable):
            origins.pop(f"{key} of {route.place}", None)
            if key in ROUTE_VALUES and is_changed(table, key):
                origins[f"{key} of {route.place}"] = str(placed.where.at(key))
    return tuple(routes.values())


def _route(table: RouteTable, main: str) -> Route:
    request, response = table.request_headers or HeadersTable(), table.response_headers or HeadersTable()
    return Route(
        upstream=str(table.upstream),
        listen=None if table.listen is None else str(address_beside(table.listen, main)),
        host=str(table.host),
        path=str(table.path),
        request_set=_fields(request),
        request_remove=_names(request),
        response_set=_fields(response),
        response_remove=_names(response),
        request_id=None if table.request_id is None else table.request_id.encode(),
        buffer_request=table.buffer_request or "whole",
        buffer_response=table.buffer_response or "whole",
        retry_unsafe=table.retry_unsafe,
        normalise_path=table.normalise_path,
        max_ranges=int(table.max_ranges),
        max_query_duplicates=int(table.max_query_duplicates),
    )


def _fields(headers: HeadersTable) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode()) for name, value in headers.put.items())


def _names(headers: HeadersTable) -> frozenset[bytes]:
    return frozenset(name.lower().encode() for name in headers.remove)


def _stream(name: str, file: str) -> str:
    return str(name) if name in STREAMS else beside(name, file)
