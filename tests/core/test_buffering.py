"""Which responses are streamed: a table."""

import pytest

from shieldproxy.core.buffering import streams
from shieldproxy.core.fields import Fault
from shieldproxy.core.policy import Buffering
from shieldproxy.core.response import read_response

EVENTS = b"Content-Type: text/event-stream"
HTML = b"Content-Type: text/html"


@pytest.mark.parametrize(
    ("policy", "route", "accel", "lines", "expected"),
    [
        (None, "whole", False, [HTML], False),
        (None, "whole", False, [], False),
        (None, "stream", False, [HTML], True),
        ("stream", "whole", False, [HTML], True),
        ("whole", "stream", False, [HTML], False),
        (None, "whole", True, [HTML], True),
        ("whole", "whole", True, [HTML], True),
        (None, "whole", False, [b"Server: x", EVENTS], True),
        ("whole", "whole", False, [EVENTS], True),
        (None, "whole", False, [b"content-type:TEXT/Event-Stream ; charset=utf-8"], True),
        (None, "whole", False, [b"Content-Type: text/event-streams"], False),
        (None, "whole", False, [b"X-Content-Type: text/event-stream"], False),
        (None, "whole", False, [b"Content-Type: text/plain; x=text/event-stream"], False),
    ],
)
def test_who_is_streamed(
    policy: Buffering | None, route: Buffering, accel: bool, lines: list[bytes], expected: bool
) -> None:
    assert streams(policy, route, accel, lines) is expected


@pytest.mark.parametrize(
    ("value", "stream"), [(b"no", True), (b"No", True), (b"yes", False), (b"", False), (b"no, thanks", False)]
)
@pytest.mark.parametrize("name", [b"X-Accel-Buffering", b"x-accel-buffering"])
def test_x_accel_buffering_is_for_the_proxy(name: bytes, value: bytes, stream: bool) -> None:
    """Read a second time too, when the head is known."""
    data = b"HTTP/1.1 200 OK\r\nServer: s\r\n%b: %b\r\nContent-Length: 1\r\n\r\n" % (name, value)
    for _ in range(3):
        head = read_response(data, len(data), b"GET")
        assert not isinstance(head, Fault)
        assert head.stream is stream
        assert head.lines == [b"Server: s"]
        assert b"ccel" not in head.block
