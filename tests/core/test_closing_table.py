"""The close table: total over what can happen, without a dead end, and the shell names nothing outside it."""

import ast
from itertools import product
from pathlib import Path

import pytest

from shieldproxy.core.closing import END, FINAL, TABLE, Action, Event, State, step
from shieldproxy.core.policy import Policy

ROOT = Path(__file__).resolve().parents[2]

ANYWHERE = {Event.PEER_FIN, Event.PEER_RESET, Event.STOPPED}
ENDS = {Event.END_ACK, Event.END_TIMED, Event.END_KERNEL, Event.END_OFF}
CAN_HAPPEN = {
    State.IDLE: ANYWHERE | {Event.REQUEST, Event.EXPIRED, Event.EVICTED},
    State.ACTIVE: ANYWHERE
    | ENDS
    | {Event.KEEP, Event.TRUNCATED, Event.STALLED, Event.VANISHED, Event.EVICTED},
    State.LINGER: ANYWHERE
    | {Event.BYTES, Event.ACKNOWLEDGED, Event.QUIET, Event.TOTAL, Event.OVERFLOW}
    | {Event.STALLED, Event.VANISHED, Event.EVICTED, Event.PEER_FIN_FIRST},
    State.CLOSED: set(),
    State.RESET: set(),
}
"""Written down without a look at the table: what a client, a clock or the house can do to whom."""

LETS_GO = {Action.CLOSE, Action.ORPHAN, Action.KERNEL, Action.RST}
"""Actions that give the descriptor up."""


def reachable(start: State) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for (before, _), (after, _) in TABLE.items():
            if before is state and after not in found:
                found.add(after)
                todo.append(after)
    return found


def test_the_table_is_total_over_what_can_happen() -> None:
    assert set(TABLE) == {(state, event) for state, events in CAN_HAPPEN.items() for event in events}


def test_every_event_and_every_action_is_used() -> None:
    assert {event for _, event in TABLE} == set(Event)
    assert {action for _, actions in TABLE.values() for action in actions} == set(Action)


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_every_state_reaches_an_end(state: State) -> None:
    assert reachable(state) & FINAL
    assert state in reachable(State.IDLE)


@pytest.mark.parametrize("state", [State.ACTIVE, State.IDLE, State.LINGER], ids=lambda state: state.name)
def test_one_event_of_a_clock_or_of_the_house_ends_every_state(state: State) -> None:
    """Nobody needs the client's help to be rid of it."""
    assert step(state, Event.STOPPED)[0] in FINAL


def test_the_descriptor_goes_exactly_when_the_state_is_final() -> None:
    for (before, event), (after, actions) in TABLE.items():
        gone = [action for action in actions if action in LETS_GO]
        assert len(gone) == (after in FINAL), (before, event)
        assert not gone or actions[-1] is gone[0], (before, event)


def test_nothing_follows_an_end() -> None:
    for state, event in product(FINAL, Event):
        with pytest.raises(KeyError):
            step(state, event)


def test_a_reset_of_ours_is_only_for_a_response_that_cannot_be_whole() -> None:
    ours = {key for key, (_, actions) in TABLE.items() if Action.RST in actions}
    assert ours == {
        (State.ACTIVE, Event.TRUNCATED),
        (State.ACTIVE, Event.STALLED),
        (State.ACTIVE, Event.VANISHED),
        (State.ACTIVE, Event.EVICTED),
        (State.ACTIVE, Event.STOPPED),
        (State.LINGER, Event.VANISHED),
    }


def test_what_the_kernel_keeps_after_us_is_bounded() -> None:
    """Every close() sets both bounds, but for a client that has everything and has closed, and SO_LINGER."""
    unbounded = {
        key for key, (after, acts) in TABLE.items() if after is State.CLOSED and Action.ORPHAN not in acts
    }
    assert unbounded == {(State.LINGER, Event.PEER_FIN), (State.ACTIVE, Event.END_KERNEL)}


def test_a_half_close_is_no_end() -> None:
    """Neither while the response is made nor while it is still on its way."""
    assert step(State.ACTIVE, Event.PEER_FIN) == (State.ACTIVE, (Action.NOTE,))
    assert step(State.LINGER, Event.PEER_FIN_FIRST) == (State.LINGER, (Action.NOTE,))


@pytest.mark.parametrize("mode", ["ack", "timed"])
def test_a_lingering_close_sends_its_fin_before_it_reads(mode: str) -> None:
    assert step(State.ACTIVE, END[mode]) == (State.LINGER, (Action.FIN, Action.DRAIN))


def test_every_way_of_a_close_has_its_event() -> None:
    modes = Policy.__dataclass_fields__["linger"].type
    assert set(END) == {"ack", "timed", "kernel", "off"}
    assert str(modes) in {"Linger", "typing.Literal['ack', 'timed', 'kernel', 'off']"}
    assert set(END.values()) == ENDS


def named_events() -> set[str]:
    """Every ``Event.NAME`` that the shells write."""
    return {
        node.attr
        for folder in ("net", "proxy", "run")
        for path in (ROOT / "shieldproxy" / folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event"
    }


def test_the_shells_name_only_events_of_the_table() -> None:
    names = named_events()
    assert {"PEER_FIN", "PEER_RESET", "STOPPED", "EVICTED"} <= names
    assert names <= {event.name for _, event in TABLE}
