"""The files that come with shieldproxy, and the page: each key is in them, with its default."""

import re
from pathlib import Path

import pytest
import tomli

from shieldproxy import configdoc
from shieldproxy.config import load
from shieldproxy.configplan import plan
from shieldproxy.configread import Faults, Where, keys, read_value, unwrap
from shieldproxy.configschema import EVERY
from shieldproxy.core.address import Address
from shieldproxy.core.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
COMMENTED = re.compile(r"^# ((\[+[a-z.]+\]+|[a-z_]+ = ).*)$", re.MULTILINE)


def commented_in() -> dict[str, object]:
    """shieldproxy.toml with every key that is commented out put in force."""
    text = (ROOT / "config/shieldproxy.toml").read_text()
    return tomli.loads(COMMENTED.sub(r"\1", text))


def table_of(name: str, data: dict[str, object]) -> dict[str, object]:
    outer, _, inner = name.partition(".")
    found = data[outer]
    if outer == "upstream":
        assert isinstance(found, dict)
        found = found["legacy"]
        found = found.get(inner, {}) if inner else found
    elif isinstance(found, list):
        found = found[0]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", EVERY)
def test_the_sample_names_every_key(name: str) -> None:
    assert sorted(table_of(name, commented_in())) == sorted(keys(EVERY[name]))


@pytest.mark.parametrize("name", EVERY)
def test_the_sample_has_the_defaults(name: str) -> None:
    """What is in force in the sample is the default; what has none is commented out."""
    in_force = tomli.loads((ROOT / "config/shieldproxy.toml").read_text())
    table = table_of(name, in_force) if name.partition(".")[0] in in_force else {}
    for key, info in keys(EVERY[name]).items():
        default = configdoc.default_of(name, info)
        if name in ("rule", "admin", "upstream.health"):
            assert not table
        elif default is None or default == "":
            assert key not in table
        elif not info.required:
            faults = Faults()
            assert read_value(*unwrap(info.type), table[key], Where("sample", key), faults) == default, key
            assert faults == []
        else:
            assert key in table


def test_the_sample_is_in_order_and_is_the_default() -> None:
    loaded = load(str(ROOT / "config/shieldproxy.toml"))
    assert loaded.config is not None, [str(fault) for fault in loaded.faults]
    assert loaded.warnings == ()
    made = plan(loaded.config)
    assert made.base == Policy()
    assert made.listen == (Address("127.0.0.1", 8080, ""),)


def test_the_sample_with_everything_commented_in_is_in_order(tmp_path: Path) -> None:
    text = COMMENTED.sub(r"\1", (ROOT / "config/shieldproxy.toml").read_text())
    (tmp_path / "all.toml").write_text(text)
    (tmp_path / "known-clients.toml").write_text("")
    loaded = load(str(tmp_path / "all.toml"))
    assert loaded.faults == ()


def test_the_quickstart_serves_every_address_with_the_known_clients() -> None:
    loaded = load(str(ROOT / "config/quickstart.toml"))
    assert loaded.config is not None, [str(fault) for fault in loaded.faults]
    assert loaded.warnings == ()
    made = plan(loaded.config)
    assert made.listen == (Address("0.0.0.0", 8080, ""),)
    assert len(made.rules) > 5


def test_the_page_is_current() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert page == configdoc.page(), "write it anew: python -m shieldproxy.configdoc > docs/configuration.md"


def test_every_key_has_its_line() -> None:
    for table in EVERY.values():
        for key, info in keys(table).items():
            assert unwrap(info.type)[1].description, key
