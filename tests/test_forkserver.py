"""The fork server: a child of it is what a process of its own would be."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit import forkserver
from tests.kit.forkserver import Forked, start
from tests.kit.proxy import free_address
from tests.kit.sockets import eventually

MODULE = """
import json, os, signal, sys, threading
what = sys.argv[1]
if what == "tell":
    handlers = {number: str(signal.getsignal(number)) for number in (1, 2, 10, 13, 15, 17)}
    print(json.dumps({
        "argv": sys.argv, "name": __name__, "cwd": os.getcwd(), "path": sys.path, "env": dict(os.environ),
        "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")), "in": os.readlink("/proc/self/fd/0"),
        "handlers": handlers, "threads": threading.active_count(), "through": sys.stdout.write_through,
        "mask": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "main": sys.modules["__main__"].__file__,
    }))
elif what == "exit":
    sys.exit(int(sys.argv[2]))
elif what == "fail":
    raise RuntimeError("on purpose")
elif what == "wait":
    print("here")
    signal.pause()
"""


def begin(folder: Path, *words: str, forked: bool = True) -> "tuple[Forked | subprocess.Popen[bytes], Path]":
    module = folder / "probe_of_forks.py"
    if not module.exists():
        module.write_text(MODULE)
    out = folder / f"out-{forked}"
    command = [sys.executable, "-m", "probe_of_forks", *words]
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "SHIELDPROXY_X": "ä"}
    if not forked:
        env["PYTHONHASHSEED"] = "0"
    with out.open("wb") as output:
        process = start(command, output, output, folder, env)
    assert isinstance(process, Forked) == forked
    assert isinstance(process, Forked | subprocess.Popen)
    return process, out


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler, lambda *_: None])
def test_it_is_as_a_process_of_its_own(tmp_path: Path, handler: "signal._HANDLER") -> None:
    """Also where a test run in a background ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        told = both(tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert told[0] == told[1]
    assert told[0]["cwd"] == str(tmp_path)
    assert told[0]["fds"][:3] == [0, 1, 2]


def both(tmp_path: Path) -> list[dict[str, Any]]:
    told = []
    for forked in (True, False):
        process, out = begin(tmp_path, "tell", "a b", forked=forked)
        assert process.wait(10) == 0, out.read_text()
        found = json.loads(out.read_text())
        found["env"].pop("PYTHONHASHSEED", None)
        told.append(found)
    return told


@pytest.mark.parametrize("code", [0, 3])
def test_its_status(tmp_path: Path, code: int) -> None:
    process, _ = begin(tmp_path, "exit", str(code))
    assert process.wait(10) == process.poll() == process.returncode == code


def test_an_exception_is_told(tmp_path: Path) -> None:
    process, out = begin(tmp_path, "fail")
    assert process.wait(10) == 1
    assert "RuntimeError: on purpose" in out.read_text()


def test_signals(tmp_path: Path) -> None:
    process, _ = begin(tmp_path, "wait")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM
    process.send_signal(signal.SIGTERM)  # to nobody
    other, _ = begin(tmp_path, "wait")
    other.kill()
    assert other.wait(10) == -signal.SIGKILL


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """A test run that is killed leaves no product behind."""
    code = (
        "import sys, time; from pathlib import Path; from tests.test_forkserver import begin;"
        "print(begin(Path(sys.argv[1]), 'wait')[0].pid, flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, cwd=forkserver.ROOT, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        pid = int(asker.stdout.readline())
        asker.kill()
    assert eventually(lambda: not Path(f"/proc/{pid}").exists(), 10)


def test_random_numbers_are_its_own(tmp_path: Path) -> None:
    """Those of trio too, by which it shuffles tasks."""
    (tmp_path / "rolls.py").write_text(
        "import random, trio._core._run as r; print(random.random(), r._r.random())"
    )
    told = []
    for name in ("a", "b"):
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with (tmp_path / name).open("wb") as output:
            process = start([sys.executable, "-m", "rolls"], output, output, tmp_path, env)
        assert isinstance(process, Forked)
        assert process.wait(10) == 0
        told.append((tmp_path / name).read_text().split())
    assert len({number for numbers in told for number in numbers}) == 4, told


def test_apart_is_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shieldproxy", "--version"]
    with (tmp_path / "out").open("wb") as output:
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = start(command, output, output, tmp_path, env, apart=True)
    assert isinstance(process, subprocess.Popen)
    assert process.wait(10) == 0


def test_many_at_a_time(tmp_path: Path) -> None:
    processes = [begin(tmp_path, "exit", str(code))[0] for code in range(8)]
    assert [process.wait(10) for process in processes] == list(range(8))
    assert len({process.pid for process in processes}) == 8


def test_what_the_product_imports_to_run_is_imported_before(tmp_path: Path) -> None:
    """A module that ``run`` came to import beside these would cost each start its time."""
    code = "import sys, tests.kit.forkserver as f; [__import__(m) for m in f.MODULES]; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=forkserver.ROOT, capture_output=True, text=True, check=True
    )
    before = done.stdout.split()
    file = tmp_path / "proxy.toml"
    address = free_address()
    file.write_text(
        f'[server]\nlisten = ["{address}"]\n'
        '[upstream.a]\nservers = ["127.0.0.1:1"]\n[[route]]\nupstream = "a"\n'
    )
    words = [sys.executable, "-X", "importtime", "-m", "shieldproxy", "run", str(file)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        host, _, port = address.rpartition(":")
        assert eventually(lambda: accepts(host, int(port)), 10)
        process.terminate()
        told = process.communicate()[1]
    ours = {line.rpartition("|")[2].strip() for line in told.splitlines() if "| " in line}
    late = {
        name for name in ours - set(before) if name.startswith(("shieldproxy", "trio", "msgspec", "click"))
    }
    assert "shieldproxy.proxy.exchange" in ours
    assert not late - {"shieldproxy.__main__"}


def accepts(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
