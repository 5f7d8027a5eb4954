"""What the keys of buffering come to for the server: by default, for a route, by a rule, without a disk."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Connect, MakeProxy
from tests.kit.client import request
from tests.kit.proxy import Proxy
from tests.kit.sockets import eventually
from tests.kit.upstream import Upstream

MIB = 1024 * 1024
PUT = "Transfer-Encoding: chunked"
LONG = request("/long", method="POST", fields=[PUT]) + b"%x\r\n%b\r\n0\r\n\r\n" % (MIB, b"x" * MIB)
"""Of a length that nobody knows: no pipe is lent to it."""
WHOLE = {"name": "whole", "method": ["PUT"], "buffer_request": "whole"}
STREAM = {"name": "stream", "method": ["PUT"], "buffer_request": "stream"}


def chunked(method: str = "PUT") -> bytes:
    """An upload in two chunks."""
    return request("/up", method=method, fields=[PUT]) + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("tables", "collected"),
    [
        ({}, True),
        ({"route": {"buffer_request": "stream"}}, False),
        ({"route": {"buffer_request": "stream"}, "rule": [WHOLE]}, True),
        ({"rule": [STREAM]}, False),
        ({"rule": [STREAM, WHOLE]}, True),
        ({"route": {"buffer_request": "stream"}, "legacy": {"http_version": "1.0"}, "rule": [WHOLE]}, True),
    ],
    ids=["default", "route", "rule over route", "rule", "later rule", "to HTTP/1.0"],
)
def test_a_rule_goes_before_the_route(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, tables: dict[str, Any], collected: bool
) -> None:
    """What was collected has a length at the server, what is streamed is chunked as it came."""
    client = connect(make_proxy(upstream, **tables))
    head, _, body = chunked().partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    if not collected:
        upstream.wait_links(1)
    client.send(body)
    assert client.response().status == 200
    seen = upstream.one()
    assert (seen.body, seen.framing) == (b"abcde", "length" if collected else "chunked")
    assert seen.get("content-length") == (b"5" if collected else None)


def test_a_stream_has_no_way_to_a_server_of_http_1_0(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    proxy = make_proxy(upstream, route={"buffer_request": "stream"}, legacy={"http_version": "1.0"})
    client = connect(proxy)
    client.send(chunked())
    assert client.response().status == 411
    assert not upstream.requests
    assert _line(proxy)["reason"] == "length-required"


@pytest.mark.parametrize("buffers", [{"disk_total": "off"}, {"disk_total": "64KiB"}], ids=["off", "small"])
def test_without_room_in_files_memory_is_the_bound(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, buffers: dict[str, str]
) -> None:
    proxy = make_proxy(upstream, buffers={"request_memory": "32KiB", **buffers})
    fits = connect(proxy).ask(request("/fits", method="POST", body=b"x" * 32 * 1024))
    assert fits.status == 200
    client = connect(proxy)
    client.send_or_fail(LONG)
    answer = client.response()
    assert answer.status == 503
    detail = "no-file" if buffers["disk_total"] == "off" else "disk-total"
    assert int(answer.get("retry-after") or 0) > 0
    assert answer.error == "proxy_internal_error"
    assert [seen.target for seen in upstream.requests] == [b"/fits"]
    told = [(line["reason"], line.get("detail")) for line in proxy.log_lines(2, kind="exchange")]
    assert told == [("done", None), ("spool-full", detail)]
    assert eventually(lambda: f"(spool-full, {detail})" in proxy.stderr())


def test_a_body_that_can_never_fit_is_not_asked_for(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    proxy = make_proxy(upstream, buffers={"disk_total": "2MiB"}, limits={"body": "1GiB"})
    client = connect(proxy)
    head = b"POST /long HTTP/1.1\r\nHost: test.example\r\nContent-Length: 104857600\r\n"
    client.send(head + b"Expect: 100-continue\r\n\r\n")
    got = client.response()
    assert (got.status, got.interims, b"spool-full: beyond-disk-total" in got.body) == (503, [], True)


def test_where_files_could_be_made_and_cannot_any_more(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, tmp_path: Path
) -> None:
    """The cause is told once, however many it hits."""
    folder = tmp_path / "spool"
    folder.mkdir()
    proxy = make_proxy(upstream, buffers={"request_memory": "32KiB", "directory": str(folder)})
    first = connect(proxy).ask(request("/fits", method="POST", body=b"x"))
    assert first.status == 200, "and the folder has been tried"
    folder.rmdir()
    for _ in range(3):
        client = connect(proxy)
        client.send_or_fail(LONG)
        assert client.response().status == 503
    _, *lines = proxy.log_lines(4, kind="exchange")
    assert {(line["reason"], line["detail"]) for line in lines} == {("spool-full", "no-file")}
    told = "no file can be made (No such file or directory)"
    assert eventually(lambda: told in proxy.stderr())
    assert proxy.stderr().count(told) == 1


@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_without_files_nobody_waits_for_room(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, coded: bool
) -> None:
    """Memory is full to the byte, and more is to come: the answer does not wait for it."""
    proxy = make_proxy(upstream, buffers={"request_memory": "32KiB", "disk_total": "off"})
    client = connect(proxy)
    if coded:
        head = request("/long", method="POST", fields=["Transfer-Encoding: chunked"])
        client.send(head + b"8000\r\n" + b"x" * 0x8000 + b"\r\n1\r\nx\r\n")
    else:
        head = b"POST /long HTTP/1.1\r\nHost: test.example\r\nContent-Length: 32769\r\n\r\n"
        client.send(head + b"x" * 0x8000)
    assert client.response().status == 503
    assert _line(proxy)["reason"] == "spool-full"
    assert not upstream.requests


def test_where_no_file_can_be_made_it_is_said_at_start(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    proxy = make_proxy(upstream, buffers={"directory": "/proc/none"})
    assert connect(proxy).ask(request("/fits", method="POST", body=b"x" * 60_000)).status == 200
    proxy.terminate()
    lines = proxy.stderr().splitlines()
    (said,) = [line for line in lines if "buffers.directory: no file can be made in /proc/none" in line]
    (serving,) = [line for line in lines if "serving on" in line]
    assert lines.index(said) < lines.index(serving)


def _line(proxy: Proxy) -> dict[str, Any]:
    (line,) = proxy.log_lines(1, kind="exchange")
    return line
