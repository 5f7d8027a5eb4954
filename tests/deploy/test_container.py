"""The image, built from the Dockerfile and run as a careful operator runs it.

A legacy server and the proxy in two containers of the same image, on the host's network and on free ports of
127.0.0.1, read-only, without capabilities, never root. TERM is what `docker stop` sends.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.docker import Container, build, docker, inspect, no_engine, start
from tests.kit.client import Client, request
from tests.kit.proxy import free_address

REASON = no_engine()
if REASON:
    pytest.skip(f"the container is not run: {REASON}", allow_module_level=True)

DRAIN = 3.0
"""Seconds of drain_timeout."""
MIB = 1024 * 1024
LARGEST = 200 * MIB
"""Debian's slim image with its Python is 110 of them."""


@pytest.fixture(scope="module")
def image() -> int:
    """The image; its size in bytes."""
    return build()


SPOOLS = {
    "nowhere": (),
    "volume": ("--volume", "/var/spool/shieldproxy"),
    "tmpfs": ("--tmpfs", "/var/spool/shieldproxy"),
}
"""Options of docker run for a place of files."""
MEMORY_ONLY = "no file can be made"
Started = Callable[..., Container]


@pytest.fixture
def started(image: int) -> Iterator[Started]:
    """Start containers that are gone after the test."""
    containers: list[Container] = []

    def start_one(*options: str, command: tuple[str, ...] = ()) -> Container:
        name = f"shieldproxy-test-{os.getpid()}-{time.monotonic_ns()}"
        containers.append(Container(name))
        return start(name, options, command)

    yield start_one
    for container in containers:
        docker("rm", "--force", container.name, ok=False)


@pytest.fixture
def spool() -> str:
    """Where the proxy may make files."""
    return "nowhere"


@pytest.fixture
def proxy(started: Started, tmp_path: Path, spool: str) -> tuple[Container, str]:
    """The proxy before the legacy server, with a configuration of ours; where it listens."""
    behind, address = free_address(), free_address()
    command = ("python3", "-m", "shieldproxy.run.legacy", "--listen", behind)
    started("--network", "host", command=command)
    file = tmp_path / "proxy.toml"
    file.write_text(
        f'[server]\nlisten = ["{address}"]\ndrain_timeout = "{DRAIN:g}s"\n'
        f'[log]\naccess = "stdout"\n'
        f'[upstream.legacy]\nservers = ["{behind}"]\n[[route]]\nupstream = "legacy"\n'
    )
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    made = started(
        *("--network", "host", "--volume", f"{file}:/etc/shieldproxy/mine.toml:ro"),
        *SPOOLS[spool],
        command=("shieldproxy", "run", "mine.toml"),
    )
    made.until_says("serving on")
    _listens(behind)
    return made, address


def _listens(address: str, seconds: float = 15.0) -> None:
    host, _, port = address.rpartition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listens at {address}"
            time.sleep(0.1)
        else:
            return


def test_the_image_is_small_and_not_roots(image: int, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nthe image has {image / MIB:.0f} MiB")
    assert image < LARGEST
    config = inspect("shieldproxy:test", "Config")
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"


def test_a_request_goes_through_and_is_logged_on_stdout(proxy: tuple[Container, str]) -> None:
    container, address = proxy
    with Client(address) as client:
        answer = client.ask(request("/echo", method="POST", body=b"hello"))
    assert (answer.status, answer.body) == (200, b"hello")
    assert b"shieldproxy" in (answer.get("via") or b"")
    log = container.until_says('"kind":"exchange"')
    line = json.loads(next(line for line in log.splitlines() if '"kind":"exchange"' in line))
    assert (line["status"], line["method"]) == (200, "POST")


@pytest.mark.parametrize("spool", ["nowhere", "volume", "tmpfs"])
def test_a_long_upload_wants_a_place_for_its_file(proxy: tuple[Container, str], spool: str) -> None:
    container, address = proxy
    body = b"x" * MIB
    with Client(address, timeout=20) as client:
        client.send(request("/echo", method="POST", body=body))
        answer = client.response()
    files = spool != "nowhere"
    assert (MEMORY_ONLY in container.log) is not files
    assert answer.status == (200 if files else 503)
    assert (answer.body == body) is files
    if not files:
        assert int(answer.get("retry-after") or b"0") > 0


def test_it_holds_no_right_that_it_does_not_need(proxy: tuple[Container, str]) -> None:
    container, _ = proxy
    status = dict(
        line.split(":\t", 1) for line in container.run("cat", "/proc/1/status").splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    for place in ("/etc/shieldproxy/x", "/tmp/x", "/opt/shieldproxy/x"):
        assert "Read-only file system" in container.run("touch", place, ok=False)
    assert "No such file" in container.run("ls", "/opt/shieldproxy/bin/pip", ok=False)


def test_term_ends_it_at_once_when_nothing_is_served(proxy: tuple[Container, str]) -> None:
    container, address = proxy
    with Client(address) as idle:
        idle.ask(request())
        assert _stopped(container) < DRAIN
        assert idle.ending() == "fin"


def test_term_finishes_what_is_served(proxy: tuple[Container, str]) -> None:
    container, address = proxy
    with Client(address, timeout=10) as client:
        client.send(request("/slow?seconds=1.5"))
        time.sleep(0.5)  # it is at the server now
        docker("kill", "--signal", "TERM", container.name)
        answer = client.response()
        assert answer.status == 200
        assert not answer.persistent
        assert client.ending() == "fin"
    assert container.ended(DRAIN + 5) == 0


def test_term_ends_within_the_drain_limit_whatever_clients_do(proxy: tuple[Container, str]) -> None:
    container, address = proxy
    with Client(address) as head, Client(address) as body:
        head.send(b"GET / HTTP/1.1\r\nHos")
        body.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel")
        time.sleep(0.3)
        assert _stopped(container) < DRAIN + 3


def _stopped(container: Container) -> float:
    """Stop it as an operator does; how long that took. Exit status 0, no crash, not killed."""
    begun = time.monotonic()
    docker("stop", "--time", "30", container.name)
    took = time.monotonic() - begun
    state = inspect(container.name, "State")
    assert state["ExitCode"] == 0, container.log[-2000:]
    assert "Traceback" not in container.log
    return took


def test_the_first_look_is_healthy(started: Started) -> None:
    """What `docker run shieldproxy` does, on a network that has only itself."""
    container = started("--network", "none", "--health-interval", "1s")
    container.until_says("8080")
    end = time.monotonic() + 20
    while inspect(container.name, "State", "Health", "Status") != "healthy":
        assert time.monotonic() < end, inspect(container.name, "State", "Health")
        time.sleep(0.2)
    page = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/', timeout=5).read().decode())"
    assert "It works, and it is old" in container.run("python3", "-c", page)
    _stopped(container)
