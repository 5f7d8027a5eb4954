"""Libraries of Python, Perl, Java, Go and Node, each by a short program that follows the story."""

import functools
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.clients.model import Needs, Program, Seen, Story, told
from tests.clients.stage import Stage
from tests.clients.tools import first_line
from tests.kit.proxy import ROOT

PROGRAMS_AT = Path(__file__).parent / "programs"
BUILD = ROOT / "build" / "clients"
NODE_MODULES = BUILD / "node_modules"


def following(*words: str) -> Story:
    """Run this, with the URL and the seconds to be idle behind it."""

    def story(stage: Stage) -> dict[str, Seen]:
        environment = {"NODE_MODULES_BESIDE": str(NODE_MODULES / "x.js"), "JAVA_TOOL_OPTIONS": ""}
        done = stage.run([*words, stage.base, f"{stage.idle:.1f}"], environment=environment)
        found = told(done.stdout.decode())
        if done.returncode:
            found["program"] = Seen(error=done.stderr.decode()[-300:])
        return found

    return story


def go(stage: Stage) -> dict[str, Seen]:
    """Built first: ``go run`` would be counted as its idle time."""
    cache = {"GOCACHE": str(BUILD / "go"), "GO111MODULE": "off", "GOFLAGS": "-p=1"}
    shutil.copy(PROGRAMS_AT / "steps.go", stage.directory)
    built = stage.run(["go", "build", "-o", "steps", "steps.go"], environment=cache)
    if built.returncode:
        return {"program": Seen(error=built.stderr.decode()[-300:])}
    return following(str(stage.directory / "steps"))(stage)


def _python(library: str) -> Program:
    return Program(
        library,
        Needs(modules=[library], source=f"pip install {library}"),
        functools.partial(version, library),
        following(sys.executable, str(PROGRAMS_AT / "python.py"), library),
    )


def _node(name: str, kind: str) -> Program:
    return Program(
        name,
        Needs(["node"], source="apt install nodejs"),
        first_line("node", "--version"),
        following("node", str(PROGRAMS_AT / "steps.mjs"), kind),
    )


def _java(name: str, kind: str) -> Program:
    return Program(
        name,
        Needs(["java", "javac"], source="apt install default-jdk-headless"),
        first_line("java", "-version"),
        following("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", str(PROGRAMS_AT / "Steps.java"), kind),
    )


class PerlNeeds(Needs):
    """Perl with a module of it."""

    def missing(self) -> str:
        """Ask perl itself."""
        short = super().missing()
        if short:
            return short
        probe: Sequence[str] = ["perl", "-MLWP::UserAgent", "-e", "1"]
        found = subprocess.run(probe, capture_output=True, check=False, timeout=30).returncode == 0
        return "" if found else f"LWP is not installed ({self.source})"


class NpmNeeds(Needs):
    """A package of npm beside us."""

    def missing(self) -> str:
        """Look for its folder."""
        short = super().missing()
        return short or ("" if (NODE_MODULES / "undici").exists() else f"undici: {self.source}")


def _undici_version() -> str:
    return first_line("node", "-p", f"require('{NODE_MODULES}/undici/package.json').version")()


PROGRAMS = (
    *map(_python, ("requests", "urllib3", "httpx", "aiohttp")),
    Program(
        "LWP",
        PerlNeeds(["perl"], source="apt install libwww-perl"),
        first_line("perl", "-MLWP", "-e", "print LWP->VERSION"),
        following("perl", str(PROGRAMS_AT / "lwp.pl")),
    ),
    _java("Java HttpURLConnection", "connection"),
    _java("Java HttpClient", "client"),
    Program("Go net/http", Needs(["go"], source="apt install golang-go"), first_line("go", "version"), go),
    _node("Node fetch", "fetch"),
    _node("Node http.Agent", "agent"),
    Program(
        "undici",
        NpmNeeds(["node"], source="npm install --prefix build/clients undici@6.29.1"),
        _undici_version,
        following("node", str(PROGRAMS_AT / "steps.mjs"), "undici"),
    ),
)
