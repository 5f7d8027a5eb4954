"""The figures of the demonstration: what is counted, from which witness, and how it is laid out."""

import json
from collections import Counter
from io import StringIO
from math import inf

import pytest
from rich.console import Console

from shieldproxy.run.demo.count import (
    ALL,
    CUT,
    GAVE_UP,
    GOOD,
    KINDS,
    OTHER,
    SERVED,
    Hold,
    Holds,
    Try,
    agent,
    figures,
    kind_of,
    listening,
    peak,
    sockets_left,
    thread_seconds,
)
from shieldproxy.run.demo.crowd import status_if_whole
from shieldproxy.run.demo.play import Playing, fitting, notes
from shieldproxy.run.demo.show import HEADINGS, WAYS, Screen, State, as_json, line, picture
from shieldproxy.run.demo.stage import Legacy
from tests.kit import demotable

PORTS = {5001: "slow head", 5002: "vanishes", 5003: "uploads"}
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 71 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:1389 01 00000000:00000000 00:00000000 00000000     0        0 72 1 0 20 4 0 10 -1
   2: 0100007F:1F90 0100007F:138A 04 00000000:00000000 01:00000000 00000003     0        0 0 1 0 20 4 0 10 -1
   3: 0100007F:1F90 0100007F:138A 05 00000000:00000000 03:00000000 00000000     0        0 0 1 0 20 4 0 10 -1
   4: 0100007F:1F90 0100007F:138B 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
   5: 0100007F:1389 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 73 1 0 20 4 0 10 -1
   6: 0100007F:1F91 0100007F:138B 01 00000000:00000000 00:00000000 00000000     0        0 74 1 0 20 4 0 10 -1
   7: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 75 1 0 20 4 0 10 -1
