"""The command line: run, check, explain and demo.

It reads arguments and configuration, says what is wrong with either, and hands a plan to the worker. It
decides nothing about requests: ``explain`` asks the rule book and the route table that serve them.

Exit status: 0, or 1 (failed while running, or could not start), or 2 (usage or configuration).
"""

import ipaddress
import os
from typing import TYPE_CHECKING

import click

import shieldproxy
from shieldproxy.config import Config, Loaded, from_arguments, load
from shieldproxy.configplan import STREAMS, plan
from shieldproxy.configwarnings import pointless, unwritable
from shieldproxy.core.address import Address
from shieldproxy.core.plan import Plan

if TYPE_CHECKING:
    from shieldproxy.explaining import Request

FAILED = 1
MISUSED = 2
INTERRUPTED = 130
HELP = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=HELP)
@click.version_option(shieldproxy.__version__, message="%(prog)s %(version)s")
def main() -> None:
    """A reverse proxy that shields old HTTP servers from their clients' connections."""


@main.command(short_help="Serve, by CONFIG or --listen and --to.")
@click.argument("config", required=False, metavar="[CONFIG]")
@click.option("--listen", multiple=True, metavar="ADDR", help="Instead of CONFIG: where clients come in.")
@click.option("--to", multiple=True, metavar="ADDR", help="Instead of CONFIG: the server behind it.")
def run(config: str | None, listen: tuple[str, ...], to: tuple[str, ...]) -> None:
    """Serve, as CONFIG says, or with --listen and --to and every default.

    ADDR is "127.0.0.1:8080", "[::1]:8080", "unix:/path" or, for a server, "name:80". TERM drains, a second
    one ends at once. USR1 opens the log files anew. HUP changes nothing: for another CONFIG start anew.
    """
    if config is not None and (listen or to):
        raise click.UsageError("CONFIG, or --listen and --to, not both")
    if config is None and not to:
        raise click.UsageError("say what to serve: CONFIG, or --to ADDR (and --listen ADDR)")
    _, made, warnings = _planned(load(config) if config is not None else from_arguments(listen, to))
    _warn(warnings)
    from shieldproxy.run import worker

    try:
        shown = made.error in STREAMS  # on the screen, where these are already
        status = worker.main(made, warnings=() if shown else warnings)
    except worker.StartFailed as error:
        click.echo(f"shieldproxy: {error}", err=True)
        status = FAILED
    click.get_current_context().exit(status)


@main.command(short_help="Say what is wrong with a configuration.")
@click.argument("config")
def check(config: str) -> None:
    """Read CONFIG and say what is wrong with it, each fault on a line; exit 2 if there is any."""
    read, made, warnings = _planned(load(config))
    from shieldproxy.net.source import source_fault

    fault = source_fault(made.upstreams.values())
    _warn([*warnings, *unwritable(read, made), *([f"{config}: {fault}"] if fault else [])])
    click.echo(f"{config}: in order")
    for name, text in _summary(read, made):
        click.echo(f"  {name:<10} {text}")


@main.command(short_help="Show which rules match a request.")
@click.argument("config")
@click.option("--user-agent", default="", metavar="UA", help="The User-Agent field; without it: none.")
@click.option(
    "--client", default="127.0.0.1", show_default=True, metavar="IP", help='An address, or "unknown".'
)
@click.option("--method", default="GET", show_default=True, metavar="M", help="The request's method.")
@click.option("--path", default="/", show_default=True, metavar="P", help="The request's path.")
@click.option("--host", default="localhost", show_default=True, metavar="H", help="The request's host.")
@click.option(
    "--version", default="1.1", show_default=True, type=click.Choice(["1.0", "1.1"]), help="Of HTTP."
)
@click.option("--listen", metavar="ADDR", help="Where it came in; without it: the first of server.listen.")
@click.option("--all", "everything", is_flag=True, help="Also the rules that do not match, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, of all rules.")
def explain(config: str, listen: str | None, everything: bool, as_json: bool, **facts: str) -> None:
    """Show which rules of CONFIG match a request, what they change, and where each value comes from."""
    from shieldproxy import explaining  # tables cost megabytes that `run` need not hold

    read, made, _ = _planned(load(config))
    request = _request(facts, _listen(listen, made))
    found = explaining.explained(made, request, [placed.where.file for placed in read.rules])
    if as_json:
        click.echo(explaining.as_json(found))
    else:
        explaining.show(found, everything=everything)


