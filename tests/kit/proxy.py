"""The product as a process: configuration, start, log lines, end.

``SHIELDPROXY_TEST_COMMAND`` (words; the configuration file is appended) puts another program in its place,
for example ``python -m tests.kit.relay``: the tests must then fail.
"""

import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kit.client import open_socket
from tests.kit.closewait import WATCHMAN
from tests.kit.forkserver import start
from tests.kit.sockets import CLOSE_WAIT, Row, eventually, gone, held_by, table
from tests.kit.transcript import note_line

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 15.0
STOP_LIMIT = 15.0
LOG_LIMIT = 8.0


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens at, below the ephemeral range so that no outgoing connection takes it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.sample(range(12000, 32000), 200):
        with socket.socket(family) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def free_address(host: str = "127.0.0.1") -> str:
    """``host:port`` that nobody listens at."""
    return f"[{host}]:{free_port(host)}" if ":" in host else f"{host}:{free_port(host)}"


def command() -> list[str]:
    """How the product is started, before the configuration's name."""
    other = os.environ.get("SHIELDPROXY_TEST_COMMAND")
    return shlex.split(other) if other else [sys.executable, "-m", "shieldproxy", "run"]


def _value(value: object) -> str:
    """A value as TOML text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return json.dumps(str(value))
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Iterable):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"no TOML for {value!r}")


def toml(tables: Mapping[str, Any]) -> str:
    """TOML of a dict: mappings become tables, lists of mappings arrays of tables; deeper: inline."""
    plain: list[str] = []
    lines: list[str] = []
    for name, content in tables.items():
        if name == "upstream":
            for key, table in content.items():
                lines += [
                    f"[upstream.{json.dumps(key)}]",
                    *(f"{k} = {_value(v)}" for k, v in table.items()),
                    "",
                ]
        elif isinstance(content, Mapping):
            lines += [f"[{name}]", *(f"{k} = {_value(v)}" for k, v in content.items()), ""]
        elif isinstance(content, list) and content and isinstance(content[0], Mapping):
            for table in content:
                lines += [f"[[{name}]]", *(f"{k} = {_value(v)}" for k, v in table.items()), ""]
        else:
            plain.append(f"{name} = {_value(content)}")
    return "\n".join([*plain, *lines]) + "\n"


def settings(
    directory: Path, upstream: str | Mapping[str, Any], express: bool, **tables: Any
) -> dict[str, Any]:
    """A whole configuration; ``upstream`` is one address or the table of upstreams.

    Tables given by name are laid over the defaults: ``server={...}, rule=[...], route=[...]``;
    ``legacy={...}`` over the one upstream's table, ``route={...}`` over the one route.
    """
    upstreams = {"legacy": {"servers": [upstream]}} if isinstance(upstream, str) else dict(upstream)
    if "legacy" in tables:
        upstreams["legacy"] = {**upstreams["legacy"], **tables.pop("legacy")}
    if isinstance(tables.get("route"), Mapping):
        tables["route"] = [{"upstream": next(iter(upstreams)), **tables["route"]}]
    base: dict[str, Any] = {
        "server": {"drain_timeout": "1s", "express": express},
        "log": {"access": directory / "access.log", "format": "json"},
        "upstream": upstreams,
        "route": [{"upstream": next(iter(upstreams))}],
    }
    for name, content in tables.items():
        if isinstance(content, Mapping) and isinstance(base.get(name), dict) and name != "upstream":
            base[name] = {**base[name], **content}
        else:
            base[name] = content
    base["server"].setdefault("listen", [free_address()])
    return base


def servers_of(config: Mapping[str, Any]) -> list[str]:
    """Every upstream server's address."""
    servers = [server for table in config.get("upstream", {}).values() for server in table.get("servers", ())]
    return [server["address"] if isinstance(server, Mapping) else server for server in servers]


def ports(addresses: Iterable[str]) -> list[int]:
    """The ports of those that have one."""
    words = [address.rpartition(":")[2] for address in addresses if not address.startswith("unix:")]
    return [int(word) for word in words if word.isdigit()]