"""
"""The listener, one established, an orphan in FIN_WAIT1 and one in FIN_WAIT2, a TIME_WAIT, a client's side,
another door, and somebody who is none of ours."""


def kind_at(port: int) -> str:
    return PORTS.get(port, "")


def test_sockets_are_those_of_the_door_by_kind() -> None:
    assert sockets_left(TABLE, 0x1F90, kind_at) == {"slow head": 1, "vanishes": 2}
    assert sockets_left(TABLE, 0x1F91, kind_at) == {"uploads": 1}
    assert sockets_left("  sl\n", 0x1F90, kind_at) == Counter()


@pytest.mark.parametrize(("inodes", "port"), [({71, 5}, 8080), ({72}, 0), (set(), 0)])
def test_the_port_that_a_process_listens_at(inodes: set[int], port: int) -> None:
    assert listening(TABLE, inodes) == port


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_a_user_agent_names_its_kind(kind: str) -> None:
    assert " " not in agent(kind)
    assert kind_of(agent(kind)) == kind
    assert kind_of("curl/8") == ""


def seen(what: str, number: int, at: float, port: int = 0, text: str = "") -> str:
    return json.dumps({"what": what, "number": number, "at": at, "port": port, "text": text})


def test_the_book_of_threads() -> None:
    book = Holds(kind_at)
    book.note(seen("held", 1, 1.0, 5001))
    book.note(seen("held", 2, 2.0, 7000))
    book.note(seen("asked", 2, 2.1, 7000, "demo/good-clients"))
    book.note(seen("answered", 2, 2.2, 7000, "200"))
    assert book.now() == 2
    book.note(seen("released", 2, 3.0, 7000))
    assert book.now() == 1
    assert book.all == [
        Hold(5001, 1.0, inf, "slow head", 0),
        Hold(7000, 2.0, 3.0, GOOD, 1),
    ]


HOLDS = [
    Hold(1, 0.0, 4.0, "slow head"),
    Hold(2, 3.0, inf, "slow head"),
    Hold(3, 9.0, 30.0, "vanishes"),
    Hold(4, 30.0, inf, "uploads"),
]


@pytest.mark.parametrize(
    ("begin", "end", "seconds", "most"),
    [
        (0.0, 10.0, {"slow head": 11.0, "vanishes": 1.0}, 2),
        (3.5, 4.5, {"slow head": 1.5}, 2),
        (20.0, 30.0, {"slow head": 10.0, "vanishes": 10.0}, 2),
        (30.0, 31.0, {"slow head": 1.0, "uploads": 1.0}, 2),
        (0.0, 1.0, {"slow head": 1.0}, 1),
    ],
)
def test_threads_between_two_moments(begin: float, end: float, seconds: dict[str, float], most: int) -> None:
    assert thread_seconds(HOLDS, begin, end) == seconds
    assert peak(HOLDS, begin, end) == most


TRIES = [
    Try(GOOD, 0.0, 11, 0.5, SERVED),
    Try(GOOD, 1.0, 12, 5.0, GAVE_UP),
    Try(GOOD, 2.0, 13, 2.1, OTHER),
    Try("uploads", 0.0, 14, 0.1, CUT),
    Try("uploads", 0.0, 15, 0.1, CUT),
    Try("uploads", 1.0, 16, 1.2, SERVED),
    Try("slow head", 0.0, 17),
    Try("vanishes", 0.0, 18, inf),
]
"""Of the two uploads that were cut off, the server says of one (port 14) that it has answered."""
ANSWERED = [Hold(14, 0.0, 1.0, "uploads", 1), Hold(15, 0.0, 1.0, "uploads", 0)]


@pytest.mark.parametrize(("straight", "losses"), [(True, 1), (False, 2)])
def test_lost_is_what_was_written_and_behind_the_proxy_what_did_not_come(straight: bool, losses: int) -> None:
    half = figures(TRIES, ANSWERED, {"vanishes": 3}, begin=0.0, end=2.0, threads_of=8, straight=straight)
    assert half.rows["uploads"].lost == losses
    assert half.rows[ALL].lost == losses
    assert (half.threads_peak, half.threads_of, half.seconds) == (2, 8, 2.0)


@pytest.mark.parametrize("way", WAYS)
def test_the_live_figure_of_lost_is_that_of_the_table(way: str) -> None:
    """Seen: the last line told of more than the table below it, where the server had not answered."""
    tries = [*TRIES, Try("slow head", 0.0, 19, 1.0, CUT)]
    answered = [*ANSWERED, Hold(19, 0.0, 1.0, "slow head", 1)]
    made = figures(tries, answered, {}, begin=0.0, end=2.0, threads_of=8, straight=way == WAYS[0])
    playing = Playing(way, 1, Legacy(1), 18.0)
    playing.crowd.tries.extend(tries)
    for number, hold in enumerate(answered):
        playing.holds.note(seen("held", number, hold.begin, hold.port))
        if hold.answers:
            playing.holds.note(seen("answered", number, hold.begin, hold.port, "200"))
    assert playing.state().lost == made.rows[ALL].lost == (1 if way == WAYS[0] else 2)


def test_a_row_has_waiting_and_service_of_those_that_ask() -> None:
    rows = figures(TRIES, HOLDS, {"vanishes": 3}, begin=0.0, end=10.0, threads_of=8, straight=True).rows
    good, slow, gone, together = rows[GOOD], rows["slow head"], rows["vanishes"], rows[ALL]
    assert (good.asked, good.served, good.wait_median, good.wait_worst) == (3, 1, 0.5, 4.0)
    assert (slow.asked, slow.served, slow.wait_median, slow.lost, slow.threads) == (
        None,
        None,
        None,
        None,
        1.1,
    )
    assert (gone.sockets, gone.connections, gone.threads) == (3, 1, 0.1)
    assert (together.asked, together.served, together.sockets, together.connections) == (6, 2, 3, 8)
    assert together.threads == pytest.approx(1.2)
    assert list(rows) == [*(kind.name for kind in KINDS), ALL]
    never = rows["never closes"]
    assert (never.asked, never.served, never.wait_median, never.wait_worst) == (0, 0, None, None)


@pytest.mark.parametrize("width", [40, 78, 80, 120])
def test_the_table_is_whole_at_any_width(width: int) -> None:
    made = figures(TRIES, HOLDS, {"vanishes": 3}, begin=0.0, end=10.0, threads_of=8, straight=True)
    out = StringIO()
    Screen(Console(file=out, width=width)).result((made, made), notes(18.0, silent_only=False))
    assert "\x1b" not in out.getvalue()
    assert max(len(one.rstrip()) for one in out.getvalue().splitlines()) <= max(78, width)
    headings, rows = demotable.read(out.getvalue())
    assert headings == list(HEADINGS)
    assert list(rows) == [*(kind.name for kind in KINDS), ALL]
    assert all(list(lines) == list(WAYS) for lines in rows.values())
    assert rows[GOOD]["with"] == demotable.Line(1, 3, (0.5, 4.0), 0.0, 0, 0)
    assert rows["vanishes"]["without"] == demotable.Line(None, None, None, 0.1, None, 3)


@pytest.mark.parametrize(("width", "drawn"), [(60, False), (80, True)])
def test_a_picture_only_where_there_is_room(width: int, drawn: bool) -> None:
    out = StringIO()
    screen = Screen(Console(file=out, width=width, force_terminal=True, highlight=False))
    state = State(0.0, 18.0, 4, 3, 1, 2, 8, 0, 2)
    with screen.half("with", state):
        screen.update("with", state)
    assert ("with the proxy" in out.getvalue()) is drawn
    assert ("3 of 4 good clients served" in out.getvalue()) is not drawn


def test_a_state_as_a_line_and_as_a_picture() -> None:
    state = State(3.0, 18.0, 40, 30, 10, 8, 8, 2, 12)
    assert line("with", state) == (
        "   with    3 s: 30 of 40 good clients served, 8 of 8 threads held, 2 lost, 12 sockets"
    )
    out = StringIO()
    Console(file=out, width=80).print(picture("with", state))
    text = out.getvalue()
    for words in (
        "with the proxy",
        "3 of 18 s",
        "30 of 40 served, 10 waiting",
        "8 of 8 held",
        "2 responses lost",
    ):
        assert words in text
    Console(file=out, width=80).print(picture("with", State(0.0, 0.0, 0, 0, 0, 0, 8, 0, 0)))


def test_figures_for_machines() -> None:
    made = figures(TRIES, HOLDS, {"vanishes": 3}, begin=0.0, end=10.0, threads_of=8, straight=True)
    read = json.loads(as_json((made, made), "a note"))
    assert list(read) == ["without", "with", "notes"]
    assert read["with"]["rows"][GOOD]["served"] == 1
    assert read["with"]["rows"]["vanishes"]["asked"] is None
    assert read["with"]["threads_of"] == 8


@pytest.mark.parametrize(
    ("seconds", "left", "each"),
    [(18.0, 56.0, 18.0), (18.0, 35.0, 15.0), (22.0, 57.0, 22.0), (18.0, 12.0, 8.0)],
)
def test_halves_fit_into_the_minute(seconds: float, left: float, each: float) -> None:
    assert fitting(seconds, left) == each


@pytest.mark.parametrize(("silent_only", "said"), [(True, True), (False, False)])
def test_what_is_only_simulated_is_said(silent_only: bool, said: bool) -> None:
    assert ("only fell silent" in notes(18.0, silent_only=silent_only)) is said


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 0),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n", 0),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\na", 0),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", 200),
        (b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n", 413),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n", 200),
    ],
)
def test_a_response_is_whole_or_it_is_not(data: bytes, status: int) -> None:
    assert status_if_whole(data) == status
