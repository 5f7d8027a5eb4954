"""Processes, ports, CPUs and the network namespace of a benchmark run.

Every process is started here in a folder of its own, placed on its CPUs, and ended by its process id when the
run ends, however it ends. With root rights the run moves into a network namespace of its own: nobody else's
connections are counted, no port can clash, and congestion control is a plain one on both sides.
"""

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import procfs

INSIDE = "SHIELDPROXY_BENCH_NAMESPACE"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
REPOSITORY = Path(__file__).resolve().parent.parent
SYSCTL = Path("/proc/sys/net/ipv4")


class BenchError(Exception):
    """A run that gave no figure: the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server: its command and what it needs around it."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stdout: Path | None = None
    """Where standard output goes, for servers that log there."""


@dataclass(slots=True)
class Server:
    """A server that runs: a name, its listening port, its first process."""

    name: str
    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        """The root of its process tree."""
        return self.process.pid


@dataclass(frozen=True, slots=True)
class Rig:
    """Where a run takes place: its folder, and the CPUs of the proxy and of the load beside it."""

    folder: Path
    proxy_cpus: frozenset[int]
    load_cpus: frozenset[int]

    @contextmanager
    def serve(
        self, name: str, launch: Launch, port: int, folder: Path, *, proxy: bool = True
    ) -> Iterator[Server]:
        """Start a server, wait until it listens, and end it with its whole tree.

        Raises:
            BenchError: it ended, or did not listen within 15 s.
        """
        with self.process(launch, folder, proxy=proxy) as child:
            server = Server(name, port, folder, child)
            await_listening(server)
            yield server

    @contextmanager
    def process(self, launch: Launch, folder: Path, *, proxy: bool) -> Iterator["subprocess.Popen[bytes]"]:
        """Start a process on its CPUs; end it, and its children, at the end of the block.

        It gets a session of its own: Apache in the foreground sends its TERM on to its whole process group,
        which would be ours, with whoever started us.
        """
        cpus = self.proxy_cpus if proxy else self.load_cpus
        with ExitStack() as stack:
            errors = stack.enter_context((folder / "stderr").open("ab"))
            output = stack.enter_context((launch.stdout or folder / "stdout").open("ab"))
            child = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, sorted(cpus))), *launch.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=folder,
                env={**os.environ, **launch.env},
                start_new_session=True,
            )
            try:
                yield child
            finally:
                end(child)


def end(child: "subprocess.Popen[bytes]") -> None:
    """TERM, a few seconds, then KILL for what is left of the tree."""
    if child.poll() is not None:
        return
    pids = procfs.tree(child.pid)
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(4)
    if child.poll() is None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.wait(10)


def await_listening(server: Server, limit: float = 15.0) -> None:
    """Wait until the server accepts on its port.

    Raises:
        BenchError: it ended, or the limit (seconds) has passed.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise BenchError(
                f"{server.name} ended with status {server.process.returncode}: {last_words(server)}"
            )
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.05)
    raise BenchError(f"{server.name} does not listen after {limit:.0f} s: {last_words(server)}")


def last_words(server: Server) -> str:
    """The end of what the server wrote to its error output."""
    lines = (server.folder / "stderr").read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it wrote nothing"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def new_rig() -> Iterator[Rig]:
    """A temporary folder, and the last CPU for the proxy, the others for load and upstream.

    The folder can be entered by all, because Apache and nginx change their user when started by root.
    """
    cpus = sorted(os.sched_getaffinity(0))
    load = cpus[:-1] or cpus
    folder = Path(tempfile.mkdtemp(prefix="shieldproxy-bench-"))
    folder.chmod(0o755)
    try:
        yield Rig(folder, frozenset(cpus[-1:]), frozenset(load))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def namespace_command(arguments: Sequence[str]) -> list[str]:
    """The command that runs this program again in a network namespace of its own.

    Empty where that is not possible: without root, or without unshare(1).
    """
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None:
        return []
    if subprocess.run([unshare, "--net", "true"], check=False, capture_output=True).returncode != 0:
        return []
    return [unshare, "--net", "--", sys.executable, "-m", "benchmarks", *arguments]


def prepare_namespace() -> None:
    """Loopback up, many local ports, and the first plain congestion control that a namespace may choose."""
    with socket.socket() as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(probe, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
    (SYSCTL / "ip_local_port_range").write_text("10240 65000")
    for name in ("cubic", "reno"):
        with suppress(OSError):
            (SYSCTL / "tcp_congestion_control").write_text(name)
            break
