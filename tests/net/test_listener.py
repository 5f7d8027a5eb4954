"""Rule 7 and the door: what a client that reads nothing takes, EMFILE, addresses that cannot be had."""

import errno
import os
import socket
from pathlib import Path

import pytest

from shieldproxy.core.address import Address
from shieldproxy.net.listener import ACCEPTS_A_TURN, BACK_OFF, NOTSENT_LOWAT, BindFailed, Listener, bind
from shieldproxy.net.record import Door
from shieldproxy.net.tcpinfo import TCP_NOTSENT_LOWAT
from tests.net.rig import ANY_PORT, Rig, rig

MEGABYTE = bytes(1 << 20)


def swallowed(sock: socket.socket) -> int:
    """How much the kernel takes from us for a client that reads nothing."""
    taken = 0
    try:
        while True:
            taken += sock.send(MEGABYTE)
    except BlockingIOError:
        return taken


@pytest.mark.parametrize("limited", [True, False], ids=["TCP_NOTSENT_LOWAT", "without"])
def test_a_client_that_reads_nothing_takes_little(house: Rig, limited: bool) -> None:
    """Its own window, and at most 128 KiB (and what one send rounds up to) of ours."""
    _, rec = house.join(rcvbuf=4096)
    assert rec.sock.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == NOTSENT_LOWAT
    assert NOTSENT_LOWAT <= 128 * 1024
    if not limited:
        rec.sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, 2**31 - 1)
    taken = swallowed(rec.sock)
    assert (taken <= 256 * 1024) is limited
    assert limited or taken >= 1 << 20


def test_every_client_s_socket_sends_at_once(house: Rig) -> None:
    _, rec = house.join()
    assert rec.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert rec.sock.gettimeout() == 0.0


def test_a_rush_is_accepted_in_shares(house: Rig) -> None:
    """Beside it, the clients that are already there have their events."""
    for _ in range(ACCEPTS_A_TURN + 10):
        house.dial()
    house.lobby.turn()
    assert len(house.new) == ACCEPTS_A_TURN
    house.lobby.turn()
    assert len(house.new) == ACCEPTS_A_TURN + 10


class Short:
    """A listening socket of a process without a descriptor left."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.asked = 0
        self.error = errno.EMFILE

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return self.sock.accept()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_without_descriptors_accept_pauses_and_does_not_spin(house: Rig, number: int) -> None:
    short = Short(house.listener.door.sock)
    short.error = number
    house.listener.door.sock = short  # type: ignore[assignment]  # what stands in for a full table
    house.dial()
    assert house.quiet(most=200) <= 2
    assert short.asked == 1
    assert len(house.warnings) == 1
    assert os.strerror(number) in house.warnings[0]
    house.jump(BACK_OFF + 0.1)
    house.quiet()
    assert short.asked == 2
    short.error = 0
    house.jump(BACK_OFF + 0.1)
    house.quiet()
    assert len(house.new) == 1, "nobody is lost by the pause"
    house.listener.door.sock = short.sock


def test_a_client_that_left_before_accept_costs_nobody_else(house: Rig) -> None:
    short = Short(house.listener.door.sock)
    short.error = errno.ECONNABORTED
    house.listener.door.sock = short  # type: ignore[assignment]
    house.dial()
    house.lobby.turn()
    assert house.warnings == []
    short.error = 0
    house.lobby.turn()
    assert len(house.new) == 1
    house.listener.door.sock = short.sock


def test_a_closed_listener_accepts_nobody(house: Rig) -> None:
    house.dial()
    house.listener.close()
    house.listener.close()
    house.lobby.turn()
    assert house.new == []
    with pytest.raises(ConnectionRefusedError):
        house.dial()


# addresses


def test_an_address_in_use_is_one_line(house: Rig) -> None:
    with pytest.raises(BindFailed, match=r"cannot listen on 127\.0\.0\.1:\d+: the address is in use"):
        bind(Address("127.0.0.1", house.address[1], ""))


def test_an_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(BindFailed, match="this machine has no such address"):
        bind(Address("192.0.2.1", 0, ""))


def test_a_name_that_cannot_be_resolved_is_one_line() -> None:
    with pytest.raises(BindFailed, match=r"cannot listen on no-such-name\.invalid:80"):
        bind(Address("no-such-name.invalid", 80, ""))


def test_v6_listens_beside_v4() -> None:
    with bind(Address("::1", 0, "")) as six:
        port = six.getsockname()[1]
        with bind(Address("127.0.0.1", port, "")) as four:
            assert four.getsockname()[1] == port


def unix(path: Path) -> Address:
    return Address("", 0, str(path))


def test_a_unix_socket_left_behind_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    address = unix(tmp_path / "s")
    bind(address).close()
    with bind(address), pytest.raises(BindFailed, match="in use"):
        bind(address)


def test_a_file_is_never_replaced_by_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(BindFailed, match="no socket"):
        bind(unix(path))
    assert path.read_text() == "precious"


def test_a_unix_client_is_unknown_and_the_path_goes_with_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "s"
    met: list[tuple[str, int, bool]] = []

    def welcome(sock: socket.socket, peer: str, port: int, door: Door) -> None:
        met.append((peer, port, door.unix))
        sock.close()

    with rig() as house:
        listener = Listener(house.lobby, bind(unix(path)), f"unix:{path}", welcome, house.warnings.append)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            house.until(lambda: bool(met))
        assert met == [("unknown", 0, True)]
        listener.close()
        assert not path.exists()


def test_options_are_set_before_bind() -> None:
    """Linux hands them down to accepted sockets."""
    with bind(ANY_PORT) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert sock.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == NOTSENT_LOWAT
