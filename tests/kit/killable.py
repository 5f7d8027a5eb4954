"""Clients that are processes of their own, to be killed: their kernel ends what they had open."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

PROGRAM = """
import socket, sys
where = sys.argv[1].rpartition(":")
sock = socket.create_connection((where[0], int(where[2])))
sock.sendall(sys.stdin.buffer.read(int(sys.argv[2])))
print(sock.getsockname()[1], flush=True)
left = int(sys.argv[3])
while left:
    left -= len(sock.recv(left))
print("read", flush=True)
sys.stdin.read()
"""


class Killable:
    """One such client: it sends, reads so much, and waits to be killed."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self.port = port

    def has_read(self) -> None:
        """Wait until it has read what it was to read."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"read\n"

    def kill(self) -> None:
        """As the machine does when memory is short: not a line of its code runs any more."""
        os.kill(self._process.pid, signal.SIGKILL)
        assert self._process.wait(5) == -signal.SIGKILL


@contextlib.contextmanager
def killable(address: str, data: bytes, reads: int = 0) -> Iterator[Killable]:
    """A client of this address that has sent its request."""
    words = [sys.executable, "-I", "-S", "-c", PROGRAM, address, str(len(data)), str(reads)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(data)
            process.stdin.flush()
            yield Killable(process, int(process.stdout.readline()))
        finally:
            process.kill()
