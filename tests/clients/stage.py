"""The place where one client is seen: an upstream, the proxy as a process, and the clock that all share.

The proxy runs with its own defaults but for four things: idle connections end after a second, ``/refused``
takes 64 KiB at most, a rule ends the connection after each response under ``/closed``, and the log has
a receipt of every connection.
"""

import contextlib
import fcntl
import hashlib
import os
import pty
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.clients.model import AGAIN, CLOSED, KEPT, POST, REFUSAL, UPLOAD, Closing, text
from tests.clients.watcher import STEP, Life, Watcher
from tests.kit.answers import reply
from tests.kit.link import Turn
from tests.kit.proxy import Proxy, settings
from tests.kit.sockets import eventually
from tests.kit.upstream import Upstream

KEEP_ALIVE = 1.0
RUN_LIMIT = 90.0
STOPPING = 8.0
AT_ONCE = 0.15
"""Seconds: the watcher's step, and a busy machine."""
NEAR = 0.6
"""Seconds between a FIN and the event that it is put down to."""

PLAIN = "Content-Type: text/plain\r\n"
PAGES = {**{name: text(name) for name in (KEPT, AGAIN, CLOSED)}, "after": b"after\n"}


def stop(process: subprocess.Popen[bytes], timeout: float = STOPPING) -> None:
    """End a process and whatever it started: all of it is in a session of its own."""
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, timeout)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # children that outlived it


@contextlib.contextmanager
def roomy() -> Iterator[Path]:
    """A directory that others may look into: a server that was started by root becomes somebody else."""
    with tempfile.TemporaryDirectory(prefix="clients-", ignore_cleanup_errors=True) as top:
        root = Path(top)
        root.chmod(0o755)
        yield root


