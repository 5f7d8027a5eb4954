"""What inetd does, for servers that speak HTTP on their standard input: ``inetd.py PORT COMMAND ...``.

A process for each connection, and nothing else. TERM ends it.
"""

import os
import signal
import socket
import sys


def main() -> None:
    """Accept for ever."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.dup2(client.fileno(), 0)
                os.dup2(client.fileno(), 1)
                os.execvp(sys.argv[2], sys.argv[2:])
            client.close()


if __name__ == "__main__":
    main()
