"""The worst clients there are: ``python -m tests.quiet.bestiary ADDRESS SECONDS SEED EACH [KIND ...]``.

A process of its own. Of each kind so many live at a time; one that has ended is followed by another. All they
do is drawn from the seed; only the interleaving is chance. One line of JSON at the end: for each kind how
many lived, and how many of those that deserve an answer got theirs.

``vanish`` needs a network namespace of its own, root and nft.
"""

import json
import random
import socket
import sys
import time
from collections import Counter
from contextlib import suppress

import trio

from tests.quiet.beast import KINDS, Beast, kind
from tests.quiet.pages import HUGE, LARGE, MIDDLE, SMALL, content, request
from tests.quiet.vanishing import NFT, nft

LIFE = 25.0
"""Seconds that one lives at most; none should need them."""
WISHED = frozenset({"reset-wait", "reset-answer", "pipeline-cut", "never-reads", "slow-reader", "vanish"})
"""Kinds that go away before the answer of a GET is whole: the proxy may abandon what nobody wants."""


@kind("fresh")
async def fresh(beast: Beast) -> None:
    """Connects and says nothing."""
    await beast.connect()
    await beast.some_time(5)


@kind("slow-head")
async def slow_head(beast: Beast) -> None:
    """Sends its head a few bytes at a time; some never end it."""
    await beast.connect()
    head = request(beast.ask(SMALL), fields=f"X-Slow: {'x' * beast.dice.randint(0, 200)}\r\n")
    whole = beast.dice.random() < 0.7
    await beast.drip(head if whole else head[:-4], beast.dice.randint(2, 8))
    if whole:
        await beast.read()


