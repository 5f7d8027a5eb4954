"""How many real programs were run: in .ci/run it must not become fewer without anybody's notice."""

from collections import Counter

CLIENTS_AT_LEAST, SERVERS_AT_LEAST = 14, 4
KINDS = {
    "client": "tests/clients/test_clients.py::test_client[",
    "server": "tests/clients/test_servers.py::test_server[",
}


class Ran:
    """Counts reports of the tests of clients and servers."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.passed: dict[str, list[str]] = {kind: [] for kind in KINDS}

    def note(self, node_id: str, passed: bool) -> None:
        """One test has been reported."""
        for kind, start in KINDS.items():
            if node_id.startswith(start):
                self.seen[kind] += 1
                if passed:
                    self.passed[kind].append(node_id.removeprefix(start).removesuffix("]"))

    def too_few(self, whole: bool = False) -> list[str]:
        """What is short. Only a ``whole`` run, of which nothing was left out, must have seen them all.

        A run of a few chosen tests is judged only where it had enough of a kind to choose from.
        """
        short = []
        for kind, least in (("client", CLIENTS_AT_LEAST), ("server", SERVERS_AT_LEAST)):
            count = len(self.passed[kind])
            if count < least and (whole or self.seen[kind] >= least):
                short.append(f"{count} {kind}s, {least} at least")
        if (whole or self.seen["client"] >= CLIENTS_AT_LEAST) and "Chromium" not in self.passed["client"]:
            short.append("no Chromium")
        return short

    def __str__(self) -> str:
        """Read as the summary's line."""
        parts = [f"{len(self.passed[kind])} of {self.seen[kind]} {kind}s" for kind in KINDS]
        return "real programs: " + ", ".join(parts)
