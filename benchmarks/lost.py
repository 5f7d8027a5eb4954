"""The lost response as a table: ``python -m benchmarks.lost`` (root; `make lost`).

Each cell of `tests.kit.lost` is tried a hundred times over a wire of 100 ms and 1 % loss, once for each way
that shieldproxy can close, and through nginx and HAProxy where they are installed. It prints how many of a
hundred responses did not reach their client. The exit status is 1 if shieldproxy's own way lost one.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import click
from rich.console import Console

from benchmarks.model import Grid
from benchmarks.peers import find, nginx_frame, nginx_launch
from benchmarks.report import table_of
from benchmarks.rig import BenchError, Launch, end
from tests.kit import lost
from tests.kit.client import Client
from tests.kit.lost import AT_ONCE, MODES, TRIES, Cell, Count, Hasty
from tests.kit.netns import SERVER, Wire, missing
from tests.kit.proxy import Proxy, free_address, free_port, settings

CELLS = {
    "refusals of the proxy's own": lost.REFUSALS,
    "early answers of the server, which then closes": lost.EARLY,
    "`Connection: close`, and requests pipelined behind it": lost.PIPELINED,
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a peer is to run: its folder, its port at SERVER, the origin's address."""

    folder: Path
    port: int
    origin: str


def nginx(site: Site, path: str) -> Launch:
    """Nginx as shipped, but that it passes uploads on as they come: else no server could answer early."""
    http = f"""access_log off;
server {{
listen {SERVER}:{site.port};
client_max_body_size 64m;
proxy_request_buffering off;
proxy_http_version 1.1;
location / {{ proxy_pass http://{site.origin}; }}
location /peer/small {{ client_max_body_size {lost.LIMIT}; proxy_pass http://{site.origin}; }}
location /peer/denied {{ return 403; }}
location /peer/nowhere {{ return 404; }}
}}"""
    return nginx_launch(path, site.folder, nginx_frame(site.folder, 4096, http))


def haproxy(site: Site, path: str) -> Launch:
    """HAProxy with one thread."""
    file = site.folder / "haproxy.cfg"
    file.write_text(f"""global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend edge
    bind {SERVER}:{site.port}
    http-request deny deny_status 413 if {{ path /peer/small }} {{ req.body_size gt {lost.LIMIT} }}
    http-request deny deny_status 403 if {{ path /peer/denied }}
    http-request deny deny_status 404 if {{ path /peer/nowhere }}
    default_backend origin
backend origin
    server origin {site.origin}
""")
    return Launch([path, "-db", "-f", str(file)])


PEERS: dict[str, Callable[[Site, str], Launch]] = {"nginx": nginx, "haproxy": haproxy}


