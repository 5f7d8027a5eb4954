"""Programs of the command line: curl, wget, ab, siege, lynx, links2, w3m."""

import hashlib
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.clients.model import (
    AGAIN,
    CLOSED,
    KEPT,
    PAGE,
    POST,
    REFUSAL,
    REFUSED,
    Needs,
    Program,
    Seen,
    Story,
)
from tests.clients.stage import Stage


def first_line(*words: str, pattern: str = r"\d+(?:\.\d+)+[\w.+-]*") -> Callable[[], str]:
    """A version: the first number in what a program says of itself."""

    def ask() -> str:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        found = re.search(pattern, done.stdout + done.stderr)
        return found.group() if found else "?"

    return ask


def _large(stage: Stage) -> str:
    file = stage.directory / "large"
    if not file.exists():
        file.write_bytes(b"r" * REFUSED)
    return str(file)


# curl

CURL = ["curl", "--silent", "--show-error", "--max-time", "40"]


def _curl(stage: Stage, steps: Sequence[str], extra: Sequence[str] = ()) -> dict[str, Seen]:
    """One process; between two steps it is idle (``--rate``)."""
    words = [*CURL, *extra, "--rate", f"{int(60 / stage.idle)}/m", "--write-out", "%{urlnum} %{http_code}\n"]
    for step in steps:
        words += ["-o", str(stage.directory / step), f"{stage.base}/{step}"]
    done = stage.run(words)
    codes = dict(line.split() for line in done.stdout.decode().splitlines())
    found = {}
    for number, step in enumerate(steps):
        code, file = int(codes.get(str(number), "0")), stage.directory / step
        found[step] = Seen.of(code, file.read_bytes() if file.exists() else b"")
        if not code:
            found[step] = Seen(error=done.stderr.decode().strip()[:160])
    return found


def curl_story(*options: str, upload: Sequence[str] = ()) -> Story:
    """Curl with these options; those for uploads apart."""

    def story(stage: Stage) -> dict[str, Seen]:
        found = _curl(stage, [KEPT, AGAIN], options)
        found |= _curl(stage, [CLOSED, "after"], options)
        for step, file in ((POST, str(stage.upload)), (REFUSAL, _large(stage))):
            found |= _curl(stage, [step], [*options, *upload, "--data-binary", f"@{file}"])
        return found

    return story


PIPELINED = "curl, pipelined bodies"


