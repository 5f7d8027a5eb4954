"""The quiet contract: what a server sees of the worst clients through each proxy, and what good ones notice.

The server, the bestiary and the good clients are those of tests/quiet. Calm and storm follow each other on
one process. nginx stands here twice: as Debian ships it, and as one would set it to protect a server (``nginx
guard``); HAProxy with the server's places and whole requests (as far as its buffer goes).
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

from benchmarks import procfs
from benchmarks.model import Bar, Grid, Part, number
from benchmarks.peers import PEERS, Peer, Place, nginx_frame, nginx_launch
from benchmarks.product import EXPRESS, Variant
from benchmarks.rig import INSIDE, BenchError, Launch, Rig
from benchmarks.stage import Options, Proxy, Stage
from tests.quiet.beast import KINDS
from tests.quiet.play import Play, Recorder, play, recorder
from tests.quiet.seen import LATE

PLACES = 16
"""Connections that the server is to have at most."""
GOOD, EACH = 16, 4


@dataclass(frozen=True, slots=True)
class Quiet(Variant):
    """shieldproxy with the server's places."""

    aborts: bool = True

    def configuration(self, place: Place) -> str:
        """The usual configuration; its timeouts are those that it has by itself."""
        aborts = "" if self.aborts else "abort_upstream = []\n"
        text = super(Quiet, self).configuration(place)
        return text.replace(
            "max_connections = 128\n", f'max_connections = {PLACES}\nqueue_timeout = "30s"\n{aborts}'
        )


def nginx_guard(place: Place, path: str) -> Launch:
    """Nginx set to protect a server: bodies whole in both directions, no abort, no more than its places.

    It has no line: who comes when all places are taken is refused with 502.
    """
    http = f"""access_log {place.folder}/access.log combined buffer=64k flush=1s;
client_header_timeout 20s;
client_body_timeout 15s;
send_timeout 30s;
client_max_body_size 16m;
client_body_buffer_size 64k;
proxy_request_buffering on;
proxy_buffering on;
proxy_buffers 16 64k;
proxy_busy_buffers_size 128k;
proxy_buffer_size 16k;
proxy_max_temp_file_size 1024m;
proxy_ignore_client_abort on;
proxy_next_upstream off;
upstream origin {{
zone origin 64k;
server 127.0.0.1:{place.origin} max_conns={PLACES} max_fails=0;
keepalive {PLACES};
}}
server {{
listen 127.0.0.1:{place.port} backlog=4096;
location / {{
proxy_pass http://origin;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $host;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
}}
}}"""
    return nginx_launch(path, place.folder, nginx_frame(place.folder, 2 * place.capacity, http))


def haproxy_guard(place: Place, path: str) -> Launch:
    """HAProxy with a line before the server's places, and with whole requests."""
    launch = PEERS["haproxy"].launch(place)
    file = place.folder / "haproxy.cfg"
    text = file.read_text()
    text = text.replace(
        "    option httplog\n", "    option httplog\n    option http-buffer-request\n    timeout queue 30s\n"
    )
    file.write_text(text.replace("pool-max-conn 128", f"pool-max-conn {PLACES} maxconn {PLACES}"))
    return replace(launch, argv=[path, *launch.argv[1:]])