class Table:
    """The wire, the server behind, and the columns measured so far."""

    def __init__(self, line: Wire, folder: Path, clients: Executor, tries: int) -> None:
        self._line = line
        self._folder = folder
        self._clients = clients
        self._tries = tries
        self._server = line.server.run(Hasty)
        self.columns: dict[str, list[Count]] = {}

    def close(self) -> None:
        """End the server."""
        self._server.close()

    def measure(self, name: str, address: str, way: str, console: Console) -> None:
        """Fill one column."""
        connect = partial(Client, address, timeout=20)
        began = monotonic()
        counts = [
            lost.run(self._clients, connect, cell, way, self._tries)
            for cells in CELLS.values()
            for cell in cells
        ]
        self.columns[name] = counts
        sums = f"{sum(count.lost for count in counts)} of {self._tries * len(counts)} lost"
        console.print(f"{name}: {sums}, {monotonic() - began:.0f} s", highlight=False)

    def shieldproxy(self, console: Console) -> None:
        """A column for each way of closing."""
        upstream = {"legacy": {"servers": [self._server.address], "max_connections": 2 * AT_ONCE}}
        proxy = self._line.server.run(
            lambda: Proxy(
                settings(
                    self._folder,
                    upstream,
                    True,
                    **lost.tables(),
                    server={"listen": [free_address(SERVER)], "drain_timeout": "1s"},
                ),
                self._folder,
            )
        )
        try:
            for mode in MODES:
                self.measure(mode, proxy.address, mode, console)
        finally:
            proxy.terminate()

    def peer(self, name: str, console: Console) -> None:
        """A column for another proxy, if it is installed."""
        path = find(name)
        if path is None:
            console.print(f"missing: {name} (apt-get install {name})", style="yellow")
            return
        folder = self._folder / name
        folder.mkdir()
        site = Site(folder, self._line.server.run(partial(free_port, SERVER)), self._server.address)
        launch = PEERS[name](site, path)
        with (folder / "output").open("wb") as output:
            child = self._line.server.run(
                lambda: subprocess.Popen(launch.argv, cwd=folder, stdout=output, stderr=output)
            )
        try:
            self._await(site.port)
            self.measure(name, f"{SERVER}:{site.port}", "peer", console)
        finally:
            end(child)

    def _await(self, port: int, limit: float = 10.0) -> None:
        until = monotonic() + limit
        while monotonic() < until:
            with suppress(OSError), self._line.client.run(partial(Client, f"{SERVER}:{port}")):
                return
            sleep(0.1)
        raise BenchError(f"nobody listens on port {port} after {limit:.0f} s")


def rows(columns: Mapping[str, Sequence[Count]]) -> Iterator[tuple[str, Cell | None, list[str]]]:
    """A heading or a cell, and its figures, column by column; a star: other answers are among them."""
    at = 0
    for heading, cells in CELLS.items():
        yield heading, None, []
        for cell in cells:
            counts = [column[at] for column in columns.values()]
            yield cell.name, cell, [f"{count.lost}{'*' if count.others else ''}" for count in counts]
            at += 1


def markdown(columns: Mapping[str, Sequence[Count]]) -> str:
    """The table for docs/lost-response.md."""
    lines = [f"| answer | response / request | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for name, cell, figures in rows(columns):
        if cell is None:
            lines.append(f"| *{name}* | |" + " |" * len(columns))
        else:
            shown = [f"**{figure}**" if figure == "0" else figure for figure in figures]
            lines.append(f"| {name} | {cell.sizes} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def grid(columns: Mapping[str, Sequence[Count]], tries: int) -> Grid:
    """The table for a terminal."""
    return Grid(
        f"Responses lost of {tries}: 100 ms, 1 % loss",
        ("answer", "response / request", *columns),
        [
            (name, cell.sizes, *figures) if cell else (name.replace("`", ""), "", *("" for _ in columns))
            for name, cell, figures in rows(columns)
        ],
        "ack (the default), timed, kernel, off: shieldproxy. *: some got another whole answer, as a 502",
    )


@contextmanager
def new_table(tries: int) -> Iterator[Table]:
    """A wire, its clients, a folder that all may enter, a table to fill."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shieldproxy-lost-")))
        folder.chmod(0o755)
        line = stack.enter_context(lost.place())
        table = Table(line, folder, stack.enter_context(line.client.pool(AT_ONCE)), tries)
        stack.callback(table.close)
        yield table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--tries", type=click.IntRange(2, 10000), default=TRIES, help="Clients for each cell.")
@click.option("--markdown", "file", type=click.Path(path_type=Path), help="Where to write it as Markdown.")
def main(tries: int, file: Path | None) -> None:
    """Count the responses that a close loses, by way of closing and beside nginx and HAProxy."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    lack = missing()
    if lack:
        console.print(f"missing: {lack}", style="yellow")
        sys.exit(3)
    with new_table(tries) as table:
        table.shieldproxy(console)
        for name in PEERS:
            table.peer(name, console)
        console.print(table_of(grid(table.columns, tries)))
        if file:
            file.write_text(markdown(table.columns))
        sys.exit(any(count.lost for count in table.columns["ack"]))


if __name__ == "__main__":
    main()
