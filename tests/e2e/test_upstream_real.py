"""Real programs: python's http.server and Apache (mpm_prefork) behind, curl, wget and ab in front."""

import contextlib
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.client import request
from tests.kit.proxy import Proxy, free_port
from tests.kit.watch import Watch

BIG = random.Random(3).randbytes(2 * 1024 * 1024)
APACHE_MODULES = Path("/usr/lib/apache2/modules")
APACHE = """
ServerName test.example
ServerRoot {root}
PidFile {root}/pid
Listen 127.0.0.1:{port}
ErrorLog {root}/error.log
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule mime_module {modules}/mod_mime.so
TypesConfig /dev/null
DocumentRoot {root}/docs
KeepAliveTimeout 2
StartServers 2
MinSpareServers 1
MaxSpareServers 3
MaxRequestWorkers 4
<Directory {root}/docs>
    Require all granted
</Directory>
"""

CURL = ["curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]


def tool(name: str) -> str:
    """The program, or a skip that names it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def documents(directory: Path) -> Path:
    docs = directory / "docs"
    docs.mkdir()
    (docs / "index.html").write_text("<p>hello</p>\n")
    (docs / "big.bin").write_bytes(BIG)
    for file in docs.iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))
    return docs


def await_port(port: int) -> None:
    limit = time.monotonic() + 15
    while time.monotonic() < limit:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.connect(("127.0.0.1", port))
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens at {port}")


@contextlib.contextmanager
def program(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # apache sends its own TERM on to its whole process group
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module", params=["http.server", "http.server 1.1", "apache prefork"])
def served(
    module_bench: Bench, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """The product before a real server with two documents."""
    directory = tmp_path_factory.mktemp("real")
    docs, port = documents(directory), free_port()
    if request.param == "apache prefork":
        binary = tool("apache2")
        if not (APACHE_MODULES / "mod_mpm_prefork.so").exists():
            pytest.skip("apache2 has no mpm_prefork")
        file = directory / "apache.conf"
        file.write_text(APACHE.format(root=directory, port=port, modules=APACHE_MODULES))
        words = [binary, "-f", str(file), "-D", "FOREGROUND"]
    else:
        words = [
            sys.executable,
            "-m",
            "http.server",
            str(port),
            "--bind",
            "127.0.0.1",
            "--directory",
            str(docs),
        ]
        if request.param.endswith("1.1"):
            words += ["--protocol", "HTTP/1.1"]
    with program(words):
        await_port(port)
        yield module_bench.proxy(f"127.0.0.1:{port}")


def run(words: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, capture_output=True, check=False, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_raw(served: Proxy, connect: Connect) -> None:
    client = connect(served)
    for _ in range(5):
        got = client.ask(request("/", host=served.address))
        assert (got.status, got.body) == (200, b"<p>hello</p>\n")
        assert got.persistent
    head = client.ask(request("/big.bin", method="HEAD"))
    assert head.get("content-length") == str(len(BIG)).encode()
    assert client.ask(request("/big.bin")).body == BIG
    assert client.ask(request("/none")).status == 404
    client.send(request("/") * 10)
    assert [client.response().body for _ in range(10)] == [b"<p>hello</p>\n"] * 10


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_curl(served: Proxy, version: str, tmp_path: Path) -> None:
    tool("curl")
    urls = [f"http://{served.address}/{name}" for name in ("index.html", "big.bin", "none")]
    outputs = [word for n, url in enumerate(urls) for word in ("-o", str(tmp_path / str(n)), url)]
    done = run([*CURL, version, "--write-out", "%{http_code} %{num_connects}\n", *outputs])
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    assert [row[0] for row in rows] == ["200", "200", "404"]
    if version == "--http1.1":
        assert [row[1] for row in rows] == ["1", "0", "0"]
    assert (tmp_path / "1").read_bytes() == BIG


def test_curl_posts(bench: Bench, tmp_path: Path) -> None:
    """Bodies by length, chunked, and after a 100; all whole at the upstream."""
    tool("curl")
    server = bench.upstream()
    proxy = bench.proxy(server)
    file = tmp_path / "body"
    file.write_bytes(BIG)
    for extra in (
        [],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Expect: 100-continue", "--expect100-timeout", "10"],
    ):
        start = Watch()
        done = run([*CURL, *extra, "--data-binary", f"@{file}", f"http://{proxy.address}/post"])
        assert (done.returncode, done.stdout) == (0, b"hello"), done.stderr
        start.took(0, 5)
    bodies = [hashlib.sha256(r.body).digest() for r in server.wait_requests(3)]
    assert bodies == [hashlib.sha256(BIG).digest()] * 3


def test_curl_sees_a_refusal_while_it_uploads(bench: Bench, tmp_path: Path) -> None:
    """Curl does not say "send failure" but shows the 413."""
    tool("curl")
    server = bench.upstream()
    proxy = bench.proxy(server, limits={"body": "10KiB"})
    file = tmp_path / "body"
    file.write_bytes(BIG)
    for extra in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]):
        done = run(
            [
                *CURL,
                *extra,
                "--write-out",
                "%{http_code}",
                "-o",
                "/dev/null",
                "--data-binary",
                f"@{file}",
                f"http://{proxy.address}/",
            ]
        )
        assert done.stdout == b"413", done


def test_wget(served: Proxy, tmp_path: Path) -> None:
    """Two files over one connection; then wget closes."""
    tool("wget")
    urls = [f"http://{served.address}/{name}" for name in ("index.html", "big.bin")]
    done = run(["wget", "--no-proxy", "--tries=1", "--timeout=20", "-P", str(tmp_path), *urls])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "big.bin").read_bytes() == BIG
    assert b"Reusing existing connection" in done.stderr


@pytest.mark.parametrize("keep", [[], ["-k"]], ids=["closing", "keep-alive"])
def test_ab(served: Proxy, keep: list[str]) -> None:
    """An HTTP/1.0 client: no failed request, and with -k nearly all kept alive."""
    tool("ab")
    done = run(["ab", "-q", "-n", "200", "-c", "8", *keep, f"http://{served.address}/index.html"])
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    facts = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    assert facts["Complete requests"].strip() == "200"
    assert facts["Failed requests"].strip() == "0"
    assert "Non-2xx responses" not in facts
    if keep:
        assert int(facts["Keep-Alive requests"]) >= 190


def test_ab_posts(bench: Bench, tmp_path: Path) -> None:
    tool("ab")
    server = bench.upstream()
    proxy = bench.proxy(server)
    file = tmp_path / "body"
    file.write_bytes(b"x" * 5000)
    done = run(
        [
            "ab",
            "-q",
            "-n",
            "100",
            "-c",
            "4",
            "-k",
            "-p",
            str(file),
            "-T",
            "text/plain",
            f"http://{proxy.address}/",
        ]
    )
    assert b"Failed requests:        0" in done.stdout, done
    assert len(server.wait_requests(100)) == 100
    assert not server.violations
