"""The story with one of Python's libraries: ``python.py LIBRARY BASE IDLE_SECONDS``."""

import asyncio
import hashlib
import sys
import time
from collections.abc import Callable

import aiohttp
import httpx
import requests
import urllib3

STEPS = (("kept", 0), ("again", 0), ("post", 300_000), ("refused", 3_000_000), ("closed", 0))
Ask = Callable[[str, bytes | None], tuple[int, bytes]]


def tell(step: str, status: int, body: bytes) -> None:
    """Say what was seen of one response."""
    print(step, status, len(body), hashlib.sha256(body).hexdigest(), flush=True)


def follow(ask: Ask, base: str, idle: float) -> None:
    """Go through the story; an error of one step is told, and the next follows."""
    for step, size in STEPS:
        try:
            tell(step, *ask(f"{base}/{step}", b"u" * size if size else None))
        except (OSError, urllib3.exceptions.HTTPError, httpx.HTTPError) as error:
            print(step, "error", repr(error), flush=True)
        if step in ("kept", "closed"):
            time.sleep(idle)


def with_requests(base: str, idle: float) -> None:
    """A Session, as its manual recommends."""
    with requests.Session() as session:

        def ask(url: str, data: bytes | None) -> tuple[int, bytes]:
            got = session.request("POST" if data else "GET", url, data=data, timeout=40)
            return got.status_code, got.content

        follow(ask, base, idle)


def with_urllib3(base: str, idle: float) -> None:
    """A PoolManager."""
    pool = urllib3.PoolManager(timeout=40.0)

    def ask(url: str, data: bytes | None) -> tuple[int, bytes]:
        got = pool.request("POST" if data else "GET", url, body=data)
        return got.status, got.data

    follow(ask, base, idle)


def with_httpx(base: str, idle: float) -> None:
    """A Client."""
    with httpx.Client(timeout=40.0) as client:

        def ask(url: str, data: bytes | None) -> tuple[int, bytes]:
            got = client.request("POST" if data else "GET", url, content=data)
            return got.status_code, got.content

        follow(ask, base, idle)


async def with_aiohttp(base: str, idle: float) -> None:
    """A ClientSession; its loop runs while it is idle."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(40)) as session:
        for step, size in STEPS:
            data = b"u" * size if size else None
            try:
                async with session.request("POST" if data else "GET", f"{base}/{step}", data=data) as got:
                    tell(step, got.status, await got.read())
            except (aiohttp.ClientError, OSError) as error:
                print(step, "error", repr(error), flush=True)
            if step in ("kept", "closed"):
                await asyncio.sleep(idle)


def main() -> None:
    """Choose the library."""
    library, base, idle = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if library == "aiohttp":
        asyncio.run(with_aiohttp(base, idle))
    else:
        {"requests": with_requests, "urllib3": with_urllib3, "httpx": with_httpx}[library](base, idle)


if __name__ == "__main__":
    main()
