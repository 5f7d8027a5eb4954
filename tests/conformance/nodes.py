"""Where the tests of the tables stand: the beginnings of their node ids, below tests/."""

from typing import Final

MESSAGES: Final = "e2e/test_rfc_messages.py::"
TRAILERS: Final = "e2e/test_rfc_trailers.py::"
FIELDS: Final = "e2e/test_rfc_fields.py::"
GATEWAY: Final = "e2e/test_rfc_gateway.py::"

REQUESTS: Final = "e2e/test_framing_requests.py::"
RESPONSES: Final = "e2e/test_framing_responses.py::"
TARGETS: Final = "e2e/test_wire_targets.py::"
BODIES: Final = "e2e/test_wire_bodies.py::"
COLLECT: Final = "e2e/test_collect.py::"
INTERIM: Final = "e2e/test_wire_interim.py::"
PIPELINE: Final = "e2e/test_wire_pipeline.py::"
ODD: Final = "e2e/test_wire_odd.py::"
OWN: Final = "e2e/test_wire_own.py::"
LIMITS: Final = "e2e/test_wire_limits.py::"
FORWARD: Final = "e2e/test_forward_fields.py::"
POOL: Final = "e2e/test_upstream_pool.py::"
RULES: Final = "e2e/test_rules_effects.py::"
CONDITIONS: Final = "e2e/test_rules_conditions.py::"
CLIENT: Final = "e2e/test_reap_client.py::"
UPSTREAM: Final = "e2e/test_reap_upstream.py::"
EDGES: Final = "e2e/test_wire_edges.py::"


def payload(name: str) -> str:
    """One of the payloads that servers read in different ways (tests.kit.payloads)."""
    return f"{REQUESTS}test_nothing_or_exactly_one_well_formed_request[{name}]"
