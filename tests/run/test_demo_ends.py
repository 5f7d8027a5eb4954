"""However ``shieldproxy demo`` ends: its programs and its folder are gone, and a fault is one line."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.sockets import eventually

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "shieldproxy", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "TERM": "xterm"}


@pytest.fixture
def program(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """It runs, and has begun to print."""
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as running:
        assert running.stdout is not None
        assert "good clients served" in next(line for line in running.stdout if "0 s:" in line)
        yield running
        if running.poll() is None:
            running.terminate()  # it ends what it has started


def children(pid: int) -> dict[int, str]:
    """The programs that it has started, by their command lines."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    return found


def gone(pids: dict[int, str]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(
    program: subprocess.Popen[str], number: signal.Signals, tmp_path: Path
) -> None:
    started = children(program.pid)
    assert len(started) == 3
    program.send_signal(number)
    _, errors = program.communicate(timeout=15)
    assert (program.returncode, errors) == (128 + number, "")
    assert gone(started)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("which", "name"), [(" run ", "the proxy"), (".legacy ", "the legacy server")])
def test_a_program_that_dies_ends_it_with_one_line(
    program: subprocess.Popen[str], which: str, name: str, tmp_path: Path
) -> None:
    started = children(program.pid)
    os.kill(next(pid for pid, command in started.items() if which in command), signal.SIGKILL)
    _, errors = program.communicate(timeout=15)
    assert program.returncode == 1
    assert errors.startswith(f"shieldproxy: {name} has ended")
    assert errors.count("\n") == 1
    assert gone(started)
    assert list(tmp_path.iterdir()) == []


def test_programs_that_do_not_start_are_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    fake.chmod(0o755)
    script = (
        "import sys\nfrom shieldproxy.cli import main\n"
        f"sys.executable = {str(fake)!r}\n"
        "main(['demo'], prog_name='shieldproxy')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert ran.returncode == 1
    assert ran.stderr == "shieldproxy: the legacy server does not start: no such luck\n"
    assert list(tmp_path.iterdir()) == [fake]


def test_a_reader_that_leaves_ends_it(program: subprocess.Popen[str], tmp_path: Path) -> None:
    """As ``shieldproxy demo | head``."""
    assert program.stdout is not None
    assert program.stderr is not None
    started = children(program.pid)
    program.stdout.close()
    assert program.wait(15) == 1
    assert program.stderr.read() == "shieldproxy: nobody reads what it prints\n"
    assert gone(started)
    assert list(tmp_path.iterdir()) == []


def test_control_c_on_a_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    """The picture is drawn in place; Ctrl-C leaves the terminal as it was and no traceback."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x28\0\x50\0\0\0\0\0")
    with subprocess.Popen(
        COMMAND,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
    ) as running:
        os.close(theirs)
        os.set_blocking(ours, False)
        seen = bytearray()

        def drawn(words: bytes) -> bool:
            try:
                seen.extend(os.read(ours, 65536))
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # EIO: the other end is closed
                return True
            return words in seen

        assert eventually(lambda: drawn(b"1 of 18 s"), 25)
        started = children(running.pid)
        os.killpg(running.pid, signal.SIGINT)  # as the terminal does
        assert running.wait(15) == 130
        eventually(lambda: drawn(b"never printed"), 2)
    os.close(ours)
    text = seen.decode()
    assert "Traceback" not in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "good clients" in text
    assert gone(started)
    assert list(tmp_path.iterdir()) == []
