"""From what was seen in one half of the demonstration to its figures: functions and tables, no sockets.

Three witnesses, and no figure has another source:
- the clients: when each asked, what came, how it ended (`Try`);
- the server: which connection held a thread, from when to when, who asked on it, what was answered (`Hold`);
- the kernel: the sockets behind the door that the clients came to (`sockets_left`).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """A kind of client: its name, what it does, and whether it ever asks for something in whole."""

    name: str
    deed: str
    asks: bool


KINDS: Final = (
    Kind("good clients", "ask and read", True),
    Kind("slow head", "drips its request", False),
    Kind("slow body", "drips its upload", False),
    Kind("never closes", "asks, and stays", True),
    Kind("uploads", "into a refusal", True),
    Kind("pipelines", "into a close", True),
    Kind("vanishes", "answers no packet", False),
)
GOOD: Final = KINDS[0].name
ALL: Final = "together"

SERVED, OTHER, CUT, GAVE_UP = "served", "other", "cut", "gave up"
"""How a try ends: the response whole; another one than was due; the connection over before; patience over."""

AGENT: Final = "demo/"
LISTEN, TIME_WAIT = 10, 6


def agent(kind: str) -> str:
    """The User-Agent of a kind of client: so the server knows it behind a proxy too."""
    return AGENT + kind.replace(" ", "-")


def kind_of(user_agent: str) -> str:
    """The other way; empty if it is nobody of ours."""
    return user_agent.removeprefix(AGENT).replace("-", " ") if user_agent.startswith(AGENT) else ""


@dataclass(slots=True)
class Try:
    """One request of a client, whole or not: when it began and ended, and how."""

    kind: str
    begun: float
    port: int = 0
    ended: float = inf
    verdict: str = ""


@dataclass(slots=True)
class Hold:
    """One thread of the server, held by one connection."""

    port: int
    begin: float
    end: float = inf
    kind: str = ""
    answers: int = 0


class Holds:
    """The server's book of its threads, kept from the lines that it prints (`legacy.Seen`).

    Args:
        kind_at: tells the kind of a client by its port; asked when a thread is taken, since a connection that
            never gets as far as its User-Agent holds one too.
    """

    def __init__(self, kind_at: Callable[[int], str]) -> None:
        self._kind_at = kind_at
        self._book: dict[int, Hold] = {}

    def note(self, line: str | bytes) -> None:
        """Take one line."""
        seen = json.loads(line)
        number, what = seen["number"], seen["what"]
        if what == "held":
            self._book[number] = Hold(seen["port"], seen["at"], kind=self._kind_at(seen["port"]))
        elif what == "asked":
            self._book[number].kind = kind_of(seen["text"]) or self._book[number].kind
        elif what == "answered":
            self._book[number].answers += 1
        elif what == "released":
            self._book[number].end = seen["at"]

    @property
    def all(self) -> list[Hold]:
        """Every thread that was taken, and by whom."""
        return list(self._book.values())

    def now(self) -> int:
        """How many are held at this moment."""
        return sum(hold.end == inf for hold in self._book.values())


def thread_seconds(holds: Iterable[Hold], begin: float, end: float) -> defaultdict[str, float]:
    """Seconds of threads that each kind held between two moments."""
    total: defaultdict[str, float] = defaultdict(float)
    for hold in holds:
        inside = min(hold.end, end) - max(hold.begin, begin)
        if inside > 0:
            total[hold.kind] += inside
    return total


def peak(holds: Iterable[Hold], begin: float, end: float) -> int:
    """The most threads that were held at one time between two moments."""
    steps = []
    for hold in holds:
        if hold.end > begin and hold.begin < end:
            steps += [(hold.begin, 1), (hold.end, -1)]
    most = held = 0
    for _, step in sorted(steps):  # at one moment, what ends goes first
        held += step
        most = max(most, held)
    return most


def lost(tries: Iterable[Try], holds: Iterable[Hold], *, straight: bool) -> Counter[str]:
    """Responses that were written, and whose connection ended before the client had them whole; by kind.

    Args:
        tries: of all clients; those that never ask for anything in whole can lose nothing.
        holds: of the server's threads.
        straight: whether clients came straight to the server. Then a response counts as lost if the server
            says that it wrote it. Behind the proxy that cannot be told by the client's port: every connection
            that ends before the response is whole counts.
    """
    ask = {kind.name for kind in KINDS if kind.asks}
    answered = {hold.port for hold in holds if hold.answers}
    return Counter(
        one.kind
        for one in tries
        if one.verdict == CUT and one.kind in ask and (not straight or one.port in answered)
    )


def sockets_left(table: str, door: int, kind_at: Callable[[int], str]) -> Counter[str]:
    """What the kernel holds of a server's side of connections, for each kind of client.

    Args:
        table: the text of ``/proc/net/tcp``.
        door: the port that clients came to. Its listener is left out, and so is TIME_WAIT, the orderly end.
        kind_at: the kind of a client by its port; empty if it is nobody's.
    """
    left: Counter[str] = Counter()
    for line in table.splitlines()[1:]:
        words = line.split()
        local, remote, state = words[1], words[2], int(words[3], 16)
        if int(local.rpartition(":")[2], 16) == door and state not in (LISTEN, TIME_WAIT):
            kind = kind_at(int(remote.rpartition(":")[2], 16))
            if kind:
                left[kind] += 1
    return left


def listening(table: str, inodes: Iterable[int]) -> int:
    """The port that one of these sockets listens at; 0 if none does yet."""
    wanted = set(inodes)
    for line in table.splitlines()[1:]:
        words = line.split()
        if int(words[3], 16) == LISTEN and int(words[9]) in wanted:
            return int(words[1].rpartition(":")[2], 16)
    return 0


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one kind of client in one half. Times in seconds; None: there is nothing to count."""

    connections: int
    asked: int | None
    served: int | None
    wait_median: float | None
    wait_worst: float | None
    threads: float
    lost: int | None
    sockets: int


