"""What shows that a red case is red for the planted fault: the same without one, and one that misses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import LANES
from tests.kit import patches
from tests.kit.planted import NOT_PLANTED
from tests.kit.planting import Run
from tests.kit.plants import CONTROLS, FAULTS, NOTHING, NOWHERE, UNASKED
from tests.kit.proxy import ROOT

AREAS = {
    "framing": r"length|coding|chunk|LF|folds|colon|NUL",
    "Host and versions": r"Host|version|target",
    "forwarding": r"forwarding|hop-by-hop|Connection names|Via",
    "limits": r"unbounded|any number|User-Agent",
    "closing": r"linger|FIN|reset|truncated|half-close",
    "retries": r"sent again",
    "the pool": r"pooled|idle connection|surplus",
    "the line": r"line |connections to a server",
    "deadlines": r"deadline|dripping",
    "the log": r"log|receipts",
    "bodies": r"body",
    "spools": r"spool",
    "who waits in vain": r"slow reader|event stream|line of any|line is full",
    "servers": r"left out|budget",
    "who has gone": r"has gone|abort|probe",
    "manners": r"its case|dot segments",
}


def test_there_are_enough_faults_of_every_kind() -> None:
    assert len(FAULTS) >= 24
    for area, pattern in AREAS.items():
        assert len([name for name in FAULTS if re.search(pattern, name)]) >= 2, area


def test_without_a_fault_all_is_green_and_a_miss_is_not_red(tmp_path: Path) -> None:
    with Run(CONTROLS, tmp_path) as planted:
        for lane in LANES:
            for case, verdict in planted.verdicts(NOTHING, lane).items():
                assert (verdict.green, verdict.red, verdict.broken) == (1, [], []), (lane, case)
            (missed,) = planted.verdicts(NOWHERE, lane).values()
            assert (missed.green, missed.red) == (0, [])
            assert "no renamed in shieldproxy.core.head" in missed.broken[0]
            assert planted.status(lane) == pytest.ExitCode.TESTS_FAILED


def test_a_run_that_does_not_come_to_its_cases_is_an_error(tmp_path: Path) -> None:
    with Run([UNASKED], tmp_path) as planted:
        with pytest.raises(AssertionError, match=r"(?s)nothing of.*no such cases"):
            planted.verdicts(UNASKED, "express")
        assert planted.status("express") == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("name", [NOWHERE, "no such fault"])
def test_a_fault_that_cannot_be_planted_serves_nobody(name: str) -> None:
    command = [sys.executable, "-m", "tests.kit.planted", name, "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == NOT_PLANTED
    assert done.stderr.startswith(f"not planted: {name}: ")
    assert not done.stdout


class TestMissed:
    """Whatever is not there is missed loudly."""

    def test_a_module(self) -> None:
        with pytest.raises(patches.MissedError):
            patches.everywhere("core.nobody", "read", lambda old: old)

    def test_a_method_that_another_class_defines(self) -> None:
        with pytest.raises(patches.MissedError):
            patches.method("proxy.express", "Express", "promote", lambda old: old)

    @pytest.mark.parametrize(("key", "new"), [("nobody", False), ("ack", True)])
    def test_an_entry(self, key: str, new: bool) -> None:
        with pytest.raises(patches.MissedError):
            patches.entry("core.closing", "END", key, None, new=new)

    @pytest.mark.parametrize("old", ["nothing of it", "self"])
    def test_a_text_that_is_not_there_once(self, old: str) -> None:
        with pytest.raises(patches.MissedError):
            patches.text("net.linger", "Closer", "_begin", old, "")
