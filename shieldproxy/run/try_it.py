"""``make run``: the proxy before an embedded legacy server, for a first look.

The legacy server lives in threads of this process, on a free port; the proxy is the real command in a process
of its own, so that what is seen here is what is served elsewhere. This process only waits: INT or TERM is
handed to the proxy as TERM, which drains; a second one ends it at once.
"""

import argparse
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from shieldproxy.core.address import Address
from shieldproxy.run.legacy import LegacyServer

START = 15.0
"""Seconds that the proxy may take until it serves."""

HINT = """
shieldproxy serves http://{shown}/ before a legacy server with {threads} threads ({legacy}).

  open        http://{shown}/   in a browser, or
  try         curl -v http://{shown}/
              curl 'http://{shown}/slow?seconds=2'
              curl -d hello http://{shown}/echo
  starve      for i in 1 2 3 4 5; do sleep 60 | timeout 60 nc {host} {port} & done
              then curl again: it is answered at once. Clients that ask nothing cost the server nothing,
              and leave no line; the proxy ends them after 20 s.
  the same    for i in 1 2 3 4 5; do sleep 60 | timeout 60 nc {legacy_host} {legacy_port} & done
  without us  holds all threads of the server: the next curl waits for the rest of the 60 s.

Below come two lines: the exchange, and the connection when it ends. Ctrl-C ends both.
"""


def near(address: Address) -> Address:
    """Where this machine reaches an address that is listened on."""
    return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host), address.port, "")


def hint(address: Address, legacy: Address, threads: int) -> str:
    """What to open, and what to try."""
    shown, behind = near(address), near(legacy)
    return HINT.format(
        shown=shown,
        host=shown.host,
        port=shown.port,
        threads=threads,
        legacy=legacy,
        legacy_host=behind.host,
        legacy_port=behind.port,
    )


def taken(address: Address) -> str:
    """Say why an address cannot be listened on, in one line; empty if it can."""
    family = socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as fault:
        return fault.strerror or str(fault)
    return ""


def serves(address: Address) -> bool:
    """Whether somebody at this address ends a connection that we have ended.

    Nothing is asked, so that the log begins with the user; and a proxy that only listens, not yet ready for
    signals, does not answer our FIN.
    """
    here = near(address)
    try:
        with socket.create_connection((here.host, here.port), timeout=2) as sock:
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(1) == b""
    except OSError:
        return False


def wait_until_it_serves(proxy: subprocess.Popen[bytes], address: Address) -> bool:
    """Wait until the proxy serves. False if it has ended, or does not within ``START`` seconds."""
    end = time.monotonic() + START
    while proxy.poll() is None and time.monotonic() < end:
        if serves(address):
            return True
        time.sleep(0.05)
    return False


def proxy_command(options: argparse.Namespace, address: Address, legacy: Address) -> list[str]:
    """How the proxy is started: with a configuration, or with two addresses."""
    what = [options.config] if options.config else ["--listen", str(address), "--to", str(legacy)]
    return [sys.executable, "-m", "shieldproxy", "run", *what]


def serve(options: argparse.Namespace, address: Address, legacy_at: Address) -> int:
    """Run both until a signal comes or the proxy ends; the proxy's exit status is ours."""
    with LegacyServer(legacy_at, threads=options.threads) as legacy:
        command = proxy_command(options, address, legacy.address)
        # in a group of its own: Ctrl-C would otherwise reach the proxy twice, and the second ends it at once
        with subprocess.Popen(command, process_group=0) as proxy:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: proxy.send_signal(signal.SIGTERM))
            if wait_until_it_serves(proxy, address):
                print(hint(address, legacy.address, options.threads), flush=True)
            elif proxy.poll() is None:
                print(f"the proxy has not served at {address} for {START:g} s", file=sys.stderr)
                proxy.kill()
            return proxy.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options, look whether the address is free, serve."""
    parser = argparse.ArgumentParser(
        prog="python -m shieldproxy.run.try_it", description="The proxy before an embedded legacy server."
    )
    parser.add_argument(
        "--listen", default="127.0.0.1:8080", metavar="ADDR", help="of the proxy (127.0.0.1:8080)"
    )
    parser.add_argument(
        "--legacy", default="127.0.0.1:0", metavar="ADDR", help="of the server (any free port)"
    )
    parser.add_argument("--threads", type=int, default=4, help="of the server (4)")
    parser.add_argument("--config", metavar="FILE", help="of the proxy; it has to name both addresses")
    options = parser.parse_args(arguments)
    try:
        address, legacy = Address.parse(options.listen), Address.parse(options.legacy)
    except ValueError as fault:
        parser.error(str(fault))
    if address.is_unix or legacy.is_unix:
        parser.error("a browser cannot open a unix socket: host and port, please")
    if why := taken(address):
        parser.exit(1, f"cannot listen on {address}: {why}. Elsewhere: make run LISTEN=127.0.0.1:8081\n")
    if why := taken(legacy):
        parser.exit(1, f"the legacy server cannot listen on {legacy}: {why}\n")
    return serve(options, address, legacy)


if __name__ == "__main__":
    raise SystemExit(main())
