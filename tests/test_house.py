"""The house rules hold, and their checker can fail: each rule is broken on purpose in a planted tree."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import house

PYPROJECT = '[project]\ndependencies = ["h11>=0.16", "google-re2>=1.1"]\n'
CLEAN = {
    "shieldproxy/__init__.py": '__version__ = "1"\n',
    "shieldproxy/cli.py": "from shieldproxy.run import worker\n",
    "shieldproxy/config.py": "from shieldproxy.core import body\n",
    "shieldproxy/core/body.py": "import h11\nimport re2\nfrom shieldproxy import __version__\n",
    "shieldproxy/net/lobby.py": "import socket\nfrom shieldproxy.core import body\n",
    "shieldproxy/proxy/relay.py": "from shieldproxy.net.lobby import socket\n",
    "shieldproxy/run/worker.py": "from shieldproxy import config\nfrom shieldproxy.proxy import relay\n",
    "tests/test_a.py": "def test_a():\n    assert True\n",
    "pyproject.toml": PYPROJECT,
}

LONG_FUNCTION = '    """Doc.\n\n    More.\n    """\n' + "    x = 1\n" * (house.FUNCTION_LINES + 1)

PLANTED = [
    ("shieldproxy/core/a.py", "import asyncio\n", "core must not import asyncio"),
    ("shieldproxy/core/a.py", "from time import monotonic\n", "core must not import time"),
    ("shieldproxy/core/a.py", "import os.path\n", "core must not import os"),
    ("shieldproxy/core/a.py", "def f():\n    import socket\n", "core must not import socket"),
    ("shieldproxy/core/a.py", "import selectors as s\n", "core must not import selectors"),
    ("shieldproxy/core/a.py", "from shieldproxy import config\n", "core must not import config"),
    ("shieldproxy/core/a.py", "from shieldproxy.net import lobby\n", "core must not import net"),
    ("shieldproxy/core/a.py", "from ..net import lobby\n", "relative import"),
    ("shieldproxy/net/a.py", "import shieldproxy.proxy.relay\n", "net must not import proxy"),
    ("shieldproxy/net/a.py", "from shieldproxy.config import Config\n", "net must not import config"),
    ("shieldproxy/proxy/a.py", "from shieldproxy.run import worker\n", "proxy must not import run"),
    ("shieldproxy/proxy/a.py", "from shieldproxy.config import Config\n", "proxy must not import config"),
    ("shieldproxy/config.py", "from shieldproxy.net import lobby\n", "config must not import net"),
    ("shieldproxy/run/a.py", "from shieldproxy import cli\n", "run must not import cli"),
    ("shieldproxy/__init__.py", "from shieldproxy import cli\n", "shieldproxy must not import cli"),
    ("shieldproxy/units.py", "from shieldproxy.run import worker\n", "config must not import run"),
    ("shieldproxy/core/a.py", "from shieldproxy import units\n", "core must not import config"),
    ("shieldproxy/net/a.py", "import requests\n", "requests is not among the dependencies"),
    ("shieldproxy/core/body.py", "import h11\n", "re2 is declared and never imported"),
    ("tests/test_a.py", "x = 1\n" * (house.MODULE_LINES + 1), "331 lines"),
    ("shieldproxy/net/a.py", "def f():\n" + LONG_FUNCTION, "f: 51 lines"),
    ("shieldproxy/net/a.py", "class A:\n  async def g(self):\n" + LONG_FUNCTION, "g: 51 lines"),
]


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write a small tree."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_this_tree_keeps_the_rules() -> None:
    assert [str(breach) for breach in house.breaches(house.ROOT)] == []


def test_clean_tree_has_no_breach(tmp_path: Path) -> None:
    assert list(house.breaches(plant(tmp_path, CLEAN))) == []


@pytest.mark.parametrize(("path", "source", "what"), PLANTED)
def test_planted_breach_is_found(tmp_path: Path, path: str, source: str, what: str) -> None:
    found = list(house.breaches(plant(tmp_path, CLEAN | {path: source})))
    assert [breach for breach in found if what in breach.what], found
    assert len(found) == 1


def test_a_table_costs_one_line(tmp_path: Path) -> None:
    table = "    t = [\n" + "        (1,\n         2),\n" * house.FUNCTION_LINES + "    ]\n"
    code = "    x = 1\n" * (house.FUNCTION_LINES - 1)
    fits = "def f():\n" + table + code
    assert list(house.breaches(plant(tmp_path, CLEAN | {"shieldproxy/net/a.py": fits}))) == []
    found = list(house.breaches(plant(tmp_path, CLEAN | {"shieldproxy/net/a.py": fits + "    y = 1\n"})))
    assert [breach.what for breach in found] == ["f: 51 lines, 50 allowed"]


def test_a_docstring_costs_no_lines(tmp_path: Path) -> None:
    text = "def f():\n" + LONG_FUNCTION.removesuffix("    x = 1\n")
    assert list(house.breaches(plant(tmp_path, CLEAN | {"shieldproxy/net/a.py": text}))) == []


@pytest.mark.parametrize(
    ("variable", "allowed", "status"), [("0", False, 0), ("1", False, 1), ("1", True, 0)]
)
def test_a_skip_fails_where_skips_are_forbidden(
    tmp_path: Path, variable: str, allowed: bool, status: int
) -> None:
    conftest = (house.ROOT / "tests" / "conftest.py").read_text()
    if allowed:
        conftest = conftest.replace("dict[str, str] = {", 'dict[str, str] = {"test_s.py::test_s": "why",', 1)
    tree = {
        "conftest.py": conftest,
        "test_s.py": 'import pytest\n\ndef test_s():\n    pytest.skip("no nginx")\n',
        "pytest.ini": "[pytest]\n",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini", "."],
        cwd=plant(tmp_path, tree),
        env={"SHIELDPROXY_NO_SKIPS": variable, "PATH": "", "PYTHONPATH": str(house.ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    assert "no nginx" in ran.stdout or status == 0


def test_a_module_that_skips_itself_fails_too(tmp_path: Path) -> None:
    tree = {
        "conftest.py": (house.ROOT / "tests" / "conftest.py").read_text(),
        "test_s.py": 'import pytest\n\npytest.importorskip("no_such_module_here")\n',
        "pytest.ini": "[pytest]\n",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini", "."],
        cwd=plant(tmp_path, tree),
        env={"SHIELDPROXY_NO_SKIPS": "1", "PATH": "", "PYTHONPATH": str(house.ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode != 0
    assert "no_such_module_here" in ran.stdout


@pytest.mark.parametrize(("variable", "status"), [("", 0), ("1", 1)])
@pytest.mark.parametrize("module", [False, True])
def test_make_container_is_not_green_without_the_container(
    tmp_path: Path, variable: str, status: int, module: bool
) -> None:
    skip = "import pytest\n\n"
    if module:
        skip += 'pytest.skip("no engine", allow_module_level=True)\n'
    else:
        skip += 'def test_s():\n    pytest.skip("no engine")\n'
    tree = {
        "conftest.py": (house.ROOT / "tests" / "conftest.py").read_text(),
        "tests/deploy/test_container.py": skip,
        "tests/deploy/test_files.py": "def test_s():\n    pass\n",
        "pytest.ini": "[pytest]\n",
    }
    environment = {"SHIELDPROXY_NO_SKIPS": "1" if module else "0", "SHIELDPROXY_CONTAINER": variable}
    ran = quick_run(plant(tmp_path, tree), environment, "tests/deploy")
    assert (ran.returncode != 0) == (status != 0), ran.stdout + ran.stderr
    assert "no engine" in ran.stdout or status == 0
    assert ran.stdout.count("SHIELDPROXY_CONTAINER") > 0 or status == 0


def test_make_container_asks_for_it() -> None:
    makefile = (house.ROOT / "Makefile").read_text()
    assert "SHIELDPROXY_CONTAINER=1 $(PY) -m pytest tests/deploy\n" in makefile


@pytest.mark.parametrize(
    ("variable", "words", "status"),
    [
        ("1", (), 1),
        ("0", (), 0),
        ("1", ("test_s.py",), 0),
        ("1", ("-k", "test_s"), 0),
        ("1", ("--collect-only",), 0),
    ],
)
@pytest.mark.parametrize("testpaths", ["", "testpaths = ."])
def test_a_whole_run_without_real_programs_is_red(
    tmp_path: Path, variable: str, words: tuple[str, ...], status: int, testpaths: str
) -> None:
    tree = {
        "conftest.py": (house.ROOT / "tests" / "conftest.py").read_text(),
        "test_s.py": "def test_s():\n    pass\n",
        "pytest.ini": f"[pytest]\n{testpaths}\n",
    }
    ran = quick_run(plant(tmp_path, tree), {"SHIELDPROXY_NO_SKIPS": variable}, *words)
    assert ran.returncode == status, ran.stdout + ran.stderr
    assert ("too few: 0 clients" in ran.stdout) == bool(status)


def quick_run(root: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Pytest in a planted tree, with an environment of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini", *words],
        cwd=root,
        env={**environment, "PATH": "", "PYTHONPATH": str(house.ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
