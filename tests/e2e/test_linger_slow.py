"""Clients that read slowly, evenly or in bursts: they are served whole, under the default timeouts too."""

import shutil
import subprocess
import threading
import time

import pytest

from tests.e2e.conftest import LANES, Bench
from tests.kit.client import Client, request
from tests.kit.endings import page, receipt
from tests.kit.sockets import read_to_end


def burst_then_pause(client: Client, size: int, pause: float) -> int:
    """Read so many bytes at once, nothing for a while, then the rest: how curl keeps to an average."""
    got = 0
    while got < size:
        got += len(client.sock.recv(65536))
    time.sleep(pause)
    return got + len(read_to_end(client.sock)[0])


def test_a_burst_pays_for_a_pause(bench: Bench) -> None:
    """A pause three times send_idle, but an average of 100 kB/s: a slow reader, not an idle one.

    Seen with curl --limit-rate 20k: 2 MB at once, then 100 s without a byte.
    """
    upstream = bench.upstream()
    upstream.on("/big", page(2_000_000))
    proxy = bench.proxy(upstream, timeouts={"send_idle": "1s"})
    with Client(proxy.address, rcvbuf=65536) as client:
        client.send(request("/big", fields=["Connection: close"]))
        assert burst_then_pause(client, 300_000, 3.0) > 2_000_000


def test_a_burst_pays_for_a_pause_in_a_linger(bench: Bench) -> None:
    """The same when the rest lies in our kernel, behind our FIN."""
    upstream = bench.upstream()
    upstream.on("/page", page(320_000))
    proxy = bench.proxy(upstream, timeouts={"send_idle": "1s", "fin_wait_1": "1s"})
    with Client(proxy.address, rcvbuf=8192) as client:
        client.send(request("/page", fields=["Connection: close"]))
        assert burst_then_pause(client, 280_000, 4.0) > 320_000
    assert receipt(proxy, client)["acknowledged"] is True


def test_keep_alive_does_not_cut_off_what_is_undelivered(bench: Bench) -> None:
    """The rest of a response lies in our kernel when keep_alive ends the connection: it is delivered first.

    Seen with curl --limit-rate 20k, which lost its last 15 kB to TCP_USER_TIMEOUT behind our FIN.
    """
    upstream = bench.upstream()
    upstream.on("/page", page(320_000))
    timeouts = {"keep_alive": "300ms", "send_idle": "1s", "fin_wait_1": "1s"}
    proxy = bench.proxy(upstream, timeouts=timeouts)
    with Client(proxy.address, rcvbuf=8192) as client:
        client.send(request("/page"))
        assert burst_then_pause(client, 280_000, 4.0) > 320_000


SLOW = 520_000
"""At 20 kB/s this takes 26 s, more than any default of a second's kind would allow."""
FETCHED: dict[str, list[int]] = {}
"""What the slow readers got, by lane: both lanes wait together."""


def read_slowly(address: str, got: list[int]) -> None:
    """Read with a window that is closed all the time."""
    with Client(address, rcvbuf=8192) as client:
        client.send(request("/slow"))
        while sum(got) < SLOW and (piece := client.sock.recv(4096)):
            got.append(len(piece))
            time.sleep(len(piece) / 20_000)


def fetch_with_curl(address: str, got: list[int]) -> None:
    """Curl takes the first part in a burst, then reads at its rate."""
    command = [
        "curl",
        "-sS",
        "--limit-rate",
        "20k",
        "-w",
        "%{stderr}%{size_download}",
        f"http://{address}/curl",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    got.append(int(ran.stderr))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_20_kbyte_a_second_under_the_default_timeouts(bench: Bench, lane: str) -> None:
    """The issue's own reader, curl, and one beside it: whole after half a minute."""
    if not FETCHED:
        upstream = bench.upstream()
        upstream.on("/curl", page(720_000))
        upstream.on("/slow", page(SLOW))
        readers = []
        begun = time.monotonic()
        for name in LANES:
            bench.express = name == "express"
            proxy = bench.proxy(upstream)
            for read in (fetch_with_curl, read_slowly):
                got = FETCHED.setdefault(f"{name} {read.__name__}", [])
                readers.append(threading.Thread(target=read, args=(proxy.address, got)))
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(90)
        assert time.monotonic() - begun > 24
    assert sum(FETCHED[f"{lane} fetch_with_curl"]) == 720_000
    assert sum(FETCHED[f"{lane} read_slowly"]) >= SLOW
