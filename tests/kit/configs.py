"""Configurations for tests: written into a directory, read, and turned into plans."""

from pathlib import Path

from shieldproxy.config import load
from shieldproxy.configplan import plan
from shieldproxy.configwarnings import pointless
from shieldproxy.core.plan import Plan

LEAST = """
[upstream.legacy]
servers = ["127.0.0.1:9000"]
[[route]]
upstream = "legacy"
"""


def least(upstream: str = "", route: str = "") -> str:
    """The least that serves, with lines of TOML added to its upstream and to its route."""
    return f"""
[upstream.legacy]
servers = ["127.0.0.1:9000"]
{upstream}
[[route]]
upstream = "legacy"
{route}
"""


class Write:
    """Writes files into the directory of the test and reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, text: str, name: str = "a.toml") -> str:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
        return name

    def faults(self, text: str) -> list[str]:
        """Every fault of a configuration, as check prints them."""
        loaded = load(self(text))
        assert (loaded.config is None) == bool(loaded.faults)
        lines = [str(fault) for fault in loaded.faults]
        assert all(line.isprintable() for line in lines)
        return lines

    def warnings(self, text: str) -> list[str]:
        """Every warning of a configuration that is in order, as check prints them."""
        loaded = load(self(text))
        assert loaded.config is not None, [str(fault) for fault in loaded.faults]
        made = plan(loaded.config)
        return [*loaded.warnings, *pointless(loaded.config, made)]

    def plan(self, text: str) -> Plan:
        """The plan of a configuration that is in order."""
        loaded = load(self(text))
        assert loaded.config is not None, [str(fault) for fault in loaded.faults]
        return plan(loaded.config)
