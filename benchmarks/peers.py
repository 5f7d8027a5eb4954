"""The servers to compare with, each with one worker, and the origin behind all of them.

Every proxy keeps its upstream connections open, writes an access log to a file from its own process, and
listens on loopback. ``nginx`` stands as Debian ships it (an unbuffered log line for each request, responses
spooled to disk), ``nginx tuned`` with memory buffers for bodies both ways and a buffered log.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig import Launch

SMALL = 1024
LARGE = 1024 * 1024
PATIENCE = 120
"""Seconds of every timeout in a place where connections are held."""
DEBIAN_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy is to run: its folder, its port, the origin's port."""

    folder: Path
    port: int
    origin: int
    patient: bool = False
    """Connections are to be held in every state: timeouts of PATIENCE seconds."""
    capacity: int = 4096
    """Connections it must be able to hold."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy to compare with: the name in the tables, its program, and who writes its configuration."""

    name: str
    program: str
    write: Callable[[Place, str], Launch]

    @property
    def path(self) -> str | None:
        """The program's file, None when it is not installed."""
        return find(self.program)

    def launch(self, place: Place) -> Launch:
        """Write the configuration and say how to start; the program must be installed."""
        path = self.path
        if path is None:
            raise FileNotFoundError(self.program)
        return self.write(place, path)


def find(program: str) -> str | None:
    """A program's file, also in the folders that only root has in its PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{DEBIAN_PATH}")


def nginx_frame(folder: Path, connections: int, http: str) -> str:
    """A whole nginx.conf: Debian's settings around ``http``, every path in ``folder``."""
    user = "user root;" if os.geteuid() == 0 else ""
    temps = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{user}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections {connections}; }}
http {{
sendfile on;
tcp_nopush on;
types_hash_max_size 2048;
default_type application/octet-stream;
gzip on;
{temps}{http}
}}
"""


def nginx_launch(path: str, folder: Path, text: str) -> Launch:
    """Write nginx.conf; the master stays in the foreground."""
    file = folder / "nginx.conf"
    file.write_text(text)
    return Launch([path, "-p", str(folder), "-c", str(file), "-g", "daemon off;"])


def nginx(place: Place, path: str, *, log: str = "", extra: str = "") -> Launch:
    """Nginx as shipped, with connections to the origin kept."""
    if place.patient:
        extra += f"""keepalive_timeout {PATIENCE}s;
client_header_timeout {PATIENCE}s;
lingering_close always;
lingering_timeout {PATIENCE}s;
lingering_time {PATIENCE}s;
"""
    http = f"""access_log {place.folder}/access.log{log};
{extra}
upstream origin {{ server 127.0.0.1:{place.origin}; keepalive 128; }}
server {{
listen 127.0.0.1:{place.port};
location / {{
proxy_pass http://origin;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $host;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
}}
}}"""
    return nginx_launch(path, place.folder, nginx_frame(place.folder, 2 * place.capacity, http))


def nginx_tuned(place: Place, path: str) -> Launch:
    """Nginx with memory buffers for whole bodies, no temporary files, and its log written in blocks."""
    extra = """proxy_max_temp_file_size 0;
proxy_buffers 32 64k;
proxy_busy_buffers_size 128k;
proxy_buffer_size 16k;
client_body_buffer_size 2m;
"""
    return nginx(place, path, log=" combined buffer=64k flush=1s", extra=extra)


def haproxy(place: Place, path: str) -> Launch:
    """HAProxy with one thread; standard output is its log file, written by its own process."""
    wait = f"{PATIENCE}s" if place.patient else "15s"
    file = place.folder / "haproxy.cfg"
    file.write_text(f"""global
    nbthread 1
    maxconn {place.capacity}
    no strict-limits
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    option forwardfor
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client {wait}
    timeout server 60s
    timeout http-request {wait}
    timeout http-keep-alive {wait}
frontend edge
    bind 127.0.0.1:{place.port}
    maxconn {place.capacity}
    default_backend origin
