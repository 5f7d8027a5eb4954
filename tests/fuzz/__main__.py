"""The search, for a fixed time: seeds into a temporary directory, libFuzzer on them, and what it found.

    python -m tests.fuzz SECONDS

Exit status 0 when nothing was found, 1 when a check failed, 2 when the search did not run. An input that
fails is made as short as it will go and printed as a line for tests/fuzz/finds.py, where it stays a test.
"""

import re
import subprocess
import sys
import tempfile
import traceback
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz import checks, seeds

ROOT = Path(__file__).resolve().parents[2]
ONE_INPUT = 10
"""Seconds after which an input counts as hanging."""
TOO_LONG = 124
"""The status of a search that did not end."""


def fails(data: bytes) -> str:
    """Where and how a check fails on an input; empty if it does not."""
    try:
        checks.run(data)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is the find
        frames = traceback.extract_tb(exc.__traceback__)
        last = [frame for frame in frames if "/tests/fuzz/" in frame.filename][-1]
        return f"{type(exc).__name__} at {Path(last.filename).name}:{last.lineno}"
    return ""


def shortened(data: bytes) -> bytes:
    """Take away what a failure does not need; it stays the same failure."""
    wanted = fails(data)
    size = len(data) // 2
    while wanted and size:
        at = 2
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if fails(shorter) == wanted:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def told(data: bytes) -> str:
    """Say what was found and how to keep it."""
    data = shortened(data)
    name, choice, message = checks.named(data)
    again = fails(data) or "it does not fail again: a hang, or a failure by what was read before"
    return (
        f"{again}\n"
        "keep it as a test, in tests/fuzz/finds.py:\n"
        f'    Find("{name}", {choice}, {message!r}, "what was wrong"),'
    )


def search(seconds: int, folder: Path, *options: str) -> tuple[int, str]:
    """Run libFuzzer on the seeds, with its own options; its exit status and what it printed."""
    corpus, words = folder / "corpus", folder / "words.dict"
    corpus.mkdir()
    words.write_text(seeds.dictionary())
    for number, data in enumerate(seeds.inputs()):
        (corpus / f"{number:04}").write_bytes(data)
    command = [
        *(sys.executable, "-m", "tests.fuzz.target"),
        *(f"-max_total_time={seconds}", f"-max_len={seeds.LARGEST}", f"-timeout={ONE_INPUT}"),
        *(f"-dict={words}", f"-artifact_prefix={folder}/find-", "-print_final_stats=1", *options),
        str(corpus),
    ]
    return _run(command, seconds + 120)


def _run(command: list[str], limit: int) -> tuple[int, str]:
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, timeout=limit, check=False
            )
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = TOO_LONG
        output.seek(0)
        return status, output.read().decode("utf-8", "replace")


def only_late(path: Path) -> bool:
    """Whether an input that took too long is quick as soon as nobody holds the machine up."""
    if not path.name.startswith(("find-timeout-", "find-slow-unit-")):
        return False
    command = [sys.executable, "-m", "tests.fuzz.target", f"-timeout={ONE_INPUT}"]
    command += [f"-artifact_prefix={path.parent}/again-", str(path)]
    return any(_run(command, 120)[0] == 0 for _ in range(3))


def summary(output: str) -> str:
    """Executions and coverage, from libFuzzer's last words; empty if it never got there."""
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", output)
    covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", output)
    if not (runs and covered and int(runs[-1])):
        return ""
    edges, features, corpus = covered[-1]
    return (
        f"{int(runs[-1]):,} executions, {edges} edges and {features} features covered, {corpus} inputs kept"
    )


def main(seconds: int, *options: str) -> int:
    """Search, with options of libFuzzer, and say what came of it."""
    if find_spec("atheris") is None:
        print("fuzz: atheris is missing: pip install '.[fuzz]' (Linux on x86-64, CPython up to 3.13)")
        return 2
    with tempfile.TemporaryDirectory(prefix="shieldproxy-fuzz-") as name:
        status, output = search(seconds, Path(name), *options)
        found = sorted(Path(name).glob("find-*"))
        count = summary(output)
        if found and count and all(map(only_late, found)):
            print(
                "fuzz: an input took too long, and was quick when it was run again: the machine was held up"
            )
            found, status = [], 0
        for path in found:
            kind, data = path.name[5:].partition("-")[0], path.read_bytes()
            print(f"fuzz: {kind}: {told(data) if kind == 'crash' else data!r}")
        if found or status or not count:
            print("\n".join(output.splitlines()[-40:]))
    print(f"fuzz: {count or 'no search'} in {seconds} s: {'FAILED' if found or status else 'nothing found'}")
    return 1 if found or status else 0 if count else 2


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
