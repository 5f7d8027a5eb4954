"""The responses that the proxy writes itself: short, plain, and with the reason in them (RFC 9209).

It decides only what they look like. Which status and which reason: that is said by the Fault, or by whoever
gave the exchange up.
"""

from http import HTTPStatus
from typing import Final

ALLOW: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
"""Methods that are served whatever the resource: the Allow of a 405 and of our own answer to OPTIONS."""

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",  # Python knows the names of RFC 2616
    414: "URI Too Long",
}

# RFC 9209 section 2.3. Reasons that are not here take the type of their status.
_ERRORS: Final = {
    "loop": "proxy_loop_detected",
    "no-route": "destination_not_found",
    "connect-refused": "connection_refused",
    "connect-timeout": "connection_timeout",
    "connect-unresolved": "dns_error",
    "connect-unreachable": "destination_ip_unroutable",
    "connect-source": "proxy_configuration_error",
    "connect-shortage": "proxy_internal_error",
    "upstream-closed": "connection_terminated",
    "upstream-reset": "connection_terminated",
    "upstream-truncated": "http_response_incomplete",
    "response-timeout": "http_response_timeout",
    "response-head-large": "http_response_header_section_size",
    "queue-full": "connection_limit_reached",
    "queue-timeout": "connection_limit_reached",
    "connection-limit": "connection_limit_reached",
    "spool-full": "proxy_internal_error",  # unrelated to the server, and none of the other types is near
    "denied": "http_request_denied",
}
_ERRORS_BY_STATUS: Final = {
    403: "http_request_denied",
    404: "destination_not_found",
    429: "http_request_denied",
    500: "proxy_internal_error",
    502: "http_protocol_error",
    503: "connection_limit_reached",
    504: "http_response_timeout",
}


def phrase_of(status: int) -> str:
    """Return the phrase of a status; for one that nobody knows, that of its class."""
    return _PHRASES.get(status) or _PHRASES.get(status // 100 * 100, "Unknown")


def own_response(
    status: int,
    reason: str,
    detail: str,
    *,
    connection: bytes,
    date: bytes,
    head_only: bool = False,
    minor10: bool = False,
    retry_after: int | None = None,
    request_id: tuple[bytes, bytes] | None = None,
) -> bytes:
    """Write a whole response of ours.

    ``connection``: the value of Connection, empty for none. ``date``: as RFC 9110 section 5.6.7 has it.
    ``head_only``: the answer to HEAD. ``retry_after``: seconds. ``request_id``: the field that carries it,
    and its value. A 405 has ALLOW, as it must have one (RFC 9110 section 15.5.6).
    """
    error = _ERRORS.get(reason) or _ERRORS_BY_STATUS.get(status, "http_request_error")
    phrase = phrase_of(status)
    said = f"{reason}: {detail}" if detail else reason
    body = f"{status} {phrase}\n{said}\n".encode("ascii", "replace")
    extra = b"Allow: %b\r\n" % ALLOW if status == 405 else b""
    if retry_after is not None:
        extra += b"Retry-After: %d\r\n" % retry_after
    if request_id is not None:
        extra += b"%b: %b\r\n" % request_id
    if connection:
        extra += b"Connection: %b\r\n" % connection
    head = (
        b"HTTP/1.%d %d %b\r\nDate: %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        b"Proxy-Status: shieldproxy; error=%b; details=%b\r\n%b\r\n"
    ) % (
        0 if minor10 else 1,
        status,
        phrase.encode("ascii"),
        date,
        len(body),
        error.encode("ascii"),
        _quoted(said),
        extra,
    )
    return head if head_only else head + body


def own_options(*, connection: bytes, date: bytes, minor10: bool = False) -> bytes:
    """Answer an OPTIONS that may go no further, as Max-Forwards says (RFC 9110 sections 7.6.2 and 9.3.7)."""
    extra = b"Connection: %b\r\n" % connection if connection else b""
    return b"HTTP/1.%d 200 OK\r\nDate: %b\r\nAllow: %b\r\nContent-Length: 0\r\n%b\r\n" % (
        0 if minor10 else 1,
        date,
        ALLOW,
        extra,
    )


def _quoted(text: str) -> bytes:
    """Return a structured field's string (RFC 8941 section 3.3.3): ASCII, quotes and backslashes escaped."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode("ascii")
