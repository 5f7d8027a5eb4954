"""Requests made plain: paths in one form, and in no other; ranges and repeated names bounded."""

from sys import maxsize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shieldproxy.core.cleaning import clean, most_often, normal_path
from shieldproxy.core.fields import Fault
from shieldproxy.core.head import RequestHead, read_request
from shieldproxy.core.match import plain_path
from shieldproxy.core.routes import Route

PATHS = st.lists(
    st.sampled_from(
        [
            *b"abAB.;%/2eEfF5cC0~ ".decode(),
            "/",
            "/",
            ".",
            "..",
            "%2e",
            "%2E%2e",
            "%2f",
            "%5C",
            "%00",
            "%25",
            "%c3%a9",
        ]
    ),
    max_size=14,
).map(lambda parts: b"/" + "".join(parts).replace(" ", "%20").encode())


def request(target: bytes, lines: bytes = b"") -> RequestHead:
    data = b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, lines)
    head = read_request(data, len(data))
    assert isinstance(head, RequestHead), head
    return head


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        (b"/", b"/"),
        (b"/a/b", b"/a/b"),
        (b"/a/./b", b"/a/b"),
        (b"/a/../b", b"/b"),
        (b"/a/b/..", b"/a/"),
        (b"/a/b/.", b"/a/b/"),
        (b"/a/..", b"/"),
        (b"/..", b"/"),
        (b"/../../etc/passwd", b"/etc/passwd"),
        (b"//a///b//", b"/a/b/"),
        (b"/a//../b", b"/b"),  # as a file system has it
        (b"/a/%2e%2e/b", b"/b"),
        (b"/a/%2E./b", b"/b"),
        (b"/a/.%2e", b"/"),
        (b"/%61%7e%2D", b"/a~-"),
        (b"/a%3ab%c3%a9", b"/a%3Ab%C3%A9"),
        (b"/%252e%252e/b", b"/%252e%252e/b"),  # decoded once, and that is all
        (b"/...", b"/..."),
        (b"/.a/..b", b"/.a/..b"),
        (b"/a;x=1/b", b"/a;x=1/b"),
        (b"*", b"*"),
    ],
)
def test_normal_path(path: bytes, normal: bytes) -> None:
    assert normal_path(path) == normal


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"/a%2fb", "path-encoded"),
        (b"/a%2Fb", "path-encoded"),
        (b"/a%5cb", "path-encoded"),
        (b"/a%5C..", "path-encoded"),
        (b"/a\\..\\b", "path-encoded"),
        (b"/a%00.gif", "path-encoded"),
        (b"/a%", "path-encoding"),
        (b"/a%2", "path-encoding"),
        (b"/a%zz", "path-encoding"),
        (b"/%u002e", "path-encoding"),
        (b"/%%32e", "path-encoding"),
        (b"/a/..;/b", "path-dots"),
        (b"/a/%2e%2e;x/b", "path-dots"),
        (b"/a/.;/b", "path-dots"),
    ],
)
def test_paths_without_a_safe_form(path: bytes, reason: str) -> None:
    fault = normal_path(path)
    assert isinstance(fault, Fault)
    assert (fault.status, fault.reason) == (400, reason)


@given(PATHS)
@example(b"/%2e%2e/%2e./..")
def test_a_normal_path_is_normal(path: bytes) -> None:
    normal = normal_path(path)
    if isinstance(normal, Fault):
        return
    assert normal_path(normal) == normal
    segments = normal.split(b"/")
    assert segments[0] == b""
    assert not {b".", b".."} & set(segments)
    assert b"//" not in normal
    # a last slash changes nothing for prefixes by whole segments
    assert plain_path(normal).rstrip(b"/") == plain_path(path).rstrip(b"/"), (
        "routes and rules would be others"
    )
    decoded = normal.upper()
    for hidden in (b"%2E", b"%2F", b"%5C", b"%00", b"\\"):
        assert hidden not in decoded


def test_the_target_keeps_its_query() -> None:
    route = Route("legacy", normalise_path=True)
    head = request(b"/a/../b%2e?x=/../%2f")
    assert clean(head, route) is None
    assert (head.target, head.path) == (b"/b.?x=/../%2f", b"/b.")
    head = request(b"/a%2fb?x")
    fault = clean(head, route)
    assert fault is not None
    assert fault.reason == "path-encoded"
    head = request(b"/a/../b")
    assert clean(head, Route("legacy")) is None
    assert head.target == b"/a/../b"


@pytest.mark.parametrize(
    ("lines", "most", "left"),
    [
        (b"Range: bytes=0-1,2-3\r\n", 2, True),
        (b"Range: bytes=0-1,2-3,4-5\r\n", 2, False),
        (b"Range: bytes=0-1\r\nRange: bytes=2-3\r\n", 1, False),
        (b"Request-Range: bytes=0-1,2-3\r\nIf-Range: x\r\n", 1, False),
        (b"range: bytes=0-1\r\n", 0, False),
        (b"Range: bytes=,,,,\r\n", 3, False),
    ],
)
def test_ranges(lines: bytes, most: int, left: bool) -> None:
    head = request(b"/", lines + b"X: y\r\n")
    assert clean(head, Route("legacy", max_ranges=most)) is None
    kept = [line for line in lines.split(b"\r\n") if line] if left else []
    assert head.lines == [b"Host: a", *kept, b"X: y"]


@pytest.mark.parametrize(
    ("query", "most"),
    [
        (b"", 0),
        (b"&&&", 0),
        (b"a=1&b=2", 1),
        (b"a=1&a=2&b", 2),
        (b"a&%61=1&%61", 3),
        (b"a+b&a%20b=1&a%2Bb", 2),
        (b"=1&=2", 2),
        (b"%zz&%zz", 2),
        (b"a?&a?", 2),
        (b"A=1&a=1", 1),
    ],
)
def test_most_often(query: bytes, most: int) -> None:
    assert most_often(query, maxsize) == most


def test_query_duplicates() -> None:
    route = Route("legacy", max_query_duplicates=2)
    assert clean(request(b"/a?x=1&x=2"), route) is None
    assert clean(request(b"/a"), route) is None
    fault = clean(request(b"/a?x=1&%78=2&x"), route)
    assert fault == Fault(400, "query-duplicates", fault.detail if fault else "")


def test_a_route_knows_whether_it_cleans() -> None:
    assert not Route("legacy").rare
    assert Route("legacy", request_id=b"X-Id").rare
    assert not Route("legacy", request_id=b"X-Id").cleans
    for route in (
        Route("l", normalise_path=True),
        Route("l", max_ranges=3),
        Route("l", max_query_duplicates=3),
    ):
        assert route.cleans
        assert route.rare
