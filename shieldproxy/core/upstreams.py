"""What is known of an upstream before a single connection to it exists: its servers and its bounds."""

from dataclasses import dataclass

from shieldproxy.core.address import Address


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """One upstream as configured. Times are in seconds, ``math.inf`` is "off"."""

    name: str
    servers: tuple[Address, ...]
    max_connections: int = 32
    """At one server; further requests wait in line."""
    connect_timeout: float = 5.0
    """From the first SYN to the connection; the resolving of a name included."""
    response_timeout: float = 60.0
    """Without progress in either direction while an exchange is upstream."""
    pool_idle: float = 30.0
    """An unused connection is given up after this."""
    queue_timeout: float = 10.0
    """A request waits in line for this long, then 503."""
