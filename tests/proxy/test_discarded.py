"""What was read of a client and not looked at: nobody knows any more where its next request begins."""

import threading
from pathlib import Path

import pytest

from shieldproxy.core.policy import Policy
from shieldproxy.net.record import OUT
from shieldproxy.proxy.admission import house_clients
from tests.kit.full import Full
from tests.kit.link import Turn
from tests.kit.upstream import Upstream
from tests.run.worker_rig import HOURS, plan, running

SIZE = 60_000
INNER = b"A" * 30_000 + b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"
SECOND = b"POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER


@pytest.mark.parametrize("express", [True, False])
async def test_a_502_after_a_body_was_read_away_ends_the_connection(tmp_path: Path, express: bool) -> None:
    """The server refuses a streamed body early, and breaks off before a byte of that has gone out.

    The rest of the body, counted without what was thrown away, would reach into the next request.
    """
    release, server = threading.Event(), Upstream()

    def refuses(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 900000\r\n\r\nxxxx")
        turn.wait(release)
        turn.close()

    server.on("/post", refuses, at="head")
    policy = Policy(timeouts=HOURS, buffer_request="stream")
    try:
        async with running(plan(server, tmp_path, base=policy, express=express)) as house:
            client = house.connect()
            await house.ask(client)
            (rec,) = house_clients(house.worker.house)
            whole = rec.sock
            rec.sock = Full(whole)  # type: ignore[assignment]
            client.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE)
            await house.until(lambda: rec.exchange is not None and rec.exchange.lane == "task")
            ex = rec.exchange
            await house.until(lambda: ex.resp is not None)
            client.send(b"y" * (SIZE // 2))
            await house.until(lambda: ex.discarded >= SIZE // 2)
            release.set()
            await house.until(lambda: ex.status == 502)
            rec.sock = whole
            client.send(b"y" * (SIZE - SIZE // 2) + SECOND)
            house.worker.lobby.again(rec, OUT)
            got = await house.rest(client)
            assert got.startswith(b"HTTP/1.1 502 ")
            assert b"\r\nConnection: close\r\n" in got
            assert got.count(b"HTTP/1.1") == 1
            assert [seen.target for seen in server.requests] == [b"/", b"/post"]
    finally:
        release.set()
        server.close()
