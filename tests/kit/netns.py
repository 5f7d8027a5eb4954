"""Two network namespaces and a wire between them that delays, loses, slows and can be cut.

The namespaces have no names: each is held by a descriptor and vanishes with it, so that nothing is left
behind whatever becomes of the test. Each has a TUN device; a process of its own carries the packets from one
to the other (this file, run as a program). Sockets and processes are born inside through :meth:`Side.run`: a
thread that has entered the namespace calls the function, and what it makes stays there for all to use.

Needs root, ``/dev/net/tun`` and ``ip``; :func:`missing` names what a machine lacks.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUN_NO_PI = 0x0001 | 0x1000
_QUEUE = 4 * 1024 * 1024

CLIENT, SERVER = "10.77.0.1", "10.77.0.2"

Made = TypeVar("Made")


def missing() -> str:
    """Say what this machine lacks for a wire of our own; empty if nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun"
    if shutil.which("ip") is None:
        return "no ip (iproute2)"
    try:
        side = Side("10.77.255.1", "10.77.255.2")
    except OSError as fault:
        return f"no network namespace or TUN device to be had: {fault}"
    side.close()
    return ""


def _libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


class Side:
    """One end: a namespace, its TUN device with an address, and a way to have things made inside."""

    def __init__(self, own: str, peer: str) -> None:
        """Make the namespace and bring its devices up; OSError where that is not allowed."""
        self.own = own
        self.tun = -1
        self.namespace = -1
        _in_thread(lambda: self._build(own, peer))

    def _build(self, own: str, peer: str) -> None:
        _libc("unshare", _CLONE_NEWNET)
        self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(self.tun, _TUNSETIFF, struct.pack("16sH22x", b"wire", _TUN_NO_PI))
        for words in (
            "link set lo up",
            f"addr add {own} peer {peer} dev wire",
            "link set wire txqueuelen 2000 up",
        ):
            ran = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
            if ran.returncode:
                raise OSError(f"ip {words}: {ran.stderr.strip()}")
        # The machine's own choice may be bbr, and a namespace may not name another for all: its route may.
        for control in ("cubic", "reno"):
            words = f"route replace {peer} dev wire congctl {control}"
            if subprocess.run(["ip", *words.split()], capture_output=True, check=False).returncode == 0:
                break

    def run(self, make: Callable[[], Made]) -> Made:
        """Call a function inside the namespace; the sockets and processes it makes are born there."""

        def enter() -> Made:
            _libc("setns", self.namespace, _CLONE_NEWNET)
            return make()

        return _in_thread(enter)

    def pool(self, threads: int) -> ThreadPoolExecutor:
        """Threads that live inside the namespace."""
        return ThreadPoolExecutor(threads, initializer=lambda: _libc("setns", self.namespace, _CLONE_NEWNET))

    def close(self) -> None:
        """Let go of device and namespace."""
        for descriptor in (self.tun, self.namespace):
            if descriptor >= 0:
                os.close(descriptor)
        self.tun = self.namespace = -1


def _in_thread(make: Callable[[], Made]) -> Made:
    with ThreadPoolExecutor(max_workers=1) as own:
        return own.submit(make).result()


class Wire:
    """The two sides and the process between them."""

    def __init__(self, client: Side, server: Side, setting: dict[str, float]) -> None:
        """Start to carry packets."""
        self.client, self.server = client, server
        self._control, inner = socket.socketpair()
        command = [sys.executable, __file__, str(client.tun), str(server.tun), str(inner.fileno())]
        self._process = subprocess.Popen(command, pass_fds=(client.tun, server.tun, inner.fileno()))
        inner.close()
        self.set(**setting)

    def set(self, **setting: float) -> None:
        """Change the wire.

        delay (s, one way), loss (share), rate (bytes/s, 0 = any), up, down (0 = cut); hole (1: the first full
        packet of a client is lost, and lost again as often as it is sent, until hole is 0).
        """
        self._control.sendall(json.dumps(setting).encode() + b"\n")
        self._control.settimeout(5)
        if self._control.recv(1) != b".":
            raise RuntimeError("the wire has ended")

    def cut(self) -> None:
        """Nothing passes any more, in either direction, and nobody is told."""
        self.set(up=0, down=0)

    def mend(self) -> None:
        """Undo a cut."""
        self.set(up=1, down=1)

    def close(self) -> None:
        """End the process and let the namespaces go."""
        self._control.close()
        self._process.wait(5)
        self.client.close()
        self.server.close()


@contextmanager
def wire(**setting: float) -> Iterator[Wire]:
    """Two sides joined: ``client`` at CLIENT, ``server`` at SERVER."""
    client = Side(CLIENT, SERVER)
    try:
        server = Side(SERVER, CLIENT)
    except OSError:
        client.close()
        raise
    line = Wire(client, server, setting)
    try:
        yield line
    finally:
        line.close()


class _Lane:
    """One direction: packets under way in the order of their arrival."""

    def __init__(self, source: int, target: int, gate: str) -> None:
        self.source, self.target, self.gate = source, target, gate
        self.line: list[tuple[float, int, bytes]] = []
        self.free = 0.0
        self.queued = 0
        self.count = 0
        self.hole = b""

    def falls(self, packet: bytes) -> bool:
        """Whether a packet falls into the hole: it begins where the first full one began."""
        start = (packet[0] & 15) * 4
        sequence = packet[start + 4 : start + 8]
        if not self.hole and self.gate == "up" and len(packet) > 1000:
            self.hole = sequence
        return sequence == self.hole

    def take(self, setting: dict[str, float], now: float) -> None:
        while True:
            try:
                packet = os.read(self.source, 65535)
            except BlockingIOError:
                return
            lost = setting["loss"] and random.random() < setting["loss"]
            lost = lost or (setting["hole"] and self.falls(packet))
            if not setting[self.gate] or lost or self.queued > _QUEUE:
                continue
            self.free = max(self.free, now) + (len(packet) / setting["rate"] if setting["rate"] else 0.0)
            self.count += 1
            self.queued += len(packet)
            heapq.heappush(self.line, (self.free + setting["delay"], self.count, packet))

    def give(self, setting: dict[str, float], now: float) -> None:
        while self.line and self.line[0][0] <= now:
            _, _, packet = heapq.heappop(self.line)
            self.queued -= len(packet)
            if setting[self.gate]:
                try:
                    os.write(self.target, packet)
                except BlockingIOError:
                    continue


def _carry(first: int, second: int, control: int) -> None:
    setting = {"delay": 0.0, "loss": 0.0, "rate": 0.0, "up": 1.0, "down": 1.0, "hole": 0.0}
    lanes = [_Lane(first, second, "up"), _Lane(second, first, "down")]
    commands = socket.socket(fileno=control)
    poll = select.poll()
    for descriptor in (first, second, control):
        poll.register(descriptor, select.POLLIN)
    held = b""
    while True:
        now = time.monotonic()
        due = min((lane.line[0][0] for lane in lanes if lane.line), default=now + 60.0)
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, due - now) * 1000)}
        if control in ready:
            piece = commands.recv(65536)
            if not piece:
                return
            *lines, held = (held + piece).split(b"\n")
            for text in lines:
                setting.update(json.loads(text))
                commands.sendall(b".")
        now = time.monotonic()
        for lane in lanes:
            if lane.source in ready:
                lane.take(setting, now)
            lane.give(setting, now)


if __name__ == "__main__":
    _carry(*(int(word) for word in sys.argv[1:4]))
