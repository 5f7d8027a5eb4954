"""The quiet contract beside clients that vanish: all in a network namespace where their packets are lost."""

import shutil
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.test_quiet import good, quiet, table
from tests.kit.netns import Side, missing
from tests.kit.transcript import NOTES
from tests.quiet.play import play, recorder

LACK = missing() or ("" if shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin") else "no nft (nftables)")
KINDS = ["vanish", "half-close", "pipeline", "burst"]


@pytest.fixture
def side() -> Iterator[Side]:
    """A network of its own."""
    apart = Side("10.77.9.1", "10.77.9.2")
    yield apart
    apart.close()


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(bool(LACK), reason=LACK or "namespaces can be had")
def test_who_vanishes_is_not_noticed_by_the_server(bench: Bench, side: Side) -> None:
    with recorder(run=side.run) as server:
        proxy = side.run(partial(bench.proxy, {"legacy": table(server)}, timeouts={"fin_wait_1": "2s"}))
        found = side.run(partial(play, server, proxy.address, 6.0, good=4, each=6, kinds=KINDS, seed=5))
    good(found)
    quiet(found)
    assert found.server["requests"]["vanish"] > 0
    NOTES.clear()
