"""Real servers behind the proxy: clients are told what they say, over no more connections than allowed."""

import pytest

from tests.clients.servers import LIMIT, SERVERS, Server, examine
from tests.clients.stage import roomy


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_server(server: Server) -> None:
    if missing := server.needs.missing():
        pytest.skip(missing)
    with roomy() as root:
        row = examine(server, root)
    assert not row.faults, "\n".join(row.faults)
    assert row.equal == len(server.asks)
    assert row.peak <= LIMIT
