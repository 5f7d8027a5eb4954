"""The proxies of a part, running: started side by side on one origin, checked with one request each."""

import http.client
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks.peers import PEERS, SMALL, Peer, Place, find
from benchmarks.peers import origin as origin_launch
from benchmarks.product import VARIANTS, Variant
from benchmarks.rig import BenchError, Rig, Server, free_port

Proxy = Peer | Variant


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    short: bool
    only: frozenset[str]
    """Names of proxies; empty: all that are installed."""
    held: int
    """Connections to hold in each state."""

    @property
    def tries(self) -> int:
        """How often a run that others disturbed is taken."""
        return 1 if self.short else 2

    def wanted(self, names: Sequence[str]) -> list[Proxy]:
        """The proxies of these names that are installed and asked for."""
        every: dict[str, Proxy] = {**VARIANTS, **PEERS}
        chosen = [every[name] for name in names if not self.only or name in self.only]
        return [one for one in chosen if isinstance(one, Variant) or one.path is not None]


@dataclass(slots=True)
class Stage:
    """A running origin, and the proxies that can be started in front of it."""

    rig: Rig
    origin: int
    """The origin's port."""
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def proxy(
        self, proxy: Proxy, *, patient: bool = False, capacity: int = 4096, checked: bool = True
    ) -> Iterator[Server]:
        """Start one proxy and, unless the origin is one that never answers, send it a request.

        Raises:
            BenchError: it does not start or does not answer.
        """
        port = free_port()
        folder = self.rig.folder / f"{proxy.name.replace(' ', '-')}-{port}"
        folder.mkdir()
        place = Place(folder, port, self.origin, patient, capacity)
        with self.rig.serve(proxy.name, proxy.launch(place), port, folder) as server:
            if checked:
                check(server)
            yield server

    @contextmanager
    def cast(self, proxies: Sequence[Proxy]) -> Iterator[dict[str, Server]]:
        """Start several; one that fails is noted in ``failures`` and left out."""
        with ExitStack() as stack:
            servers = {}
            for proxy in proxies:
                try:
                    servers[proxy.name] = stack.enter_context(self.proxy(proxy))
                except BenchError as error:
                    self.failures.append(str(error))
            yield servers

    def take_failures(self) -> list[str]:
        """What failed to start since the last call."""
        taken, self.failures = self.failures, []
        return taken


@contextmanager
def new_stage(rig: Rig) -> Iterator[Stage]:
    """Start the origin.

    Raises:
        BenchError: nginx is not installed or does not start.
    """
    path = find("nginx")
    if path is None:
        raise BenchError("nginx is missing: it is the origin behind every proxy (apt-get install nginx)")
    folder = rig.folder / "origin"
    folder.mkdir()
    port = free_port()
    with rig.serve("origin", origin_launch(Place(folder, port, 0), path), port, folder, proxy=False):
        yield Stage(rig, port)


def check(server: Server) -> None:
    """One request through the proxy.

    Raises:
        BenchError: no 200 with the origin's 1 KiB.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{server.name} does not answer: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200 or len(body) != SMALL:
        raise BenchError(f"{server.name} answers {response.status} with {len(body)} bytes")
