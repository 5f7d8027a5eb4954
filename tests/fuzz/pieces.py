"""However bytes come in, in pieces or whole, the answer is the same.

The lobby's own code collects the head (`Clients`, on a socket that is a list of pieces), the relay's own code
looks for a response head, and `ChunkedReader` takes a body.
"""

import socket
from collections import Counter
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

from shieldproxy.core.body import BodyFault, ChunkedReader, chunk, last_chunk
from shieldproxy.core.fields import Fault
from shieldproxy.core.head import (
    RequestHead,
    judge_request,
    read_request,
    skip_blank,
)
from shieldproxy.core.policy import Policy
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.downstream import BLANKS, Clients
from shieldproxy.net.linger import Closer
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.record import IN, Door, Downstream
from shieldproxy.proxy.answer import parse
from shieldproxy.proxy.state import Exchange
from tests.fuzz import oracle
from tests.fuzz.messages import METHODS, POLICIES, h11_knows, may_trail
from tests.fuzz.oracle import evened
from tests.fuzz.readers import meaning


def cut(data: bytes, choice: int) -> list[bytes]:
    """Cut bytes into pieces, in a way of many: even steps, or steps that change."""
    steps = [choice % 7 + 1] if choice & 1 else [choice % 5 + 1, choice % 11 + 1, 1, choice % 64 + 1]
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        step = steps[len(pieces) % len(steps)]
        pieces.append(data[at : at + step])
        at += step
    return pieces


# a head in the lobby


class Drip:
    """A lobby and a socket in one: gives out one piece a read, and keeps what becomes of the client."""

    def __init__(self, policy: Policy) -> None:
        self.now = 0.0
        self.pieces: list[bytes] = []
        self.heads: list[tuple[bytes, int]] = []
        self.faults: list[tuple[int, str]] = []
        lobby, door, closer = cast(Lobby, self), cast(Door, None), cast(Closer, None)
        self.clients = Clients(lobby, closer, lambda _: policy, self._on_head, self._on_fault)
        self.rec = self.clients.welcome(cast(socket.socket, self), "192.0.2.1", 1, door)

    def _on_head(self, _rec: Downstream, data: bytes, end: int) -> None:
        self.heads.append((data, end))

    def _on_fault(self, _rec: Downstream, status: int, reason: str) -> None:
        self.faults.append((status, reason))

    def fileno(self) -> int:
        return 3

    def recv(self, _size: int) -> bytes:
        return self.pieces.pop(0)

    def add(self, *_: Any) -> None:
        pass

    def arm(self, *_: Any) -> None:
        pass

    def again(self, *_: Any) -> None:
        pass

    def feed(self, pieces: list[bytes]) -> object:
        """Let the pieces come in, until the lobby has an answer.

        Returns:
            A fault's status and reason, or the head with all that has come and where it ends; None: it waits.
        """
        for number, piece in enumerate(pieces):
            self.pieces.append(piece)
            self.clients.on_waiting(self.rec, IN)
            if self.faults:
                return self.faults[0]
            if self.heads:
                data, end = self.heads[0]
                return data + b"".join(pieces[number + 1 :]), end
        return None


def _judged(answer: object, policy: Policy) -> Any:
    """What a client is told, or what of its request goes on, and the bytes behind the head."""
    if answer is None:
        return None
    first, second = cast(tuple[Any, Any], answer)
    if isinstance(first, int):
        return first
    head = read_request(first, second)
    fault = head if isinstance(head, Fault) else judge_request(head, policy)
    if fault is not None:
        return fault.status
    assert isinstance(head, RequestHead)
    return meaning(head), first[head.size :]


def check_dripped_request(choice: int, data: bytes) -> None:
    """A head that comes in pieces gets the answer of the one that comes whole."""
    if not data or skip_blank(data) > BLANKS:  # which dripped are thrown away one by one, until the deadline
        return
    policy = POLICIES[choice >> 6]
    whole = _judged(Drip(policy).feed([data]), policy)
    dripped = _judged(Drip(policy).feed(cut(data, choice)), policy)
    if dripped != whole:  # two faults in one head: the one that comes to light first
        assert [dripped, whole] in ([400, 431], [431, 400], [400, 414], [414, 400])


def check_dripped_response(choice: int, data: bytes) -> None:
    """The same for the head of a response."""

    class Stub:
        policy = Policy()
        group = SimpleNamespace(spec=UpstreamSpec("legacy", ()), repairs=Counter[str]())

    ex, method = cast(Exchange, Stub()), METHODS[choice & 3]

    def said(bytes_so_far: bytes) -> object:
        found = parse(ex, bytes_so_far, method)
        if found is None:
            return None
        if isinstance(found, Fault):
            return 502
        resp, start = found
        return meaning(resp), start

    whole = said(data)
    so_far = b""
    for piece in cut(data, choice):
        so_far += piece
        answer = said(so_far)
        if answer is not None:
            assert answer == whole
            return
    assert whole is None


# chunks


class Fed(NamedTuple):
    """What a chunked reader made of a body."""

    data: bytes
    trailers: list[tuple[bytes, bytes]]
    done: bool
    rest: bytes


def _fed(pieces: list[bytes], limit: int, trailers_limit: int, *, padded: bool) -> Fed | None:
    """Read a body from pieces; None where it is refused."""
    reader = ChunkedReader(limit, trailers_limit=trailers_limit, padded=padded)
    data = b""
    try:
        for piece in pieces:
            given = reader.feed(piece)
            assert all(given)
            data += b"".join(given)
            assert reader.received == len(data)
    except BodyFault as exc:
        if exc.status not in {400, 413, 431}:
            raise
        return None
    assert len(data) <= limit
    return Fed(data, reader.trailers, reader.done, reader.rest)


POST: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def check_chunks(choice: int, data: bytes) -> None:
    """A chunked body in pieces, whole, and as h11 reads it; and written anew."""
    limit, trailers_limit = (24, 32) if choice & 2 else (1 << 30, 8192)
    padded = bool(choice & 4)
    whole = _fed([data], limit, trailers_limit, padded=padded)
    dripped = _fed(cut(data, choice), limit, trailers_limit, padded=padded)
    assert dripped == whole
    if whole is None:
        return
    if h11_knows(data, whole.trailers):
        theirs = oracle.request(POST + data)
        assert theirs is not None
        assert (theirs.body, theirs.whole) == (whole.data, whole.done)
        assert theirs.rest == whole.rest
        assert theirs.trailers == evened(whole.trailers)
    if whole.done:
        pieces = [whole.data[at : at + 5] for at in range(0, len(whole.data), 5)]
        written = b"".join(map(chunk, pieces)) + last_chunk(whole.trailers)
        again = oracle.request(POST + written)
        assert again is not None
        assert (again.body, again.whole, again.rest) == (whole.data, True, b"")
        assert again.trailers == [pair for pair in evened(whole.trailers) if may_trail(pair[0])]
