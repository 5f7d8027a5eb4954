"""``shieldproxy run``: starting, failing to start with one clear line, log reopening, signals, no file."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import last
from tests.kit.client import open_socket, request
from tests.kit.proxy import ROOT, free_address, free_port, settings, toml
from tests.kit.sockets import eventually

SHIELDPROXY = [sys.executable, "-m", "shieldproxy"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run() -> Run:
    """The command line, to its end."""

    def runner(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SHIELDPROXY, *words], capture_output=True, text=True, check=False, timeout=20, cwd=ROOT
        )

    return runner


def one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> str:
    """It ended with this status and said why in one line, without a traceback."""
    said = done.stderr.strip()
    assert done.returncode == status, done
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if " warning " not in f" {line}"]
    assert len(lines) == 1, said
    for word in words:
        assert word in lines[0], f"no {word!r} in {lines[0]!r}"
    return lines[0]


def written(directory: Path, lane: str, **tables: object) -> Path:
    """A configuration file."""
    path = directory / "proxy.toml"
    path.write_text(toml(settings(directory, "127.0.0.1:9", lane == "express", **tables)))
    return path


def test_an_address_in_use(run: Run, tmp_path: Path, lane: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("run", str(written(tmp_path, lane, server={"listen": [address]})))
    one_line(done, 1, address)


def test_two_proxies_at_one_address(
    bench: Bench, run: Run, tmp_path: Path, lane: str, connect: Connect
) -> None:
    """No silent sharing of a port: the second says so, and the first goes on."""
    server = bench.upstream()
    proxy = bench.proxy(server)
    done = run("run", str(written(tmp_path, lane, server={"listen": [proxy.address]})))
    one_line(done, 1, proxy.address)
    assert connect(proxy).ask(request()).status == 200


def test_a_unix_socket_in_use(bench: Bench, run: Run, tmp_path: Path, lane: str, connect: Connect) -> None:
    server = bench.upstream()
    address = f"unix:{tmp_path}/in-use.sock"
    proxy = bench.proxy(server, server={"listen": [address]})
    done = run("run", str(written(tmp_path, lane, server={"listen": [address]})))
    one_line(done, 1, "in-use.sock")
    assert connect(proxy).ask(request()).status == 200


def test_an_address_of_another_machine(run: Run, tmp_path: Path, lane: str) -> None:
    done = run("run", str(written(tmp_path, lane, server={"listen": ["192.0.2.1:8080"]})))
    one_line(done, 1, "192.0.2.1:8080")


def test_a_missing_file(run: Run, tmp_path: Path) -> None:
    one_line(run("run", str(tmp_path / "none.toml")), 2, "none.toml")


def test_a_directory_for_a_file(run: Run, tmp_path: Path) -> None:
    one_line(run("run", str(tmp_path)), 2, str(tmp_path))


def test_a_faulty_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "faulty.toml"
    path.write_text(
        '[server]\nlisten = ["127.0.0.1:1"]\nlissten = 3\n'
        '[upstream.a]\nservers = ["127.0.0.1:9"]\n[[route]]\nupstream = "a"\n'
    )
    one_line(run("run", str(path)), 2, "faulty.toml", "lissten")


def test_a_file_that_is_no_toml(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[server\n")
    one_line(run("run", str(path)), 2, "broken.toml")


def test_a_log_that_cannot_be_written(run: Run, tmp_path: Path, lane: str) -> None:
    done = run("run", str(written(tmp_path, lane, log={"access": str(tmp_path / "none" / "access.log")})))
    assert done.returncode in (1, 2)
    one_line(done, done.returncode, "access.log")


def without_low_ports() -> None:
    """In a child of root: give up CAP_NET_BIND_SERVICE for what is executed next."""
    drop, net_bind_service = 24, 10
    if ctypes.CDLL(None, use_errno=True).prctl(drop, net_bind_service, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def test_no_right_to_bind(tmp_path: Path, lane: str) -> None:
    """Below port 1024 without the capability for it."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 81:
        pytest.skip("this kernel lets everybody bind to low ports")
    done = subprocess.run(
        [*SHIELDPROXY, "run", str(written(tmp_path, lane, server={"listen": ["127.0.0.1:81"]}))],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        cwd=ROOT,
        preexec_fn=without_low_ports if os.getuid() == 0 else None,
    )
    one_line(done, 1, "127.0.0.1:81")


