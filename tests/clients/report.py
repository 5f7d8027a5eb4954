"""docs/clients.md: the tables, and the few sentences that their figures allow."""

import textwrap
from collections.abc import Iterable, Sequence

from tests.clients.asking import CLIENTS as CROWD
from tests.clients.model import POST, REFUSAL, REFUSED, Closing, Row
from tests.clients.servers import LIMIT, ServerRow
from tests.clients.tools import PIPELINED

TITLE = """# Clients and servers

What real programs do with our closing, and what real servers behind the proxy look like to a client. The
tables are made by `make clients`, which runs whatever of these programs the machine has, over loopback;
`make test` runs the same with a shorter watch, and fails where a response is not whole or a receipt is
wrong.
"""

CLIENTS = """## Clients

Each program follows one story, as far as it can: it asks for 200 kB and is then idle; the proxy ends the
idle connection after a second; the program asks again; it uploads 300 kB, and 3 MB where a rule allows 64
KiB; it asks for 200 kB where a rule has `keep_alive = false`. Every body is compared with what was sent,
every upload with what arrived. Everything but `keep_alive = "1s"` and the two rules is the proxy's default.

- **Idle connection, ended by us**: when the client's FIN came after ours, from the kernel's table, watched
  for {watch:g} s; then what the receipt said. Such a connection gets FIN and `close()` in one, so its
  receipt has no `linger`, and a late FIN is the kernel's affair (`fin_wait_2`).
- **Ended by a rule**: the same for the connection that `keep_alive = false` ended behind the response.
- **Refused upload**: what the program saw of the 413 that was sent while it was uploading, how that
  connection ended, and how much of the upload was read and thrown away in the lingering close.
"""

SERVERS = """## Servers

Each server is asked directly and through the proxy: small and large files, HEAD, 404, a range, a second
time with `If-Modified-Since`, scripts with and without a body, a chunked upload, as far as it can. Status,
reason, body and every field that is not of the hop must be equal. Then {clients} clients ask at the same
time, with `max_connections = {limit}`, and once more when the server has ended its idle connections.
"""

HEAD = (
    "program", "version", "HTTP", "idle connection, ended by us: its FIN", "receipt",
    "ended by a rule: its FIN", "receipt", "refused upload",
)  # fmt: skip
SERVER_HEAD = ("server", "version", "speaks", "bodies by", "answers equal", "most connections at a time")


def point(text: str) -> str:
    """One item of a list, in lines of the house's length."""
    return textwrap.fill(text, 110, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def heading(words: Sequence[str]) -> str:
    """A table's first two lines."""
    return cells(*words) + "\n" + "|---" * len(words) + "|"


def cells(*words: object) -> str:
    """One row of a table."""
    return "| " + " | ".join(str(word).replace("|", "\\|") for word in words) + " |"


def _fin(closing: Closing | None, idles: bool = True) -> tuple[str, str]:
    if not idles:
        return "is never idle", ""
    return (closing.fin, closing.said) if closing else ("", "")


def _upload(row: Row) -> str:
    seen = row.seen.get(REFUSAL)
    if seen is None:
        return "none is refused" if POST in row.seen else "uploads nothing"
    words = [f"saw {seen.status}" if seen.status else f"an error: {seen.error}"]
    if row.refusal is not None:
        words.append(f"linger {row.refusal.receipt.get('linger', '-')}")
        dropped = row.refusal.receipt.get("lingered_bytes", 0)
        words.append(f"{_share(dropped)} thrown away" if dropped else "nothing thrown away")
    return ", ".join(words)


def _share(count: int) -> str:
    """So rough that two runs say the same: how much is left to be thrown away is a race."""
    return "most" if count > REFUSED / 2 else "part"


def client_row(row: Row) -> str:
    """A program's line."""
    name = row.program.name + (" **(faults below)**" if row.faults else "")
    idle = _fin(row.idle, row.program.idles)
    return cells(name, row.version, row.http, *idle, *_fin(row.asked), _upload(row))


def server_row(row: ServerRow) -> str:
    """A server's line."""
    name = row.server.name + (" **(faults below)**" if row.faults else "")
    equal = f"{row.equal} of {len(row.server.asks)}"
    return cells(name, row.version, row.protocol, ", ".join(row.framings), equal, f"{row.peak} of {LIMIT}")


def _named(rows: Iterable[Row]) -> str:
    names = [row.program.name.replace(", ", " ") for row in rows]
    return ", ".join(names) if names else "none"


def findings(rows: Sequence[Row]) -> Iterable[str]:
    """What the table comes to."""
    idle = [row for row in rows if row.idle is not None]
    ours = [row for row in idle if row.idle and row.idle.receipt.get("reason") == "keep-alive-timeout"]
    prompt = [row for row in ours if row.idle and row.idle.fin == "at once"]
    passive = [row for row in ours if row.idle and row.idle.fin.startswith(("not by itself", "never"))]
    rest = [row for row in ours if row not in prompt and row not in passive]
    yield "What it comes to:\n"
    yield point(f"{len(prompt)} notice the end of an idle connection at once: {_named(prompt)}.")
    if rest:
        yield point(f"{len(rest)} later, without being asked: {_named(rest)}.")
    yield point(
        f"{len(passive)} do not look until they want to use it again: {_named(passive)}. To a server that "
        "waits for the client's FIN each is a socket held for as long as the program has nothing to ask. "
        "Here it is a record in the kernel, for `fin_wait_2`. Those that asked again noticed first, "
        "and were served."
    )
    fins = [row for row in rows if row.asked and row.asked.receipt.get("linger") == "fin"]
    yield point(
        f"Where the response itself says `Connection: close`, {len(fins)} of {len(rows)} closed before "
        "`linger_gap` was over."
    )
    refused = [row for row in rows if REFUSAL in row.seen]
    saw = [row for row in refused if row.seen[REFUSAL].status == 413]
    yield point(
        f"{len(saw)} of the {len(refused)} that upload saw the 413 that was sent while they uploaded."
    )
    if any(row.program.name == PIPELINED for row in rows):
        yield point(
            f"{PIPELINED}: two POSTs, of 300 and 200 kB, back to back on one connection, the second with "
            "`Connection: close`; both arrive, and both responses come, whole and in order. curl took HTTP "
            "pipelining out in 7.65, so its telnet transport sends them: `curl telnet://HOST:PORT`, with the "
            "two requests as its input."
        )
    if any(row.program.name == "siege" for row in rows):
        yield point(
            "siege, told to keep connections, takes no notice of `Connection: close`: it asks again on the "
            "connection that ends and counts a failure, without the proxy as well."
        )


def _faults(rows: Iterable[Row | ServerRow]) -> Iterable[str]:
    for row in rows:
        name = row.program.name if isinstance(row, Row) else row.server.name
        for fault in row.faults:
            yield f"- {name}: `{' '.join(fault.split())[:600]}`"


def page(rows: Sequence[Row], servers: Sequence[ServerRow], missing: Sequence[str], watch: float) -> str:
    """The whole page."""
    parts = [
        TITLE,
        CLIENTS.format(watch=watch),
        heading(HEAD),
        *map(client_row, rows),
        "",
        *findings(rows),
        "",
    ]
    parts += [SERVERS.format(clients=CROWD, limit=LIMIT), heading(SERVER_HEAD), *map(server_row, servers), ""]
    if missing:
        parts += ["Not on the machine where this was made:\n", *(f"- {line}" for line in missing), ""]
    if faults := [*_faults(rows), *_faults(servers)]:
        parts += ["## Faults\n", *faults, ""]
    return "\n".join(parts)
