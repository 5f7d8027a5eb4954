"""What became of a payload: nothing or one well-formed request at the upstream, and a fitting answer."""

from tests.e2e.conftest import Wire
from tests.kit.payloads import Case
from tests.kit.wire import Response


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
