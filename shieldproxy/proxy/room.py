"""Bodies for which there is no room in files: counted, and told in the error log, not each by itself."""

import os
from typing import Final

from shieldproxy.proxy.house import House

AGAIN: Final = 60.0
"""Seconds after which the same cause is told anew."""
TEXTS: Final = {
    "disk-total": "buffers.disk_total is used up",
    "disk-full": "the disk is full",
    "no-file": "no file can be made",
    "disk-error": "the disk is at fault",
    "beyond-disk-total": "it is longer than buffers.disk_total",
}
"""What the detail of a `spool-full` means."""


class NoRoom:
    """Tells why uploads are refused: a cause when it comes up, and every minute that it lasts."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._told: dict[str, float] = {}

    def note(self, detail: str) -> None:
        """Count a refused body, for a reason of TEXTS."""
        house, now = self._house, self._house.lobby.now
        house.counts["spool_full"] += 1
        if now < self._told.get(detail, -AGAIN) + AGAIN:
            return
        self._told[detail] = now
        disk = house.store.disk
        why = TEXTS[detail]
        if disk.error and detail not in {"disk-total", "beyond-disk-total"}:
            why += f" ({os.strerror(disk.error)})"
        where = f"{disk.used} of {disk.total} bytes used" + (
            f" in {disk.directory}" if disk.directory else ""
        )
        house.journal.warn(f"buffers: uploads are refused with 503 (spool-full, {detail}): {why}; {where}")
