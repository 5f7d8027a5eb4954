"""wrk: prepared requests with the head of a browser, and what it counted.

The requests of a scenario are built here and stand in the script as strings, so that wrk does nothing for
each request but send the next. ``parse_result`` and the builders are pure.
"""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import procfs
from benchmarks.browser import browser_head
from benchmarks.heartbeat import heartbeat
from benchmarks.model import QUIET, Sample
from benchmarks.peers import SMALL, find
from benchmarks.rig import BenchError, Rig, Server

MARK = "RESULT "
SCRIPT = """local requests = {
%(requests)s
}
local body = string.rep("x", %(body)d)
local at = 0
for i, head in ipairs(requests) do requests[i] = head .. body end
request = function()
  at = at %% #requests + 1
  return requests[at]
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('%(mark)s{"requests":%%.0f,"bytes":%%.0f,"seconds":%%.6f,"p50":%%.3f,"p99":%%.3f,' ..
    '"connect":%%.0f,"read":%%.0f,"write":%%.0f,"status":%%.0f,"timeout":%%.0f}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load.

    ``body`` and ``answer`` are bytes of the request's body and of the response's; ``heads`` may bring
    requests of the scenario's own.
    """

    name: str
    title: str
    connections: int = 64
    method: str = "GET"
    path: str = "/"
    body: int = 0
    answer: int = SMALL
    close: bool = False
    heads: tuple[str, ...] = ()


def heads_of(scenario: Scenario) -> Sequence[str]:
    """The scenario's prepared heads: its own, or 2,048 of a browser (16 where the body is large)."""
    if scenario.heads:
        return scenario.heads
    return [
        browser_head(
            number, method=scenario.method, path=scenario.path, body=scenario.body, close=scenario.close
        )
        for number in range(2048 if scenario.body <= SMALL else 16)
    ]


def script_of(scenario: Scenario) -> str:
    """The Lua script; JSON strings of ASCII text are Lua strings."""
    requests = ",\n".join(json.dumps(head) for head in heads_of(scenario))
    return SCRIPT % {"requests": requests, "body": scenario.body, "mark": MARK}


def parse_result(text: str, answer: int) -> tuple[int, float, float, float]:
    """Requests, seconds, p50 and p99 (ms) of what wrk printed.

    Raises:
        BenchError: errors were counted, nothing was served, or responses were shorter than ``answer``.
    """
    line = next((line for line in text.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise BenchError(f"wrk printed no result: {text.strip()[-200:]}")
    result = json.loads(line.removeprefix(MARK))
    errors = {
        name: result[name] for name in ("connect", "read", "write", "status", "timeout") if result[name]
    }
    if errors:
        raise BenchError(", ".join(f"{count} {name} errors" for name, count in errors.items()))
    if not result["requests"] or result["bytes"] < result["requests"] * answer:
        raise BenchError(f"{result['requests']} responses with {result['bytes']} bytes in all")
    return result["requests"], result["seconds"], result["p50"], result["p99"]


def run(rig: Rig, server: Server, scenario: Scenario, seconds: int, tries: int = 1) -> Sample:
    """Drive wrk against a server for some seconds.

    A run during which others used the machine is repeated, up to ``tries`` runs in all; the least disturbed
    counts. A run with errors is never repeated.

    Raises:
        BenchError: the run was not clean, so that it gives no figure.
    """
    best = once(rig, server, scenario, seconds)
    for _ in range(tries - 1):
        if best.others < QUIET:
            break
        best = min(best, once(rig, server, scenario, seconds), key=lambda sample: sample.others)
    return best


def once(rig: Rig, server: Server, scenario: Scenario, seconds: int) -> Sample:
    """One run of wrk, and what the proxy spent on it."""
    script = rig.folder / f"{scenario.name}.lua"
    if not script.exists():
        script.write_text(script_of(scenario))
    cpus = rig.proxy_cpus | rig.load_cpus
    with heartbeat(rig, server) as beats:
        clock, busy, own = time.monotonic(), procfs.busy_seconds(cpus), procfs.own_seconds()
        before = procfs.cpu_seconds(server.pid)
        text = wrk(rig, server, script, scenario.connections, seconds)
        spent = procfs.cpu_seconds(server.pid) - before
        others = (procfs.busy_seconds(cpus) - busy) - (procfs.own_seconds() - own)
        passed = time.monotonic() - clock
    requests, duration, p50, p99 = parse_result(text, scenario.answer)
    others = max(0.0, others / passed)
    return Sample(
        spent / (requests + beats.count) * 1e6, requests / duration, p50, p99, others, beats.longest_ms
    )


def wrk(rig: Rig, server: Server, script: Path, connections: int, seconds: int) -> str:
    """Run wrk with one thread beside the proxy; what it printed."""
    command = [
        "taskset",
        "-c",
        ",".join(map(str, sorted(rig.load_cpus))),
        find("wrk") or "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-s",
        str(script),
        f"http://127.0.0.1:{server.port}/",
    ]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + 30)
    except subprocess.TimeoutExpired as error:
        raise BenchError("wrk did not end") from error
    if done.returncode != 0:
        raise BenchError(f"wrk ended with status {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout
