"""``make run`` as a newcomer meets it: it serves, says what to open, ends on a signal, names a taken port."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from shieldproxy.core.address import Address
from shieldproxy.run import try_it
from tests.kit.proxy import free_address

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "shieldproxy.run.try_it", "--listen"]


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """It runs, and has said where."""
    address = free_address()
    with subprocess.Popen(
        [*COMMAND, address], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    ) as program:
        guard = threading.Timer(30, program.terminate)
        guard.start()
        assert program.stdout is not None
        hint = ""
        for line in program.stdout:
            hint += line
            if "Ctrl-C" in line:
                break
        yield program, hint
        guard.cancel()
        if program.poll() is None:
            program.terminate()
        program.stdout.read()
    host, _, port = address.rpartition(":")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=2)


def test_serves_what_its_hint_says(running: tuple[subprocess.Popen[str], str]) -> None:
    hint = running[1]
    url = re.search(r"open +(http://\S+)", hint)
    assert url is not None, hint
    with urlopen(url[1], timeout=5) as response:
        page = response.read().decode()
    assert "It works, and it is old" in page
    assert "through a proxy" in page
    assert "X-Forwarded-For" in page
    for address in re.findall(r"http://[\d.:]+/\S*", hint):
        with urlopen(address.rstrip("'"), data=b"x" if "echo" in address else None, timeout=5) as response:
            assert response.status == 200


def test_the_log_begins_with_the_user_and_has_two_lines_of_an_exchange() -> None:
    """The look whether it serves asks nothing, and so leaves no line."""
    address = free_address()
    with subprocess.Popen([*COMMAND, address], stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        guard = threading.Timer(30, program.terminate)
        guard.start()
        assert program.stdout is not None
        assert any("Ctrl-C" in line for line in program.stdout)
        with urlopen(f"http://{address}/slow?seconds=0", timeout=5) as response:
            assert response.status == 200
        program.terminate()
        lines = [json.loads(line) for line in program.stdout if line.startswith("{")]
        guard.cancel()
    assert [line["kind"] for line in lines] == ["exchange", "connection"]
    assert lines[0]["target"] == "/slow?seconds=0"


def test_idle_clients_of_the_hint_are_gone_by_themselves() -> None:
    proxy, legacy = Address.parse("127.0.0.1:8080"), Address.parse("0.0.0.0:9000")
    loops = re.findall(r"for i in [\d ]+; do (.*) & done", try_it.hint(proxy, legacy, 4))
    assert loops == [f"sleep 60 | timeout 60 nc 127.0.0.1 {port}" for port in (8080, 9000)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both(running: tuple[subprocess.Popen[str], str], number: signal.Signals) -> None:
    program, _ = running
    program.send_signal(number)
    assert program.wait(10) == 0


def test_the_quickstart_as_the_container_runs_it(tmp_path: Path) -> None:
    listen, legacy = free_address(), free_address()
    text = (ROOT / "config" / "quickstart.toml").read_text()
    assert "0.0.0.0:8080" in text
    assert "127.0.0.1:9000" in text
    quickstart = tmp_path / "quickstart.toml"
    quickstart.write_text(text.replace("0.0.0.0:8080", listen).replace("127.0.0.1:9000", legacy))
    (tmp_path / "known-clients.toml").write_bytes((ROOT / "config" / "known-clients.toml").read_bytes())
    command = [*COMMAND, listen, "--legacy", legacy, "--config", str(quickstart)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        assert program.stdout is not None
        guard = threading.Timer(30, program.terminate)
        guard.start()
        assert any("Ctrl-C" in line for line in program.stdout)
        with urlopen(f"http://{listen}/", timeout=5) as response:
            assert b"through a proxy" in response.read()
        guard.cancel()
        program.terminate()
        program.stdout.read()
        assert program.wait(10) == 0


def test_a_taken_port_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        ran = subprocess.run(
            [*COMMAND, address], capture_output=True, text=True, timeout=20, cwd=ROOT, check=False
        )
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert f"cannot listen on {address}: Address already in use" in ran.stderr
    assert "make run LISTEN=" in ran.stderr


@pytest.mark.parametrize("address", ["8080", "unix:/tmp/x", "127.0.0.1:99999"])
def test_an_address_that_will_not_do(address: str) -> None:
    ran = subprocess.run(
        [*COMMAND, address], capture_output=True, text=True, timeout=20, cwd=ROOT, check=False
    )
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


def test_a_proxy_that_does_not_start_ends_it(tmp_path: Path) -> None:
    """What ends the proxy before its first answer ends the first look too, with its status."""
    script = (
        "import sys\nfrom shieldproxy.run import try_it\n"
        f"sys.executable = {str(tmp_path / 'python')!r}\n"
        "sys.exit(try_it.main(['--listen', '127.0.0.1:0']))\n"
    )
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ran.returncode == 3
    assert "open" not in ran.stdout
