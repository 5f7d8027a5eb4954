"""The docker command, for tests: whether an engine answers, an image, containers that run for one test."""

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "shieldproxy:test"
BUILD_LIMIT = 400.0
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


def no_engine() -> str:
    """Why there is no Docker engine; empty if one answers."""
    if shutil.which("docker") is None:
        return "no docker command"
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=20,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    if done.returncode:
        return "no Docker engine answers (deploy/with-docker COMMAND brings one up, as root on Debian)"
    return ""


def docker(*words: str, timeout: float = 60.0, ok: bool = True) -> str:
    """Run one docker command; what it printed on both."""
    done = subprocess.run(
        ["docker", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        timeout=timeout,
        check=False,
    )
    text = done.stdout.decode("utf-8", "replace")
    assert not ok or done.returncode == 0, f"docker {' '.join(words)}: {done.returncode}\n{text[-4000:]}"
    return text


def build() -> int:
    """Build the image as the Dockerfile says in its first line, on the host's network; its size in bytes."""
    docker("build", "--network", "host", "-f", "deploy/Dockerfile", "-t", IMAGE, ".", timeout=BUILD_LIMIT)
    return int(inspect(IMAGE, "Size"))


def inspect(what: str, *path: str) -> Any:
    """One value of ``docker inspect``."""
    value: Any = json.loads(docker("inspect", what))[0]
    for name in path:
        value = value[name]
    return value


@dataclass
class Container:
    """A container that runs until the test ends."""

    name: str

    @property
    def log(self) -> str:
        """What it has printed."""
        return docker("logs", self.name)

    def run(self, *command: str, ok: bool = True) -> str:
        """Run a command in it."""
        return docker("exec", self.name, *command, ok=ok)

    def until_says(self, words: str, seconds: float = 30.0) -> str:
        """Wait until its log has these words; the log."""
        end = time.monotonic() + seconds
        while words not in (log := self.log):
            assert inspect(self.name, "State", "Running"), f"it ended: {log[-2000:]}"
            assert time.monotonic() < end, f"it has not said {words!r}: {log[-2000:]}"
            time.sleep(0.1)
        return log

    def ended(self, seconds: float) -> int:
        """Wait for its end; the exit status."""
        return int(docker("wait", self.name, timeout=seconds).split()[-1])


def start(name: str, options: Sequence[str], command: Sequence[str] = ()) -> Container:
    """Start a container in the background."""
    docker("run", "--detach", "--name", name, *HARDENED, *options, IMAGE, *command)
    return Container(name)
