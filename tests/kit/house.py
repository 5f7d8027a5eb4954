"""The rules of the house, checked on the source: who may import whom, and how long a piece may be.

Imports go one way, ``cli -> run -> proxy -> net -> core``. ``config`` (with whatever stands beside it at the
top of the package) builds core's values, and nobody below run sees it. ``core`` decides and never waits: no
loop, socket, clock or log in it. What the product imports from outside is declared in pyproject.toml, and
what is declared is imported.

``python -m tests.kit.house`` checks this tree (``make lint`` calls it) and prints a line for each fault.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "shieldproxy"
ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT: dict[str, frozenset[str]] = {
    "core": frozenset({"core"}),
    "net": frozenset({"net", "core"}),
    "proxy": frozenset({"proxy", "net", "core"}),
    "config": frozenset({"config", "core"}),
    "run": frozenset({"run", "proxy", "net", "core", "config"}),
    "cli": frozenset({"cli", "run", "proxy", "net", "core", "config"}),
    "__main__": frozenset({"cli"}),
    "": frozenset(),
}
"""Layer -> the layers it may import; "" is the package itself, which everybody may import for its version."""

NOT_IN_CORE = frozenset(
    [
        "asyncio",
        "datetime",
        "importlib",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "time",
        "trio",
    ]
)
IMPORTED_AS = {"google-re2": "re2"}

MODULE_LINES = 330
FUNCTION_LINES = 50


class Breach(NamedTuple):
    """One rule broken at one place."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        """Write it the way compilers do: path:line: what."""
        return f"{self.path}:{self.line}: {self.what}"


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every import, also those inside functions.

    ``from a import b`` counts as ``a.b``: b may be a module. A relative import is yielded with its dots.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def layer_of(dotted: str) -> str:
    """Name the layer of a module of the product: its first part below the package, "" for the package itself.

    Other modules at the top of the package (units, say) belong to config's layer.
    """
    below = dotted.split(".")[1:]
    if not below or (below[0].startswith("_") and below[0] != "__main__"):
        return ""
    return below[0] if below[0] in MAY_IMPORT else "config"


def module_name(path: Path, root: Path) -> str:
    """Turn a file below root into its dotted name."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_breaches(source: str, path: Path, module: str) -> Iterator[Breach]:
    """Check one module of the product against the layers and the purity of core."""
    layer = layer_of(module)
    for line, name in imports_of(ast.parse(source)):
        top = name.partition(".")[0]
        if name.startswith("."):
            yield Breach(path, line, f"relative import {name}: write it in full")
        elif top == PACKAGE:
            target = layer_of(name)
            if target and target not in MAY_IMPORT[layer]:
                yield Breach(path, line, f"{layer or PACKAGE} must not import {target} ({name})")
        elif layer == "core" and top in NOT_IN_CORE:
            yield Breach(path, line, f"core must not import {top}")


def table_lines(node: ast.AST) -> int:
    """Count the lines that displays (lists, dicts, sets, tuples) add: a table is data, it costs one line."""
    if isinstance(node, ast.List | ast.Dict | ast.Set | ast.Tuple):
        return (node.end_lineno or node.lineno) - node.lineno
    return sum(table_lines(child) for child in ast.iter_child_nodes(node))


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function's body; its docstring and its tables are left out."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if not body:
        return 0
    return (node.end_lineno or node.lineno) - body[0].lineno + 1 - sum(map(table_lines, body))


def size_breaches(source: str, path: Path) -> Iterator[Breach]:
    """Check the length of a module and of each function in it."""
    lines = source.count("\n")
    if lines > MODULE_LINES:
        yield Breach(path, 1, f"{lines} lines, {MODULE_LINES} allowed")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > FUNCTION_LINES:
            yield Breach(
                path, node.lineno, f"{node.name}: {code_lines(node)} lines, {FUNCTION_LINES} allowed"
            )


def declared(root: Path) -> set[str]:
    """Read the names under which the declared dependencies are imported."""
    table = tomllib.loads((root / "pyproject.toml").read_text())
    names = {entry.split(">")[0].strip() for entry in table["project"]["dependencies"]}
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


def dependency_breaches(root: Path) -> Iterator[Breach]:
    """Compare what the product imports from outside with what it declares, both ways."""
    known = declared(root)
    used: set[str] = set()
    for path in sorted((root / PACKAGE).rglob("*.py")):
        for line, name in imports_of(ast.parse(path.read_text())):
            top = name.partition(".")[0]
            if top in ("", PACKAGE) or top in sys.stdlib_module_names:
                continue
            used.add(top)
            if top not in known:
                yield Breach(path, line, f"{top} is not among the dependencies of pyproject.toml")
    for name in sorted(known - used):
        yield Breach(root / "pyproject.toml", 1, f"{name} is declared and never imported")


def breaches(root: Path) -> Iterator[Breach]:
    """Check a whole tree."""
    for path in sorted((root / PACKAGE).rglob("*.py")):
        source = path.read_text()
        yield from import_breaches(source, path, module_name(path, root))
        yield from size_breaches(source, path)
    for folder in ("tests", "benchmarks"):
        for path in sorted((root / folder).rglob("*.py")):
            yield from size_breaches(path.read_text(), path)
    yield from dependency_breaches(root)


def main() -> int:
    """Print every breach of this tree; the exit status says whether there is one."""
    found = list(breaches(ROOT))
    for breach in found:
        print(breach)
    print(
        f"house: {len(found)} breaches" if found else "house: imports, lengths and dependencies are in order"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
