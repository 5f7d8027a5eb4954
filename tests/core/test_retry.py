"""When a request may be sent again: the whole table of its conditions."""

from itertools import product

import pytest

from shieldproxy.core.retry import may_retry

SAFE = [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"]
UNSAFE = [b"POST", b"PATCH", b"CONNECT", b"get", b"LOCK", b""]


@pytest.mark.parametrize("method", SAFE, ids=bytes.decode)
def test_an_idempotent_request_goes_again_only_if_everything_allows_it(method: bytes) -> None:
    for reused, answered, replayable, retries in product(
        (True, False), (True, False), (True, False), range(3)
    ):
        allowed = reused and not answered and replayable and retries == 0
        assert (
            may_retry(method=method, reused=reused, answered=answered, replayable=replayable, retries=retries)
            is allowed
        ), (reused, answered, replayable, retries)


@pytest.mark.parametrize("method", UNSAFE, ids=lambda method: method.decode() or "none")
def test_any_other_request_never(method: bytes) -> None:
    for reused, answered, replayable in product((True, False), repeat=3):
        assert not may_retry(
            method=method, reused=reused, answered=answered, replayable=replayable, retries=0
        )