backend origin
    server origin 127.0.0.1:{place.origin} pool-max-conn 128
""")
    return Launch([path, "-db", "-f", str(file)], stdout=place.folder / "access.log")


def caddy(place: Place, path: str) -> Launch:
    """Caddy on one processor, its JSON access log in a file."""
    file = place.folder / "Caddyfile"
    file.write_text(f"""{{
    admin off
    auto_https off
}}
http://:{place.port} {{
    bind 127.0.0.1
    log {{
        output file {place.folder}/access.log {{
            roll_disabled
        }}
    }}
    reverse_proxy 127.0.0.1:{place.origin} {{
        transport http {{
            keepalive_idle_conns 1024
            keepalive_idle_conns_per_host 128
        }}
    }}
}}
""")
    home = str(place.folder)
    env = {"GOMAXPROCS": "1", "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
    return Launch([path, "run", "--config", str(file), "--adapter", "caddyfile"], env=env)


def apache(place: Place, path: str) -> Launch:
    """Apache with one event process of 128 threads."""
    modules = Path("/usr/lib/apache2/modules")
    loads = "\n".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so"
        for name in ("mpm_event", "authz_core", "proxy", "proxy_http")
    )
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    file = place.folder / "apache2.conf"
    file.write_text(f"""ServerRoot {place.folder}
ServerName localhost
DefaultRuntimeDir {place.folder}
PidFile {place.folder}/apache2.pid
Listen 127.0.0.1:{place.port}
{loads}
{user}
ServerLimit 1
StartServers 1
ThreadLimit 128
ThreadsPerChild 128
MinSpareThreads 1
MaxSpareThreads 128
MaxRequestWorkers 128
KeepAlive On
MaxKeepAliveRequests 0
ErrorLog {place.folder}/error.log
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
CustomLog {place.folder}/access.log combined
ProxyRequests Off
ProxyPass / http://127.0.0.1:{place.origin}/ enablereuse=on
""")
    return Launch([path, "-D", "FOREGROUND", "-f", str(file)])


def origin(place: Place, path: str) -> Launch:
    """The origin of every proxy: an nginx that answers 1 KiB, 1 MiB (/large), and reads bodies (/upload).

    A body is read whole before its answer, which ``return`` alone would not do: it asks a second server of
    the same nginx, without the body.
    """
    (place.folder / "large.bin").write_bytes(os.urandom(LARGE))
    body = "x" * SMALL
    http = f"""access_log off;
keepalive_requests 1000000000;
keepalive_timeout 600s;
client_max_body_size 64m;
client_body_buffer_size 2m;
open_file_cache max=16;
upstream inner {{ server unix:{place.folder}/inner.sock; keepalive 128; }}
server {{
listen 127.0.0.1:{place.port} backlog=4096;
location / {{ return 200 "{body}"; }}
location = /large {{ alias {place.folder}/large.bin; }}
location = /upload {{
proxy_pass http://inner;
proxy_http_version 1.1;
proxy_method GET;
proxy_pass_request_body off;
proxy_set_header Connection "";
proxy_set_header Content-Length "";
}}
}}
server {{
listen unix:{place.folder}/inner.sock backlog=4096;
keepalive_requests 1000000000;
location / {{ return 200 "{body}"; }}
}}"""
    return nginx_launch(path, place.folder, nginx_frame(place.folder, 16384, http))


PEERS = {
    peer.name: peer
    for peer in (
        Peer("nginx", "nginx", nginx),
        Peer("nginx tuned", "nginx", nginx_tuned),
        Peer("haproxy", "haproxy", haproxy),
        Peer("caddy", "caddy", caddy),
        Peer("apache event", "apache2", apache),
    )
}
PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "caddy": "caddy", "apache2": "apache2", "wrk": "wrk"}
"""Each program that is used, and the Debian package that brings it."""


def missing() -> list[str]:
    """What is not installed, as ``program (apt-get install package)``."""
    return [f"{name} (apt-get install {package})" for name, package in PACKAGES.items() if find(name) is None]
