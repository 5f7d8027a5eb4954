"""Events that meet: what comes between the end of one exchange and the turn that begins the next."""

import pytest

from tests.net.rig import Rig

FIRST, SECOND, THIRD = (b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in (1, 2, 3))


@pytest.mark.parametrize("cut", [1, 12, len(THIRD)], ids=["a byte", "half", "whole"])
def test_news_that_comes_while_a_buffered_request_waits_for_its_turn(house: Rig, cut: int) -> None:
    """The turn that begins request 2 is also told of request 3: that edge is the only one."""
    peer, rec = house.join(data=FIRST + SECOND)
    house.until(lambda: len(house.heads) == 1)
    house.clients.go_on(rec)
    peer.sendall(THIRD[:cut])
    house.quiet()
    assert len(house.heads) == 2
    house.clients.go_on(rec)
    house.quiet()
    peer.sendall(THIRD[cut:])
    house.quiet()
    assert [head for _, head in house.heads] == [FIRST, SECOND, THIRD]
