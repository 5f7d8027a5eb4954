"""Clients that vanish: their packets are dropped in mid-connection, in a network namespace of their own."""

import shutil
import subprocess

import trio

from tests.quiet.beast import Beast, kind
from tests.quiet.pages import HUGE, SMALL, request

NFT = "add table inet quiet; delete table inet quiet; add table inet quiet; "
NFT += "add set inet quiet gone { type ipv4_addr; }; "
NFT += "add chain inet quiet input { type filter hook input priority 0; }; "
NFT += "add rule inet quiet input ip saddr @gone drop; add rule inet quiet input ip daddr @gone drop"


def nft(command: str) -> bool:
    """Have nft do something; whether it did."""
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return False
    return subprocess.run([program, command], check=False, capture_output=True).returncode == 0


@kind("vanish")
async def vanish(beast: Beast) -> None:
    """In mid-head, mid-body, in line or in its answer, no packet of it comes any more, nor is any taken."""
    source = f"127.9.{beast.dice.randrange(256)}.{beast.dice.randrange(1, 255)}"
    await beast.connect(source, rcvbuf=8192)
    await beast.send(
        beast.dice.choice([b"GET / HT", request(beast.ask(HUGE)), request(beast.ask(SMALL), 50)])
    )
    await beast.some_time(0.1)
    await trio.to_thread.run_sync(nft, f"add element inet quiet gone {{ {source} }}")
    beast.reset()
    await trio.sleep(1)
