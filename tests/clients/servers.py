"""Real servers behind the proxy: what each says directly, and what a client of the proxy is told.

The two must be equal but for what belongs to the hop. Meanwhile the server never has more connections than
the configuration allows it.
"""

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from tests.clients.asking import CLIENTS, EACH, Ask, Peak, answer, brief, crowd
from tests.clients.model import Needs
from tests.clients.stage import stop
from tests.clients.tools import first_line
from tests.kit.proxy import ROOT, Proxy, free_port, settings
from tests.kit.sockets import CLOSE_WAIT, ESTABLISHED, eventually, of_port

LIMIT = 3
"""``max_connections`` of the upstream."""
ECHO = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
printf '%s %s\\n' "$REQUEST_METHOD" "$QUERY_STRING"
if [ -n "$CONTENT_LENGTH" ]; then head -c "$CONTENT_LENGTH"; elif [ "$REQUEST_METHOD" = POST ]; then cat; fi |
sha256sum
"""
SLOW = """#!/bin/sh
sleep 0.1
printf 'Content-Type: text/plain\\r\\n\\r\\nslow\\n'
"""

APACHE_MODULES = Path("/usr/lib/apache2/modules")
APACHE = """
ServerName test.example
ServerRoot {root}
PidFile {root}/pid
Listen 127.0.0.1:{port}
ErrorLog {root}/error.log
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule cgi_module {modules}/mod_cgi.so
DocumentRoot {root}/docs
ScriptAlias /cgi-bin/ {root}/docs/cgi-bin/
KeepAliveTimeout 1
StartServers 2
MinSpareServers 1
MaxSpareServers 3
MaxRequestWorkers 4
<Directory {root}/docs>
    Require all granted