@main.command()
@click.option(
    "--seconds",
    type=click.FloatRange(8, 22),
    default=18,
    show_default=True,
    metavar="N",
    help="How long each half takes, 8 to 22.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures alone, as JSON.")
def demo(seconds: float, as_json: bool) -> None:
    """Show what this is for, in under a minute.

    An old server of 8 threads, good clients, and beside them slow ones, some that never close, some that
    vanish: first straight at the server, then through the proxy. It prints a table of what became of each,
    all counted in this run. Everything is on loopback, and gone when it ends.
    """
    try:
        from shieldproxy.run.demo import play, stage

        try:
            status = play.main(seconds, json=as_json)
        except stage.Failed as error:
            click.echo(f"shieldproxy: {error}", err=True)
            status = FAILED
    except KeyboardInterrupt:  # before its own receiver of signals stands
        status = INTERRUPTED
    click.get_current_context().exit(status)


def _planned(loaded: Loaded) -> tuple[Config, Plan, list[str]]:
    """Give the plan and all warnings, or print the faults and end."""
    if loaded.config is None:
        _warn(loaded.warnings)
        for fault in loaded.faults:
            click.echo(str(fault), err=True)
        click.get_current_context().exit(MISUSED)
    made = plan(loaded.config)
    return loaded.config, made, [*loaded.warnings, *pointless(loaded.config, made)]


def _warn(warnings: list[str] | tuple[str, ...]) -> None:
    for line in warnings:
        click.echo(f"warning: {line}", err=True)


def _summary(config: Config, made: Plan) -> list[tuple[str, str]]:
    """What the configuration comes to, in a few lines."""
    lines = [("listen", ", ".join(map(str, made.listen)))]
    lines += [("route", f"{route.place} -> {route.upstream}") for route in made.routes]
    for name, spec in made.upstreams.items():
        weights = spec.weights or (1,) * len(spec.servers)
        servers = [
            f"{server} (weight {weight})" if weight > 1 else str(server)
            for server, weight in zip(spec.servers, weights, strict=True)
        ]
        servers += [f"{server} (backup)" for server in spec.backup]
        lines.append(("upstream", f"{name}: {', '.join(servers)}, {spec.max_connections} connections each"))
    files = [placed.where.file for placed in config.rules]
    counts = [f"{files.count(file)} from {file}" for file in dict.fromkeys(files)]
    return [*lines, ("rules", ", ".join(counts) or "none")]


def _listen(text: str | None, made: Plan) -> str:
    known = [str(address) for address in made.listen]
    if text is None:
        return known[0]
    try:
        listen = str(Address.parse(text))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
    if listen not in known:
        raise click.BadParameter(
            f"{text} is not in server.listen; allowed: {', '.join(known)}", param_hint="--listen"
        )
    return listen


def _request(facts: dict[str, str], listen: str) -> "Request":
    """The facts of a head as the server would know them. Arguments are bytes to the operating system."""
    from shieldproxy.explaining import Request

    client, path = facts["client"], facts["path"]
    if client != "unknown":
        try:
            ipaddress.ip_address(client)
        except ValueError as error:
            raise click.BadParameter(f'{error}, nor "unknown"', param_hint="--client") from None
    if not path.startswith("/") and path != "*":
        raise click.BadParameter(f'"{path}" does not begin with a slash', param_hint="--path")
    return Request(
        client=client,
        method=os.fsencode(facts["method"]),
        path=os.fsencode(path).partition(b"?")[0],
        host=os.fsencode(facts["host"]).lower(),
        minor=int(facts["version"][-1]),
        user_agent=os.fsencode(facts["user_agent"]),
        listen=listen,
    )