def test_no_words_is_usage(run: Run) -> None:
    done = run("run")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_listen_without_to_is_usage(run: Run) -> None:
    done = run("run", "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@contextlib.contextmanager
def started(words: list[str], address: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """The command line, serving at an address."""
    with (directory / "out").open("w") as out, (directory / "err").open("w") as err:
        process = subprocess.Popen([*SHIELDPROXY, *words], stdout=out, stderr=err, text=True, cwd=directory)
    try:
        limit = time.monotonic() + 15
        while process.poll() is None and time.monotonic() < limit:
            probe, where = open_socket(address)
            with probe, contextlib.suppress(OSError):
                probe.connect(where)
                break
            time.sleep(0.02)
        assert process.poll() is None, (directory / "err").read_text()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            status = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    said = (directory / "err").read_text()
    assert status == 0, said
    assert "Traceback" not in said


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_without_a_file(bench: Bench, connect: Connect, tmp_path: Path, stop: signal.Signals) -> None:
    """``run --listen ADDR --to ADDR``, the log on stdout; both signals end it with status 0."""
    server = bench.upstream()
    address = free_address()
    with started(["run", "--listen", address, "--to", server.address], address, tmp_path) as process:
        client = connect(address)
        assert client.ask(request("/without-a-file", fields=["Connection: close"])).body == b"hello"
        client.close()
        process.send_signal(stop)
        process.wait(20)
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines() if line.startswith("{")]
    assert [line["target"] for line in lines if line.get("kind") == "exchange"] == ["/without-a-file"]


def targets(log: Path) -> list[str]:
    """The targets of the exchanges in a log file, as far as its lines are whole."""
    data = log.read_bytes()
    lines = map(json.loads, data[: data.rfind(b"\n") + 1].splitlines())
    return [line["target"] for line in lines if line["kind"] == "exchange"]


def test_hup_cuts_nobody_off(bench: Bench, connect: Connect) -> None:
    """It is told that it does nothing."""
    proxy = bench.proxy(bench.upstream())
    client = connect(proxy)
    assert client.ask(request()).status == 200
    proxy.signal(signal.SIGHUP)
    assert eventually(lambda: "HUP changes nothing" in proxy.stderr())
    assert client.ask(request()).status == 200
    assert proxy.process.poll() is None


def test_log_reopening(bench: Bench, connect: Connect) -> None:
    """USR1, as logrotate does it: old lines in the old file, new ones in a new file, none lost."""
    server = bench.upstream()
    proxy = bench.proxy(server)
    client = connect(proxy)
    for number in range(3):
        client.ask(request(f"/before/{number}"))
    proxy.log_lines(3)
    old = proxy.access.with_suffix(".1")
    proxy.access.rename(old)
    client.ask(request("/between"))
    proxy.signal(signal.SIGUSR1)
    limit = time.monotonic() + 5
    while not proxy.access.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    assert proxy.access.exists(), proxy.stderr()
    for number in range(3):
        client.ask(request(f"/after/{number}"))
    wanted = [*(f"/before/{n}" for n in range(3)), "/between", *(f"/after/{n}" for n in range(3))]
    while (seen := targets(old) + targets(proxy.access)) != wanted and time.monotonic() < limit:
        time.sleep(0.01)
    assert seen == wanted
    assert targets(old)[:3] == wanted[:3]
    assert targets(proxy.access)[-3:] == wanted[-3:]


def test_the_combined_format(bench: Bench, connect: Connect) -> None:
    server = bench.upstream()
    proxy = bench.proxy(server, log={"format": "combined"})
    fields = ['User-Agent: odd "agent" \\ \x01'.replace("\x01", "\x7e"), "Referer: http://a/"]
    connect(proxy).ask(request("/combined?a=b", fields=fields))
    limit = time.monotonic() + 5
    while not (proxy.access.exists() and b"\n" in proxy.access.read_bytes()) and time.monotonic() < limit:
        time.sleep(0.01)
    line = proxy.access.read_text()
    assert line.startswith("127.0.0.1 - - [")
    assert '"GET /combined?a=b HTTP/1.1" 200 5 "http://a/" "odd ' in line


def test_why_a_kept_connection_was_refused_shows_beside_the_combined_format(
    bench: Bench, connect: Connect
) -> None:
    server = bench.upstream()
    proxy = bench.proxy(server, log={"format": "combined"})
    client = connect(proxy)
    assert client.ask(b"TRACE /t HTTP/1.1\r\nHost: a.example\r\n\r\n", "GET").status == 405
    assert connect(proxy).ask(request("/fine")).status == 200
    assert eventually(lambda: '"reason":"method"' in proxy.stderr())
    told = [json.loads(line) for line in proxy.stderr().splitlines() if '"kind":"exchange"' in line]
    assert [(line["outcome"], line["status"]) for line in told] == [("refused", 405)]


def test_no_access_log(bench: Bench, connect: Connect) -> None:
    server = bench.upstream()
    proxy = bench.proxy(server, log={"access": "none"})
    assert connect(proxy).ask(request()).status == 200
    assert "GET" not in proxy.stdout() + proxy.stderr()


def test_every_exchange_has_one_line(bench: Bench, connect: Connect) -> None:
    """Whatever its end: the fields that tests and operators rely on."""
    server = bench.upstream()
    proxy = bench.proxy(server)
    client = connect(proxy)
    client.ask(request("/a?b", host="shop.example", fields=["User-Agent: me/1.0"]))
    line = proxy.log_lines(1)[0]
    wanted = {
        "kind": "exchange",
        "client": "127.0.0.1",
        "port": client.port,
        "listen": proxy.address,
        "method": "GET",
        "target": "/a?b",
        "host": "shop.example",
        "version": "1.1",
        "user_agent": "me/1.0",
        "status": 200,
        "outcome": "served",
        "upstream": "legacy",
        "server": server.address,
    }
    assert {key: line.get(key) for key in wanted} == wanted
    assert line["in"] > 0
    assert line["out"] > 0
    assert 0 <= line["seconds"] < 5
    assert line["time"][:4].isdigit()


def test_the_lane_is_the_one_asked_for(bench: Bench, connect: Connect, lane: str) -> None:
    """A plain exchange with an idle connection to the upstream is served by the lane of this run."""
    server = bench.upstream()
    proxy = bench.proxy(server)
    client = connect(proxy)
    for _ in range(5):
        client.ask(request())
    assert [line["lane"] for line in proxy.log_lines(5)][1:] == [lane] * 4


def test_hostile_bytes_in_the_log(bench: Bench, connect: Connect) -> None:
    """A log line is one line of valid JSON, whatever the client sent."""
    server = bench.upstream()
    proxy = bench.proxy(server)
    connect(proxy).ask(request('/a"b\\c', fields=['User-Agent: \xff\xfe\x80 "x" \\n \u00e9']))
    connect(proxy).send(b'GET /\x1b[31m\x00"\n\nx HTTP/1.1\r\n\r\n').drain()
    assert len(proxy.log_lines(2)) == 2


def test_a_closing_server_is_no_crash(bench: Bench, connect: Connect) -> None:
    """Nothing but the log is written while things go wrong on the wire."""
    server = bench.upstream()
    proxy = bench.proxy(server)
    server.default = last(b"garbage")
    for _ in range(5):
        assert connect(proxy).ask(request()).status == 502
    assert "Traceback" not in proxy.stderr()
    assert free_port()
