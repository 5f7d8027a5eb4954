"""Starts the product again and again without importing it each time: a process that forks itself.

Most of what a start costs (a quarter of a second of CPU) are imports. ``start`` asks a helper that has made
them, ``python -m tests.kit.forkserver``: it forks, and the child becomes ``python -m MODULE WORDS`` in the
wanted directory, with the wanted environment and output, and with nothing else that is open. Where that would
not be the same, a process of its own is started: in another network namespace, with variables that Python
reads at its start, or for another program than this Python.
"""

import atexit
import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, Final, NoReturn, Protocol

ROOT = Path(__file__).resolve().parents[2]
MODULES: Final = (
    "encodings.idna",
    "shieldproxy.cli",
    "shieldproxy.run.worker",
)
"""What is imported before the first fork."""
_FDS: Final = 4
"""That come with a request: output, errors, directory, and where to say how it ended."""
_REQUEST: Final = 1 << 20


class Process(Protocol):
    """What tests use of a `subprocess.Popen`."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """The status, if it has ended: of a signal the number, negative."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, for so many seconds at most: then subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""

    def kill(self) -> None:
        """End it at once."""


class Forked:
    """A child of the helper, with the face of a `subprocess.Popen`."""

    def __init__(self, words: Sequence[str], status: socket.socket) -> None:
        self.args = words
        self.returncode: int | None = None
        self._status = status
        self.pid = int(self._told())

    def _told(self) -> bytes:
        word = self._status.recv(16)
        if not word:
            raise RuntimeError("the fork server has ended")
        return word

    def poll(self) -> int | None:
        """The status, if it has ended: of a signal the number, negative."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, for so many seconds at most: then subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0.0)
            self._ended()
        assert self.returncode is not None
        return self.returncode

    def _ended(self) -> None:
        self.returncode = int(self._told())
        self._status.close()

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class _Server:
    """The helper, as seen from here."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _REQUEST)
        self.owner = os.getpid()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.kit.forkserver", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.stop)

    def start(
        self, words: Sequence[str], output: BinaryIO, errors: BinaryIO, cwd: Path, env: Mapping[str, str]
    ) -> Forked:
        """Have a child started; ``words`` begin with a module's name."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folder = os.open(cwd, os.O_RDONLY | os.O_DIRECTORY)
        try:
            deaf = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # in a background; a child is, too
            request = json.dumps({"words": list(words), "env": dict(env), "deaf": deaf}).encode()
            fds = [output.fileno(), errors.fileno(), folder, there.fileno()]
            socket.send_fds(self._ours, [request], fds)
        finally:
            os.close(folder)
            there.close()
        return Forked([sys.executable, "-m", *words], here)

    def stop(self) -> None:
        """The helper ends when nobody can ask it any more."""
        if os.getpid() == self.owner:
            self._ours.close()
            self._process.wait()


_servers: list[_Server] = []


def _namespace() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


HOME: Final = _namespace()
"""The network namespace in which this process began; a test may start the product in another."""


def start(
    command: Sequence[str],
    output: BinaryIO,
    errors: BinaryIO,
    cwd: Path,
    env: Mapping[str, str],
    *,
    apart: bool = False,
) -> Process:
    """Start a command, forked where that is the same.

    Args:
        command: a program and its words.
        output: where its standard output goes.
        errors: where its standard error goes.
        cwd: its working directory.
        env: its whole environment.
        apart: not forked in any case.
    """
    if not apart and (server := _forks(command, env)):
        return server.start(command[2:], output, errors, cwd, env)
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=cwd, env=dict(env)
    )


def _forks(command: Sequence[str], env: Mapping[str, str]) -> _Server | None:
    """The helper, where what it forks is the same; it is started in this process's own namespace alone."""
    if _namespace() != HOME or list(command[:2]) != [sys.executable, "-m"]:
        return None
    if not _servers or _servers[0].owner != os.getpid():
        _servers[:] = [_Server()]
    server = _servers[0]
    python = {key: value for key, value in env.items() if key.startswith("PYTHON")}
    ours = {key: value for key, value in os.environ.items() if key.startswith("PYTHON")}
    return server if python == {**ours, "PYTHONUNBUFFERED": "1"} else None


# the helper


def serve(asked: socket.socket) -> None:
    """Fork for each request, and say how each child ends; return in a child, and at the end of requests."""
    children: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    poll.register(asked, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd != asked.fileno():
                poll.unregister(fd)
                pid, status = children.pop(fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.close(fd)
                with status, suppress(OSError):
                    status.send(str(code).encode())
                continue
            data, fds, _, _ = socket.recv_fds(asked, _REQUEST, _FDS)
            if not data:
                for pid, _ in children.values():
                    os.kill(pid, signal.SIGKILL)  # a test run that was killed leaves none behind
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                for sock in (asked, *(status for _, status in children.values())):
                    sock.detach()  # their numbers are others' from now on
                become(json.loads(data), *fds)
                return
            for number in fds[:-1]:
                os.close(number)
            status = socket.socket(fileno=fds[-1])
            status.send(str(pid).encode())
            number = os.pidfd_open(pid)
            children[number] = (pid, status)
            poll.register(number, select.POLLIN)


def become(request: Mapping[str, object], output: int, errors: int, folder: int, _status: int) -> None:
    """In the child: be as if just started."""
    words, env = request["words"], request["env"]
    assert isinstance(words, list)
    assert isinstance(env, dict)
    os.fchdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, TextIOWrapper)
        stream.reconfigure(write_through=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN if request["deaf"] else signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    sys.argv, sys.path[0] = words, str(Path.cwd())
    for module in list(sys.modules.values()):
        for value in list(vars(module).values()):
            if type(value) is random.Random:
                value.seed()  # trio has one of its own; forking seeds that of ``random`` alone


def main() -> NoReturn:
    """Import, then serve; a child goes on from here as the program that it was asked to be."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end us
    for name in MODULES:
        __import__(name)
    gc.collect()
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    raise SystemExit


if __name__ == "__main__":
    main()
