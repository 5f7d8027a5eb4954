"""deploy/with-docker where it is cut short: with stand-ins for its programs, in a mount namespace apart."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.docker import ROOT

STAND_INS = {
    "docker": '[ "$1" != info ]',
    "dockerd": 'trap "echo engine >>$ORDER; exit" TERM; while sleep 0.05; do :; done',
    "mmdebstrap": 'for root; do :; done; mkdir -p "$root/sys"; mount --bind "$PRECIOUS" "$root/sys"; exit 1',
    "at-work": 'trap "sleep 0.3; echo command >>$ORDER; exit" TERM; echo ready; while sleep 0.05; do :; done',
}
"""No engine answers, ours starts, and what makes its image dies without unmounting what it had mounted."""
APART = ["unshare", "--mount", "--propagation", "private"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a copy of the script, since it keeps its image beside itself."""
    if os.geteuid() or subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no root, or no mount namespaces")
    for name in ("bin", "deploy", "build", "precious", "of a user"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "deploy" / "with-docker", tmp_path / "deploy")
    for name, words in STAND_INS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{words}\n")
        program.chmod(0o755)
    (tmp_path / "precious" / "file").write_text("still here")
    return tmp_path


def start(place: Path, *command: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "TMPDIR": str(place / "of a user"),
        "PRECIOUS": str(place / "precious"),
        "ORDER": str(place / "order"),
    }
    return subprocess.Popen(
        [*APART, place / "deploy" / "with-docker", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_what_was_left_mounted_in_its_folder_is_not_emptied(place: Path) -> None:
    with start(place, "true") as script:
        _, errors = script.communicate(timeout=30)
    assert (script.returncode, errors) == (70, f"{place}/bin/mmdebstrap failed\n")
    assert (place / "precious" / "file").read_text() == "still here"
    assert not list((place / "of a user").iterdir())


def test_the_engine_stays_until_the_command_has_ended(place: Path) -> None:
    (place / "build" / "debian-bookworm-slim.tar").write_text("an image")
    with start(place, "at-work") as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "ready\n"
        script.terminate()
        script.communicate(timeout=30)
    assert script.returncode == 143
    assert (place / "order").read_text().split() == ["command", "engine"]
    assert not list((place / "of a user").iterdir())
