"""Where and with what the figures were taken: they mean little without it."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peers import find
from benchmarks.rig import REPOSITORY

VERSIONS = {
    "nginx": ["-v"],
    "haproxy": ["-v"],
    "caddy": ["version"],
    "apache2": ["-v"],
    "wrk": ["-v"],
}


def first_line(command: list[str], folder: Path | None = None) -> str:
    """The first line that a program prints on either output, empty when it cannot be run."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10, cwd=folder)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines else ""


def processor() -> str:
    """The processor's name as the kernel gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def describe(*, namespace: bool) -> dict[str, object]:
    """The environment of a run, for the head of the report and the results file."""
    versions = {}
    for program, arguments in VERSIONS.items():
        path = find(program)
        if path is not None:
            versions[program] = first_line([path, *arguments])
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "processor": processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "namespace": namespace,
        "commit": first_line(["git", "rev-parse", "--short", "HEAD"], REPOSITORY),
        "versions": versions,
    }
