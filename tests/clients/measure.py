"""Put clients through the story, several at a time, and judge what came of it."""

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.clients import browsers, languages, tools
from tests.clients.model import CLOSED, KEPT, POST, REFUSAL, UPLOAD, Program, Row, Seen
from tests.clients.stage import Stage
from tests.clients.watcher import Watcher

PROGRAMS: Sequence[Program] = (*tools.PROGRAMS, *languages.PROGRAMS, *browsers.PROGRAMS)
AT_A_TIME = 6
"""They wait far more than they work."""


def _answers(stage: Stage, program: Program, seen: dict[str, Seen]) -> Iterator[str]:
    """What a program saw that it should not have seen, or the other way round."""
    for step in program.steps:
        got = seen.get(step)
        if got is None or got.error:
            yield f"{step}: {got.error if got else 'nothing was told of it'}"
        elif step == REFUSAL:
            if got.status != 413:
                yield f"{step}: {got.status}, not 413"
        elif got.status != 200:
            yield f"{step}: {got.status}"
        elif step != POST:
            want = Seen.of(200, stage.documents[step])
            if got.size != want.size or (got.digest and got.digest != want.digest):
                yield f"{step}: {got.size} bytes came, or others than the {want.size} that were sent"
    if "program" in seen:
        yield seen["program"].error


def _exchanges(stage: Stage) -> Iterator[str]:
    """What the log has that this story does not explain."""
    for line in stage.proxy.lines("exchange"):
        refused = line["outcome"] == "refused" and line["reason"] == "body-long"
        if line["outcome"] != "served" and not (refused and line["target"].endswith(REFUSAL)):
            yield f"the log: {line}"
    asked = {line["port"] for line in stage.proxy.lines("exchange")}
    ended = [line["port"] for line in stage.proxy.lines("connection")]
    if missing := asked - set(ended):
        yield f"no receipt for {len(missing)} connections"


def _receipts(row: Row) -> Iterator[str]:
    """A response that may have been lost, or a defect."""
    for receipt in row.receipts:
        if receipt.get("undelivered") or receipt["reason"] == "internal-error":
            yield f"the receipt: {receipt}"


def _uploads(stage: Stage) -> Iterator[str]:
    """At the server: each upload whole, and each request well-formed."""
    yield from stage.upstream.violations
    for request in stage.upstream.requests:
        if request.target == b"/" + POST.encode() and len(request.body) != UPLOAD:
            yield f"{len(request.body)} bytes of an upload reached the server, not {UPLOAD}"
        if request.target == b"/" + REFUSAL.encode():
            yield "a refused upload reached the server"


def measure(program: Program, directory: Path, watcher: Watcher, watch: float, **options: Any) -> Row:
    """One client's row; an exception of the harness is a fault of the row."""
    row = Row(program)
    stage = None
    try:
        row.version = program.version()
        stage = Stage(directory, watcher, watch, **options)
        row.seen = program.story(stage)
        stage.await_log(program.steps)
        row.receipts = stage.await_receipts()
        row.idle = stage.closing(KEPT) if program.idles else None
        row.asked = stage.closing(CLOSED)
        row.refusal = stage.closing(REFUSAL)
        versions = sorted({line["version"] for line in stage.proxy.lines("exchange") if "version" in line})
        row.http = ", ".join(versions)
        row.faults += _answers(stage, program, row.seen)
        row.faults += _exchanges(stage)
        row.faults += _receipts(row)
        row.faults += _uploads(stage)
    except Exception:  # noqa: BLE001 - it belongs to this client, and the others go on
        row.faults.append(traceback.format_exc())
    if stage is not None:
        try:
            stage.close()
        except Exception:  # noqa: BLE001 - the same
            row.faults.append(traceback.format_exc())
    return row


@contextlib.contextmanager
def measuring(
    programs: Sequence[Program], watch: float, top: Path, **options: Any
) -> Iterator[dict[str, Future[Row]]]:
    """Begin with all of them, in their order; a row by name, as soon as it is there."""
    watcher = Watcher()
    pool = ThreadPoolExecutor(AT_A_TIME)

    def one(number: int) -> Row:
        directory = top / str(number)
        directory.mkdir()
        return measure(programs[number], directory, watcher, watch, **options)

    try:
        yield {program.name: pool.submit(one, number) for number, program in enumerate(programs)}
    finally:
        pool.shutdown(cancel_futures=True)
        watcher.close()
