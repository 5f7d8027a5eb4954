"""What README and pages say can be done: links lead somewhere, make targets exist, the sample is in order."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks import speed
from benchmarks.performance import BEGIN, END, PAGE

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [
        link for link in links if "://" not in link and not (page.parent / link.replace("%20", " ")).exists()
    ]
    assert missing == []


def test_make_targets_exist() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)", README))
    makefile = (ROOT / "Makefile").read_text()
    assert {"run", "test", "bench"} <= named
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_the_sample_configuration_is_in_order(tmp_path: Path) -> None:
    [sample] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "my.toml").write_text(sample)
    (tmp_path / "config").symlink_to(ROOT / "config")
    ran = subprocess.run(
        [sys.executable, "-m", "shieldproxy", "check", str(tmp_path / "my.toml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=30,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("command", ["run", "check", "explain"])
def test_commands_of_the_readme_have_help(command: str) -> None:
    assert f"`shieldproxy {command} CONFIG" in README
    ran = subprocess.run(
        [sys.executable, "-m", "shieldproxy", command, "-h"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=30,
    )
    assert ran.returncode == 0
    assert "CONFIG" in ran.stdout


def test_the_page_of_speed_is_filled_in() -> None:
    """Nothing is left to be written, and between its marks stand the tables of a whole run."""
    page = PAGE.read_text()
    assert re.findall(r"\b(?:PROFILE|LEFT)\b", page) == []
    [tables] = re.findall(f"{re.escape(BEGIN)}(.*){re.escape(END)}", page, re.DOTALL)
    assert "Made at commit" in tables
    for part in tables.split("\n### "):
        lines = [line for line in part.splitlines() if line.startswith("|")]
        assert len(lines) > 2, part  # a heading, a rule, and figures
    assert all(title in tables for title in (speed.KEEPALIVE.title, speed.LARGE_POST.title))


def test_the_lock_holds_every_declared_dependency() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        re.split(r"[<>=~!]", entry)[0].strip().lower()
        for part in (table["dependencies"], *map(table["optional-dependencies"].get, ("dev", "clients")))
        for entry in part
    }
    lock = (ROOT / "requirements-dev.lock").read_text().lower()
    assert declared <= set(re.findall(r"^([a-z0-9_.-]+)==", lock, re.MULTILINE))
