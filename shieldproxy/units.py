"""Times, sizes and rates as people write them: "500ms", "64KiB", "500B/s", and back again.

A bare number is never a time (seconds or milliseconds?), and "KB" is never a size (1000 or 1024?): what
can be read two ways is refused, with the ways that are allowed.
"""

import math
import re
import sys

OFF = "off"
TIME_ALLOWED = 'a time such as "500ms", "5s", "2m" or "1h"'
SIZE_ALLOWED = 'bytes as a whole number, or "64KiB", "1MiB", "1GiB"'
RATE_ALLOWED = 'a rate such as "500B/s" or "2KiB/s"'

_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h)")
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB)")


def _wrong(value: object, kind: str) -> str:
    shown = f'"{value}"' if isinstance(value, str) else f"{value!r}"
    return f"{shown} is no {kind}"


def seconds(value: object) -> float:
    """Read a time; ``"off"`` is ``math.inf``.

    Raises:
        ValueError: with what is wrong, in a few words.
    """
    if value == OFF:
        return math.inf
    if isinstance(value, str) and (match := _TIME.fullmatch(value)):
        return round(float(match[1]) * _TIME_UNITS[match[2]], 6)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value!r} has no unit")
    raise ValueError(_wrong(value, "time"))


def size(value: object) -> int:
    """Read a size in bytes; ``"off"`` is ``sys.maxsize``.

    Raises:
        ValueError: with what is wrong, in a few words.
    """
    if value == OFF:
        return sys.maxsize
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < sys.maxsize:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(match[1]) * _SIZE_UNITS[match[2]]
    raise ValueError(_wrong(value, "size"))


def rate(value: object) -> float:
    """Read a rate in bytes a second; ``"off"`` is 0, below which nobody can fall.

    Raises:
        ValueError: with what is wrong, in a few words.
    """
    if value == OFF:
        return 0.0
    if isinstance(value, str) and value.endswith("/s") and (match := _SIZE.fullmatch(value[:-2])):
        return float(int(match[1]) * _SIZE_UNITS[match[2]])
    raise ValueError(_wrong(value, "rate"))


def show_seconds(value: float) -> str:
    """Write a time so that ``seconds`` reads it back."""
    if math.isinf(value):
        return OFF
    if value and value % 3600 == 0:
        return f"{value / 3600:.0f}h"
    if value > 60 and value % 60 == 0:
        return f"{value / 60:.0f}m"
    if value < 1:
        return f"{round(value * 1000, 3):g}ms"
    return f"{round(value, 6):.6f}".rstrip("0").rstrip(".") + "s"


def show_size(value: int) -> str:
    """Write a size so that ``size`` reads it back."""
    if value == sys.maxsize:
        return OFF
    for unit in ("GiB", "MiB", "KiB"):
        if value and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]}{unit}"
    return f"{value}B"


def show_rate(value: float) -> str:
    """Write a rate so that ``rate`` reads it back."""
    return f"{show_size(int(value))}/s" if value else OFF
