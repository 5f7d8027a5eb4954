"""What the search has found, and where it begins, again; and the checks are seen to be able to fail."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from shieldproxy.core import body, fields, framing, response
from shieldproxy.core import head as head_module
from shieldproxy.core.blocks import REQUEST_BLOCKS, RESPONSE_BLOCKS, ResponseBlock
from shieldproxy.core.fields import Fault
from shieldproxy.core.head import ResponseHead, end_of_head
from shieldproxy.net import downstream
from tests.fuzz import __main__ as runner
from tests.fuzz import checks, messages, seeds
from tests.fuzz.finds import FINDS, Find


@pytest.mark.parametrize("find", FINDS, ids=lambda find: find.why[:40])
def test_finds_stay_mended(find: Find) -> None:
    checks.CHECKS[find.check](find.choice, find.data)


@pytest.mark.parametrize("number", range(len(checks.CHECKS)), ids=list(checks.CHECKS))
def test_every_seed_passes(number: int) -> None:
    mine = [data for data in seeds.inputs() if data[0] == number]
    assert len(mine) > 40
    for data in mine:
        checks.run(data)


# the checks can fail


def _both_framings(lengths: list[bytes], codings: list[bytes], minor: int) -> int | Fault:
    return framing.request_length([] if codings else lengths, codings, minor)


_known_head = response._known_head


def _forgetful(known: ResponseBlock, _length: int, end: int, method: bytes) -> ResponseHead:
    return _known_head(known, 5, end, method)


FAULTS: dict[str, tuple[object, str, object]] = {
    "a chunk without its CRLF": (messages, "chunk", lambda piece: b"%x\r\n%b" % (len(piece), piece)),
    "a length beside chunked": (head_module, "request_length", _both_framings),
    "a field that Connection names": (fields, "without", lambda lines, _names: list(lines)),
    "a trailer that frames": (body, "_may_trail", lambda _name: True),
    "a length from memory": (response, "_known_head", _forgetful),
    "a dripped byte is not looked at": (downstream, "end_of_head", lambda buf, at: end_of_head(buf, at + 3)),
    "two lengths of a response": (
        response,
        "response_length",
        lambda lengths, _codings, _minor: int(lengths[0]),
    ),
    "a stray byte behind a request": (messages, "framed", lambda whole, _framing: whole.data + b"x"),
    "Upgrade goes on": (
        fields.REQUEST_LINES,
        "_kind_of",
        lambda name: fields._REQUEST_NAMES.get(name, 0) % 10,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the seeds alone; the search has more."""
    monkeypatch.setattr(*FAULTS[name])
    unknown: dict[bytes, fields.Field] = {}  # what other tests have left in memory would hide the fault
    monkeypatch.setattr(fields.REQUEST_LINES, "_lines", unknown)
    monkeypatch.setattr(fields.REQUEST_LINES, "get", unknown.get)
    try:
        assert any(runner.fails(data) for data in seeds.inputs())
    finally:  # what was read under the fault is not to be believed later
        REQUEST_BLOCKS.forget()
        RESPONSE_BLOCKS.forget()


# the search itself


@pytest.mark.slow
def test_a_search_runs_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec("atheris") is None:
        assert runner.main(1) == 2
        assert "atheris is missing" in capsys.readouterr().out
        return
    assert runner.main(20, "-runs=2500", "-seed=1") == 0  # the same each time: what is new is for make fuzz
    assert re.search(
        r"[\d,]{4,} executions, \d{3,} edges and \d{3,} features covered", capsys.readouterr().out
    )


@pytest.mark.parametrize("kind", ["timeout", "crash"])
def test_what_was_late_but_once_is_no_find(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine that is held up an input may take its time; one that makes a check fail is a find."""
    monkeypatch.setattr(runner, "find_spec", lambda _: True)
    if find_spec("atheris") is None:
        monkeypatch.setattr(runner, "only_late", lambda path: "timeout" in path.name)

    def late(_seconds: int, folder: Path, *_options: str) -> tuple[int, str]:
        (folder / f"find-{kind}-1").write_bytes(next(seeds.inputs()))
        return 70, "#9 NEW cov: 1 ft: 1 corp: 1/1b\nstat::number_of_executed_units: 9\n"

    monkeypatch.setattr(runner, "search", late)
    assert runner.main(1) == (0 if kind == "timeout" else 1)
    assert ("the machine was held up" in capsys.readouterr().out) is (kind == "timeout")


def test_a_find_is_shortened_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "chunk", lambda piece: b"%x\r\n%b" % (len(piece), piece))
    data = next(data for data in seeds.inputs() if data[0] == 0 and runner.fails(data))
    shorter = runner.shortened(data)
    assert runner.fails(shorter) == runner.fails(data)
    assert len(shorter) < len(data)
    said = runner.told(data)
    assert f'Find("requests", {data[1]}, {shorter[2:]!r}' in said
    assert "tests/fuzz/finds.py" in said
