"""Ejection and return: the table by example, and any history as a state machine."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shieldproxy.core.health import Health
from shieldproxy.core.upstreams import HealthSpec, UpstreamSpec

SPEC = UpstreamSpec("u", (), max_fails=3, fail_window=10.0, eject=5.0, eject_max=60.0)
CHECK = HealthSpec(fall=2, rise=3)


def ejected(now: float = 0.0) -> Health:
    health = Health(SPEC)
    assert [health.failed(now) for _ in range(3)] == [0.0, 0.0, 5.0]
    return health


def test_so_many_failures_within_the_window_eject() -> None:
    health = ejected(100.0)
    assert health.troubled
    assert not health.usable(104.9)
    assert health.usable(105.0), "somebody may probe it"


def test_failures_that_are_apart_do_not() -> None:
    health = Health(SPEC)
    for step in range(20):
        assert health.failed(step * 5.1) == 0.0
    assert health.usable(200.0)


def test_one_request_probes_it_and_others_keep_away() -> None:
    health = ejected()
    health.asked(5.0, 65.0)
    assert not health.usable(5.0)
    assert not health.usable(69.9)
    assert health.passed(7.0)
    assert health.usable(7.0)
    assert not health.troubled


def test_a_probe_that_fails_doubles_the_time_up_to_its_limit() -> None:
    health, now, lengths = ejected(), 0.0, [5.0]
    for _ in range(6):
        now = health.until
        health.asked(now, 65.0)
        lengths.append(health.failed(now))
        assert not health.usable(now)
    assert lengths == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_an_attempt_before_its_time_does_not_lengthen_an_ejection() -> None:
    health = ejected()
    for _ in range(20):
        health.asked(1.0, 65.0)
        assert health.failed(1.5) == 0.0
    assert health.until == 5.0
    assert health.usable(5.0)
    health.asked(5.0, 65.0)
    assert health.failed(6.0) == 10.0


def test_an_ejection_can_be_cut_short() -> None:
    health = ejected()
    health.relent(1.0)
    assert health.usable(1.0)
    assert health.troubled, "it is to be probed all the same"


def test_a_probe_of_which_nothing_is_heard_is_not_waited_for_for_ever() -> None:
    health = ejected()
    health.asked(5.0, 65.0)
    assert health.usable(70.0)


def test_a_probe_whose_client_has_gone_leaves_the_next_one_to_probe() -> None:
    health = ejected()
    health.asked(5.0, 65.0)
    health.unproved()
    assert health.usable(5.1)
    assert health.troubled


def test_answers_and_failures_of_older_requests_are_no_news() -> None:
    health = ejected()
    assert not health.passed(1.0)
    assert health.failed(1.0) == 0.0
    assert health.until == 5.0


def test_who_fails_again_soon_is_out_for_longer_and_later_from_the_beginning() -> None:
    health = ejected()
    health.asked(5.0, 65.0)
    health.passed(6.0)
    assert [health.failed(7.0) for _ in range(3)] == [0.0, 0.0, 10.0]
    health.asked(17.0, 65.0)
    health.passed(18.0)
    assert [health.failed(40.0) for _ in range(3)] == [0.0, 0.0, 5.0]


def test_checks_take_a_server_out_and_bring_it_back() -> None:
    health = Health(SPEC)
    said = [health.checked(float(n), CHECK, well=bool(well)) for n, well in enumerate([1, 0, 1, 0, 0, 0])]
    assert said == [False, False, False, False, True, False]
    assert health.down
    assert not health.usable(1e9)
    said = [health.checked(10.0 + n, CHECK, well=bool(well)) for n, well in enumerate([1, 1, 0, 1, 1, 1, 1])]
    assert said == [False, False, False, False, False, True, False]
    assert health.usable(20.0)


def test_checks_that_pass_end_an_ejection() -> None:
    health = ejected()
    assert [health.checked(1.0, CHECK, well=True) for _ in range(3)] == [False, False, True]
    assert health.usable(1.0)


class Histories(RuleBasedStateMachine):
    """One server, whatever happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.health = Health(SPEC)
        self.probes: list[float] = []

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def is_asked(self) -> None:
        if self.health.usable(self.now):
            troubled = self.health.troubled
            self.health.asked(self.now, 65.0)
            if troubled:
                assert not self.health.usable(self.now), "a second request beside the probe"

    @rule()
    def fails(self) -> None:
        before, until = self.health.usable(self.now), self.health.until
        length = self.health.failed(self.now)
        assert length == 0.0 or SPEC.eject <= length <= SPEC.eject_max
        if length:
            assert self.health.until == self.now + length
            assert not self.health.usable(self.now)
        else:
            assert (self.health.usable(self.now), self.health.until) == (before, until)

    @rule()
    def answers(self) -> None:
        troubled = self.health.troubled
        if self.health.passed(self.now):
            assert troubled
            assert self.health.usable(self.now) is not self.health.down

    @rule(well=st.booleans())
    def is_checked(self, well: bool) -> None:
        before = self.health.troubled
        if self.health.checked(self.now, CHECK, well=well):
            assert self.health.down is not well
            assert self.health.troubled is not well
            assert well or not self.health.usable(self.now)
        else:
            assert self.health.troubled == before

    @rule()
    def the_probe_s_client_goes(self) -> None:
        self.health.unproved()

    @invariant()
    def it_is_never_lost_for_ever(self) -> None:
        assert self.health.down or self.health.usable(self.now + SPEC.eject_max + 65.0)
        assert self.health.until <= self.now + SPEC.eject_max


Histories.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestHistories = Histories.TestCase
