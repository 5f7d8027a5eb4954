"""The payloads can tell a proxy from a relay: what lets everything through fails most of them."""

import sys
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Bench, Connect, Wire
from tests.kit.judge import judge
from tests.kit.payloads import Case
from tests.kit.payloads_all import ALL


@pytest.fixture
def relayed(bench: Bench, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A plain relay in the product's place."""
    monkeypatch.setenv("SHIELDPROXY_TEST_COMMAND", f"{sys.executable} -m tests.kit.relay")
    upstream = bench.upstream()
    yield Wire(bench.proxy(upstream), upstream, connect)
    upstream.reset_scripts()


def fails(wire: Wire, case: Case) -> bool:
    """Whether the judge finds the relay guilty."""
    try:
        judge(wire, case, timeout=0.5)
    except (AssertionError, OSError):
        return True
    finally:
        for client in wire.clients:
            client.close()
        wire.clients.clear()
        wire.upstream.reset_scripts()
    return False


def test_a_plain_relay_fails_most_payloads(relayed: Wire) -> None:
    """At least 70 % of them: the rest are sound requests, which a relay serves as well."""
    guilty = {case.name for case in ALL if fails(relayed, case)}
    print(f"a plain relay fails {len(guilty)} of {len(ALL)} payloads")
    passed = {case.name for case in ALL} - guilty
    assert len(guilty) >= 0.7 * len(ALL), sorted(passed)
    sound = {case.name for case in ALL if 200 in case.allowed}
    assert passed <= sound, f"refusals that a relay is not found out by: {sorted(passed - sound)}"
