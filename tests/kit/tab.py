"""A headless Chromium whose tabs a test opens and closes, over its DevTools' plain HTTP."""

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.clients.browsers import CHROMIUM
from tests.kit.sockets import eventually

START = 30.0
"""Seconds in which it has started, on a busy machine."""


class Browser:
    """One running Chromium."""

    def __init__(self, port: int) -> None:
        self._tools = f"http://127.0.0.1:{port}/json"

    def _ask(self, path: str, method: str = "GET") -> bytes:
        asked = urllib.request.Request(self._tools + path, method=method)
        with urllib.request.urlopen(asked, timeout=START) as answer:
            return bytes(answer.read())

    def open(self, url: str) -> str:
        """A new tab that loads this; its name."""
        return str(json.loads(self._ask(f"/new?{url}", "PUT"))["id"])

    def close(self, tab: str) -> None:
        """As its cross does."""
        self._ask(f"/close/{tab}")


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """One with a profile of its own in this directory."""
    words = [*CHROMIUM, f"--user-data-dir={directory / 'profile'}", "about:blank"]
    told = directory / "profile" / "DevToolsActivePort"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port = eventually(lambda: told.exists() and told.read_text().split()[:1], START)
            assert port, "Chromium has not started"
            yield Browser(int(port[0]))
        finally:
            process.kill()
