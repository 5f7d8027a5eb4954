"""Names for requests: random, so that no machine needs to know of another's."""

import secrets


def new_id() -> str:
    """Return 128 random bits in hexadecimal."""
    return secrets.token_hex(16)
