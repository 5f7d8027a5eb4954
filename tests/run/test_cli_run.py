"""``shieldproxy run`` as a process: it serves until TERM, and says in one line why it cannot."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

RUN = [sys.executable, "-m", "shieldproxy", "run"]
UPSTREAM = '[upstream.x]\nservers = ["127.0.0.1:9"]\n[[route]]\nupstream = "x"\n'


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


def failed(command: list[str]) -> str:
    """Run a command that ends at once with status 1, and give its one line."""
    done = subprocess.run(command, capture_output=True, timeout=20, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("shieldproxy: ")
    return line


def test_an_address_in_use_is_one_line(taken: str) -> None:
    line = failed([*RUN, "--listen", taken, "--to", "127.0.0.1:9"])
    assert taken in line
    assert "in use" in line


def test_an_address_of_another_host_is_one_line() -> None:
    assert "192.0.2.1:8080" in failed([*RUN, "--listen", "192.0.2.1:8080", "--to", "127.0.0.1:9"])


def test_no_right_to_bind_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    path = tmp_path / "x.sock"
    command = ["run", "--listen", f"unix:{path}", "--to", "127.0.0.1:9"]
    # Root may bind anywhere: everything is imported first, then the right is given up.
    drop = (
        "import os, sys, shieldproxy.run.worker as w, shieldproxy.cli as c; os.getuid() or os.setuid(65534); "
    )
    line = failed([sys.executable, "-c", f"{drop} c.main({command!r}, prog_name='shieldproxy')"])
    assert str(path) in line
    assert "no right" in line


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text(f'[server]\nlisten = ["127.0.0.1:0"]\n[log]\naccess = "none/access.log"\n{UPSTREAM}')
    line = failed([*RUN, str(config)])
    assert "log.access" in line
    assert str(tmp_path / "none/access.log") in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "in.sock"
    command = [*RUN, "--listen", f"unix:{path}", "--to", "127.0.0.1:9"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        # A warning may come before: this machine may have too few descriptors for the defaults.
        assert any(b"serving on" in line and str(path).encode() in line for line in process.stderr)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 502 ")
        process.send_signal(number)
        _, said = process.communicate(timeout=10)
        assert process.returncode == 0, said
        assert b"Traceback" not in said
    finally:
        process.kill()
        process.wait()
