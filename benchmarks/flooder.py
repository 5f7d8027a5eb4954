"""A client that asks for a close, reads its response and the FIN, and then sends as fast as it can."""

import json
import select
import socket
import sys
import time

from benchmarks.holder import connect, linger

PIECE = bytes(256 * 1024)


def flood(client: socket.socket) -> int:
    """Send until standard input ends; how many bytes the kernel took."""
    sent = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        sent += client.send(PIECE)
    return sent


def main() -> None:
    """Come into the linger, send, report; a reset is an error here: nothing was to end it."""
    with connect(int(sys.argv[1]), "127.0.0.1") as client:
        linger(client, 1)
        print("ready", flush=True)
        began = time.monotonic()
        sent = flood(client)
        passed = time.monotonic() - began
    print(json.dumps({"bytes": sent, "seconds": passed}))


if __name__ == "__main__":
    main()