@kind("slow-body")
async def slow_body(beast: Beast) -> None:
    """An upload at 3 to 60 KB/s, known length or chunked."""
    await beast.connect()
    ask = beast.ask(SMALL)
    body = content(ask.number, beast.dice.choice([2000, 20_000, 150_000]))
    step = max(1, len(body) // beast.dice.randint(20, 100))
    if beast.dice.random() < 0.5:
        await beast.send(request(ask, len(body)))
        await beast.drip(body, step)
    else:
        await beast.send(request(ask, 0, chunked=True))
        for at in range(0, len(body), step):
            piece = body[at : at + step]
            await beast.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await beast.pause()
        await beast.send(b"0\r\n\r\n")
    await beast.read()


@kind("tiny-chunks")
async def tiny_chunks(beast: Beast) -> None:
    """An upload as fast as it goes, a byte to a chunk or two: as much work as there can be in a body."""
    await beast.connect()
    ask = beast.ask(SMALL)
    body = content(ask.number, beast.dice.choice([20_000, 200_000]))
    step = beast.dice.randint(1, 2)
    pieces = (body[at : at + step] for at in range(0, len(body), step))
    await beast.send(request(ask, 0, chunked=True))
    await beast.send(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n")
    await beast.read()


@kind("slow-reader")
async def slow_reader(beast: Beast) -> None:
    """Reads 1 MiB at 100 KB/s, or gives up."""
    await beast.connect(rcvbuf=8192)
    ask = beast.ask(beast.dice.choice([MIDDLE, LARGE, HUGE]))
    await beast.send(request(ask))
    end, left = time.monotonic() + beast.dice.uniform(3, 9), ask.size
    while left > 0 and time.monotonic() < end and (piece := await beast.sock.recv(5000)):
        left -= len(piece)
        await beast.pause()


@kind("never-reads")
async def never_reads(beast: Beast) -> None:
    """Asks for much, and reads nothing of it."""
    await beast.connect(rcvbuf=4096)
    await beast.send(request(beast.ask(beast.dice.choice([LARGE, HUGE]))))
    await trio.sleep(min(beast.dice.uniform(2, 8), max(0.0, beast.end - time.monotonic())))
    if beast.dice.random() < 0.5:
        beast.reset()


@kind("half-close")
async def half_close(beast: Beast) -> None:
    """Sends its FIN behind a whole request, and wants its answer."""
    await beast.connect()
    ask = beast.ask()
    body = content(ask.number, 3000) if beast.dice.random() < 0.3 else b""
    await beast.send(request(ask, len(body) or -1) + body)
    await beast.some_time(0.02)
    beast.sock.shutdown(socket.SHUT_WR)
    await beast.read()


@kind("half-head")
async def half_head(beast: Beast) -> None:
    """Sends its FIN inside the head."""
    await beast.connect()
    head = request(beast.ask())
    await beast.send(head[: beast.dice.randrange(1, len(head))])
    await beast.some_time(0.1)
    beast.sock.shutdown(socket.SHUT_WR)
    await beast.read()


@kind("half-body")
async def half_body(beast: Beast) -> None:
    """Sends its FIN inside the body."""
    await beast.connect()
    await begin_body(beast)
    beast.sock.shutdown(socket.SHUT_WR)
    await beast.read()


async def begin_body(beast: Beast) -> None:
    """Part of an upload."""
    ask, size = beast.ask(SMALL), beast.dice.choice([1000, 100_000, 300_000])
    await beast.send(request(ask, size))
    await beast.send(content(ask.number, beast.dice.randrange(1, size)))
    await beast.some_time(0.5)


@kind("reset-head")
async def reset_head(beast: Beast) -> None:
    """Resets inside the head."""
    await beast.connect()
    head = request(beast.ask())
    await beast.send(head[: beast.dice.randrange(1, len(head))])
    await beast.some_time(0.1)
    beast.reset()


@kind("reset-body")
async def reset_body(beast: Beast) -> None:
    """Resets inside the body."""
    await beast.connect()
    await begin_body(beast)
    beast.reset()


@kind("reset-wait")
async def reset_wait(beast: Beast) -> None:
    """Resets while the server works."""
    await beast.connect()
    await beast.send(request(beast.ask(work=20)))
    await beast.some_time(0.02)
    beast.reset()


@kind("reset-post")
async def reset_post(beast: Beast) -> None:
    """The same with a POST: it must be seen to its end."""
    await beast.connect()
    ask = beast.ask(work=20)
    await beast.send(request(ask, 2000) + content(ask.number, 2000))
    await beast.some_time(0.05)
    beast.reset()


@kind("reset-answer")
async def reset_answer(beast: Beast) -> None:
    """Resets while a large answer comes."""
    await beast.connect(rcvbuf=beast.dice.choice([8192, 0]))
    await beast.send(request(beast.ask(beast.dice.choice([LARGE, HUGE]))))
    await beast.read(most=beast.dice.randrange(1, 300_000))
    beast.reset()


async def pipelined(beast: Beast) -> int:
    """Several requests in one piece; how many."""
    await beast.connect()
    data, count = b"", beast.dice.randint(3, 12)
    for _ in range(count):
        ask = beast.ask(beast.dice.choice([SMALL, SMALL, MIDDLE]))
        body = content(ask.number, 500) if beast.dice.random() < 0.3 else b""
        data += request(ask, len(body) or -1) + body
    await beast.send(data)
    return count


@kind("pipeline")
async def pipeline(beast: Beast) -> None:
    """Does not wait for its answers before it asks again."""
    await beast.read(await pipelined(beast))


@kind("pipeline-cut")
async def pipeline_cut(beast: Beast) -> None:
    """The same, and goes away in the middle."""
    await pipelined(beast)
    await beast.some_time(0.05)
    if beast.dice.random() < 0.5:
        beast.reset()


@kind("burst")
async def burst(beast: Beast) -> None:
    """Thirty at the same moment; each a good client by itself."""
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            one = Beast(beast.name, beast.where, beast.dice.randrange(2**32), beast.end)
            nursery.start_soon(asking_once, one, beast)
    await beast.some_time(2)


async def asking_once(one: Beast, whole: Beast) -> None:
    """Ask once; a refusal is no answer."""
    with one.sock, suppress(OSError, ValueError):
        await one.connect()
        await one.send(request(one.ask(SMALL, 5)))
        await one.read()
        whole.answered += one.answered


@kind("garbage")
async def garbage(beast: Beast) -> None:
    """Floods with noise, or with heads in which bytes were changed."""
    await beast.connect()
    if beast.dice.random() < 0.5:
        data = beast.dice.randbytes(beast.dice.choice([100, 10_000, 1_000_000]))
    else:
        spoilt = bytearray(request(beast.ask(SMALL, 0), 5) * 3)
        for _ in range(beast.dice.randint(1, 5)):
            spoilt[beast.dice.randrange(len(spoilt))] = beast.dice.choice(b"\0\n\r :\xff0")
        data = bytes(spoilt) * beast.dice.choice([1, 50])
    await beast.send(data)
    beast.sock.shutdown(socket.SHUT_WR)
    await beast.read(most=65536)


async def breed(
    name: str, where: tuple[str, int], seed: int, end: float, told: dict[str, Counter[str]]
) -> None:
    """One after another, until the end."""
    count = 0
    dice = random.Random(seed)
    await trio.sleep(dice.uniform(0, 0.5))
    while time.monotonic() < end:
        beast = Beast(name, where, seed * 10_000 + count, end)
        with beast.sock, suppress(OSError, ValueError), trio.move_on_after(LIFE):
            await KINDS[name](beast)
        told[name]["lived"] += 1
        told[name]["answered"] += beast.answered
        count += 1
        await trio.sleep(dice.uniform(0.1, 0.9))


async def live(
    address: str, seconds: float, seed: int, each: int, names: list[str]
) -> dict[str, Counter[str]]:
    """So many of each kind for so long."""
    host, _, port = address.rpartition(":")
    told = {name: Counter[str]() for name in names}
    end = time.monotonic() + seconds
    async with trio.open_nursery() as nursery:
        for at, name in enumerate(names):
            for number in range(1 if name == "burst" else each):
                nursery.start_soon(breed, name, (host, int(port)), seed + at * 1000 + number, end, told)
    return told


def main() -> None:
    """Live, then tell."""
    address, seconds, seed, each, *names = sys.argv[1:]
    names = names or [name for name in KINDS if name != "vanish"]
    if "vanish" in names and not nft(NFT):
        names.remove("vanish")
    print(json.dumps(trio.run(live, address, float(seconds), int(seed), int(each), names)), flush=True)


if __name__ == "__main__":
    main()
