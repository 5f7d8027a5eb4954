"""Many clients that wait, and one that floods: what they cost the others."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.client import Client, request
from tests.kit.endings import p99_at_most_twice, side_by_side, times, whole
from tests.kit.scene import LAST, PATIENT, stage
from tests.kit.sockets import ESTABLISHED, FIN_WAIT2, cpu_share, descriptors, eventually, of_port


@pytest.mark.slow
def test_a_thousand_waiting_clients_cost_nothing(bench: Bench, connect: Connect) -> None:
    """250 each fresh, in a head, idle, lingering: no thread, no CPU, and a good client is served as ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    scene = stage(bench, timeouts=PATIENT)
    proxy, calm = scene.proxy, stage(bench, timeouts=PATIENT).proxy
    with Client(proxy.address) as first:
        first.ask(request())
    threads = len(list(Path(f"/proc/{proxy.pid}/task").iterdir()))
    before = descriptors(proxy.pid)
    clients = []
    for _ in range(250):
        idle, last = connect(proxy), connect(proxy)
        clients += [connect(proxy), connect(proxy).send(b"GET / HTTP/1.1\r\nHost: a\r\nX: y"), idle, last]
        assert whole(idle.send(request())) is not None
        assert whole(last.send(LAST)) is not None
    assert eventually(lambda: len(of_port(scene.port, ESTABLISHED, pid=proxy.pid)) == 750)
    assert eventually(lambda: len(of_port(scene.port, FIN_WAIT2, pid=proxy.pid)) >= 250)
    assert descriptors(proxy.pid) >= before + 999
    assert cpu_share(proxy.pid) < 0.05
    assert len(list(Path(f"/proc/{proxy.pid}/task").iterdir())) <= threads + 2, "more than those of the log"
    p99_at_most_twice(lambda: side_by_side(calm.address, proxy.address, 200))
    for client in clients:
        client.close()
    assert eventually(lambda: descriptors(proxy.pid) <= before + 1, 5.0)


FLOOD = """
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)
sock = socket.create_connection((host, int(port)))
sock.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
print("ready", flush=True)
piece = bytes(262144)
try:
    while True:
        sock.sendall(piece)
except OSError:
    pass
"""


SINK = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
sock, _ = listener.accept()
scrap = bytearray(65536)
while sock.recv_into(scrap, 0, socket.MSG_TRUNC):
    pass
"""


@contextmanager
def running(code: str, *words: str) -> Iterator[str]:
    """Run a program; its first line of output."""
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.slow
def test_a_flood_into_a_linger_does_not_slow_the_others(bench: Bench) -> None:
    """One client at full loopback speed into a linger costs the others no more than a flood beside us does.

    A flood alone takes a core or two of a machine, so it is held against the same flood into a process
    that only reads: p99 of the others at most 2 x.
    """
    proxy = stage(bench, timeouts=PATIENT, limits={"linger": "64GiB"}).proxy
    times(proxy.address, 50)

    def flooded() -> tuple[list[float], list[float]]:
        with running(SINK) as sink, running(FLOOD, sink):
            beside = times(proxy.address, 300)
        with running(FLOOD, proxy.address):
            return beside, times(proxy.address, 300)

    p99_at_most_twice(flooded)
