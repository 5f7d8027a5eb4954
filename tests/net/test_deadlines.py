"""Rule 6: the wheel fires nobody early, nobody late, nobody gone, and moving a deadline later is free."""

import time
from math import inf

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from trio.testing import MockClock

from shieldproxy.net.deadlines import SLOTS_A_SECOND, Deadlines, Timed
from shieldproxy.net.lobby import Lobby

SLOT = 1 / 16


class Held:
    """Something with a deadline."""

    def __init__(self) -> None:
        self.due = inf
        self.slot = inf


class Wheel(RuleBasedStateMachine):
    """Any order of arming, moving, removing and looking, against what each record should do."""

    def __init__(self) -> None:
        super().__init__()
        self.wheel = Deadlines()
        self.now = 1000.0
        self.armed: dict[Held, float] = {}
        self.gone: list[Held] = []

    @rule(seconds=st.floats(0, 100))
    def arm(self, seconds: float) -> None:
        record = Held()
        self.wheel.arm(record, self.now + seconds)
        self.armed[record] = self.now + seconds

    @precondition(lambda self: self.armed)
    @rule(data=st.data(), seconds=st.one_of(st.just(inf), st.floats(0, 100)))
    def move(self, data: st.DataObject, seconds: float) -> None:
        record = data.draw(st.sampled_from(list(self.armed)))
        self.wheel.arm(record, self.now + seconds)
        self.armed[record] = self.now + seconds

    @precondition(lambda self: self.armed)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(list(self.armed)))
        self.wheel.remove(record)
        self.wheel.remove(record)
        del self.armed[record]
        self.gone.append(record)

    @rule(seconds=st.floats(0, 30))
    def look(self, seconds: float) -> None:
        self.now += seconds
        fired = self.wheel.expire(self.now)
        for record in fired:
            assert self.armed.pop(record) <= self.now, "early, or twice, or removed"
            assert record.slot == inf
        late = [due for due in self.armed.values() if due + SLOT <= self.now]
        assert not late

    @invariant()
    def the_next_look_is_never_too_late(self) -> None:
        if self.armed and min(self.armed.values()) != inf:
            assert self.wheel.next_slot() <= min(self.armed.values()) + SLOT

    @invariant()
    def nothing_removed_is_kept(self) -> None:
        assert len(self.wheel) <= len(self.armed)
        assert all(record.slot == record.due == inf for record in self.gone)


TestWheel = Wheel.TestCase


@given(st.floats(1, 1e6))
def test_the_next_look_is_never_before_the_deadline_and_less_than_a_sixteenth_after_it(due: float) -> None:
    wheel, record = Deadlines(), Held()
    wheel.arm(record, due)
    look = wheel.next_slot()
    assert due <= look < due + SLOT
    assert wheel.expire(look) == [record]
    assert SLOTS_A_SECOND == 16


class Eager(Deadlines):
    """Without the rule: every deadline is moved when it is set."""

    def arm(self, record: Timed, due: float) -> None:
        self.remove(record)
        super().arm(record, due)


@pytest.mark.parametrize(("kind", "moves"), [(Deadlines, 20), (Eager, 1000)], ids=["lazy", "without"])
def test_a_deadline_that_moves_later_is_not_moved(
    monkeypatch: pytest.MonkeyPatch, kind: type[Deadlines], moves: int
) -> None:
    """An idle connection that serves 1,000 requests in 100 s is put somewhere once a keep_alive."""
    wheel, record, placed = kind(), Held(), 0
    original = wheel._place

    def place(moved: Timed, due: float) -> None:
        nonlocal placed
        placed += 1
        original(moved, due)

    monkeypatch.setattr(wheel, "_place", place)
    for request in range(1000):
        now = request / 10
        wheel.arm(record, now + 15)
        assert wheel.expire(now) == []
    assert placed <= moves
    assert placed >= moves / 4


def test_a_deadline_that_moves_earlier_is_moved() -> None:
    wheel, record = Deadlines(), Held()
    wheel.arm(record, 100.0)
    wheel.arm(record, 10.0)
    assert wheel.expire(10.0) == [record]
    assert wheel.expire(1000.0) == []


def requests(lengths: int) -> float:
    """CPU seconds of 20,000 deadlines, of so many different lengths, over 2,000 records and 20 s."""
    wheel, records = Deadlines(), [Held() for _ in range(2000)]
    began = time.process_time()
    for turn in range(10):
        now = turn * 2.0
        for index, record in enumerate(records):
            wheel.arm(record, now + 1 + (index % lengths) * 0.06)
        wheel.expire(now)
    return time.process_time() - began


def test_1000_lengths_cost_no_more_than_one() -> None:
    """At most 5 % of a request, of which the fastest here takes some 60 us: 3 us a deadline."""
    one = min(requests(1) for _ in range(5))
    many = min(requests(1000) for _ in range(5))
    assert (many - one) / 20_000 < 3e-6


def test_its_memory_is_bounded_by_slots_and_records() -> None:
    wheel = Deadlines()
    for index in range(50_000):
        record = Held()
        wheel.arm(record, 1000 + (index % 1000) * 0.02)
        wheel.remove(record)
    wheel.next_slot()
    assert len(wheel) == 0
    assert len(wheel._heap) <= 20 * SLOTS_A_SECOND + 1
    assert wheel.next_slot() == inf
    assert not wheel._slots


# in the lobby


async def test_the_lobby_wakes_for_the_first_deadline(autojump_clock: MockClock) -> None:
    """Also for one that is set while it already waits for a later one."""
    fired: list[tuple[str, float]] = []

    class Named(Held):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def on_due(self, _: object) -> None:
            fired.append((self.name, trio.current_time() - began))

    lobby = Lobby(trio.current_time, lambda _, exc: pytest.fail(str(exc)))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lobby.keep_time)
        late, early, moved, dropped = Named("late"), Named("early"), Named("moved"), Named("dropped")
        lobby.arm(late, began + 50)
        await trio.sleep(1)
        lobby.arm(early, began + 10)
        lobby.arm(moved, began + 20)
        lobby.arm(dropped, began + 30)
        lobby.arm(moved, began + 60)
        lobby.deadlines.remove(dropped)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    lobby.shut()
    assert [name for name, _ in fired] == ["early", "late", "moved"]
    for (_, at), due in zip(fired, (10, 50, 60), strict=True):
        assert due <= at < due + SLOT + 0.01


def test_a_deadline_that_an_earlier_one_moved_does_not_fire() -> None:
    """Both are due in one look, and the first to be called gives the other more time."""
    now = 0.0
    lobby = Lobby(lambda: now, lambda _, exc: pytest.fail(str(exc)))
    fired: list[Held] = []

    class Generous(Held):
        def on_due(self, _: object) -> None:
            fired.append(self)
            for other in both:
                if other is not self:
                    lobby.arm(other, now + 10)

    both = [Generous(), Generous()]
    for record in both:
        lobby.arm(record, 1.0)
    now = 2.0
    lobby.fire()
    assert len(fired) == 1
    now = 20.0
    lobby.fire()
    assert len(fired) == 2
    lobby.shut()
