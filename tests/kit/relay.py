"""A plain TCP relay that takes the product's configuration: the tests must tell it from a proxy."""

import contextlib
import signal
import socket
import sys
import threading
from pathlib import Path

import tomli


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy one direction until it ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def serve(client: socket.socket, server: tuple[str, int]) -> None:
    """Both directions of one connection."""
    with client, socket.socket() as upstream:
        try:
            upstream.connect(server)
        except OSError:
            return
        back = threading.Thread(target=pump, args=(upstream, client), daemon=True)
        back.start()
        pump(client, upstream)
        back.join()


def main() -> None:
    """Relay the first listening address to the first server until TERM."""
    config = tomli.loads(Path(sys.argv[-1]).read_text())
    host, _, port = config["server"]["listen"][0].rpartition(":")
    name = next(iter(config["upstream"].values()))["servers"][0].rpartition(":")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with socket.create_server((host, int(port)), backlog=256) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, (name[0], int(name[2]))), daemon=True).start()


if __name__ == "__main__":
    main()
