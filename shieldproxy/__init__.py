"""A reverse proxy that shields legacy HTTP servers from slow, idle and vanishing clients."""

__version__ = "0.1.0"
