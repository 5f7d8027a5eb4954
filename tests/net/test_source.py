"""The address that connections come from: bound without a port, checked, and told from a server's fault."""

import errno
import socket
from dataclasses import replace
from typing import Any

import pytest

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.bell import Bell
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.names import ConnectFailed
from shieldproxy.net.pool import Group
from shieldproxy.net.source import bind_source, source_fault
from shieldproxy.net.upstream import _from_source, connect

SPEC = UpstreamSpec("legacy", (Address.parse("legacy.test:80"),))
NOBODY = "192.0.2.77"
V4 = (socket.AF_INET, ("192.0.2.1", 80))
V6 = (socket.AF_INET6, ("2001:db8::1", 80, 0, 0))
UNIX = (socket.AF_UNIX, "/run/legacy")


def server(**keys: Any) -> Any:
    return Group(replace(SPEC, **keys), Lobby(lambda: 0.0, lambda _record, _exc: None)).servers[0]


def test_no_port_is_taken_before_it_is_known_where_to() -> None:
    """So two connections to two servers may share one."""
    with socket.socket() as sock, socket.create_server(("127.0.0.1", 0)) as listener:
        bind_source(sock, "127.0.0.9")
        assert sock.getsockname() == ("127.0.0.9", 0)
        sock.connect(listener.getsockname())
        assert sock.getsockname()[0] == "127.0.0.9"
        assert sock.getsockname()[1] > 0


def test_a_fault_at_start() -> None:
    ours = [SPEC, replace(SPEC, source="127.0.0.1"), replace(SPEC, source="127.9.9.9")]
    assert source_fault(ours) == ""
    assert source_fault([*ours, replace(SPEC, source=NOBODY)]).startswith(
        f"upstream.legacy.source: cannot connect from {NOBODY}: "
    )


@pytest.mark.parametrize(
    ("source", "left"),
    [(None, (V6, V4, UNIX)), ("127.0.0.1", (V4, UNIX)), ("::1", (V6, UNIX))],
)
def test_the_family_of_the_source(source: str | None, left: tuple[Any, ...]) -> None:
    assert _from_source(server(source=source), (V6, V4, UNIX)) == left


def test_no_address_of_its_family() -> None:
    with pytest.raises(ConnectFailed, match="no address that can be reached from ::1") as raised:
        _from_source(server(source="::1"), (V4,))
    assert raised.value.reason == "source"
    assert _from_source(server(source="::1"), ()) == ()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_shortage_of_ours_is_no_fault_of_the_server(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = server(servers=(Address.parse("127.0.0.1:1"),))
    lobby = place.group._lobby

    def refuse(*_args: Any) -> Any:
        raise OSError(code, "as the test wants it")

    monkeypatch.setattr("shieldproxy.net.upstream.socket.socket", refuse)
    with pytest.raises(ConnectFailed, match="as the test wants it") as raised:
        await connect(lobby, Bell(lobby), place, 5.0, lambda: False)
    assert raised.value.reason == "shortage"
    assert place.avoid_until < 0


async def test_no_port_left_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    place = server(servers=(Address.parse("127.0.0.1:1"),))
    lobby = place.group._lobby

    class Exhausted(socket.socket):
        def connect_ex(self, _address: Any) -> int:
            return errno.EADDRNOTAVAIL

    monkeypatch.setattr("shieldproxy.net.upstream.socket.socket", Exhausted)
    with pytest.raises(ConnectFailed) as raised:
        await connect(lobby, Bell(lobby), place, 5.0, lambda: False)
    assert raised.value.reason == "shortage"


async def test_a_source_that_has_gone() -> None:
    place = server(servers=(Address.parse("127.0.0.1:1"),), source=NOBODY)
    lobby = place.group._lobby
    with pytest.raises(ConnectFailed) as raised:
        await connect(lobby, Bell(lobby), place, 5.0, lambda: False)
    assert raised.value.reason == "source"
    assert place.avoid_until < 0
    assert raised.value.detail.startswith(f"cannot connect from {NOBODY}: ")
