"""One worker: binds, serves, drains.

`main` blocks until a TERM or INT has been obeyed. The first one drains: no new clients, idle ones closed,
what is being served finished and its close lingered out; a second one, or the end of drain_timeout, ends at
once, whatever clients do. USR1 opens the logs anew, HUP does nothing. Signals come through a receiver task,
never as KeyboardInterrupt inside somebody's record.
"""

import gc
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import trio

from shieldproxy.core.plan import Plan
from shieldproxy.net.checks import keep_checking
from shieldproxy.net.downstream import Clients
from shieldproxy.net.linger import Closer
from shieldproxy.net.listener import BindFailed, Listener, bind
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.names import keep_fresh
from shieldproxy.net.pipes import MOST
from shieldproxy.net.record import Downstream
from shieldproxy.net.source import source_fault
from shieldproxy.net.spool import Store
from shieldproxy.proxy.admission import RESERVE, Gate, dismiss_waiting, stop_all, unfinished
from shieldproxy.proxy.express import Express
from shieldproxy.proxy.house import House
from shieldproxy.run.logs import Journal
from shieldproxy.run.sink import Sink

OWN_DESCRIPTORS: Final = 64 + 2 * MOST
"""Logs, listeners and the like, and both ends of the pipes that spools are lent."""
FILES: Final = 4
"""Spools' files have this part of the descriptors at most."""
MOST_FILES: Final = 65_536
"""And no more than these: the limit may be a thousand million."""
KERNEL_CLOSES: Final = 8
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
NO_RELOAD: Final = "HUP changes nothing: TERM, and a new start, for another configuration; USR1 for the logs"
"""To die of it would cut off every client, and scripts send it to whatever serves."""
DRAIN_LOOK: Final = 0.05
Ready = Callable[[list[str]], None]


class StartFailed(Exception):
    """The worker cannot start; the message says why in one line."""


def main(plan: Plan, ready: Ready | None = None, warnings: Sequence[str] = ()) -> int:
    """Serve by a plan until told to stop.

    Args:
        plan: what to serve.
        ready: called with the addresses listened on, once they are.
        warnings: of the configuration, for the error log.

    Returns:
        The exit code: 0 after a drain, 1 after a failure.

    Raises:
        StartFailed: an address or a log file is not to be had.
    """
    journal = _open_logs(plan)
    for line in warnings:
        journal.warn(line)
    fault = source_fault(plan.upstreams.values())
    if fault:
        raise StartFailed(fault)
    room = _room(plan, journal)
    sockets: list[socket.socket] = []
    try:
        sockets.extend(bind(address) for address in plan.listen)
    except BindFailed as exc:
        for sock in sockets:
            sock.close()
        raise StartFailed(str(exc)) from exc
    worker = Worker(plan, journal, sockets, room)
    trio.run(worker.serve, ready)
    return 0


def _open_logs(plan: Plan) -> Journal:
    sinks = []
    for key, where in (("log.access", plan.access), ("log.error", plan.error)):
        try:
            sinks.append(Sink(where))
        except OSError as exc:
            raise StartFailed(f"cannot write {key} {where}: {exc.strerror}") from exc
    return Journal(sinks[0], sinks[1], plan.log_format, plan.level)


class Room(NamedTuple):
    """What the limit of descriptors leaves for whom; the limit itself may be a thousand million."""

    clients: int
    """So many are held at most."""
    reserve: int
    """So many more may be refused at a time."""
    shared: int
    """Clients and spools' files together."""
    files: int
    """Of these: spools' files, at most."""


