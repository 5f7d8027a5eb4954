"""``[::1]`` and ``unix:`` on both sides, and several listening addresses."""

import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.client import request
from tests.kit.proxy import free_address


def v6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def listen_at(kind: str, directory: Path) -> str:
    if kind == "unix":
        return f"unix:{directory}/down.sock"
    return free_address("::1" if kind == "v6" else "127.0.0.1")


@pytest.mark.parametrize("up", ["v4", "v6", "unix"])
@pytest.mark.parametrize("down", ["v4", "v6", "unix"])
def test_every_kind_of_address_on_both_sides(
    bench: Bench, connect: Connect, tmp_path: Path, down: str, up: str
) -> None:
    if "v6" in (down, up) and not v6():
        pytest.skip("no IPv6 loopback here")
    server = bench.upstream({"v4": "127.0.0.1:0", "v6": "[::1]:0", "unix": f"unix:{tmp_path}/up.sock"}[up])
    proxy = bench.proxy(server, server={"listen": [listen_at(down, tmp_path)]})
    client = connect(proxy)
    for number in range(3):
        got = client.ask(request(f"/{number}", method="POST", body=b"a" * 3000))
        assert (got.status, got.body) == (200, b"hello")
    seen = server.wait_requests(3)
    assert {r.body for r in seen} == {b"a" * 3000}
    peer = {"v4": b"127.0.0.1", "v6": b"::1", "unix": b"unknown"}[down]
    node = {"v4": b"for=127.0.0.1", "v6": b'for="[::1]"', "unix": b"for=unknown"}[down]
    assert seen[0].get("x-forwarded-for") == peer
    assert node in (seen[0].get("forwarded") or b"").lower()
    line = proxy.log_lines(3)[0]
    assert line["listen"] == proxy.address
    assert line["server"] == server.address
    assert line.get("client", "unknown") == {"v4": "127.0.0.1", "v6": "::1", "unix": "unknown"}[down]


def test_several_addresses_at_once(bench: Bench, connect: Connect, tmp_path: Path) -> None:
    server = bench.upstream()
    listen = [free_address(), free_address(), f"unix:{tmp_path}/down.sock"]
    proxy = bench.proxy(server, server={"listen": listen})
    for address in listen:
        assert connect(address).ask(request()).status == 200
    assert {line["listen"] for line in proxy.log_lines(3)} == set(listen)


def test_a_stale_unix_socket_is_taken_over(bench: Bench, connect: Connect, tmp_path: Path) -> None:
    """A socket file that a killed process left behind is no reason not to start."""
    path = tmp_path / "down.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = bench.upstream()
    proxy = bench.proxy(server, server={"listen": [f"unix:{path}"]})
    assert connect(proxy).ask(request()).status == 200


def test_a_server_by_name(bench: Bench, connect: Connect) -> None:
    """Names are resolved off the loop."""
    server = bench.upstream()
    port = server.address.rpartition(":")[2]
    proxy = bench.proxy(f"localhost:{port}")
    assert connect(proxy).ask(request()).status == 200


def test_a_server_whose_name_does_not_exist(bench: Bench, connect: Connect) -> None:
    proxy = bench.proxy("no-such-host.invalid:80")
    got = connect(proxy).ask(request())
    assert got.status in (502, 504)
    assert got.error in ("dns_error", "dns_timeout", "destination_not_found", "destination_unavailable")


def test_all_addresses_of_both_families(bench: Bench, connect: Connect) -> None:
    """``0.0.0.0`` and ``[::]`` at one port, each with its own clients."""
    if not v6():
        pytest.skip("no IPv6 loopback here")
    server = bench.upstream()
    port = free_address("::").rpartition(":")[2]
    rule = [{"name": "v4", "client": ["127.0.0.7/32"], "deny": 403}]
    proxy = bench.proxy(server, server={"listen": [f"0.0.0.0:{port}", f"[::]:{port}"]}, rule=rule)
    assert connect(f"127.0.0.1:{port}").ask(request()).status == 200
    assert connect(f"[::1]:{port}").ask(request()).status == 200
    assert [seen.get("x-forwarded-for") for seen in server.wait_requests(2)] == [b"127.0.0.1", b"::1"]
    assert [line["client"] for line in proxy.log_lines(2)] == ["127.0.0.1", "::1"]
    assert connect(f"127.0.0.1:{port}", source="127.0.0.7").ask(request()).status == 403
