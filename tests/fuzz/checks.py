"""The table of checks, and how an input chooses one: its first byte the check, its second how it is asked.

hypothesis (tests/core/test_message_properties.py), the coverage-guided search (tests/fuzz/target.py) and the
replay of what it found (tests/fuzz/test_finds.py) go through here.
"""

from collections.abc import Callable

from tests.fuzz.messages import check_requests, check_responses
from tests.fuzz.pieces import check_chunks, check_dripped_request, check_dripped_response
from tests.fuzz.readers import check_memory, check_readers

Check = Callable[[int, bytes], None]

CHECKS: dict[str, Check] = {
    "requests": check_requests,
    "responses": check_responses,
    "chunks": check_chunks,
    "dripped request": check_dripped_request,
    "dripped response": check_dripped_response,
    "readers": check_readers,
    "memory": check_memory,
}
"""Add new ones at the end: the number of a check is the first byte of its inputs."""

_BY_NUMBER = tuple(CHECKS.items())


def named(data: bytes) -> tuple[str, int, bytes]:
    """Split an input of the search into the name of its check, the choice and the message."""
    return _BY_NUMBER[data[0] % len(_BY_NUMBER)][0], data[1], data[2:]


def run(data: bytes) -> None:
    """Run one input of the search."""
    if len(data) > 2:
        _BY_NUMBER[data[0] % len(_BY_NUMBER)][1](data[1], data[2:])
