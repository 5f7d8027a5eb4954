"""What the product counts: lanes, promotions, rules. Told in one line at its end."""

import json

from tests.e2e.conftest import Connect, MakeProxy
from tests.kit.answers import reply
from tests.kit.client import request
from tests.kit.upstream import Upstream

RULES = [
    {"name": "met", "user_agent": "^old$", "timeouts": {"keep_alive": "5s"}},
    {"name": "never-met", "user_agent": "^nobody$", "keep_alive": False},
]


def test_lanes_and_matches_are_counted(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, lane: str
) -> None:
    upstream.default = reply(b"x")
    proxy = make_proxy(upstream, rule=RULES)
    client = connect(proxy)
    for agent in ("old", "old", "new"):
        assert client.ask(request(fields=[f"User-Agent: {agent}"])).status == 200
    assert proxy.terminate() == 0
    (counters,) = [json.loads(line) for line in proxy.stderr().splitlines() if '"kind":"counters"' in line]
    assert counters["exchanges"] == ({"task": 3} if lane == "task" else {"task": 1, "express": 2})
    assert counters["promotions"] == ({"off": 3} if lane == "task" else {"connect": 1})
    assert counters["accepted"] == 2, "the client, and the one that looked whether it listens"
    (name,) = counters["rules"]
    assert (name, counters["rules"][name]["hits"]) == ("met", 2)
    assert 0 <= counters["rules"][name]["last_seconds_ago"] < 60