def _responses(stream: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each response; what does not belong to one is an error, as is one cut short."""
    found = []
    while stream:
        head, _, rest = stream.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
        if not status or not length or len(rest) < int(length[1]):
            raise AssertionError(f"{len(stream)} bytes that are no whole response: {stream[:80]!r}")
        found.append((int(status[1]), rest[: int(length[1])]))
        stream = rest[int(length[1]) :]
    return found


def curl_pipelining(stage: Stage) -> dict[str, Seen]:
    """Two POSTs back to back on one connection; the second does not wait for the first's response.

    Curl's own pipelining went with 7.65; as a telnet client it sends its input as it is (0xFF apart, which
    these bodies do not have) and writes what comes until the other side ends.
    """
    bodies = {POST: stage.upload.read_bytes(), CLOSED: b"c" * PAGE}
    requests = [
        b"POST /%b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n%b\r\n%b"
        % (
            step.encode(),
            stage.proxy.address.encode(),
            len(body),
            b"Connection: close\r\n" * (step == CLOSED),
            body,
        )
        for step, body in bodies.items()
    ]
    done = stage.run([*CURL[:-1], "10", f"telnet://{stage.proxy.address}"], data=b"".join(requests))
    found = _responses(done.stdout)
    first = hashlib.sha256(bodies[POST]).hexdigest().encode()
    if done.returncode or [body for _, body in found] != [first, stage.documents[CLOSED]]:
        sizes = [(status, len(body)) for status, body in found]
        raise AssertionError(f"curl ended with {done.returncode}, responses {sizes}: {done.stderr!r}")
    arrived = [(request.target.decode()[1:], request.body) for request in stage.upstream.requests]
    if arrived != list(bodies.items()):
        raise AssertionError(f"to the server came {[(step, len(body)) for step, body in arrived]}")
    stage.await_log([POST, CLOSED])
    ports = [line["port"] for line in stage.proxy.lines("exchange")]
    if ports != ports[:1] * 2:
        raise AssertionError(f"exchanges on ports {ports}, not two on one")
    return {step: Seen.of(*each) for step, each in zip(bodies, found, strict=True)}


# wget


def wget(stage: Stage) -> dict[str, Seen]:
    """Two documents with a wait between them; uploads one by one."""
    found = {}
    common = ["wget", "--no-config", "--tries=1", "--timeout=40", "--server-response", "--content-on-error"]
    for steps in ([KEPT, AGAIN], [CLOSED, "after"], [POST], [REFUSAL]):
        words = [*common, f"--wait={stage.idle:.0f}", "-P", str(stage.directory / "wget")]
        if steps[0] in (POST, REFUSAL):
            words.append(f"--post-file={stage.upload if steps[0] == POST else _large(stage)}")
        done = stage.run([*words, *(f"{stage.base}/{step}" for step in steps)])
        codes = re.findall(r"^\s+HTTP/1\.\d (\d+)", done.stderr.decode(), re.MULTILINE)
        for step, code in zip(steps, codes, strict=False):
            file = stage.directory / "wget" / step
            found[step] = Seen.of(int(code), file.read_bytes() if file.exists() else b"")
    return found


# load generators: many connections, and an end to them as soon as the last response is there


def _ab(stage: Stage, step: str, *options: str, count: int = 60) -> Seen:
    done = stage.run(["ab", "-q", "-n", str(count), "-c", "6", *options, f"{stage.base}/{step}"])
    facts = dict(re.findall(r"^([A-Z][\w -]+): +(\S+)", done.stdout.decode(), re.MULTILINE))
    if done.returncode or facts.get("Complete requests") != str(count) or facts["Failed requests"] != "0":
        return Seen(error=(done.stderr + done.stdout).decode()[-160:])
    other = int(facts.get("Non-2xx responses", "0"))
    return Seen(200 if not other else 413, int(facts["HTML transferred"]) // count)


def ab(stage: Stage) -> dict[str, Seen]:
    """Kept, then with a new connection for each, then uploads."""
    upload = ["-p", str(stage.upload), "-T", "text/plain"]
    return {
        KEPT: _ab(stage, KEPT, "-k"),
        AGAIN: _ab(stage, AGAIN),
        CLOSED: _ab(stage, CLOSED, "-k"),
        POST: _ab(stage, POST, "-k", *upload),
        REFUSAL: _ab(stage, REFUSAL, "-p", _large(stage), "-T", "text/plain", count=6),
    }


def siege(stage: Stage) -> dict[str, Seen]:
    """Four users, ten requests each; a file of its own settings, since it would write one into HOME.

    It takes no notice of ``Connection: close`` where it was told to keep connections: it asks again on the
    one that ends, and counts a failure. So of those that a rule closes it gets half, here as from any
    server.
    """
    found = {}
    for step, keep in ((KEPT, "keep-alive"), (AGAIN, "close"), (CLOSED, "keep-alive")):
        rc = stage.directory / "siegerc"
        rc.write_text(f"verbose = false\nprotocol = HTTP/1.1\nconnection = {keep}\nparser = false\n")
        rc_words = ["siege", "-R", str(rc), "-b", "-q", "-j", "-c", "4", "-r", "10", f"{stage.base}/{step}"]
        done = stage.run(rc_words)
        facts = dict(re.findall(r'"(\w+)":\s*([\d.]+)', done.stdout.decode()))
        well, ill = (int(facts.get(f"{word}_transactions", "0")) for word in ("successful", "failed"))
        good = well + ill == 40 and well >= (20 if step == CLOSED else 40)
        found[step] = Seen(200, PAGE) if good else Seen(error=(done.stdout + done.stderr).decode()[-160:])
    return found


# text browsers: the source of one page to its end, and another at a terminal, left open


def reader(source: Sequence[str], shown: Sequence[str]) -> Story:
    """``source`` writes a document to its output, ``shown`` shows it at a terminal."""

    def story(stage: Stage) -> dict[str, Seen]:
        found = {}
        for step in (AGAIN, CLOSED):
            found[step] = Seen.of(200, stage.run([*source, f"{stage.base}/{step}"]).stdout)
        for step in (KEPT, CLOSED):
            stage.at_terminal([*shown, f"{stage.base}/{step}"], step)
        return found

    return story


def _posting(story: Story, words: Callable[[str], Sequence[str]], by_input: bool) -> Story:
    """The story, and the uploads of a browser that can send a file from its command line."""

    def longer(stage: Stage) -> dict[str, Seen]:
        found = story(stage)
        for step, file in ((POST, str(stage.upload)), (REFUSAL, _large(stage))):
            data = Path(file).read_bytes() if by_input else None
            done = stage.run([*words(file), f"{stage.base}/{step}"], data=data)
            status = 413 if b"413" in done.stdout[:400] else 200
            found[step] = Seen.of(status, done.stdout)
        return found

    return longer


LYNX = ["lynx", "-cfg=/dev/null", "-source"]
TERMINAL_STEPS = (AGAIN, CLOSED)

PROGRAMS = (
    Program("curl", Needs(["curl"], source="apt install curl"), first_line("curl", "-V"), curl_story()),
    Program(
        "curl --http1.0",
        Needs(["curl"], source="apt install curl"),
        first_line("curl", "-V"),
        curl_story("--http1.0", "-H", "Connection: keep-alive"),
    ),
    Program(
        "curl, waiting for 100 Continue",
        Needs(["curl"], source="apt install curl"),
        first_line("curl", "-V"),
        curl_story("-H", "Expect: 100-continue", "--expect100-timeout", "30"),
    ),
    Program(
        "curl, chunked uploads",
        Needs(["curl"], source="apt install curl"),
        first_line("curl", "-V"),
        curl_story(upload=("-H", "Transfer-Encoding: chunked", "-H", "Expect:")),
    ),
    Program(
        PIPELINED,
        Needs(["curl"], source="apt install curl"),
        first_line("curl", "-V"),
        curl_pipelining,
        steps=(POST, CLOSED),
        idles=False,
    ),
    Program("wget", Needs(["wget"], source="apt install wget"), first_line("wget", "-V"), wget),
    Program("ab", Needs(["ab"], source="apt install apache2-utils"), first_line("ab", "-V"), ab, idles=False),
    Program(
        "siege",
        Needs(["siege"], source="apt install siege"),
        first_line("siege", "-V"),
        siege,
        steps=(KEPT, AGAIN, CLOSED),
        idles=False,
    ),
    Program(
        "lynx",
        Needs(["lynx"], source="apt install lynx"),
        first_line("lynx", "-version"),
        _posting(reader(LYNX, ["lynx", "-cfg=/dev/null"]), lambda _: [*LYNX, "-post_data"], True),
        steps=(AGAIN, POST, REFUSAL, CLOSED),
    ),
    Program(
        "links2",
        Needs(["links2"], source="apt install links2"),
        first_line("links2", "-version"),
        reader(["links2", "-source"], ["links2"]),
        steps=TERMINAL_STEPS,
    ),
    Program(
        "w3m",
        Needs(["w3m"], source="apt install w3m"),
        first_line("w3m", "-version"),
        _posting(
            reader(["w3m", "-dump_source"], ["w3m"]),
            lambda file: ["w3m", "-dump_both", "-post", file],
            False,
        ),
        steps=(AGAIN, POST, REFUSAL, CLOSED),
    ),
)