def _room(plan: Plan, journal: Journal) -> Room:
    """Raise the limit of descriptors and fit max_connections into it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        hard = plan.max_connections * 2 + 65536
    servers = (
        (len(spec.servers) + len(spec.backup), spec.max_connections) for spec in plan.upstreams.values()
    )
    upstreams = sum(count * most for count, most in servers)
    reserve = min(RESERVE, hard // 8)
    room = max(1, hard - upstreams - OWN_DESCRIPTORS - reserve)
    if plan.max_connections > room:
        journal.say(
            "warning" if room < 0.9 * plan.max_connections else "info",
            f"{room} clients at most, not {plan.max_connections} (server.max_connections): of {hard} "
            f"descriptors {upstreams} are for upstreams and "
            f"{OWN_DESCRIPTORS + reserve} for refusals and for ourselves; "
            "raise RLIMIT_NOFILE for more",
        )
    most = min(plan.max_connections, room)
    return Room(most, reserve, room, min(hard // FILES, MOST_FILES))


def _left(house: House) -> str:
    """What a drain still waits for, in words."""
    exchanges = house.active + len(house.attended)
    closes = max(0, unfinished(house) - exchanges)
    return f"{exchanges} exchange{'s' * (exchanges != 1)} and {closes} close{'s' * (closes != 1)}"


class Worker:
    """Puts the parts together and runs them."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        sockets: list[socket.socket],
        room: Room,
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._sockets = sockets
        self._room = room
        self._kernel_closes = 0

    async def serve(self, ready: Ready | None) -> None:
        """Serve until a drain is over."""
        plan, journal, room = self._plan, self._journal, self._room
        self.lobby = lobby = Lobby(trio.current_time, self._fault)
        closer = Closer(lobby, self._receipt, self._close_blocking)
        store = Store(lobby, plan.buffers, journal.warn, room.files)
        self.house = house = House(plan, lobby, journal, closer, store)
        express = Express(house)
        self.clients = clients = Clients(lobby, closer, house.rules.at_accept, express.begin, express.fault)
        house.go_on = clients.go_on
        gate = Gate(house, clients, express, room.clients, room.reserve, room.shared)
        listeners = [
            Listener(lobby, sock, str(address), gate.welcome, journal.warn)
            for sock, address in zip(self._sockets, plan.listen, strict=True)
        ]
        try:
            await self._serve(listeners, ready)
            lobby.tick()
            stop_all(house)
            journal.counters(house.snapshot())
            await journal.finish()
        finally:
            store.shut()
        lobby.shut()
        house.pipe.close()

    async def _serve(self, listeners: list[Listener], ready: Ready | None) -> None:
        """Serve, with everything in its place."""
        gc.collect()
        gc.freeze()  # what start-up made stays: no collection needs to look at it again
        gc.set_threshold(20_000, 20, 100)
        async with trio.open_nursery() as always, trio.open_nursery() as exchanges:
            self.house.nursery = self._nursery = exchanges
            always.start_soon(self.lobby.run, name="lobby")
            always.start_soon(self.lobby.keep_time, name="deadlines")
            always.start_soon(self._journal.run, name="logs")
            self._look_after_servers(always)
            await always.start(self._obey, listeners)
            self._journal.say(
                "info", "serving on " + ", ".join(listener.door.listen for listener in listeners)
            )
            if ready is not None:
                ready([listener.door.listen for listener in listeners])
            await self._drained.wait()
            exchanges.cancel_scope.cancel()
            always.cancel_scope.cancel()

    def _look_after_servers(self, nursery: trio.Nursery) -> None:
        """Start the tasks of servers that are checked, or that are set by name."""
        for group in self.house.groups.values():
            for server in group.servers:
                if group.spec.health is not None:
                    nursery.start_soon(keep_checking, self.lobby, server, group.spec.health, name="check")
                if server.address.is_name:
                    nursery.start_soon(keep_fresh, server, self._journal.warn, name="names")

    async def _obey(self, listeners: list[Listener], task_status: trio.TaskStatus[None]) -> None:
        """Do what signals say."""
        self._drained = trio.Event()
        with trio.open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGUSR1:
                    self._journal.reopen()
                    self._journal.say("info", "logs opened anew")
                elif number == signal.SIGHUP:
                    self._journal.warn(NO_RELOAD)
                elif self.house.draining:
                    self._journal.say("info", "told twice: ending at once")
                    self._drained.set()
                else:
                    self._nursery.start_soon(partial(self._drain, listeners), name="drain")

    async def _drain(self, listeners: list[Listener]) -> None:
        house, seconds = self.house, self._plan.drain_timeout
        house.draining = True
        self.lobby.tick()
        for listener in listeners:
            listener.close()
        dismiss_waiting(house, self.clients)
        self._journal.say("info", f"draining: {_left(house)}, {seconds:g} s at most")
        with trio.move_on_after(seconds):
            while unfinished(house):  # noqa: ASYNC110 - many small events; a drain happens once
                await trio.sleep(DRAIN_LOOK)
        over = f"drain_timeout is over, cut off: {_left(house)}"
        self._journal.say("info", over if unfinished(house) else "drained")
        self._drained.set()

    # what the lower rooms call

    def _receipt(self, rec: Downstream, ending: str, acknowledged: bool | None, undelivered: int) -> None:
        self.house.held -= 1
        self._journal.receipt(rec, ending, acknowledged, undelivered, self.lobby.now)

    def _close_blocking(self, sock: socket.socket) -> bool:
        """Close a socket with SO_LINGER in a thread; False if all of them are busy."""
        if self._kernel_closes >= KERNEL_CLOSES:
            return False
        self._kernel_closes += 1
        self._nursery.start_soon(self._close_in_thread, sock, name="kernel close")
        return True

    async def _close_in_thread(self, sock: socket.socket) -> None:
        try:
            await trio.to_thread.run_sync(sock.close, abandon_on_cancel=True)
        finally:
            self._kernel_closes -= 1

    def _fault(self, record: Any, exc: Exception) -> None:
        self.house.fault(record, exc)
