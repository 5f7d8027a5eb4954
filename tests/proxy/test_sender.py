"""The sender, seen from inside: what it holds of a slow reader, and who is too slow."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from shieldproxy.core import pace
from shieldproxy.core.policy import Policy
from shieldproxy.proxy.admission import house_clients
from tests.kit.answers import reply
from tests.kit.upstream import Upstream
from tests.run.worker_rig import HOURS, plan, running

BIG = bytes(range(256)) * 8192
GET = b"GET /big HTTP/1.1\r\nHost: a\r\nCookie: c\r\nReferer: r\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    upstream.on("/big", reply(BIG))
    yield upstream
    upstream.close()


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
async def test_what_is_held_is_little(server: Upstream, tmp_path: Path, express: bool) -> None:
    """No task, no head, no bytes but those in the file; then the client reads, and has all."""
    async with running(plan(server, tmp_path, express=express)) as running_house:
        house = running_house.worker.house
        client = running_house.connect(GET)
        await running_house.until(lambda: house.counts["slow_readers"] == 1)
        (rec,) = house_clients(house)
        ex = rec.exchange
        assert rec.phase == "send"
        assert (ex.bell, ex.up, ex.resp, ex.request, bytes(ex.to_down)) == (None, None, None, b"", b"")
        assert ex.head.lines == [b"Referer: r"]
        (place,) = house.groups["legacy"].servers
        assert place.leased == 0
        await running_house.until(lambda: house.store.used > 1_000_000)
        got = b""
        with trio.fail_after(8):
            while not got.endswith(BIG):
                got += await running_house.some(client)
        await running_house.until(lambda: house.store.files == 0)
        assert rec.phase == "idle"
        (line,) = await running_house.lines("exchange", client)
        assert (line["outcome"], line["out"], line["status"]) == ("served", len(got), 200)


async def test_who_is_too_slow_on_average(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reads 1 MB a second and is served, one next to nothing: it is given up while it reads."""
    monkeypatch.setattr(pace, "GRACE", 0.5)
    where = plan(server, tmp_path)
    where = replace(where, base=Policy(timeouts=replace(HOURS, send_min_rate=150_000.0)))
    async with running(where) as house:
        fast, slow = house.connect(GET), house.connect(GET)
        got = bytearray()
        with trio.fail_after(30):
            while not got.endswith(BIG):
                got += await house.some(fast)
                await trio.sleep(0.1)
                if len(got) < 500_000:
                    await house.read(slow, 300)
        await house.until(lambda: house.worker.house.active == 0)
        (first,) = await house.lines("exchange", fast)
        (second,) = await house.lines("exchange", slow)
        assert (first["outcome"], first["reason"]) == ("served", "done")
        assert (second["outcome"], second["by"], second["phase"], second["reason"]) == (
            "aborted", "client", "relay", "send-rate",
        )  # fmt: skip
        (receipt,) = await house.lines("connection", slow)
        assert (receipt["phase"], receipt["reason"]) == ("send", "send-rate")
