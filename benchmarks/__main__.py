"""The command: ``python -m benchmarks [PART ...]``.

Exit status: 0; 1 when a run failed and gave no figure; 2 for a usage error; 3 when a peer is missing under
``--require-peers``; 4 when a bar was missed under ``--strict``.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from benchmarks import machine, peers, report, rig
from benchmarks.before import before
from benchmarks.bodies import bodies
from benchmarks.costs import costs
from benchmarks.drip import drip
from benchmarks.flood import flood
from benchmarks.held import held
from benchmarks.model import Part
from benchmarks.pairs import idle10k, rules
from benchmarks.peers import PEERS
from benchmarks.product import VARIANTS
from benchmarks.quiet import quiet
from benchmarks.slowhead import slowhead
from benchmarks.speed import keepalive, large
from benchmarks.stage import Options, Stage, new_stage

PARTS: dict[str, Callable[[Stage, Options], Part]] = {
    "costs": costs,
    "keepalive": keepalive,
    "large": large,
    "held": held,
    "rules": rules,
    "idle10k": idle10k,
    "slowhead": slowhead,
    "flood": flood,
    "drip": drip,
    "quiet": quiet,
    "bodies": bodies,
    "before": before,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("parts", nargs=-1, metavar=f"[{'|'.join(PARTS)}]...")
@click.option("--short", is_flag=True, help="Fewer rounds, 2,000 connections held: about six minutes in all.")
@click.option("--only", multiple=True, metavar="PROXY", help="Only these proxies (may be repeated).")
@click.option("--held", "count", type=click.IntRange(100, 18000), help="Connections to hold in each state.")
@click.option("--output", type=click.Path(path_type=Path), default=report.OUTPUT, help="Where the JSON goes.")
@click.option("--require-peers", is_flag=True, help="Fail when a peer or wrk is not installed.")
@click.option("--strict", is_flag=True, help="Fail when a bar is missed.")
@click.option("--namespace/--no-namespace", default=True, help="Use a network namespace of its own (root).")
def main(
    parts: tuple[str, ...],
    *,
    short: bool,
    only: tuple[str, ...],
    count: int | None,
    output: Path,
    require_peers: bool,
    strict: bool,
    namespace: bool,
) -> None:
    """Measure shieldproxy beside nginx, HAProxy, Caddy and Apache; without PARTS, all of them."""
    unknown = [name for name in parts if name not in PARTS]
    if unknown:
        raise click.UsageError(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    strangers = set(only) - {*PEERS, *VARIANTS}
    if strangers:
        raise click.UsageError(f"no proxy {', '.join(strangers)}; there are {', '.join([*VARIANTS, *PEERS])}")
    inside = move_in(namespace=namespace)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else 140)
    missing = peers.missing()
    for line in missing:
        console.print("missing:", line, style="yellow", markup=False)
    if require_peers and missing:
        sys.exit(3)
    options = Options(short, frozenset(only), count or (2000 if short else 10000))
    environment = machine.describe(namespace=inside)
    console.print({**environment, "short": short})
    done = run_parts(console, parts or tuple(PARTS), options)
    report.summary(console, done)
    report.write_json(output, {**environment, "short": short, "missing": missing}, done)
    console.print(f"written: {output}", highlight=False)
    if any(part.failures for part in done):
        sys.exit(1)
    if strict and any(bar.met is False for part in done for bar in part.bars):
        sys.exit(4)


def move_in(*, namespace: bool) -> bool:
    """Become the same program inside a network namespace, where wanted and possible; True once inside."""
    if os.environ.get(rig.INSIDE):
        rig.prepare_namespace()
        return True
    command = rig.namespace_command(sys.argv[1:]) if namespace else []
    if command:
        os.execve(command[0], command, {**os.environ, rig.INSIDE: "1"})
    return False


def run_parts(console: Console, names: tuple[str, ...], options: Options) -> list[Part]:
    """Run the parts one after the other, each printed as soon as it is done."""
    done = []
    try:
        with rig.new_rig() as place, new_stage(place) as stage:
            for name in names:
                began = time.monotonic()
                part = PARTS[name](stage, options)
                part.data["seconds"] = round(time.monotonic() - began, 1)
                report.show(console, part)
                done.append(part)
    except rig.BenchError as error:
        done.append(Part("origin", failures=[str(error)]))
        report.show(console, done[-1])
    return done


if __name__ == "__main__":
    main()
