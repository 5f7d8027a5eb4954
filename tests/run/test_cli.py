"""The command line: what each command prints, where, and with which exit status."""

import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import shieldproxy
from shieldproxy import run as run_package
from shieldproxy.cli import main
from shieldproxy.core.plan import Plan
from shieldproxy.run.demo import play, stage

LEAST = """
[upstream.legacy]
servers = ["127.0.0.1:9000"]
[[route]]
upstream = "legacy"
"""


RULES = """
[timeouts]
head = "7s"
[[rule]]
name = "old"
user_agent = "Mozilla/2"
why = "confused"
keep_alive = false
[[rule]]
name = "inside"
client = ["10.0.0.0/8", "2001:db8::/32"]
timeouts = { keep_alive = "off" }
limits = { body = "off" }
[[rule]]
name = "writes"
method = ["POST", "PUT"]
path = "/app"
host = "*.example"
keep_alive = true
[[rule]]
name = "old-version"
version = "1.0"
deny = 403
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(LEAST)
    (tmp_path / "rules.toml").write_text(RULES + LEAST)
    (tmp_path / "bad.toml").write_text("[timeouts]\nhead = 5\nkeep = '1s'\n" + LEAST)
    return tmp_path


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="shieldproxy")
    assert "Traceback" not in result.output
    return result


class Worker(types.ModuleType):
    """Stands in for the worker: keeps the plan, and ends as it is told to."""

    def __init__(self, ends: int | str) -> None:
        super().__init__("shieldproxy.run.worker")
        self.plans: list[Plan] = []
        self.ends = ends
        self.StartFailed = type("StartFailed", (Exception,), {})

    def main(self, plan: Plan, warnings: Sequence[str] = ()) -> int:
        self.plans.append(plan)
        self.warnings = warnings
        if isinstance(self.ends, str):
            raise self.StartFailed(self.ends)
        return self.ends


def put_in_place(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, worker.__name__, worker)
    monkeypatch.setattr(run_package, "worker", worker, raising=False)


def test_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.output) == (0, f"shieldproxy {shieldproxy.__version__}\n")


@pytest.mark.parametrize("command", [[], ["run"], ["check"], ["explain"]])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(command: list[str], option: str) -> None:
    result = call(*command, option)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: shieldproxy")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "say what to serve"),
        (["run", "--listen", "127.0.0.1:0"], "say what to serve"),
        (["run", "good.toml", "--to", "127.0.0.1:1"], "not both"),
        (["check"], "Missing argument"),
        (["chekc"], "No such command"),
        (["explain", "good.toml", "--client", "x"], "IPv4 or IPv6"),
        (["explain", "good.toml", "--path", "x"], "slash"),
        (["explain", "good.toml", "--version", "2"], "1.0"),
        (["explain", "good.toml", "--listen", "127.0.0.1:1"], "server.listen; allowed: 127.0.0.1:8080"),
        (["explain", "good.toml", "--listen", "x"], "no port"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_misuse_is_exit_2_on_stderr(arguments: list[str], said: str) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_check_tells_weights_and_backups(folder: Path) -> None:
    (folder / "two.toml").write_text(
        """
        [upstream.x]
        servers = ["a:1", { address = "b:2", weight = 3 }, { address = "c:3", backup = true }]
        [[route]]
        upstream = "x"
        """
    )
    lines = call("check", "two.toml").stdout.splitlines()
    assert "  upstream   x: a:1, b:2 (weight 3), c:3 (backup), 32 connections each" in lines


@pytest.mark.usefixtures("folder")
def test_check_of_a_good_file_sums_it_up() -> None:
    result = call("check", "rules.toml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "rules.toml: in order",
        "  listen     127.0.0.1:8080",
        "  route      */ -> legacy",
        "  upstream   legacy: 127.0.0.1:9000, 32 connections each",
        "  rules      4 from rules.toml",
    ]


def test_check_warns_of_a_log_without_a_folder(folder: Path) -> None:
    (folder / "good.toml").write_text("[log]\naccess = 'logs/a.log'\nerror = 'e.log'\n" + LEAST)
    result = call("check", "good.toml")
    assert (result.exit_code, result.stderr) == (
        0, "warning: good.toml: log.access: there is no folder logs\n"
    )  # fmt: skip
    (folder / "logs").mkdir()
    assert call("check", "good.toml").stderr == ""


@pytest.mark.usefixtures("folder")
def test_warnings_of_run_are_in_the_error_log_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(0)
    put_in_place(worker, monkeypatch)
    odd = LEAST + "[timeouts]\nbody_total = '1s'\n"
    (folder / "good.toml").write_text(odd + "[log]\nerror = 'e.log'\n")
    said = call("run", "good.toml").stderr
    assert said == "".join(f"warning: {line}\n" for line in worker.warnings) != ""
    (folder / "good.toml").write_text(odd)
    assert (call("run", "good.toml").stderr, list(worker.warnings)) == (said, []), "they are on it already"


@pytest.mark.usefixtures("folder")
def test_check_tells_of_a_source_that_this_host_does_not_have(folder: Path) -> None:
    (folder / "good.toml").write_text(LEAST.replace("servers", "source = '192.0.2.77'\nservers", 1))
    assert "upstream.legacy.source: cannot connect from 192.0.2.77" in call("check", "good.toml").stderr


@pytest.mark.parametrize("command", ["check", "explain", "run"])
@pytest.mark.usefixtures("folder")
def test_faults_are_exit_2_and_a_line_each_on_stderr(command: str) -> None:
    result = call(command, "bad.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    unknown, head = result.stderr.splitlines()
    assert unknown.startswith(
        'bad.toml: timeouts.keep: unknown key (did you mean "keep_alive"?); allowed: head, '
    )
    assert head.startswith("bad.toml: timeouts.head: 5 has no unit; allowed: ")


@pytest.mark.parametrize("command", ["check", "explain", "run"])
@pytest.mark.usefixtures("folder")
def test_a_missing_file_is_one_line(command: str) -> None:
    result = call(command, "none.toml")
    assert result.exit_code == 2
    assert result.stderr == "none.toml: cannot be read: No such file or directory\n"


def test_warnings_go_to_stderr(folder: Path) -> None:
    (folder / "warned.toml").write_text("[server]\nworkers = 4\n" + LEAST)
    result = call("check", "warned.toml")
    assert result.exit_code == 0
    assert result.stderr == "warning: warned.toml: not honoured yet, read and left aside: server.workers\n"


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.usefixtures("folder")
def test_run_hands_the_plan_over_and_ends_as_the_worker_does(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(status)
    put_in_place(worker, monkeypatch)
    assert call("run", "good.toml").exit_code == status
    assert call("run", "--listen", "[::1]:0", "--to", "legacy:80").exit_code == status
    file, arguments = worker.plans
    assert str(file.upstreams["legacy"].servers[0]) == "127.0.0.1:9000"
    assert [str(address) for address in arguments.listen] == ["[::1]:0"]
    assert [str(server) for server in arguments.upstreams["default"].servers] == ["legacy:80"]


@pytest.mark.usefixtures("folder")
def test_a_start_that_fails_is_one_line_and_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(Worker("127.0.0.1:8080: address in use"), monkeypatch)
    result = call("run", "good.toml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "shieldproxy: 127.0.0.1:8080: address in use\n"


def test_python_m_shieldproxy_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "shieldproxy", "--version"], capture_output=True, check=True)
    assert done.stdout.decode() == f"shieldproxy {shieldproxy.__version__}\n"


def test_demo_hands_on_its_options_and_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[float, bool]] = []

    def main(seconds: float, *, json: bool) -> int:
        called.append((seconds, json))
        return 143

    monkeypatch.setattr(play, "main", main)
    assert call("demo").exit_code == 143
    assert call("demo", "--seconds", "9.5", "--json").exit_code == 143
    assert called == [(18.0, False), (9.5, True)]


@pytest.mark.parametrize("seconds", ["7", "23", "x"])
def test_demo_has_limits(seconds: str) -> None:
    result = call("demo", "--seconds", seconds)
    assert result.exit_code == 2
    assert "--seconds" in result.stderr


def test_demo_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(seconds: float, *, json: bool) -> int:
        raise stage.Failed("the proxy does not start: no luck")

    monkeypatch.setattr(play, "main", main)
    result = call("demo")
    assert (result.exit_code, result.stderr) == (1, "shieldproxy: the proxy does not start: no luck\n")
