"""When a client closes: its end of every connection to us, as the kernel has it.

The proxy lets go of a connection that has long been idle by FIN and ``close()`` in one, so it cannot know
when the client answers with its own FIN. The kernel can: the client's socket goes from ESTABLISHED to
CLOSE_WAIT with our FIN, and out of CLOSE_WAIT with the client's. One thread looks for all clients that run,
and keeps the moments.
"""

import threading
import time
from dataclasses import dataclass

from tests.kit.diagnosis import Diagnosis
from tests.kit.sockets import CLOSE_WAIT, ESTABLISHED, SYN_SENT

STEP = 0.02
"""Seconds between two looks: what is shorter is "at once"."""
OPEN = (SYN_SENT, ESTABLISHED, CLOSE_WAIT)


@dataclass(slots=True)
class Life:
    """One connection of a client, by the moments (monotonic seconds) that were seen of it."""

    opened: float
    our_fin: float | None = None
    client_fin: float | None = None


class Watcher:
    """Looks at the client's side of all connections to the ports it was given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ports: set[int] = set()
        self._lives: dict[tuple[int, int], Life] = {}
        self._live: set[tuple[int, int]] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, port: int) -> None:
        """Watch connections to this port."""
        with self._lock:
            self._ports.add(port)

    def drop(self, port: int) -> None:
        """Watch it no more."""
        with self._lock:
            self._ports.discard(port)

    def life(self, server_port: int, client_port: int) -> Life | None:
        """What was seen of one connection; None if it was too short to be seen."""
        with self._lock:
            return self._lives.get((server_port, client_port))

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        kernel = Diagnosis()
        while not self._end.wait(STEP):
            with self._lock:
                ports = set(self._ports)
            if not ports:
                continue
            rows = {
                (found.remote, found.local): found.state
                for found in kernel.look(*OPEN)
                if found.remote in ports
            }
            now = time.monotonic()
            with self._lock:
                for key, state in rows.items():
                    self._note(key, state, now)
                for key in [key for key in self._live if key not in rows and key[0] in ports]:
                    self._note(key, 0, now)
        kernel.close()

    def _note(self, key: tuple[int, int], state: int, now: float) -> None:
        """A socket is in this state now; 0: it is gone."""
        life = self._lives.get(key)
        if life is None or (life.client_fin is not None and state in OPEN):
            life = self._lives[key] = Life(now)  # a port that was used before
            self._live.add(key)
        if state == CLOSE_WAIT and life.our_fin is None:
            life.our_fin = now
        if state not in OPEN:
            if life.client_fin is None:
                life.client_fin = now
            self._live.discard(key)
