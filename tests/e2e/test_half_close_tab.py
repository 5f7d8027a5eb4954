"""A tab of Chromium that is closed while its page is still being made.

Chromium closes the socket, and what arrives is a FIN, also when a part of the page had come (it had read all
of that). So by itself a closed tab looks like ``nc -N``; the answer to the next byte is a reset.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Bench
from tests.kit.leaving import SOON, Leaving, leaving
from tests.kit.sockets import eventually
from tests.kit.tab import Browser, browser
from tests.kit.watch import Watch


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is missing")
    directory: Path = tmp_path_factory.mktemp("chromium")
    with browser(directory) as running:
        yield running


def closed(scene: Leaving, chromium: Browser, target: str) -> None:
    """A tab asks for a page, and is closed while the server works on it."""
    tab = chromium.open(f"http://{scene.proxy.address}{target}")
    scene.upstream.wait_requests(1)
    if target == "/half":
        assert scene.all_read(), "what it has not read makes its kernel reset the connection"
    chromium.close(tab)


def ending(scene: Leaving) -> dict[str, Any]:
    """What the log says of it."""
    (line,) = eventually(lambda: scene.proxy.lines("exchange"), 10)
    return line


TARGETS = pytest.mark.parametrize("target", ["/held", "/half"])


@TARGETS
def test_served(bench: Bench, chromium: Browser, target: str) -> None:
    """The server goes on with it; the tab's socket is gone only when something is sent to it."""
    scene = leaving(bench, "serve")
    closed(scene, chromium, target)
    scene.still_asked()
    assert not scene.proxy.lines("exchange")
    scene.release.set()
    line = ending(scene)
    assert line["status"] == 200
    assert (line["outcome"], line["reason"]) in {("served", "done"), ("aborted", "reset")}


@TARGETS
def test_gone(bench: Bench, chromium: Browser, target: str) -> None:
    """It was a FIN: a reset would have its own reason."""
    scene = leaving(bench, "abort")
    closed(scene, chromium, target)
    begun = Watch()
    scene.left_alone("GET")
    begun.took(0, SOON)
    line = ending(scene)
    assert (line["by"], line["reason"], line["status"]) == (
        "client",
        "abort",
        499 if target == "/held" else 200,
    )


def test_probed(bench: Bench, chromium: Browser) -> None:
    """Within a second the server is rid of it."""
    scene = leaving(bench, "probe")
    closed(scene, chromium, "/held")
    begun = Watch()
    scene.left_alone("GET")
    begun.took(0, SOON)
    line = ending(scene)
    assert (line["by"], line["reason"], line["status"]) == ("client", "reset", 499)
