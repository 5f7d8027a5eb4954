"""What tests of closing do again and again: answer a client for the last time, and wait for its kernel."""

import socket
from dataclasses import replace
from math import inf

from shieldproxy.core.policy import Linger
from shieldproxy.net.record import Downstream
from shieldproxy.net.tcpinfo import FIN_WAIT1, tcp_state
from tests.net.rig import Rig

LAST_WORDS = bytes(200_000)


def respond(house: Rig, rec: Downstream, data: bytes, mode: Linger = "ack") -> int:
    """Serve a client with a response that ends its connection; return what its kernel took."""
    house.policy = replace(house.policy, linger=mode)
    rec.policy = house.policy
    house.serve(rec)
    rec.sent = rec.sock.send(data)
    house.closer.end(rec, "proxy", "exchange", "test")
    return rec.sent


def paused(house: Rig) -> tuple[socket.socket, Downstream]:
    """A lingering client that reads nothing, with more on its way than its kernel takes."""
    peer, rec = house.join(rcvbuf=4096)
    rec.sent = respond(house, rec, LAST_WORDS)
    house.quiet()
    assert tcp_state(rec.sock) == FIN_WAIT1
    return peer, rec


def acknowledged(house: Rig, rec: Downstream) -> None:
    """Wait for the client's kernel: it may delay the acknowledgement of our FIN by 40 ms."""
    house.until(lambda: rec.linger is not None and rec.linger.acked_at < inf)
