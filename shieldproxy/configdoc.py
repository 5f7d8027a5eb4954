"""The page of the configuration, written from the keys themselves: ``python -m shieldproxy.configdoc``.

It prints docs/configuration.md; a test holds that file to what is printed here.
"""

import json
import sys
from sys import maxsize

import msgspec

from shieldproxy import units
from shieldproxy.configread import allowed, keys, unwrap
from shieldproxy.configschema import EVERY, HeadersTable
from shieldproxy.configtypes import DiskSize, Rate, Seconds, Size, WholeSeconds
from shieldproxy.configupstream import ServerEntry
from shieldproxy.core.limits import Buffers, Limits, Timeouts
from shieldproxy.core.routes import Route

DEFAULTS = {"timeouts": Timeouts(), "limits": Limits(), "buffers": Buffers(), "route": Route("")}
"""Where ``core`` has the default of a key that is not set."""
HEADINGS = {
    "upstream": "[upstream.NAME]",
    "upstream.servers": "A server in servers",
    "upstream.health": "[upstream.NAME.health]",
    "upstream.repair": "[upstream.NAME.repair]",
    "route": "[[route]]",
    "rule": "[[rule]]",
}

INTRO = """\
# Configuration

<!-- Written by `python -m shieldproxy.configdoc` from shieldproxy/configschema.py: change that instead. -->

One file in TOML, and what it includes. [config/shieldproxy.toml](../config/shieldproxy.toml) has every key
with its default and loads as it is; [config/quickstart.toml](../config/quickstart.toml) is the least that
serves.

    shieldproxy check CONFIG       each fault on a line: file, key, what is wrong, what is allowed (exit 2)
    shieldproxy explain CONFIG     which rules match a request, and where each value in force comes from
    shieldproxy run CONFIG         serve; without a file: run --listen 127.0.0.1:8080 --to 127.0.0.1:9000

**Values.** Times are `"500ms"`, `"5s"`, `"2m"` or `"1h"`; sizes are bytes or `"64KiB"`, `"1MiB"`, `"1GiB"`;
rates are `"500B/s"`; `"off"` stands where none is meant. Paths are relative to the file that names them. A
key that is not known is refused, with the nearest one that is. Items of lists count from 0: `rule[0]` is
the first of its file.

**Includes.** `include = ["known-clients.toml"]`, at the top of a file. What is included comes first, so
that rules of the including file are later and win; of a single value in `[timeouts]`, `[limits]` or
`[upstream.NAME]` (its `health` and `repair` are one value each), and of two routes for the same listen, host
and path, the including file's stands. An included file may include others, each counts once, and may not hold
`[server]`, `[log]`, `[admin]` or `[buffers]`.

**Not honoured yet**: `workers` other than 1, `[admin]`. One warning line names those that a file sets.
"""


def default_of(table: str, info: msgspec.structs.FieldInfo) -> object:
    """The default of a key: that of ``core`` where it has one; None where it is not set by default."""
    if info.default_factory is not msgspec.NODEFAULT:
        return info.default_factory()
    if info.default is None:
        return getattr(DEFAULTS.get(table), info.name, None)
    return info.default


def shown(value: object, kind: object) -> str:
    """A default as TOML writes it."""
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None or value == "" or isinstance(value, msgspec.Struct):
        return ""
    if value == maxsize:
        text = json.dumps(units.OFF)
    elif kind is Rate and isinstance(value, float):
        text = json.dumps(units.show_rate(value))
    elif kind in (Seconds, WholeSeconds) and isinstance(value, float):
        text = json.dumps(units.show_seconds(value))
    elif kind in (Size, DiskSize) and isinstance(value, int) and value >= 4096:
        text = json.dumps(units.show_size(value))
    else:
        text = json.dumps(value) if value != {} else "{}"
    return f"`{text}`"


def table_text(name: str, table: type[msgspec.Struct]) -> str:
    """One table of TOML as a table of Markdown."""
    about = " ".join((table.__doc__ or "").replace("``", "`").split())
    lines = [
        f"## {HEADINGS.get(name, f'[{name}]')}",
        "",
        about,
        "",
        "| key | what | default | allowed |",
        "|---|---|---|---|",
    ]
    for key, info in keys(table).items():
        kind, meta = unwrap(info.type)
        inner = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        may_be = "a table" if inner else allowed(kind, meta)
        if kind is HeadersTable:
            may_be = '`{ set = { X-From = "edge" }, remove = ["Cookie"] }`'
        cells = (f"`{key}`", meta.description or "", shown(default_of(name, info), kind), may_be)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    tables = list(EVERY.items())
    at = [name for name, _ in tables].index("upstream")
    tables.insert(at + 1, ("upstream.servers", ServerEntry))
    return "\n".join([INTRO, *(table_text(name, table) for name, table in tables)])


if __name__ == "__main__":
    sys.stdout.write(page())
