"""The watch for CLOSE_WAIT can fail: this process plays a proxy that leaves its sockets half dead."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.kit.closewait import GRACE, STEP, Guarded, Span, Totals, Watchman, intervals, uncovered


def line(port: int, seconds: float, end: float | None = None) -> dict[str, Any]:
    """An exchange in the log; it ended now, or at `end`."""
    when = datetime.fromtimestamp(time.time() if end is None else end, UTC)
    return {
        "kind": "exchange",
        "client": "127.0.0.1",
        "port": port,
        "time": when.isoformat(),
        "seconds": seconds,
    }


class Careless:
    """A proxy that accepts, connects, and never closes anything."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.watchman = Watchman()
        self.watch = self.watchman.guard(
            os.getpid(), [self.listener.getsockname()[1]], [self.server.getsockname()[1]]
        )
        stack.callback(self.watchman.release, self.watch)

    def forget_client(self, *, accept: bool = True) -> int:
        """A client comes and goes; its port."""
        client = socket.create_connection(self.listener.getsockname())
        port: int = client.getsockname()[1]
        if accept:
            self._stack.enter_context(self.listener.accept()[0])
        client.close()
        return port

    def forget_server(self) -> int:
        """A server ends a connection of ours; its port here."""
        ours = self._stack.enter_context(socket.create_connection(self.server.getsockname()))
        self.server.accept()[0].close()
        port: int = ours.getsockname()[1]
        return port


@pytest.fixture
def careless() -> Iterator[Careless]:
    with ExitStack() as stack:
        yield Careless(stack)


def seen_for(watch: Guarded, seconds: float) -> None:
    """Wait until sockets have been seen for so long."""
    end = time.monotonic() + 10
    while not (watch.spans and all(span.last - span.first > seconds for span in watch.spans)):
        assert time.monotonic() < end, watch.spans
        time.sleep(STEP)


def test_every_socket_left_half_dead_is_a_defect(careless: Careless) -> None:
    """A client's, one that was never accepted, and a server's; an exchange of another client is no excuse."""
    clients = [careless.forget_client(), careless.forget_client(accept=False)]
    server = careless.forget_server()
    seen_for(careless.watch, GRACE + 3 * STEP)
    totals = Totals()
    wrong = careless.watch.verdict([line(1, 0.0)], totals)
    assert len(wrong) == 3
    for side, port in (("client", clients[0]), ("client", clients[1]), ("server", server)):
        assert any(f"{side}'s side, port {port}:" in text for text in wrong)
    assert (totals.defects, totals.sockets, totals.proxies) == (3, 3, 1)
    assert totals.beyond > GRACE
    assert "3 defects" in str(totals)


def test_an_exchange_that_is_served_is_an_excuse_for_its_own_time(careless: Careless) -> None:
    port = careless.forget_client()
    careless.forget_server()
    seen_for(careless.watch, GRACE + 3 * STEP)
    assert not careless.watch.verdict([line(port, 60.0)], Totals())
    begin = careless.watch.spans[0].first
    assert len(careless.watch.verdict([line(port, 60.0, begin)], Totals())) == 2, "it ended long ago"


def test_what_is_closed_in_time_is_none() -> None:
    with ExitStack() as stack:
        careless = Careless(stack)
        careless.forget_client()
        seen_for(careless.watch, 0.0)
        stack.close()
        assert not careless.watch.verdict([], Totals())


@pytest.mark.parametrize(
    ("side", "exchanges", "beyond"),
    [
        ("client", [], 4.0),
        ("client", [(7, 0.0, 20.0)], 0.0),
        ("client", [(8, 0.0, 20.0)], 4.0),
        ("server", [(8, 0.0, 20.0)], 0.0),
        ("client", [(7, 9.0, 11.0)], 3.0),
        ("client", [(7, 9.0, 11.0), (7, 12.5, 13.0)], 1.5),
        ("client", [(7, 13.0, 13.5), (7, 9.0, 11.0)], 2.0),
        ("client", [(7, 12.0, 30.0), (7, 1.0, 9.0)], 2.0),
        ("client", [(7, 20.0, 30.0)], 4.0),
    ],
)
def test_the_longest_time_beyond_an_exchange(
    side: str, exchanges: list[tuple[int, float, float]], beyond: float
) -> None:
    assert uncovered(Span(side, 7, 10.0, 14.0), exchanges) == pytest.approx(beyond)


def test_the_log_gives_the_times_of_exchanges() -> None:
    assert intervals([line(7, 1.5, 100.0), {"kind": "connection", "port": 7}]) == [(7, 98.5, 100.0)]


def test_what_several_processes_saw_is_one() -> None:
    both = Totals(proxies=1, longest=2.0)
    both.add(Totals(proxies=2, longest=1.0, beyond=0.5, defects=1).as_dict())
    assert both == Totals(proxies=3, longest=2.0, beyond=0.5, defects=1)


def test_defects_fail_a_run_and_so_does_a_watch_that_never_looked() -> None:
    assert not Totals().red
    assert not Totals(proxies=1, samples=9).red
    assert Totals(proxies=1, samples=9, defects=1).red
    assert Totals(proxies=1).red
