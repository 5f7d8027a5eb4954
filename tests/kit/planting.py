"""A run of the ordinary tests against planted faults, and what each of them said.

A `Run` is a pytest of its own for each lane; there this module is a plugin (``--planting FILE``) that runs,
fault by fault, the cases that must notice it, with their own fixtures, against ``tests.kit.planted`` in the
product's place. The report that it writes tells an assertion of a case from everything else: a fault that
could not be planted, an error of a fixture, a product that crashed.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.conftest import LANES, SEEN
from tests.kit.client import Client
from tests.kit.endings import ends
from tests.kit.plants import PLANTS
from tests.kit.proxy import ROOT, Proxy
from tests.kit.scene import no_close_wait
from tests.kit.sockets import gone
from tests.kit.upstream import Upstream

LIMIT = 100.0
"""Seconds to wait for what is said of one fault."""
HURRY = 3.0
"""Seconds that a case waits for what a fault keeps from coming (three to ten otherwise)."""
CRASHED = ("Traceback (most recent call last)", "exit status", "the proxy has ended", "at start")


@dataclass
class Verdict:
    """What one case said of one fault: texts of failed assertions, and of all else that went wrong."""

    red: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    green: int = 0


class Run:
    """Two runs of pytest, one in each lane, beside each other; to be left as a context.

    Args:
        names: of the faults, in the order in which they will be asked for.
        directory: for plans, reports and what pytest says.
    """

    def __init__(self, names: Iterable[str], directory: Path) -> None:
        self._plan = {name: list(PLANTS[name].cases) for name in names}
        self._directory = directory
        self._processes = {lane: self._start(lane) for lane in LANES}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and with it the products that it may have started
            process.wait()

    def verdicts(self, name: str, lane: str) -> dict[str, Verdict]:
        """What each case said of a fault, as soon as it is known.

        Raises:
            AssertionError: the run ended before that.
        """
        found = {case: Verdict() for case in self._plan[name]}
        for case, kind, text in self._rows(name, lane):
            if kind == "green":
                found[case].green += 1
            else:
                (found[case].red if kind == "red" else found[case].broken).append(text)
        return found

    def status(self, lane: str) -> int:
        """The exit status of pytest."""
        return self._processes[lane].wait(LIMIT)

    def noticed(self, name: str) -> None:
        """See that every case of a fault is red, in both lanes, and for the reason that the table names."""
        says = re.compile(PLANTS[name].says)
        for lane in LANES:
            for case, verdict in self.verdicts(name, lane).items():
                assert not verdict.broken, f"{lane}, {case}: {verdict.broken}"
                assert verdict.red, f"{lane}: {case} is green though {name}"
                assert any(map(says.search, verdict.red)), (
                    f"{lane}, {case}: not {says.pattern!r}: {verdict.red}"
                )

    def _rows(self, name: str, lane: str) -> list[tuple[str, str, str]]:
        report = self._directory / f"{lane}.report"
        limit = time.monotonic() + LIMIT
        while True:
            over = self._processes[lane].poll() is not None or time.monotonic() > limit
            rows = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
            if [name, "", "over", ""] in rows:
                return [(case, kind, text) for fault, case, kind, text in rows if fault == name and case]
            said = (self._directory / f"{lane}.output").read_text()[-4000:]
            assert not over, f"nothing of {name!r} in the {lane} lane: {said}"
            time.sleep(0.05)

    def _start(self, lane: str) -> "subprocess.Popen[bytes]":
        file = self._directory / f"{lane}.plan"
        report = self._directory / f"{lane}.report"
        file.write_text(json.dumps({"lane": lane, "plan": self._plan, "report": str(report)}))
        cases = {case.partition("[")[0] for cases in self._plan.values() for case in cases}
        plugins = ["-q", "-p", "tests.kit.planting", "-p", "no:cacheprovider", "--tb=short"]
        functions = sorted(f"tests/e2e/{case}" for case in cases)
        with (self._directory / f"{lane}.output").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", *plugins, "--planting", str(file), *functions],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
                start_new_session=True,
            )


# the plugin


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the name of the plan."""
    parser.addoption("--planting", default="")


def pytest_configure(config: pytest.Config) -> None:
    """With a plan, this run is a planted one."""
    name = config.getoption("--planting")
    if name:
        made = json.loads(Path(name).read_text())
        config.pluginmanager.register(Planting(made["lane"], made["plan"], Path(made["report"])))


def _hurry() -> None:
    """Let nobody wait long: most of what is waited for here never comes."""
    for seconds, functions in {
        HURRY: (
            *(Client.__init__, Proxy.log_lines, Upstream.until, Upstream.wait_requests),
            *(Upstream.wait_links, Upstream.one, ends),
        ),
        HURRY / 2: (gone, no_close_wait),
    }.items():
        for function in functions:
            _wait_for(function, seconds)


def _wait_for(function: Callable[..., Any], seconds: float) -> None:
    """Give the argument ``timeout`` of a function another default."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    if "timeout" in names:
        values = list(function.__defaults__ or ())
        values[names.index("timeout") - len(names)] = seconds
        function.__defaults__ = tuple(values)
    else:
        assert function.__kwdefaults__ is not None
        function.__kwdefaults__["timeout"] = seconds


def _kind(fault: BaseException) -> str:
    """``red`` for what a case asserts of the product, ``broken`` for everything else."""
    if isinstance(fault, BaseExceptionGroup):
        kinds = {_kind(part) for part in fault.exceptions}
        return "red" if kinds == {"red"} else "broken"
    said = str(fault)
    if isinstance(fault, AssertionError | pytest.fail.Exception) and not any(c in said for c in CRASHED):
        return "red"
    return "broken"


class Planting:
    """Runs the plan in place of what was collected, and writes the report."""

    def __init__(self, lane: str, plan: dict[str, list[str]], report: Path) -> None:
        self._lane = lane
        self._plan = plan
        self._report = report
        self._fault = ""

    def _case(self, item: pytest.Item) -> str:
        name = item.nodeid.removeprefix("tests/e2e/")
        return name.replace(f"[{self._lane}-", "[").replace(f"[{self._lane}]", "")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Fault by fault; fixtures are shared among the cases of one fault alone."""
        known = {self._case(item): item for item in session.items}
        missing = {case for cases in self._plan.values() for case in cases} - known.keys()
        if missing:
            raise pytest.UsageError(f"no such cases: {sorted(missing)}")
        _hurry()
        for fault, cases in self._plan.items():
            self._fault = fault
            SEEN.clear()
            words = [sys.executable, "-m", "tests.kit.planted", fault, "run"]
            os.environ["SHIELDPROXY_TEST_COMMAND"] = shlex.join(words)
            for case, after in zip(cases, [*cases[1:], None], strict=True):
                item, following = known[case], known[after] if after else None
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._note("", "over")
        return True

    def _note(self, case: str, kind: str, text: str = "") -> None:
        with self._report.open("a") as report:
            report.write(json.dumps([self._fault, case, kind, text]) + "\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Note how each phase of a case ended."""
        report = yield
        case = self._case(item)
        if call.excinfo is not None:
            fault = call.excinfo.value
            text = f"{call.when}: {type(fault).__name__}: {fault}"
            self._note(case, _kind(fault), text[:3000])
        elif call.when == "call":
            self._note(case, "green")
        return report
