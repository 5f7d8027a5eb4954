"""Names of fields as legacy servers expect them: letters' case is all that changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.fields import is_field
from shieldproxy.core.spelling import titled, titled_line

TOKENS = st.text("!#$%&'*+-.^_`|~09azAZbcdefg", min_size=1, max_size=80).map(str.encode)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (b"content-type", b"Content-Type"),
        (b"CONTENT-LENGTH", b"Content-Length"),
        (b"x-forwarded-for", b"X-Forwarded-For"),
        (b"etag", b"ETag"),
        (b"www-authenticate", b"WWW-Authenticate"),
        (b"dnt", b"DNT"),
        (b"te", b"TE"),
        (b"sec-ch-ua-mobile", b"Sec-CH-UA-Mobile"),
        (b"sec-websocket-key", b"Sec-WebSocket-Key"),
        (b"mime-version", b"MIME-Version"),
        (b"soapaction", b"SOAPAction"),
        (b"if-none-match", b"If-None-Match"),
        (b"x-my-own", b"X-My-Own"),
        (b"X-MyOwn", b"X-MyOwn"),  # its sender knows better
        (b"x-MyOwn-thing", b"X-MyOwn-Thing"),
        (b"X-API-KEY", b"X-API-KEY"),
        (b"x--y-", b"X--Y-"),
        (b"-", b"-"),
        (b"x_y", b"X_y"),
    ],
)
def test_titled(name: bytes, written: bytes) -> None:
    assert titled(name) == written


@given(TOKENS)
def test_a_name_stays_the_same_name(name: bytes) -> None:
    assert titled(name).lower() == name.lower()
    assert titled(titled(name)) == titled(name)


@given(TOKENS, st.text("az \t:-9", max_size=30).map(str.encode))
def test_a_line_keeps_its_value(name: bytes, value: bytes) -> None:
    line = titled_line(name + b":" + value)
    assert is_field(line)
    assert line.partition(b":")[2] == value


def test_it_remembers_little() -> None:
    for number in range(3000):
        assert titled(b"x-%d-name" % number) == b"X-%d-Name" % number