@dataclass(frozen=True, slots=True)
class Half:
    """What one half came to: a row for each kind and one for all, and the server's threads."""

    rows: Mapping[str, Row]
    threads_peak: int
    threads_of: int
    seconds: float


def row(kind: Kind, tries: list[Try], seconds: float, threads: float, losses: int, sockets: int) -> Row:
    """The figures of one kind.

    Who gave up has waited until then: that is counted as its waiting, and too short a one.
    """
    if not kind.asks:
        return Row(len(tries), None, None, None, None, threads / seconds, None, sockets)
    waits = [one.ended - one.begun for one in tries if one.ended != inf]
    return Row(
        connections=len(tries),
        asked=len(tries),
        served=sum(one.verdict == SERVED for one in tries),
        wait_median=median(waits) if waits else None,
        wait_worst=max(waits, default=None),
        threads=threads / seconds,
        lost=losses,
        sockets=sockets,
    )


def figures(
    tries: list[Try],
    holds: list[Hold],
    left: Mapping[str, int],
    *,
    begin: float,
    end: float,
    threads_of: int,
    straight: bool,
) -> Half:
    """Count one half.

    Args:
        tries: of all clients.
        holds: of the server's threads.
        left: sockets left, by kind.
        begin: when the first client came.
        end: when the last one did; threads are averaged from one to the other.
        threads_of: threads that the server has.
        straight: whether clients came straight to the server (see `lost`).
    """
    losses = lost(tries, holds, straight=straight)
    held = thread_seconds(holds, begin, end)
    seconds = end - begin
    rows = {}
    for kind in KINDS:
        own = [one for one in tries if one.kind == kind.name]
        rows[kind.name] = row(kind, own, seconds, held[kind.name], losses[kind.name], left.get(kind.name, 0))
    whole = list(rows.values())
    rows[ALL] = Row(
        connections=len(tries),
        asked=sum(one.asked or 0 for one in whole),
        served=sum(one.served or 0 for one in whole),
        wait_median=None,
        wait_worst=None,
        threads=sum(held.values()) / seconds,
        lost=sum(one.lost or 0 for one in whole),
        sockets=sum(one.sockets for one in whole),
    )
    return Half(rows, peak(holds, begin, end), threads_of, seconds)
