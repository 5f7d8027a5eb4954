"""Limits: the last size that passes, and what is said of the first that does not."""

import pytest

from tests.e2e.conftest import Wire
from tests.kit.client import request
from tests.kit.judge import own, refused
from tests.kit.watch import Watch


def test_413_by_length(tight: Wire) -> None:
    line = refused(tight, request(method="POST", body=b"x" * 1025), 413)
    assert line["outcome"] == "refused"
    assert not tight.upstream.links


def test_exactly_the_limit_passes(tight: Wire) -> None:
    assert tight.client().ask(request(method="POST", body=b"x" * 1024)).status == 200
    body = b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"
    assert (
        tight.client().ask(request(method="POST", fields=["Transfer-Encoding: chunked"]) + body).status == 200
    )


def test_413_by_chunks(tight: Wire) -> None:
    """The sum is found out on the way: what the upstream has of it must not look whole."""
    tight.may_reset = True
    client = tight.client()
    client.send(request(method="POST", fields=["Transfer-Encoding: chunked"]))
    for _ in range(6):
        client.send_or_fail(b"100\r\n" + b"x" * 256 + b"\r\n")
    own(client.response(), 413)
    assert client.ending() == "fin"
    for link in tight.upstream.links:
        assert link.ended.wait(5)
    assert not tight.upstream.requests


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request("/" + "a" * 5000), id="target"),
        pytest.param(request("/?" + "a" * 5000), id="query"),
    ],
)
def test_414(tight: Wire, data: bytes) -> None:
    """RFC 9110 15.5.15: the target is what is too long."""
    refused(tight, data, 414)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["X: " + "a" * 5000], id="head"),
        pytest.param([f"X-{number}: a" for number in range(25)], id="fields"),
        pytest.param(["User-Agent: " + "a" * 101], id="user agent"),
    ],
)
def test_431(tight: Wire, fields: list[str]) -> None:
    """RFC 6585 5."""
    refused(tight, request(fields=fields), 431)
    assert not tight.upstream.links


def sized(size: int) -> bytes:
    """A request whose head has exactly this size, and no field longer than 1,000 bytes."""
    base = request(fields=["X-Fill: "])
    fields, left = [], size - len(base) + len("X-Fill: \r\n")
    while left:
        step = left if left <= 1000 else min(1000, left - 10)
        fields.append("X-Fill: " + "y" * (step - len("X-Fill: \r\n")))
        left -= step
    data = request(fields=fields)
    assert len(data) == size
    return data


@pytest.mark.parametrize(
    ("passes", "fails"),
    [
        pytest.param(sized(4096), sized(4097), id="head"),
        pytest.param(
            request(fields=[f"X-{n}: a" for n in range(19)]),
            request(fields=[f"X-{n}: a" for n in range(20)]),
            id="fields",
        ),
        pytest.param(
            request(fields=["User-Agent: " + "a" * 100]),
            request(fields=["User-Agent: " + "a" * 101]),
            id="user agent",
        ),
    ],
)
def test_a_limit_is_the_last_that_passes(tight: Wire, passes: bytes, fails: bytes) -> None:
    """In one segment and byte by byte."""
    assert tight.client().ask(passes).status == 200
    assert tight.client().ask(fails).status == 431
    for data, status in ((passes, 200), (fails, 431)):
        client = tight.client()
        for at in range(0, len(data), 7):
            if not client.send_or_fail(data[at : at + 7]):
                break
        assert client.response().status == status


def test_a_head_without_an_end_is_refused_at_the_limit(tight: Wire) -> None:
    """Not after the timeout: when the limit is passed."""
    client = tight.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: aaaa\r\n" * 10)
    start = Watch()
    client.send_or_fail(b"Y: " + b"a" * 6000)
    own(client.response(), 431)
    start.took(0, 0.4)
    assert client.ending() == "fin"
