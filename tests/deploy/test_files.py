"""The files of deploy/ as their own tools see them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.docker import ROOT

DEPLOY = ROOT / "deploy"


def ran(*command: str) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, timeout=60, check=False
    )
    text = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, text
    return text


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint")
    assert not ran(hadolint, "--no-color", str(DEPLOY / "Dockerfile"))


def test_compose_takes_its_file() -> None:
    """And what it makes of it runs as the Dockerfile promises."""
    if shutil.which("docker-compose"):
        command = ["docker-compose"]
    elif (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        command = ["docker", "compose"]
    else:
        pytest.skip("no docker compose")
    text = ran(*command, "-f", str(DEPLOY / "compose.yaml"), "config")
    for service in ("legacy", "proxy"):
        part = re.split(rf"(?m)^  {service}:$", text)[1]
        part = re.split(r"(?m)^  \w+:$|^\w", part)[0]
        assert "read_only: true" in part
        assert "- ALL" in part
        assert "no-new-privileges:true" in part


def test_the_dockerfile_copies_what_dockerignore_lets_through() -> None:
    """A build context with a hole in it fails only where there is an engine."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", (DEPLOY / "Dockerfile").read_text())
        for word in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_its_script_says_how_it_is_used() -> None:
    done = subprocess.run([DEPLOY / "with-docker"], capture_output=True, timeout=20, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: deploy/with-docker COMMAND")
