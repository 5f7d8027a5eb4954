"""The embedded legacy server is as old as it says: HTTP/1.0, few threads, easily starved, a bare close."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from shieldproxy.core.address import Address
from shieldproxy.run.legacy import LegacyServer, Seen

LOCAL = Address("127.0.0.1", 0, "")


@pytest.fixture
def server() -> Iterator[LegacyServer]:
    with LegacyServer(LOCAL, threads=2, backlog=1) as running:
        yield running


def connect(server: LegacyServer) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), timeout=5)


def ask(server: LegacyServer, request: bytes) -> bytes:
    """Send bytes, read to the end of the connection."""
    with connect(server) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def until(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return true()


def test_page_needs_no_host_and_shows_the_fields_received(server: LegacyServer) -> None:
    answer = ask(server, b"GET / HTTP/1.0\nX-Forwarded-For: 203.0.113.9\nX-Odd: <b>&\n\n")
    head, _, page = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"\r\nConnection: close" in head
    assert f"\r\nContent-Length: {len(page)}".encode() in head
    assert b"X-Forwarded-For<td>203.0.113.9" in page
    assert b"&lt;b&gt;&amp;" in page
    assert b"reached it directly" in page


def test_page_names_the_proxy_before_it(server: LegacyServer) -> None:
    assert b"through a proxy (1.1 shieldproxy)" in ask(
        server, b"GET / HTTP/1.1\r\nVia: 1.1 shieldproxy\r\n\r\n"
    )


def test_keeps_a_connection_only_if_asked(server: LegacyServer) -> None:
    connection = HTTPConnection(server.address.host, server.address.port, timeout=5)
    sockets = set()
    for _ in range(3):
        connection.request("POST", "/echo", body=b"abc", headers={"Connection": "Keep-Alive"})
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"abc")
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1
    assert None not in sockets
    assert server.counts().accepted == 1


def test_big_has_a_length_and_stream_has_none(server: LegacyServer) -> None:
    head, _, body = ask(server, b"GET /big?size=100000 HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length: 100000" in head
    assert len(body) == 100000
    asked = b"GET /stream?size=100000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    head, _, streamed = ask(server, asked).partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    assert b"Connection: close" in head
    assert streamed == body


def test_head_has_no_body(server: LegacyServer) -> None:
    answer = ask(server, b"HEAD /big?size=77 HTTP/1.0\r\n\r\n")
    assert b"Content-Length: 77\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /nowhere HTTP/1.0\r\n\r\n", 404),
        (b"DELETE / HTTP/1.0\r\n\r\n", 501),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nno colon\r\n\r\n", 400),
        (b"GET /" + b"a" * 8188 + b" HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n" + b"A: 1\r\n" * 201 + b"\r\n", 400),
        (b"POST /echo HTTP/1.0\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /echo HTTP/1.0\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /echo HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /refuse HTTP/1.0\r\nContent-Length: 3\r\n\r\n", 413),
    ],
)
def test_refuses(server: LegacyServer, request_: bytes, status: int) -> None:
    with connect(server) as sock:
        sock.sendall(request_)
        assert sock.recv(65536).startswith(f"HTTP/1.0 {status} ".encode())


def test_slow_holds_its_thread_as_long_as_asked(server: LegacyServer) -> None:
    begin = time.monotonic()
    assert ask(server, b"GET /slow?seconds=0.2 HTTP/1.0\r\n\r\n").endswith(b"that took 0.2 s\n")
    assert time.monotonic() - begin >= 0.2


def test_idle_clients_starve_it(server: LegacyServer) -> None:
    with connect(server), connect(server):
        assert until(lambda: server.counts().held == 2)
        with connect(server) as third:
            third.sendall(b"GET / HTTP/1.0\r\n\r\n")
            third.settimeout(0.2)
            with pytest.raises(TimeoutError):
                third.recv(1)
    assert until(lambda: server.counts().held == 0)
    assert server.counts().held_peak == 2


def test_patience_ends_a_silent_client() -> None:
    with LegacyServer(LOCAL, threads=1, patience=0.1) as server, connect(server) as sock:
        assert sock.recv(1) == b""


def test_keep_alive_ends_a_client_that_asks_no_more() -> None:
    with LegacyServer(LOCAL, threads=1, keep_alive=0.1) as server, connect(server) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: keep-alive" in b"".join(iter(lambda: sock.recv(65536), b""))
        assert until(lambda: server.counts().held == 0)


def test_a_kept_connection_has_its_patience_back_in_the_next_request() -> None:
    with LegacyServer(LOCAL, threads=1, keep_alive=0.1) as server, connect(server) as sock:
        for pause in (0.0, 0.3):
            sock.sendall(b"GET / HTTP/1.0\r\nConnection: ")
            time.sleep(pause)
            sock.sendall(b"keep-alive\r\n\r\n")
            assert sock.recv(15) == b"HTTP/1.0 200 OK"
            while b"</html>" not in sock.recv(65536):
                pass


def test_tells_who_holds_its_threads() -> None:
    told: list[Seen] = []
    with LegacyServer(LOCAL, threads=1, watch=told.append) as server:
        with connect(server) as silent:
            port = silent.getsockname()[1]
        with connect(server) as sock:
            sock.sendall(b"POST /echo HTTP/1.0\r\nUser-Agent: x/1\r\nContent-Length: 1\r\n\r\n")
            assert until(lambda: told[-1:] != [] and told[-1].what == "asked")
            sock.sendall(b"a")
            assert sock.recv(100).startswith(b"HTTP/1.0 200")
            assert until(lambda: told[-1].what == "released")
    assert [(seen.number, seen.what, seen.text) for seen in told] == [
        (1, "held", ""),
        (1, "released", ""),
        (2, "held", ""),
        (2, "asked", "x/1"),
        (2, "answered", "200"),
        (2, "released", ""),
    ]
    assert {seen.port for seen in told if seen.number == 1} == {port}
    assert [seen.at for seen in told] == sorted(seen.at for seen in told)


def test_a_refusal_may_be_long(server: LegacyServer) -> None:
    answer = ask(server, b"POST /refuse?size=5000 HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 413")
    assert len(answer.partition(b"\r\n\r\n")[2]) > 5000


def test_a_body_cut_short_is_no_request(server: LegacyServer) -> None:
    with connect(server) as sock:
        sock.sendall(b"POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nabc")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert server.counts().served == 0


def test_stop_ends_held_threads_at_once(server: LegacyServer) -> None:
    with connect(server) as idle, connect(server) as slow:
        slow.sendall(b"GET /slow?seconds=60 HTTP/1.0\r\n\r\n")
        assert until(lambda: server.counts().held == 2)
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < 2
        assert idle.recv(1) == b""


def test_a_unix_address_is_refused() -> None:
    with pytest.raises(ValueError, match="TCP only"):
        LegacyServer(Address("", 0, "/tmp/x"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_a_program_it_ends_on_a_signal(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "shieldproxy.run.legacy", "--listen", "127.0.0.1:0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as program:
        assert program.stdout is not None
        line = program.stdout.readline()
        assert line.startswith("legacy server: http://127.0.0.1:")
        program.send_signal(number)
        assert program.wait(5) == 0


def test_as_a_program_it_prints_what_it_sees() -> None:
    command = [sys.executable, "-m", "shieldproxy.run.legacy", "--listen", "127.0.0.1:0", "--watch"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as program:
        assert program.stdout is not None
        port = int(program.stdout.readline().split("/")[2].partition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            own = sock.getsockname()[1]
            told = json.loads(program.stdout.readline())
        program.terminate()
    assert (told["what"], told["number"], told["port"], told["text"]) == ("held", 1, own, "")


def test_as_a_program_a_taken_address_is_one_line(server: LegacyServer) -> None:
    command = [sys.executable, "-m", "shieldproxy.run.legacy", "--listen", str(server.address)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert ran.returncode == 1
    assert "Address already in use" in ran.stderr
    assert ran.stderr.count("\n") == 1
