"""What is in order and yet not what its writer can have meant: the warnings of ``check`` and ``run``.

Values that never act, because another one stands before them; pairs of values that leave nothing between
them; folders that are missing here. Only what is certain is told, each on one line with its place.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from sys import maxsize

from shieldproxy import units
from shieldproxy.config import Config
from shieldproxy.configplan import STREAMS
from shieldproxy.configread import is_changed
from shieldproxy.configschema import HeadersTable
from shieldproxy.configupstream import UpstreamTable
from shieldproxy.core.address import Address
from shieldproxy.core.inert import inert_effects
from shieldproxy.core.plan import Plan
from shieldproxy.core.upstreams import UpstreamSpec

NEVER = "never acts: "
NO_HEADERS = HeadersTable()


def unwritable(config: Config, made: Plan) -> list[str]:
    """One line for each log or folder that cannot be written here; it may be where this is served from."""
    logs = (("log.access", made.access), ("log.error", made.error))
    places = [(key, _unwritable_log(place)) for key, place in logs if place not in STREAMS]
    if made.buffers.directory and made.buffers.disk_total:
        places.append(("buffers.directory", _unusable(made.buffers.directory)))
    return [f"{config.main}: {key}: {wrong}" for key, wrong in places if wrong]


def _unwritable_log(place: str) -> str:
    if not os.path.exists(place):  # noqa: PTH110 - Path.exists raises where a folder may not be entered
        return _unusable(str(Path(place).parent))
    return "" if os.access(place, os.W_OK) else f"the present user cannot write to {place}"


def _unusable(folder: str) -> str:
    if not os.path.exists(folder):  # noqa: PTH110 - as above
        return f"there is no folder {folder}"
    if not Path(folder).is_dir():
        return f"no folder is {folder}"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"the present user cannot write in {folder}"


def pointless(config: Config, made: Plan) -> list[str]:
    """One line for each value that can never act, or that stands in another one's way."""
    return [
        *_inert(config, made),
        *_timeouts(config, made),
        *_buffers(config, made),
        *_upstreams(config, made),
        *_routes(config, made),
    ]


def _inert(config: Config, made: Plan) -> Iterator[str]:
    for placed, rule in zip(config.rules, made.rules, strict=True):
        for effect, why in inert_effects(rule, made.base):
            yield f"{f'{placed.where}.{effect}' if effect else placed.where}: {NEVER}{why}"


def _timeouts(config: Config, made: Plan) -> Iterator[str]:
    times, where = made.base.timeouts, config.timeouts.where
    if times.body_total < times.body_idle:
        total = units.show_seconds(times.body_total)
        yield f"{where.at('body_idle')}: {NEVER}body_total is over before ({total})"


def _buffers(config: Config, made: Plan) -> Iterator[str]:
    table, where, held = config.buffers.table, config.buffers.where, made.buffers
    values = [value for rule in made.rules for name, value in rule.effects if name == "limits.body"]
    most = max([made.base.limits.body, *(value for value in values if isinstance(value, int))])
    memory, disk = units.show_size(held.request_memory), units.show_size(held.disk_total)
    if table.request_memory is not None and held.request_memory > most:
        yield f"{where.at('request_memory')}: {memory} is above limits.body ({units.show_size(most)})"
    if not held.disk_total:
        for key in ("response_file", "directory"):
            if getattr(table, key):
                yield f"{where.at(key)}: {NEVER}disk_total is off, so that there are no files"
        collects = any(route.buffer_request == "whole" for route in made.routes) or any(
            ("buffer_request", "whole") in rule.effects for rule in made.rules
        )
        if collects and most > held.request_memory:
            yield (
                f"{where.at('disk_total')}: without files an upload above request_memory ({memory}) gets 503 "
                'where buffer_request is "whole"'
            )
        return
    if held.response_file > held.disk_total:
        key = "disk_total" if table.response_file is None else "response_file"
        file = units.show_size(held.response_file)
        yield f"{where.at(key)}: response_file ({file}) is above disk_total ({disk}): one may fill all of it"
    if held.disk_total < most < maxsize:
        body = units.show_size(most)
        yield f"{where.at('disk_total')}: {disk} is below limits.body ({body}): a body above it gets 503"


def _upstreams(config: Config, made: Plan) -> Iterator[str]:
    whose: dict[str, str] = {}
    for name, placed in config.upstreams.items():
        spec = made.upstreams[name]
        for address in map(str, (*spec.servers, *spec.backup)):
            other = whose.setdefault(address, name)
            if other != name:
                told = (
                    f"{address} is a server of upstream.{other} too: each has its own max_connections there"
                )
                yield f"{placed.where.at('servers')}: {told}"
            if any(_is_same(address, listen) for listen in map(str, made.listen)):
                yield f"{placed.where.at('servers')}: {address} is where this proxy listens itself"
        if all(route.upstream != name for route in made.routes):
            yield f"{placed.where}: no route names it"
        for key, why in [*_servers(placed.table, spec), *_without(placed.table, spec)]:
            yield f"{placed.where.at(key)}: {why}"


