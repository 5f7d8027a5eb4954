"""The log never blocks the loop: lines that nobody takes are dropped and counted."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Bench
from tests.kit.client import Client, request
from tests.kit.proxy import ROOT, command, settings, toml
from tests.kit.sockets import connect, eventually
from tests.kit.wire import read_response_body, read_response_head


def fetch(address: str, count: int, batch: int = 50) -> int:
    """So many requests, pipelined in batches; how many were answered whole."""
    done = 0
    with Client(address, timeout=10) as client:
        for _ in range(count // batch):
            client.send(request("/" + "x" * 200) * batch)
            for _ in range(batch):
                head = read_response_head(client.stream)
                read_response_body(client.stream, head, "GET")
                done += head.status == 200
            client.stream.seen.clear()
    return done


def test_a_pipe_that_nobody_reads(bench: Bench, tmp_path: Path) -> None:
    """Access = "stdout" into a full pipe: 5,000 requests are served, drops are said."""
    upstream = bench.upstream()
    config: dict[str, Any] = settings(tmp_path, upstream.address, bench.express, log={"access": "stdout"})
    file = tmp_path / "stalled.toml"
    file.write_text(toml(config))
    address = config["server"]["listen"][0]
    with (tmp_path / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [*command(), str(file)], stdout=subprocess.PIPE, stderr=errors, cwd=ROOT, env=dict(os.environ)
        )
    try:
        assert process.stdout is not None
        assert eventually(lambda: listens(address), 10), (tmp_path / "stderr").read_text()
        begun = time.monotonic()
        assert fetch(address, 5000) == 5000
        assert time.monotonic() - begun < 30
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0, "a stalled log holds up the end"
        said = (tmp_path / "stderr").read_text()
        assert "dropped" in said, said
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def listens(address: str) -> bool:
    """Whether it can be connected to."""
    host, _, port = address.rpartition(":")
    try:
        connect((host, int(port))).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("access", ["/dev/full"])
def test_a_log_that_takes_nothing(bench: Bench, access: str) -> None:
    """No space left: requests are served all the same, and it is said once, not for each line."""
    upstream = bench.upstream()
    proxy = bench.proxy(upstream, log={"access": access})
    assert fetch(proxy.address, 200) == 200
    assert proxy.process.poll() is None
    assert len(proxy.stderr().splitlines()) < 20
