"""h11 as the second opinion: one message read from bytes, by a server or by a client.

h11 is the more lenient of the two readers (see docs/conformance.md and the design of core.head), so it is
asked only about what the product has taken, and about what the product writes.
"""

from collections.abc import Iterable
from typing import NamedTuple

import h11

LARGE = 1 << 20
Fields = list[tuple[bytes, bytes]]


class Message(NamedTuple):
    """One message as h11 reads it."""

    first: tuple[bytes, ...]
    """Method, target and version of a request; version, status and phrase of a response."""
    fields: Fields
    """Lower-case names and values, their white space evened out."""
    body: bytes = b""
    trailers: Fields = []  # noqa: RUF012 - never changed
    whole: bool = False
    """Whether the end of the message has come."""
    rest: bytes = b""
    """What stands behind a whole message."""


def evened(pairs: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Fields for comparison: names in lower case, each run of white space in a value as one blank."""
    return [(bytes(name).lower(), b" ".join(bytes(value).split())) for name, value in pairs]


def request(data: bytes) -> Message | None:
    """Read the request at the start of ``data`` as a server would; None while its head is not whole.

    Raises:
        h11.RemoteProtocolError: it is none.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGE)
    connection.receive_data(data)
    event = connection.next_event()
    if event is h11.NEED_DATA:
        return None
    assert isinstance(event, h11.Request), event
    first = (event.method, event.target, event.http_version)
    return _body(connection, Message(first, evened(event.headers)))


def response(data: bytes, method: bytes, *, closed: bool) -> Message | None:
    """Read the final or interim response to ``method`` as a client would; None while its head is not whole.

    Args:
        data: what the server sent.
        method: of the request that it answers.
        closed: whether the connection ended behind it.

    Raises:
        h11.RemoteProtocolError: it is none, or breaks off where ``closed`` ends it.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGE)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    if closed and data:
        connection.receive_data(b"")
    event = connection.next_event()
    if event is h11.NEED_DATA:
        return None
    assert isinstance(event, h11.Response | h11.InformationalResponse), event
    first = (event.http_version, b"%d" % event.status_code, bytes(event.reason))
    message = Message(first, evened(event.headers))
    if isinstance(event, h11.InformationalResponse):
        return message._replace(whole=True)
    return _body(connection, message)


def _body(connection: h11.Connection, message: Message) -> Message:
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            trailers = evened(event.headers)
            return message._replace(
                body=body, trailers=trailers, whole=True, rest=connection.trailing_data[0]
            )
        else:
            assert event is h11.NEED_DATA, event
            return message._replace(body=body)
