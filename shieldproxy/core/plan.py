"""The plan: what a worker is to do, with every default filled in and every text parsed.

The configuration builds it once; whoever serves reads it and never sees a TOML table. Frozen, so that
one plan can be held against another when a configuration is read again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shieldproxy.core.address import Address
from shieldproxy.core.limits import Buffers
from shieldproxy.core.policy import Policy, Rule
from shieldproxy.core.routes import Route
from shieldproxy.core.upstreams import UpstreamSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that serving needs to know. Times are in seconds, ``math.inf`` is "off"."""

    listen: tuple[Address, ...]
    routes: tuple[Route, ...]
    upstreams: Mapping[str, UpstreamSpec]
    rules: tuple[Rule, ...] = ()
    base: Policy = field(default_factory=Policy)
    """What holds for a client that no rule matches."""
    max_connections: int = 20_000
    drain_timeout: float = 30.0
    trusted: tuple[str, ...] = ()
    """CIDRs of the peers whose forwarding fields are believed."""
    express: bool = True
    buffers: Buffers = field(default_factory=Buffers)
    access: str = "stdout"
    """``stdout``, ``stderr``, ``none`` or the path of a file."""
    log_format: str = "json"
    """``json`` or ``combined``."""
    error: str = "stderr"
    """As ``access``."""
    level: str = "info"
    """``debug``, ``info``, ``warning`` or ``error``."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """For ``explain``: where a value was set, as "FILE: key"; what is missing is default.

    A value of ``base``, ``buffers`` or an upstream has its dotted name, one of a route ``KEY of PLACE`` (see
    ``Route.place``).
    """
