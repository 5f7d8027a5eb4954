"""A client process beside the load: ``python -m benchmarks.X PORT``.

It prints a line when it is ready, works until its standard input ends, and prints one JSON line.
"""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.rig import REPOSITORY, BenchError, Rig, Server

LIMIT = 15.0
"""Seconds that it may take to be ready, and to end."""


@contextmanager
def beside(rig: Rig, server: Server, module: str, before: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Run a client's module while the block runs; what it told is in the yielded dict afterwards.

    Args:
        rig: on whose load CPUs it runs.
        server: whose port it gets.
        module: its name in this package.
        before: words before the command, such as ``nice``.

    Raises:
        BenchError: it was not ready in time, failed, or did not end.
    """
    told: dict[str, Any] = {}
    cpus = ",".join(map(str, sorted(rig.load_cpus)))
    command = ["taskset", "-c", cpus, *before, sys.executable, "-m", f"benchmarks.{module}", str(server.port)]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=REPOSITORY)
    try:
        ready = child.stdout and select.select([child.stdout], [], [], LIMIT)[0] and child.stdout.readline()
        if ready:
            yield told
        output, errors = child.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{server.name}: the {module} did not end") from error
    finally:
        child.kill()
        child.communicate()
    if child.returncode != 0 or not ready:
        raise BenchError(f"{server.name}: the {module} failed: {errors.strip()[-200:]}")
    told.update(json.loads(output))
