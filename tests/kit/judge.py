"""What became of a payload: nothing or one well-formed request at the upstream, and a fitting answer."""

import re

from tests.e2e.conftest import Wire
from tests.kit.payloads import Case
from tests.kit.wire import Response

ERRORS = frozenset(
    [
        *["dns_timeout", "dns_error", "destination_not_found", "destination_unavailable"],
        *["destination_ip_prohibited", "destination_ip_unroutable", "connection_refused"],
        *[
            "connection_terminated",
            "connection_timeout",
            "connection_read_timeout",
            "connection_write_timeout",
        ],
        *[
            "connection_limit_reached",
            "http_request_error",
            "http_request_denied",
            "http_response_incomplete",
        ],
        *["http_response_header_section_size", "http_response_header_size", "http_response_body_size"],
        *[
            "http_response_trailer_section_size",
            "http_response_trailer_size",
            "http_response_transfer_coding",
        ],
        *["http_response_content_coding", "http_response_timeout", "http_upgrade_failed"],
        *["http_protocol_error", "proxy_internal_response", "proxy_internal_error"],
        *["proxy_configuration_error", "proxy_loop_detected"],
    ]
)
"""RFC 9209 2.3."""


def refused_whole(wire: Wire, case: Case, answer: Response) -> None:
    """A refusal came whole, with a clean end, and left nothing that the upstream could take for a request."""
    assert answer.error, f"no Proxy-Status in {answer.raw!r}"
    assert not answer.persistent, f"{answer.status} and kept alive"
    assert not wire.upstream.requests, f"refused and forwarded: {wire.upstream.requests[0].raw!r}"
    if not case.late:
        assert not wire.upstream.incomplete, f"refused and begun: {wire.upstream.incomplete[0].raw!r}"


def judge(wire: Wire, case: Case, timeout: float = 5.0) -> Response:
    """Send a payload and hold what comes back, and what the upstream saw, against the case."""
    wire.may_reset = case.late
    client = wire.client(timeout=timeout)
    assert client.send_or_fail(case.data) or 200 not in case.allowed
    answer = client.response(case.data.split(b" ", 1)[0].decode("latin-1"))
    assert answer.status in case.allowed, (
        f"{answer.status}, not one of {sorted(case.allowed)}: {answer.raw!r}"
    )
    if answer.status == 200:
        wire.upstream.one()
    else:
        refused_whole(wire, case, answer)
        assert client.ending() == "fin"
    assert not wire.upstream.violations, wire.upstream.violations
    assert not any(request.target == b"/smuggled" for request in wire.upstream.requests)
    return answer


def own(answer: Response, status: int) -> None:
    """An own response: short text, dated, not stored, and a reason in Proxy-Status."""
    assert answer.status == status, answer.raw
    assert (answer.get("content-type") or b"").startswith(b"text/plain")
    assert answer.framing == "length"
    assert len(answer.body) < 1000
    assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.get("date") or b"")
    assert answer.get("cache-control") == b"no-store"
    status_field = answer.get("proxy-status") or b""
    assert status_field.startswith(b"shieldproxy;"), status_field
    assert answer.error in ERRORS, status_field


def refused(wire: Wire, data: bytes, status: int) -> dict[str, object]:
    """Ask, see the refusal and a clean end; the log line."""
    client = wire.client()
    answer = client.ask(data)
    own(answer, status)
    assert not answer.persistent
    assert client.ending() == "fin"
    line = wire.log(client)[0]
    assert line["status"] == status
    assert line["reason"]
    return line
