"""What holds for every test: when a skip is a failure, and how hypothesis searches.

A machine may lack a program, a kernel feature or the right to make a namespace; a test then skips and says
what is missing. With SHIELDPROXY_NO_SKIPS=1, as in .ci/run, the machine is meant to have everything: a skip
(or an expected failure) is a failure there, but for the few named below. With SHIELDPROXY_CONTAINER=1, as in
make container, those of the container are no exception.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.clients.ran import Ran
from tests.kit.closewait import TOTALS, Totals

# A busy machine is no fault of an example; a CI run that fails can be run again and fails again.
settings.register_profile(
    "house",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")

NO_SKIPS = os.environ.get("SHIELDPROXY_NO_SKIPS", "") not in ("", "0")
CONTAINER = os.environ.get("SHIELDPROXY_CONTAINER", "") not in ("", "0")
CONTAINER_TESTS = "tests/deploy/test_container.py"
FORBIDDEN = f"skips are forbidden here (SHIELDPROXY_{'CONTAINER' if CONTAINER else 'NO_SKIPS'})"

ALLOWED_SKIPS: dict[str, str] = {
    CONTAINER_TESTS: "make container runs it, in an engine that is up for it alone",
    "tests/clients/test_clients.py::test_client[undici]": "from npm, which Debian has only with 400 packages",
}
"""Node id, with its parameters or without -> why this test may skip even where skips are forbidden."""


def forbidden(node_id: str) -> bool:
    """Whether a skip of this test counts as a failure here."""
    if CONTAINER and node_id.partition("::")[0] == CONTAINER_TESTS:
        return True
    return NO_SKIPS and not {node_id, node_id.partition("[")[0]} & ALLOWED_SKIPS.keys()


def whole(config: pytest.Config) -> bool:
    """Whether this is a run of all tests: no path, no expression, nothing left out, and not a mere list."""
    options = ("collectonly", "keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not any(
        config.getoption(name, None) for name in options
    )


def skip_text(longrepr: object) -> str:
    """The reason of a skip as pytest reports it: a (path, line, reason) tuple or something with a text."""
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where skips are forbidden."""
    report = yield
    if report.skipped and forbidden(item.nodeid):
        why = getattr(report, "wasxfail", "") or skip_text(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{FORBIDDEN}: {why}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself as a whole."""
    report = yield
    if report.skipped and forbidden(collector.nodeid):
        why = skip_text(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{FORBIDDEN}: {why}"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a parallel run: the files that take longest first.

    Whole files are handed out in this order (--no-loadscope-reorder; xdist itself goes by how many tests they
    have). One that waits for minutes would otherwise come last, and the run would wait for it alone.
    """
    if not hasattr(config, "workerinput"):
        return
    seconds: defaultdict[object, float] = defaultdict(float)
    for item in items:
        slow, e2e = item.get_closest_marker("slow"), "/e2e/" in item.nodeid
        seconds[item.path] += (
            8.0 if slow else 0.5 if e2e else 0.02
        )  # about as much as one takes, of each kind
    items.sort(key=lambda item: (-seconds[item.path], item.path))


# the end-to-end tests run in both lanes: counted here, where parallel runs come together

LANES = ("express", "task")
PASSED: Counter[str] = Counter()
RAN = Ran()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what passed in each lane, and the real programs."""
    if report.when == "call" or report.skipped:
        RAN.note(report.nodeid, report.passed)
    if report.when == "call" and report.passed and "/e2e/" in report.nodeid:
        for name in LANES:
            if f"[{name}" in report.nodeid:
                PASSED[name] += 1


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Unequal counts are a failure (unless one lane alone was asked for), and so is a CLOSE_WAIT of ours."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["close_wait"] = TOTALS.as_dict()
        return
    if exitstatus == 0 and (TOTALS.red or (NO_SKIPS and RAN.too_few(whole(session.config)))):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if (
        exitstatus == 0
        and all(PASSED.values())
        and len(PASSED) == len(LANES)
        and len(set(PASSED.values())) > 1
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """A process of a parallel run has ended: what it saw of CLOSE_WAIT."""
    TOTALS.add(getattr(node, "workeroutput", {}).get("close_wait", Totals().as_dict()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Two counts, equal when all is well."""
    if PASSED:
        terminalreporter.write_line(
            f"express lane: {PASSED['express']} passed; task lane: {PASSED['task']} passed"
        )
    too_few = RAN.too_few(NO_SKIPS and whole(config))
    if RAN.seen or too_few:
        short = f"; too few: {'; '.join(too_few)}" if too_few else ""
        terminalreporter.write_line(f"{RAN}{short}")
    if TOTALS.proxies:
        terminalreporter.write_line(str(TOTALS))
