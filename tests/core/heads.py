"""Requests for tests of heads: written short, read whole."""

from shieldproxy.core.head import Fault, RequestHead, end_of_head, read_request

HOST = b"Host: a.example\r\n"


def read(data: bytes) -> RequestHead | Fault:
    """Read a head that is whole."""
    end = end_of_head(data, 0)
    assert end == len(data)
    return read_request(data, end)


def good(data: bytes) -> RequestHead:
    head = read(data)
    assert isinstance(head, RequestHead), head
    return head


def get(lines: bytes, line: bytes = b"GET /a HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + lines + b"\r\n"