</Directory>
"""
LIGHTTPD = """
server.document-root = "{root}/docs"
server.port = {port}
server.bind = "127.0.0.1"
server.errorlog = "{root}/error.log"
server.max-keep-alive-idle = 1
mimetype.assign = ( ".txt" => "text/plain", "" => "application/octet-stream" )
server.modules = ( "mod_cgi" )
$HTTP["url"] =~ "^/cgi-bin/" {{ cgi.assign = ( "" => "" ) }}
"""


FILES = (
    Ask("GET", "/small.txt"),
    Ask("GET", "/big.bin"),
    Ask("GET", "/none"),
    Ask("GET", "/small.txt", fields={"Connection": "close"}),
)
HEADS = (Ask("HEAD", "/small.txt"), Ask("HEAD", "/none"))
RANGE = (Ask("GET", "/big.bin", fields={"Range": "bytes=1000-1999"}),)
AGAIN = (Ask("GET", "/small.txt", again=True),)
SCRIPT = (
    Ask("GET", "/cgi-bin/echo?a=1"),
    Ask("GET", "/cgi-bin/slow"),
    Ask("POST", "/cgi-bin/echo", b"small"),
    Ask("POST", "/cgi-bin/echo?b=2", b"b" * 300_000),
)
CHUNKED = (Ask("POST", "/cgi-bin/echo", b"c" * 100_000, chunked=True),)


@dataclass(frozen=True, slots=True)
class Server:
    """One server: what it needs, how it is started, and what it can be asked."""

    name: str
    needs: Needs
    version: Callable[[], str]
    words: Callable[[Path, int], Sequence[str]]
    asks: Sequence[Ask]


@dataclass(slots=True)
class ServerRow:
    """All that was seen of one server."""

    server: Server
    version: str = ""
    protocol: str = ""
    framings: list[str] = field(default_factory=list)
    equal: int = 0
    connections: int = 0
    requests: int = 0
    peak: int = 0
    faults: list[str] = field(default_factory=list)


def _apache(root: Path, port: int) -> list[str]:
    file = root / "apache.conf"
    file.write_text(APACHE.format(root=root, port=port, modules=APACHE_MODULES))
    return ["apache2", "-f", str(file), "-D", "FOREGROUND"]


def _lighttpd(root: Path, port: int) -> list[str]:
    file = root / "lighttpd.conf"
    file.write_text(LIGHTTPD.format(root=root, port=port))
    return ["lighttpd", "-D", "-f", str(file)]


def _http_server(*options: str) -> Callable[[Path, int], Sequence[str]]:
    def words(root: Path, port: int) -> list[str]:
        where = ["--bind", "127.0.0.1", "--directory", str(root / "docs")]
        return [sys.executable, "-m", "http.server", str(port), *where, *options]

    return words


def _gunicorn(root: Path, port: int) -> list[str]:
    options = ["--worker-class", "sync", "--workers", "2", "--bind", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", "gunicorn", *options, "--pythonpath", str(ROOT), "tests.clients.wsgi"]


def _micro(root: Path, port: int) -> list[str]:
    inetd = str(ROOT / "tests" / "clients" / "inetd.py")
    slowly = f"sleep 0.05; exec micro-httpd {root / 'docs'}"
    return [sys.executable, inetd, str(port), "sh", "-c", slowly]


def _python() -> str:
    return sys.version.split()[0]


SERVERS = (
    Server(
        "Apache httpd, prefork, CGI",
        Needs(["apache2"], source="apt install apache2"),
        first_line("apache2", "-v"),
        _apache,
        (*FILES, *HEADS, *RANGE, *AGAIN, *SCRIPT, *CHUNKED),
    ),
    Server(
        "lighttpd, CGI",
        Needs(["lighttpd"], source="apt install lighttpd"),
        first_line("lighttpd", "-v"),
        _lighttpd,
        (*FILES, *HEADS, *RANGE, *AGAIN, *SCRIPT, *CHUNKED),
    ),
    Server(
        "python http.server, CGI", Needs(), _python, _http_server("--cgi"), (*FILES, *HEADS, *AGAIN, *SCRIPT)
    ),
    Server(
        "python http.server, HTTP/1.1",
        Needs(),
        _python,
        _http_server("--protocol", "HTTP/1.1"),
        (*FILES, *HEADS, *AGAIN),
    ),
    Server(
        "micro-httpd by inetd",
        Needs(["micro-httpd"], source="apt install micro-httpd"),
        first_line("dpkg-query", "-W", "micro-httpd", pattern=r"20\d{6}"),
        _micro,
        (*FILES[:3], *HEADS[:1]),
    ),
    Server(
        "gunicorn, sync",
        Needs(modules=["gunicorn"], source="pip install gunicorn"),
        lambda: version("gunicorn"),
        _gunicorn,
        (*FILES, *HEADS, *AGAIN, *SCRIPT, *CHUNKED),
    ),
)


def documents(root: Path) -> None:
    """Write what is served: readable for whoever the server becomes."""
    docs = root / "docs"
    (docs / "cgi-bin").mkdir(parents=True)
    (docs / "small.txt").write_text("small\n" * 100)
    (docs / "big.bin").write_bytes(random.Random(5).randbytes(500_000))
    for name, script in (("echo", ECHO), ("slow", SLOW)):
        (docs / "cgi-bin" / name).write_text(script)
        (docs / "cgi-bin" / name).chmod(0o755)
    for file in (docs / "small.txt", docs / "big.bin"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    for folder in (root, docs, docs / "cgi-bin"):
        folder.chmod(0o755)


@contextlib.contextmanager
def running(server: Server, root: Path) -> Iterator[int]:
    """The server at a port of its own, ended with all its children."""
    port = free_port()
    with (root / "server.log").open("wb") as log:
        process = subprocess.Popen(
            list(server.words(root, port)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            cwd=root,
            env={**os.environ, "DOCUMENTS": str(root / "docs"), "HOME": str(root)},
        )
    try:
        limit = time.monotonic() + 20
        while time.monotonic() < limit and process.poll() is None:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.connect(("127.0.0.1", port))
                break
            time.sleep(0.05)
        else:
            raise AssertionError(f"{server.name} does not listen: {(root / 'server.log').read_text()[-500:]}")
        yield port
    finally:
        stop(process)


def examine(server: Server, root: Path) -> ServerRow:
    """Ask the server, then the proxy; then a crowd; then again when its idle connections have ended."""
    row = ServerRow(server, server.version())
    documents(root)
    with running(server, root) as port:
        direct = [answer(f"127.0.0.1:{port}", ask) for ask in server.asks]
        row.protocol = f"HTTP/1.{direct[0].version % 10}"
        row.framings = sorted({got.framing for got in direct if got.framing})
        eventually(lambda: not of_port(port, ESTABLISHED, CLOSE_WAIT), 5.0)
        upstreams = {"legacy": {"servers": [f"127.0.0.1:{port}"], "max_connections": LIMIT}}
        proxy = Proxy(settings(root, upstreams, express=True), root)
        try:
            with Peak(port) as peak:
                for ask, want in zip(server.asks, direct, strict=True):
                    got = answer(proxy.address, ask)
                    row.equal += got == want
                    if got != want:
                        row.faults.append(f"{ask}: {brief(got)}\n  directly: {brief(want)}")
                several = [
                    number
                    for number, ask in enumerate(server.asks)
                    if not (ask.again or ask.closes or ask.method == "HEAD")
                ]
                row.faults += crowd(
                    proxy.address, [server.asks[n] for n in several], [direct[n] for n in several]
                )
                time.sleep(1.5)  # Apache and lighttpd end idle connections after a second here
                if answer(proxy.address, server.asks[0]) != direct[0]:
                    row.faults.append("after its idle connections had ended: another answer")
            row.peak = peak.most
            if row.peak > LIMIT:
                row.faults.append(f"{row.peak} connections at a time, {LIMIT} allowed")
            row.requests = len(server.asks) + sum(ask.again for ask in server.asks) + CLIENTS * EACH + 1
            lines = proxy.log_lines(row.requests)
            row.faults += [f"the log: {line}" for line in lines if line["outcome"] != "served"]
        finally:
            proxy.finish()
    return row