class Stage:
    """One run of one client. ``base`` is the proxy's URL, ``idle`` how long the client shall do nothing."""

    def __init__(
        self, directory: Path, watcher: Watcher, watch: float, *, linger: str = "ack", express: bool = True
    ) -> None:
        self.directory = directory
        self.watcher = watcher
        self.watch = watch
        self.idle = KEEP_ALIVE + 0.2 + watch
        self.arrivals: dict[str, list[float]] = {}
        self.documents: dict[str, bytes] = {}
        # moments at which a program had ended or (True) was told to
        self.exits: list[tuple[float, bool]] = []
        self.upload = directory / "upload"
        self.upload.write_bytes(b"u" * UPLOAD)
        self.upstream = Upstream()
        for name, page in PAGES.items():
            self.page(f"/{name}", page)
        self.upstream.on(f"/{POST}", self._post)
        config = settings(
            directory,
            self.upstream.address,
            express=express,
            timeouts={"keep_alive": f"{KEEP_ALIVE:g}s"},
            rule=[
                {"name": "linger", "why": "for a test that takes it away", "path": "/", "linger": linger},
                {"name": "closed", "why": "shows a close", "path": f"/{CLOSED}", "keep_alive": False},
                {"name": "small", "why": "refuses", "path": f"/{REFUSAL}", "limits": {"body": "64KiB"}},
            ],
            log={"level": "debug"},
        )
        try:
            self.proxy = Proxy(config, directory)
        except BaseException:
            self.upstream.close()
            raise
        self.port = int(self.proxy.address.rpartition(":")[2])
        self.base = f"http://{self.proxy.address}"
        watcher.add(self.port)

    def page(self, target: str, body: bytes, fields: str = PLAIN) -> None:
        """Serve a document, and note when it is asked for."""
        answer = reply(body, fields=fields)
        self.documents[target.removeprefix("/")] = body

        def serve(turn: Turn) -> None:
            self.arrivals.setdefault(target.removeprefix("/"), []).append(time.monotonic())
            head_only = turn.request.method == b"HEAD"
            turn.send(answer[: -len(body)] if head_only else answer)

        self.upstream.on(target, serve)

    def _post(self, turn: Turn) -> None:
        self.arrivals.setdefault(POST, []).append(time.monotonic())
        turn.send(reply(hashlib.sha256(turn.request.body).hexdigest().encode(), fields=PLAIN))

    def close(self) -> None:
        """End the proxy (it must end well) and the upstream."""
        try:
            self.watcher.drop(self.port)
            self.proxy.finish()
        finally:
            self.upstream.close()

    # running programs

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Ours without proxies, with a home that is this run's own."""
        own = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        return {**own, "HOME": str(self.directory), "TERM": "xterm", "LC_ALL": "C.UTF-8", **(extra or {})}

    @contextlib.contextmanager
    def started(
        self, words: Sequence[str], environment: Mapping[str, str] | None = None, **options: Any
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A program that runs meanwhile, and is ended with all it has started."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
        process = subprocess.Popen(
            list(words),
            **{"stderr": subprocess.DEVNULL, **options},
            env=self.environment(environment),
            cwd=self.directory,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            self.exits.append((time.monotonic(), process.poll() is None))
            stop(process)

    def run(
        self, words: Sequence[str], *, data: bytes | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end; its output is kept."""
        source = subprocess.DEVNULL if data is None else subprocess.PIPE
        with self.started(
            words, environment, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                out, err = process.communicate(data, RUN_LIMIT + 2 * self.idle)
            except subprocess.TimeoutExpired:
                stop(process)
                raise AssertionError(f"{words[0]} did not end") from None
        return subprocess.CompletedProcess(list(words), process.returncode, out, err)

    def at_terminal(self, words: Sequence[str], target: str) -> None:
        """Let an interactive program show a page, and leave it alone for a while."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        drain = threading.Thread(target=_drain, args=(master,), daemon=True)
        drain.start()
        try:
            with self.started(words, stdin=slave, stdout=slave, stderr=slave):
                os.close(slave)
                slave = -1
                self.await_exchange(target)
                time.sleep(self.idle)
        finally:
            if slave >= 0:
                os.close(slave)
            drain.join(5.0)
            os.close(master)

    # what was seen

    def await_exchange(self, target: str, timeout: float = 40.0) -> None:
        """Wait until the log has an exchange for this target."""
        if not eventually(lambda: self._exchange(target), timeout, 0.05):
            raise AssertionError(f"/{target} was never asked for")

    def _exchange(self, target: str) -> dict[str, Any]:
        found = [
            line for line in self.proxy.lines("exchange") if line.get("target", "").endswith(f"/{target}")
        ]
        return found[-1] if found else {}

    def await_log(self, targets: Sequence[str], timeout: float = 3.0) -> None:
        """Wait until what these programs have asked for is in the log, which is written in blocks."""
        for target in targets:
            eventually(lambda name=target: self._exchange(name), timeout, 0.05)  # type: ignore[misc]

    def await_receipts(self, timeout: float = 6.0) -> list[dict[str, Any]]:
        """The receipts, once every connection that made a request has one."""

        def all_there() -> bool:
            asked = {line["port"] for line in self.proxy.lines("exchange")}
            return asked <= {line["port"] for line in self.proxy.lines("connection")}

        eventually(all_there, timeout, 0.05)
        return self.proxy.lines("connection")

    def closing(self, target: str) -> Closing | None:
        """How the connection that served this target was closed."""
        exchange = self._exchange(target)
        if not exchange:
            return None
        port = exchange["port"]
        receipts = self.proxy.lines("connection", port)
        life = self.watcher.life(self.port, port)
        receipt = receipts[-1] if receipts else {}
        return Closing(self._words(life, receipt, target), receipt)

    def _words(self, life: Life | None, receipt: Mapping[str, Any], target: str) -> str:
        if life is None:
            return "at once"
        if receipt.get("by") == "client" and receipt.get("reason") in ("fin", "reset"):
            start = self.arrivals.get(target, [life.opened])[-1]
            passed = (life.client_fin or time.monotonic()) - start
            how = "closes" if receipt["reason"] == "fin" else "resets"
            return f"{how} first, " + ("at once" if passed < AT_ONCE else f"{passed:.1f} s later")
        if life.client_fin is None:
            return f"never (watched for {self.watch:g} s)"
        if life.our_fin is None or life.client_fin - life.our_fin < AT_ONCE:
            return "at once"
        after = life.client_fin - life.our_fin
        passed_exits = [(life.client_fin - moment, ended) for moment, ended in self.exits]
        if any(ended and -STEP <= passed < 2 * STOPPING for passed, ended in passed_exits):
            return f"not by itself: when it exits, {after:.0f} s later"
        for moment in (at for times in self.arrivals.values() for at in times):
            if -AT_ONCE < moment - life.client_fin < NEAR:
                return f"not by itself: with its next request, {after:.0f} s later"
        if any(-NEAR < passed < NEAR for passed, _ in passed_exits):
            return f"not by itself: when it exits, {after:.0f} s later"
        return f"{after:.1f} s later"


def _drain(master: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(master, 65536):
            pass
