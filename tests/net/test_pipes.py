"""Pipes that are lent: how many stay open when nobody needs them."""

import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest

from shieldproxy.net import pipes
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.pipes import IDLE, KEPT, REST, Lent, Pipes
from tests.net.rig import Clock
from tests.net.spools import drop, tcp


class Nobody:
    """A holder that is never told to part with its pipe."""

    def __init__(self) -> None:
        self.reminded = 0

    def part(self) -> None:
        raise AssertionError

    def untouched(self) -> None:
        self.reminded += 1


class Lending:
    """Pipes whose time only the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.faults: list[Exception] = []
        self.lobby = Lobby(self.clock, lambda _, exc: self.faults.append(exc))
        self.pipes = Pipes(self.lobby)
        self.lobby.tick()

    def lend(self, count: int) -> list[Lent]:
        """So many at once."""
        lent = [self.pipes.lend(Nobody()) for _ in range(count)]
        return [pipe for pipe in lent if pipe is not None]

    def back(self, lent: list[Lent]) -> None:
        """Give them back, empty."""
        for pipe in lent:
            self.pipes.back(pipe, empty=True)

    def later(self, seconds: float = REST + 0.2) -> int:
        """Let time pass; how many are open and free then."""
        self.clock.now += seconds
        self.lobby.fire()
        assert not self.faults
        return len(self.pipes._free)


@pytest.fixture
def lending() -> Iterator[Lending]:
    made = Lending()
    yield made
    made.pipes.close()
    made.lobby.shut()


def test_most_are_closed_when_nobody_wants_them(lending: Lending) -> None:
    lending.back(lending.lend(25))
    assert lending.later(REST / 2) == 25
    lending.later()  # those that were there when it began to look
    assert lending.later() == KEPT
    assert lending.lobby.deadlines.next_slot() == float("inf"), "and nothing is looked at any more"


def test_those_in_use_are_kept(lending: Lending) -> None:
    """As many as were lent at a time between two looks."""
    lending.back(lending.lend(25))
    lending.later()
    lending.back(lending.lend(10))
    assert lending.later() == 10
    assert lending.later() == KEPT


def test_a_few_are_never_looked_at(lending: Lending) -> None:
    lending.back(lending.lend(KEPT))
    lending.later(IDLE + 0.2)
    assert lending.lobby.deadlines.next_slot() == float("inf")
    assert lending.later() == KEPT


def test_who_does_not_touch_his_pipe_is_reminded(lending: Lending) -> None:
    busy, lazy = Nobody(), Nobody()
    pipe, other = lending.pipes.lend(busy), lending.pipes.lend(lazy)
    assert pipe is not None
    assert other is not None
    for _ in range(3):
        pipe.touched = lending.clock.now + IDLE
        lending.later(IDLE + 0.2)
    assert (busy.reminded, lazy.reminded) == (0, 3)
    lending.back([pipe, other])
    lending.later()
    assert lending.lobby.deadlines.next_slot() == float("inf"), "there is nobody to be reminded"


def test_nor_does_he_have_longer_because_others_are_looked_at_later(lending: Lending) -> None:
    """A look at those that nobody wants is due, in `REST` seconds."""
    lending.back(lending.lend(KEPT + 1))
    lending.later(IDLE + 0.1)
    (pipe,) = lending.lend(1)
    assert isinstance(holder := pipe.holder, Nobody)
    lending.later(IDLE + 0.2)
    assert holder.reminded == 1


def test_late_ones_are_closed_too(lending: Lending) -> None:
    first, second = lending.lend(10), lending.lend(10)
    lending.back(first)
    lending.back(second)
    kept = lending.lend(5)
    lending.later()
    lending.back(kept)
    assert lending.later() <= 5
    assert lending.later() == KEPT


def test_what_came_before_an_error_is_counted(lending: Lending, monkeypatch: pytest.MonkeyPatch) -> None:
    (pipe,) = lending.lend(1)
    ours, far = tcp()
    real, calls = os.splice, iter([True, False])

    def splice(*args: Any) -> int:
        if next(calls):
            return real(*args)
        raise OSError(errno.ENOMEM, "no memory")

    far.send(b"of A")
    monkeypatch.setattr(os, "splice", splice)
    monkeypatch.setattr(pipes, "waiting", lambda _: 1)
    while True:
        try:
            assert pipe.take(ours, 1000, empty=True) == (4, False)
            break
        except BlockingIOError:
            calls = iter([True, False])
    assert os.read(pipe.out, 100) == b"of A"
    lending.back([pipe])
    drop(ours, far)


def test_a_pipe_with_something_in_it_is_lent_to_nobody_else(lending: Lending) -> None:
    (pipe,) = lending.lend(1)
    os.write(pipe.into, b"of A")
    lending.back([pipe])  # its holder believes it to be empty
    assert lending.pipes._free == []
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(pipe.out)
