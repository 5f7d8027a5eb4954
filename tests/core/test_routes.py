"""The most specific route wins: listen, then host, then the longest path."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shieldproxy.core import routes
from shieldproxy.core.routes import Route, RouteTable

HERE = "127.0.0.1:8080"

TABLE = RouteTable(
    [
        Route("everything"),
        Route("static", path="/static"),
        Route("deep", path="/static/a/b"),
        Route("suffix", host="*.example"),
        Route("longer suffix", host="*.a.example"),
        Route("exact", host="www.a.example"),
        Route("exact app", host="www.a.example", path="/app/"),
        Route("other door", listen="[::1]:81"),
        Route("other door, app", listen="[::1]:81", path="/app"),
        Route("six", host="[::1]"),
    ]
)


@pytest.mark.parametrize(
    ("listen", "host", "path", "expected"),
    [
        (HERE, b"x.org", b"/", "everything"),
        (HERE, b"", b"*", "everything"),
        (HERE, b"x.org", b"/statics", "everything"),
        (HERE, b"x.org", b"/static", "static"),
        (HERE, b"x.org", b"/static/a", "static"),
        (HERE, b"x.org", b"/static/a/b/c", "deep"),
        (HERE, b"x.org", b"/x/..//static", "static"),
        (HERE, b"x.org", b"/st%61tic/a/b", "deep"),
        (HERE, b"x.org", b"/static/../x", "everything"),
        (HERE, b"b.example", b"/static", "suffix"),
        (HERE, b"example", b"/", "everything"),
        (HERE, b"b.a.example:8080", b"/", "longer suffix"),
        (HERE, b"c.b.a.example", b"/", "longer suffix"),
        (HERE, b"www.a.example.:80", b"/ap", "exact"),
        (HERE, b"www.a.example", b"/app", "exact app"),
        (HERE, b"www.a.example", b"/app/x", "exact app"),
        (HERE, b"[::1]:8080", b"/", "six"),
        ("[::1]:81", b"www.a.example", b"/static", "other door"),
        ("[::1]:81", b"www.a.example", b"/app/x", "other door, app"),
    ],
)
def test_the_most_specific_route_wins(listen: str, host: bytes, path: bytes, expected: str) -> None:
    for _ in range(2):  # looked up, then remembered
        route = TABLE.find(listen, host, path)
        assert route is not None
        assert route.upstream == expected


def test_one_route_for_everything_is_returned_at_once() -> None:
    route = Route("legacy")
    table = RouteTable([route])
    assert table.find(HERE, b"any", b"/where") is route
    assert not table._known


def test_no_route_is_none() -> None:
    table = RouteTable([Route("a", path="/a"), Route("b", host="b.example"), Route("c", listen="x:1")])
    assert table.find(HERE, b"any", b"/") is None
    assert table.find(HERE, b"any", b"/ab") is None
    assert table.find(HERE, b"any", b"*") is None
    assert RouteTable([Route("a", path="/a")]).find(HERE, b"any", b"/") is None
    assert RouteTable([]).find(HERE, b"any", b"/") is None


def test_a_less_specific_route_serves_paths_that_the_host_has_none_for() -> None:
    table = RouteTable([Route("all"), Route("app", host="a.example", path="/app")])
    found = [table.find(HERE, b"a.example", path) for path in (b"/app/x", b"/x")]
    assert [route and route.upstream for route in found] == ["app", "all"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Route("a"), Route("b")),
        (Route("a", path="/x"), Route("b", path="/x/")),
        (Route("a", host="h", listen=HERE), Route("b", host="h", listen=HERE)),
    ],
)
def test_of_two_routes_in_one_place_the_later_stands(one: Route, two: Route) -> None:
    table = RouteTable([one, two])
    assert table.find(HERE, b"h", b"/x") is two
    assert RouteTable([two, one]).find(HERE, b"h", b"/x") is one


def test_what_is_remembered_is_bounded() -> None:
    table = RouteTable([Route("a"), Route("b", host="b")])
    for number in range(routes.ENTRIES + 10):
        table.find(HERE, b"h%d" % number, b"/")
    table.find(HERE, b"h" * 1000, b"/")
    assert 0 < len(table._known) <= routes.ENTRIES
    assert all(len(host) <= routes.HOST_BYTES for _, host in table._known)


some_routes = st.lists(
    st.builds(
        Route,
        upstream=st.sampled_from(["a", "b", "c"]),
        listen=st.sampled_from([None, HERE, "x:1"]),
        host=st.sampled_from(["*", "example", "a.example", "*.example", "*.a.example"]),
        path=st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab"]),
    ),
    max_size=10,
    unique_by=lambda route: (route.listen, route.host, route.path),
)


def slow(table: list[Route], listen: str, host: str, path: str) -> Route | None:
    """All routes that fit, by rank."""

    def fits(route: Route) -> bool:
        below = route.host.startswith("*.") and host.endswith(route.host[1:])
        if route.host not in ("*", host) and not below:
            return False
        return route.listen in (None, listen) and f"{path}/".startswith(route.path.rstrip("/") + "/")

    def rank(route: Route) -> tuple[bool, int, int]:
        exact = 1000 if "*" not in route.host else len(route.host)
        return route.listen is not None, exact, len(route.path)

    return max(filter(fits, table), key=rank, default=None)


@settings(max_examples=300, deadline=None)
@given(
    some_routes,
    st.sampled_from([HERE, "x:1", "y:2"]),
    st.sampled_from(["example", "a.example", "b.a.example", "x.org"]),
    st.sampled_from(["/", "/a", "/a/b/c/d", "/ab", "/a/x", "/b"]),
)
def test_find_agrees_with_the_slow_way(some: list[Route], listen: str, host: str, path: str) -> None:
    assert RouteTable(some).find(listen, host.encode(), path.encode()) is slow(some, listen, host, path)
