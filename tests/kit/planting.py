"""A run of the ordinary tests against planted faults, and what each of them said.

`run` starts a pytest of its own in one lane; there this module is a plugin (``--planting FILE``) that runs,
fault by fault, the cases that must notice it, with their own fixtures, against ``tests.kit.planted`` in the
product's place. The report that it writes tells an assertion of a case from everything else: a fault that
could not be planted, an error of a fixture, a product that crashed.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SEEN
from tests.kit.client import Client
from tests.kit.endings import ends
from tests.kit.plants import PLANTS
from tests.kit.proxy import ROOT, Proxy
from tests.kit.upstream import Upstream

LIMIT = 240.0
"""Seconds for a whole run."""
HURRY = 3.0
"""Seconds that a case waits for what a fault keeps from coming (three to ten otherwise)."""
CRASHED = ("Traceback (most recent call last)", "exit status", "the proxy has ended", "at start")


@dataclass
class Verdict:
    """What one case said of one fault: texts of failed assertions, and of all else that went wrong."""

    red: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    green: int = 0


Verdicts = dict[tuple[str, str], Verdict]
"""(Fault, case) -> what it said."""


def run(names: Iterable[str], directory: Path) -> dict[str, Verdicts]:
    """Run the cases of these faults, both lanes beside each other; lane -> verdicts.

    Raises:
        AssertionError: a run did not come to its end as a run with failed tests does.
    """
    plan = {name: list(PLANTS[name].cases) for name in names}
    started = {lane: _start(plan, lane, directory) for lane in ("express", "task")}
    try:
        said = {lane: process.communicate(timeout=LIMIT)[0] for lane, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
            process.communicate()
    found = {}
    for lane, process in started.items():
        assert process.returncode in (0, 1), f"pytest ended with {process.returncode}: {said[lane][-4000:]}"
        rows = json.loads((directory / f"{lane}.report").read_text())
        verdicts: Verdicts = {(name, case): Verdict() for name, cases in plan.items() for case in cases}
        for name, case, kind, text in rows:
            verdict = verdicts[name, case]
            if kind == "green":
                verdict.green += 1
            else:
                (verdict.red if kind == "red" else verdict.broken).append(text)
        failed = any(verdict.red or verdict.broken for verdict in verdicts.values())
        assert failed == (process.returncode == 1), said[lane][-4000:]
        found[lane] = verdicts
    return found


def noticed(found: dict[str, Verdicts], name: str) -> None:
    """Every case of a fault is red, in both lanes, and for the reason that the table names."""
    says = re.compile(PLANTS[name].says)
    for lane, verdicts in found.items():
        for case in PLANTS[name].cases:
            verdict = verdicts[name, case]
            assert not verdict.broken, f"{lane}, {case}: {verdict.broken}"
            assert verdict.red, f"{lane}: {case} is green though {name}"
            assert any(map(says.search, verdict.red)), f"{lane}, {case}: not {says.pattern!r}: {verdict.red}"


def _start(plan: dict[str, list[str]], lane: str, directory: Path) -> "subprocess.Popen[str]":
    file = directory / f"{lane}.plan"
    report = directory / f"{lane}.report"
    file.write_text(json.dumps({"lane": lane, "plan": plan, "report": str(report)}))
    functions = sorted({f"tests/e2e/{case.partition('[')[0]}" for cases in plan.values() for case in cases})
    plugins = ["-q", "-p", "tests.kit.planting", "-p", "no:cacheprovider", "--tb=short"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *plugins, "--planting", str(file), *functions],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
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
    for function in (
        Client.__init__, Proxy.log_lines, Upstream.until, Upstream.wait_requests, Upstream.wait_links,
        Upstream.one, ends,
    ):  # fmt: skip
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        if "timeout" in names:
            values = list(function.__defaults__ or ())
            values[names.index("timeout") - len(names)] = HURRY
            function.__defaults__ = tuple(values)
        else:
            assert function.__kwdefaults__ is not None
            function.__kwdefaults__["timeout"] = HURRY


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
        self._rows: list[tuple[str, str, str, str]] = []

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
        self._report.write_text(json.dumps(self._rows))
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Note how each phase of a case ended."""
        report = yield
        case = self._case(item)
        if call.excinfo is not None:
            fault = call.excinfo.value
            text = f"{call.when}: {type(fault).__name__}: {fault}"
            self._rows.append((self._fault, case, _kind(fault), text[:3000]))
        elif call.when == "call":
            self._rows.append((self._fault, case, "green", ""))
        return report