def _is_same(server: str, listen: str) -> bool:
    """Whether who connects to a server comes out where we listen; a v6 socket of ours takes no v4."""
    host, _, port = listen.rpartition(":")
    here = {"0.0.0.0": ("127.0.0.1", "localhost"), "[::]": ("[::1]", "localhost")}.get(host, (host,))
    return server == listen or server in {f"{name}:{port}" for name in here}


def _servers(table: UpstreamTable, spec: UpstreamSpec) -> Iterator[tuple[str, str]]:
    """What their number and kind leave without effect, as (key, what is to be said)."""
    addresses: list[Address] = [*spec.servers, *spec.backup]
    main = [entry.weight for entry in table.servers if not entry.backup]
    if len(set(main)) == 1 and main[0] != 1:
        told = "the only server has a weight" if len(main) == 1 else "all servers have the same weight"
        yield "servers", f"{told}, which changes nothing"
    if any(entry.backup and entry.weight != 1 for entry in table.servers):
        yield "servers", "the weight of a backup changes nothing"
    if len(main) == 1 and len(spec.backup) < 2 and is_changed(table, "balance"):
        yield "balance", f"{NEVER}there is one server"
    if len(addresses) == 1:
        for key in ("max_fails", "fail_window", "eject", "eject_max"):
            if is_changed(table, key):
                yield key, f"{NEVER}there is one server, which is asked in any case"
        if spec.health is not None:
            yield (
                "health",
                "is told in the log and changes nothing else: there is one server, asked in any case",
            )
    if is_changed(table, "resolve") and not any(address.is_name for address in addresses):
        yield "resolve", f"{NEVER}no server is set by name"
    if spec.source is not None and all(address.is_unix for address in addresses):
        yield "source", f"{NEVER}unix sockets have no source address"


def _without(table: UpstreamTable, spec: UpstreamSpec) -> Iterator[tuple[str, str]]:
    """What another key of the same table leaves without effect."""
    several = len(table.servers) > 1
    for off, told, others in (
        (not spec.keep_alive, "keep_alive is false", ("pool_idle", "max_requests")),
        (spec.max_fails == maxsize and several, "max_fails is off", ("fail_window", "eject", "eject_max")),
        (not spec.queue_length, "queue_length is 0", ("queue_order", "queue_timeout")),
    ):
        if off:
            yield from ((key, f"{NEVER}{told}") for key in others if is_changed(table, key))
    if not spec.retry_budget and is_changed(table, "retries"):
        yield "retries", "as retry_budget is 0, only what no server has had is sent again"


def _routes(config: Config, made: Plan) -> Iterator[str]:
    streaming = [
        f'rule "{rule.name}"' for rule in made.rules if dict(rule.effects).get("buffer_request") == "stream"
    ]
    old = [spec.name for spec in made.upstreams.values() if spec.http_version == "1.0"]
    raw = {route.upstream for route in made.routes if not route.normalise_path}
    for placed in config.routes:
        table, where = placed.table, placed.where
        spec = made.upstreams[table.upstream]
        if table.retry_unsafe and not spec.retry_budget:
            yield f"{where.at('retry_unsafe')}: {NEVER}upstream.{spec.name}.retry_budget is 0"
        elif table.retry_unsafe and table.buffer_request == "stream":
            yield f'{where.at("retry_unsafe")}: with buffer_request = "stream" no body can be sent again'
        if table.normalise_path and spec.name in raw:
            yield (
                f"{where.at('normalise_path')}: upstream.{spec.name} has routes without it: a path that "
                'leaves this one, such as "/a/../b", may be theirs, and goes on as it came'
            )
        sent = [name for name in (table.request_headers or NO_HEADERS).put if name.lower() == "host"]
        if sent and spec.host is not None:
            told = f"is sent in place of upstream.{spec.name}.host"
            yield f"{where.at('request_headers').at('set').at(sent[0])}: {told}"
        if table.buffer_request == "stream" and spec.name in old:
            yield f"{where.at('buffer_request')}: {_chunked(spec.name)}"
    if streaming and old:
        yield f'{config.main}: {", ".join(streaming)} with buffer_request = "stream": {_chunked(old[0])}'


def _chunked(name: str) -> str:
    return f'upstream.{name} has http_version = "1.0", so that chunked uploads get 411'
