"""Listening sockets: bind, accept, and what happens when descriptors run out.

The listener stands in the lobby like any record, level-triggered. Accepting is done between batches. Options
that every client's socket needs are set once here: Linux hands them down to accepted sockets.
"""

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from sys import intern
from typing import Final

from shieldproxy.core.address import Address
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.record import IN, Door, Record
from shieldproxy.net.tcpinfo import TCP_NOTSENT_LOWAT

BACKLOG: Final = 4096
ACCEPTS_A_TURN: Final = 64
BACK_OFF: Final = 0.25
"""Seconds without accept after the process, or the system, had no descriptor left."""
NOTSENT_LOWAT: Final = 128 * 1024
"""Unsent bytes that the kernel takes from us for one client."""
SHORT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Welcome = Callable[[socket.socket, str, int, Door], None]


class BindFailed(Exception):
    """An address cannot be listened on; the message says why in one line."""


def bind(address: Address) -> socket.socket:
    """Return a listening, non-blocking socket.

    Raises:
        BindFailed: the address is in use, is not ours, or may not be bound.
    """
    if address.is_unix:
        return _bind_unix(address)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as exc:
        raise BindFailed(f"cannot listen on {address}: {exc.strerror or exc}") from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise BindFailed(f"cannot listen on {address}: {_why(exc)}") from exc
    return sock


def _bind_unix(address: Address) -> socket.socket:
    path = Path(address.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if path.exists():
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            path.unlink()  # left over from a process that is gone
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        why = "no right to make a socket there" if exc.errno == errno.EACCES else _why(exc)
        raise BindFailed(f"cannot listen on {address}: {why}") from exc
    return sock


def _why(exc: OSError) -> str:
    if exc.errno == errno.EACCES:
        return "no right to bind it (ports below 1024 need CAP_NET_BIND_SERVICE)"
    if exc.errno == errno.EADDRINUSE:
        return "the address is in use by another process"
    if exc.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return exc.strerror or str(exc)


class Listener:
    """Accepts clients of one address and hands them to `welcome`.

    Args:
        lobby: that holds the listening socket.
        sock: from `bind`.
        listen: the address as configured.
        welcome: called with each accepted socket, the peer's address and port, and the door.
        warn: called with one line when accept has to pause.
    """

    def __init__(
        self, lobby: Lobby, sock: socket.socket, listen: str, welcome: Welcome, warn: Callable[[str], None]
    ) -> None:
        self._lobby = lobby
        self.door = Door(listen, sock)
        self._welcome = welcome
        self._warn = warn
        self._record = Record(sock, self._on_event, self._on_due)
        self._accept_later = self.accept
        lobby.add(self._record, IN)

    def _on_event(self, record: Record, events: int) -> None:
        record.latch |= events
        self._lobby.between.append(self._accept_later)

    def accept(self) -> None:
        """Accept what waits, at most a share of it a turn."""
        sock, door, welcome = self.door.sock, self.door, self._welcome
        if self._record.fd < 0:
            return
        for _ in range(ACCEPTS_A_TURN):
            try:
                client, peer = sock.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in SHORT_OF:
                    self._pause(exc)
                    return
                continue  # this client is gone already (ECONNABORTED and its like, accept(2))
            client.setblocking(False)
            try:
                if door.unix:
                    welcome(client, "unknown", 0, door)
                else:
                    welcome(client, intern(peer[0]), peer[1], door)  # many of one address share its text
            except BaseException:
                client.close()
                raise

    def _pause(self, exc: OSError) -> None:
        self._warn(f"accept on {self.door.listen} pauses: {exc.strerror}")
        self._lobby.epoll.modify(self._record.fd, 0)
        self._lobby.arm(self._record, self._lobby.now + BACK_OFF)

    def _on_due(self, record: Record) -> None:
        self._lobby.epoll.modify(record.fd, IN)

    def close(self) -> None:
        """Stop accepting."""
        if self._record.fd >= 0:
            path = self.door.sock.getsockname() if self.door.unix else None
            self._lobby.close(self._record)
            if isinstance(path, str) and path:
                Path(path).unlink(missing_ok=True)
