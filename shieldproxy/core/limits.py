"""Timeouts and limits: the numbers a policy is made of.

Values only. The configuration builds them, rules override single fields, and every phase of a
connection reads the one it needs. ``math.inf`` stands for "off" in a timeout, ``sys.maxsize`` in a limit.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase may last, in seconds (rates in bytes a second)."""

    head: float = 20.0
    """From the first byte of a head, or from accept while there is none; absolute."""
    keep_alive: float = 15.0
    """Between two requests of one connection."""
    body_idle: float = 15.0
    """Between two reads of a request body."""
    body_min_rate: float = 500.0
    """Bytes a second of a request body, averaged from its start, after a grace; 0 is "off"."""
    body_total: float = 3600.0
    """A request body as a whole."""
    send_idle: float = 30.0
    """Between two acknowledged pieces of a response."""
    send_min_rate: float = 500.0
    """Bytes a second of a response that are acknowledged, averaged as ``body_min_rate`` is."""
    linger_gap: float = 2.0
    """Silence of the client that ends a lingering close."""
    linger_total: float = 30.0
    """A lingering close as a whole, from the acknowledgement."""
    linger_kernel: float = 5.0
    """The SO_LINGER of ``linger = "kernel"``."""
    fin_wait_1: float = 20.0
    """A client whose kernel no longer answers."""
    fin_wait_2: float = 5.0
    """A client that acknowledges our FIN and never sends its own: TCP_LINGER2, whole seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much each part of a message may weigh, in bytes (``fields``: a count)."""

    head: int = 32 * KIB
    response_head: int = 64 * KIB
    fields: int = 100
    user_agent: int = 1024
    body: int = 16 * MIB
    linger: int = 16 * MIB


@dataclass(frozen=True, slots=True)
class Buffers:
    """What of the bodies is held for whom, in bytes."""

    request_memory: int = 64 * KIB
    """Of one request's body in memory; what is longer goes into a file."""
    response_memory: int = 64 * KIB
    """Of one response in memory that its client has not taken; what is longer goes into a file."""
    response_file: int = 1024 * MIB
    """Of one response in its file; then the upstream has to wait."""
    disk_total: int = 8 * 1024 * MIB
    """Of all files of the process together; 0 is no file at all."""
    directory: str = ""
    """Where the files are, unlinked; empty: the system's for temporary files."""