CAST: tuple[Proxy, ...] = (
    Quiet(EXPRESS),
    Quiet("shieldproxy, no aborts", aborts=False),
    PEERS["nginx"],
    Peer("nginx guard", "nginx", nginx_guard),
    Peer("haproxy guard", "haproxy", haproxy_guard),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A calm and a storm."""

    calm: Play
    storm: Play


def quiet(stage: Stage, options: Options) -> Part:
    """Each proxy through a calm and a storm; the short run leaves out the variant without aborts."""
    part = Part("quiet")
    calm, storm = (3.0, 10.0) if options.short else (20.0, 60.0)
    found: dict[str, Pair] = {}
    for proxy in CAST:
        wanted = proxy.name.partition(" ")[0].rstrip(",")
        left_out = options.short and isinstance(proxy, Quiet) and not proxy.aborts
        if left_out or not options.wanted([wanted]):
            continue
        try:
            found[proxy.name] = weather(stage, proxy, calm, storm)
        except (BenchError, OSError, RuntimeError) as error:
            part.failures.append(f"quiet, {proxy.name}: {error}")
    return conclude(part, found, storm)


def weather(stage: Stage, proxy: Proxy, calm: float, storm: float) -> Pair:
    """A calm and a storm on one process."""
    before = words(stage.rig)
    with recorder([*before, *first_of_all()]) as server:
        place = replace(stage, origin=server.port)
        with place.proxy(proxy, checked=False) as running:
            address = f"127.0.0.1:{running.port}"
            once = partial(
                run, server, address, before=before, beside=procfs.tree(running.pid), near=near(stage.rig)
            )
            return Pair(once(calm, calm=True), once(storm, calm=False))


def run(
    server: Recorder,
    address: str,
    seconds: float,
    *,
    calm: bool,
    before: list[str],
    beside: list[int],
    near: list[str],
) -> Play:
    """One of the two; those that vanish need the run's own network."""
    kinds = list(KINDS) if os.environ.get(INSIDE) else [name for name in KINDS if name != "vanish"]
    return play(
        server,
        address,
        seconds,
        good=GOOD,
        each=EACH,
        kinds=kinds,
        calm=calm,
        before=before,
        beside=beside,
        near=near,
    )


def words(rig: Rig) -> list[str]:
    """What puts a command on the load's CPUs."""
    return ["taskset", "-c", ",".join(map(str, sorted(rig.load_cpus)))]


def near(rig: Rig) -> list[str]:
    """What puts a command on the proxy's CPUs."""
    return ["taskset", "-c", ",".join(map(str, sorted(rig.proxy_cpus)))]


def first_of_all() -> list[str]:
    """What has a command run before all others of its CPU; empty where that is not allowed.

    The recorder is the clock: while it waits for a CPU behind clients, a proxy seems to keep it waiting.
    """
    command = ["chrt", "--rr", "1"]
    try:
        done = subprocess.run([*command, "true"], check=False, capture_output=True)
    except OSError:
        return []
    return [] if done.returncode else command


def conclude(part: Part, found: Mapping[str, Pair], seconds: float) -> Part:
    """Table, data and bars."""
    columns = (
        "proxy",
        "no request",
        "most",
        "resets",
        "FINs",
        "wish",
        "errors",
        "p99 calm",
        "storm",
    )
    rows = []
    for name, pair in found.items():
        storm, ends = pair.storm, pair.storm.ends
        rows.append(
            [
                name,
                number(storm.server["no_request"], 0),
                number(max(storm.server["most"], pair.calm.server["most"]), 0),
                number(sum(ends.resets.values()), 0),
                number(sum(ends.halves.values()), 0),
                number(sum(ends.wished.values()), 0),
                number(storm.good["errors"] + pair.calm.good["errors"], 0),
                number(pair.calm.good["p99"], 1),
                number(storm.good["p99"], 1),
            ]
        )
    note = (
        f"{GOOD} good clients, {EACH} of each bad kind; the server is to have {PLACES} connections; "
        "wish: ended because the client of a GET had gone; "
        "last: good clients, ms"
    )
    part.grids.append(Grid(f"What the server sees in {seconds:.0f} s of bad clients", columns, rows, note))
    part.grids.append(occupied(found, seconds))
    part.bars += bars(found.get(EXPRESS))
    part.data["runs"] = {name: asdict(pair) for name, pair in found.items()}
    return part


def occupied(found: Mapping[str, Pair], seconds: float) -> Grid:
    """How long the server's places were occupied."""
    columns = ("proxy", "p50", "p99", "worst", "> 10", "own > 10", "own worst")
    control = ("control p99", "worst", "> 10", "of", "late s")
    rows = []
    for name, pair in found.items():
        waited, direct = pair.storm.server["waited"], pair.storm.server["control"]
        rows.append(
            [
                name,
                number(waited["p50"], 2),
                number(waited["p99"], 2),
                number(waited["worst"], 1),
                number(waited["beyond"], 0),
                number(beyond(pair.storm), 0),
                number(worst(pair.storm), 1),
                number(direct["p99"], 2),
                number(direct["worst"], 1),
                number(direct["beyond"], 0),
                number(direct["count"], 0),
                number(sum(much for _, _, much in pair.storm.machine), 2),
            ]
        )
    note = (
        "ms; > 10: requests of more than 10 ms; own: when the machine's own lateness is taken off; control: "
        "the same measure without a proxy, on its CPU; late: how long others had the CPU in the proxy's turn"
    )
    title = f"How long a place was occupied beyond the server's own time, {seconds:.0f} s of bad clients"
    return Grid(title, (*columns, *control), rows, note)


def beyond(play: Play) -> int:
    """Requests that the proxy occupied a place for too long, the machine's own lateness taken off."""
    return sum(value > LATE for value, _ in play.late)


def worst(play: Play) -> float:
    """The longest, ms, the machine's own lateness taken off."""
    return max((value for value, _ in play.late), default=min(play.server["waited"]["worst"], LATE))


def bars(pair: Pair | None) -> list[Bar]:
    """The contract, for ours."""
    if pair is None:
        return [Bar("quiet: requests that were none", None, 0)]
    storm, calm = pair.storm, pair.calm
    ends, waited = storm.ends, storm.server["waited"]
    most = max(storm.server["most"], calm.server["most"])
    errors = storm.good["errors"] + calm.good["errors"]
    slower = storm.good["p99"] / calm.good["p99"] if calm.good["p99"] else None
    return [
        Bar("quiet: requests that were none", storm.server["no_request"], 0, digits=0),
        Bar("quiet: most connections at once", most, PLACES, digits=0),
        Bar("quiet: resets that were ours", sum(ends.resets.values()), 0, digits=0),
        Bar("quiet: half-closes that were ours", sum(ends.halves.values()), 0, digits=0),
        Bar("quiet: occupied beyond the server's time, p99", waited["p99"], 10, unit=" ms"),
        Bar("quiet: requests of more than 10 ms, the machine's lateness off", beyond(storm), 0, digits=0),
        Bar("quiet: the worst, the machine's lateness off", worst(storm), 10, unit=" ms", digits=1),
        Bar("quiet: good clients' errors", errors, 0, digits=0),
        Bar("quiet: good clients' p99, x calm", slower, 2.0),
    ]
