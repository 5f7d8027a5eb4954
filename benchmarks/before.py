"""What buffering has cost a small complete request: the product as it is now against the commit before it.

Both sides run in turn, in alternating pairs. The other side is unpacked from this repository's own history,
with its own known clients; where there is no history, as in a shallow clone, there is no figure.
"""

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.load import Scenario
from benchmarks.model import Part
from benchmarks.pairs import alternate, finish, pairs_of
from benchmarks.peers import SMALL, Place
from benchmarks.product import EXPRESS, KNOWN_CLIENTS, VARIANTS, Variant
from benchmarks.rig import REPOSITORY, BenchError, Launch, Server
from benchmarks.stage import Options, Stage

COMMIT = "a5f95f880f79d9b291b9b83815f256d1090063a0"
"""The last one in which no body was collected, and no response spooled."""
SAFELY: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""What Debian's 3.11.2 does not know yet, and what a later one warns of without it."""
WORDS = ("before buffering", "now")
SCENARIOS = (
    Scenario("before-get", "GET of 1 KiB"),
    Scenario("before-post", "POST of 1 KiB", method="POST", path="/upload", body=SMALL),
)


@dataclass(frozen=True, slots=True)
class Old(Variant):
    """shieldproxy as it was, unpacked in a folder."""

    folder: Path = field(default_factory=Path)

    def launch(self, place: Place) -> Launch:
        """As now, but for where the code lies."""
        return Launch(super(Old, self).launch(place).argv, env={"PYTHONPATH": str(self.folder)})

    def configuration(self, place: Place) -> str:
        """The usual one with the known clients of its time."""
        text = super(Old, self).configuration(place)
        return text.replace(str(KNOWN_CLIENTS), str(self.folder / "config" / KNOWN_CLIENTS.name))


def unpack(commit: str, folder: Path) -> str:
    """Put a commit's product into a folder; why that cannot be done, or nothing."""
    command = ["git", "-C", str(REPOSITORY), "archive", "--format=tar", commit, "shieldproxy", "config"]
    try:
        done = subprocess.run(command, check=False, capture_output=True)
    except OSError as error:
        return f"no git: {error}"
    if done.returncode:
        return f"commit {commit[:7]} is not in the history here: {done.stderr.decode().strip()[:100]}"
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, **SAFELY)
    look = [sys.executable, "-c", "import shieldproxy; print(shieldproxy.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    found = subprocess.run(look, check=False, capture_output=True, text=True, cwd=folder, env=environment)
    return "" if str(folder) in found.stdout else f"another shieldproxy is run: {found.stdout.strip()}"


def before(stage: Stage, options: Options) -> Part:
    """GET and POST of 1 KiB, whole when they come: now against then."""
    part = Part("before")
    if not options.wanted([EXPRESS]):
        return part
    folder = stage.rig.folder / "before"
    if missing := unpack(COMMIT, folder):
        part.skipped = missing
    found: dict[str, tuple[list[float], list[float]]] = {}
    if not missing:
        try:
            with (
                stage.proxy(Old("shieldproxy before", folder=folder)) as old,
                stage.proxy(VARIANTS[EXPRESS]) as new,
            ):
                for scenario in SCENARIOS:

                    def measure(server: Server, seconds: int, one: Scenario = scenario) -> float:
                        return load.run(stage.rig, server, one, seconds, options.tries).cpu_us

                    found[scenario.title] = alternate(
                        partial(measure, old), partial(measure, new), pairs_of(options)
                    )
        except (BenchError, OSError) as error:
            part.failures.append(f"before: {error}")
    for scenario in SCENARIOS:
        pairs = found.get(scenario.title, ([], []))
        finish(part, scenario.title, *pairs, limit=1.05, words=WORDS)
    return part