class Proxy:
    """One running product. ``address`` is the first listening address, ``addresses`` all of them.

    It is forked (`tests.kit.forkserver`) unless it is to stand ``apart``: for tests that look at its memory.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        directory: Path,
        *,
        apart: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config
        self.directory = directory
        self.addresses: list[str] = list(config["server"]["listen"])
        self.address = self.addresses[0]
        self.access = Path(config["log"]["access"])
        self.file = directory / "proxy.toml"
        self.file.write_text(toml(config))
        self._errors = directory / "stderr.log"
        self._from = 0
        with self._errors.open("wb") as errors, (directory / "stdout.log").open("wb") as output:
            self.process = start(
                [*command(), str(self.file)],
                output,
                errors,
                ROOT,
                {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                apart=apart,
            )
        self.pid = self.process.pid
        self._guarded = WATCHMAN.guard(self.pid, ports(self.addresses), ports(servers_of(config)))
        try:
            for address in self.addresses:
                self._await(address)
        except BaseException:
            self.process.kill()
            self.process.wait()
            WATCHMAN.release(self._guarded)
            raise

    def _await(self, address: str) -> None:
        limit = time.monotonic() + START_LIMIT
        while True:
            probe, where = open_socket(address)
            with probe:
                try:
                    probe.connect(where)
                except OSError:
                    pass
                else:
                    return
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode} at start: {self.stderr()}")
            if time.monotonic() > limit:
                raise RuntimeError(f"does not listen at {address}: {self.stderr()}")
            time.sleep(0.01)

    def stderr(self) -> str:
        """What it said so far."""
        return self._errors.read_text(errors="replace")

    def stdout(self) -> str:
        """What it printed so far."""
        return (self.directory / "stdout.log").read_text(errors="replace")

    def mark(self) -> None:
        """Log lines written before now are no more seen (for a shared proxy)."""
        self._from = self.access.stat().st_size if self.access.exists() else 0

    def lines(self, kind: str = "", port: int = 0) -> list[dict[str, Any]]:
        """The JSON log lines so far, of one kind, of one client's port."""
        if not self.access.exists():
            return []
        with self.access.open("rb") as file:
            file.seek(self._from)
            data = file.read()
        found = [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
        return [
            line
            for line in found
            if (not kind or line.get("kind") == kind) and (not port or line.get("port") == port)
        ]

    def log_lines(
        self, count: int = 1, *, kind: str = "exchange", port: int = 0, timeout: float = LOG_LIMIT
    ) -> list[dict[str, Any]]:
        """Wait until so many lines have come; more are an error."""
        limit = time.monotonic() + timeout
        while len(found := self.lines(kind, port)) < count:
            if time.monotonic() > limit or self.process.poll() is not None:
                raise AssertionError(
                    f"{len(found)} {kind} lines, not {count}: {found}; stderr: {self.stderr()[-2000:]}"
                )
            time.sleep(0.01)
        assert len(found) == count, f"{len(found)} {kind} lines, not {count}: {found}"
        for line in found:
            note_line(line)
        return found

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It sees nothing of what happens meanwhile, and then all of it at once."""
        stat = Path(f"/proc/{self.pid}/stat")
        self.signal(signal.SIGSTOP)
        try:
            assert eventually(lambda: stat.read_text("ascii").rpartition(")")[2].startswith(" T"), step=0.001)
            yield
        finally:
            self.signal(signal.SIGCONT)

    def fds(self) -> int:
        """Open descriptors of the process."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def terminate(self, timeout: float = STOP_LIMIT) -> int:
        """TERM, and wait for the end; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(
                f"did not end within {timeout} s of TERM; stderr: {self.stderr()[-2000:]}"
            ) from None

    def half_dead(self) -> list[Row]:
        """Its sockets in CLOSE_WAIT: the peer has ended and it has not noticed."""
        own = held_by(self.pid)
        return [row for row in table(self.pid, states=[CLOSE_WAIT]) if row.inode in own]

    def finish(self) -> None:
        """No CLOSE_WAIT, now or ever; TERM, exit status 0, nothing in stderr that looks like a crash."""
        try:
            try:
                if self.process.poll() is None:
                    gone(self.half_dead)
            finally:
                status = self.terminate()
        finally:
            WATCHMAN.release(self._guarded)
        self._from = 0
        json_log = self.config["log"].get("format", "json") == "json" and self.access.is_file()
        left_over = self._guarded.verdict(self.lines() if json_log else [])
        assert not left_over, "\n".join(left_over)
        said = self.stderr()
        assert "Traceback" not in said, said[-6000:]
        assert status == 0, f"exit status {status}: {said[-3000:]}"
