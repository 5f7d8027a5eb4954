"""Planted faults in what keeps a server from waiting: bodies, spools, the line, retries, who has gone."""

from sys import maxsize
from typing import Any

from tests.kit.patches import always, everywhere, method, text, upstreams
from tests.kit.plants_ends import SILENCE, reset
from tests.kit.plants_model import Plant

COLLECT = "test_collect.py::"
WHOLE = f"{COLLECT}test_the_upstream_hears_of_it_when_it_is_whole"
SERVERS = "test_upstream_servers.py::"
LEAVING = "test_half_close.py::TestAtTheServer::"


def _changed(change: Any) -> Any:
    """A spool that is given other bytes than came."""
    return lambda real: lambda self, data: real(self, change(data))


def _hung_up(_real: Any) -> Any:
    def abandon(self: Any, up: Any, *_seconds: float) -> None:
        up.exchange = None
        self._lobby.close(up, reset)
        self.free(up.server)

    return abandon


def _held(real: Any) -> Any:
    """The server is not read while its client has something to take."""

    def blocked(self: Any) -> bool:
        self.held = real(self) or self.behind
        return bool(self.held)

    return blocked


def _with_dots(real: Any) -> Any:
    return lambda path: path if b".." in path else real(path)


BODIES = {
    "a body goes up before it is whole": Plant(
        lambda: text(
            "proxy.express",
            "Express",
            "_begin_body",
            '(ex.policy.buffer_request or ex.route.buffer_request) == "whole"',
            "False",
        ),
        r"not \[|\[\] != \[b'1'\]",
        f"{COLLECT}test_what_is_not_whole_is_never_forwarded[silence]",
        f"{WHOLE}[1-chunked]",
    ),
    "a chunked body goes up without its length": Plant(
        lambda: text(
            "proxy.collect", "Collect", "_whole", "request_of(ex, head, size)", "request_of(ex, head, -1)"
        ),
        SILENCE,
        f"{WHOLE}[1-chunked]",
    ),
    "a body cut short is forwarded": Plant(
        lambda: text(
            "proxy.collect",
            "Collect",
            "_fill",
            'self._refuse(ex, 400, "fin-in-body", by="client")',
            "self._whole(ex, intake)",
        ),
        rf"200 == 400|{SILENCE}",
        f"{COLLECT}test_what_is_not_whole_is_never_forwarded[fin]",
        f"{COLLECT}test_what_is_not_whole_is_never_forwarded[chunk]",
    ),
    "a spool gives bytes in a wrong order": Plant(
        lambda: method("net.spool", "Spool", "put", _changed(lambda data: bytes(reversed(data)))),
        r"==",
        f"{WHOLE}[300000-length]",
        f"{WHOLE}[300000-chunked]",
    ),
    "a spool drops its tail": Plant(
        lambda: method("net.spool", "Spool", "put", _changed(lambda data: data[:-1])),
        r"==",
        f"{WHOLE}[300000-chunked]",
    ),
    "the rest of a refused body is a request": Plant(
        lambda: text("proxy.readout", "ReadOut", "begin", "if left == 0:", "if True:"),
        r"b'hello'",
        "test_readout.py::test_a_short_rest_is_read_out",
    ),
    "the 100 is sent though the line is full": Plant(
        lambda: text("proxy.collect", "Collect", "_invite", "if ex.group.full:", "if False:"),
        SILENCE,
        f"{COLLECT}test_no_100_when_the_line_is_full",
    ),
}

RESPONSES = {
    "a slow reader keeps the upstream": Plant(
        lambda: method("proxy.outlet", "Outlet", "blocked", _held),
        SILENCE,
        "test_half_close.py::TestInTheResponse::test_in_what_is_left_of_it[serve]",
    ),
    "an event stream is held back": Plant(
        lambda: everywhere("core.buffering", "streams", always(False)),
        SILENCE,
        "test_slow_readers.py::TestBackPressure::test_events_are_flushed_one_by_one",
    ),
}

LOAD = {
    "a line of any length": Plant(
        lambda: upstreams(queue_length=maxsize), SILENCE, "test_upstream_line.py::test_no_line_at_all"
    ),
    "no budget for what is sent again": Plant(
        lambda: method("net.pool", "Group", "may_repeat", always(True)),
        r"<= ",
        f"{SERVERS}test_the_budget_bounds_what_a_sick_pair_is_sent",
    ),
    "a server that is left out is asked on": Plant(
        lambda: method("core.health", "Health", "usable", always(True)),
        r"== 3",
        f"{SERVERS}test_a_server_that_fails_is_left_out_and_probed_by_one_request",
    ),
}

LEFT = {
    "an abort resets the server": Plant(
        lambda: method("net.parting", "Connections", "abandon", _hung_up),
        r"rst",
        "test_reap_upstream.py::test_an_aborted_exchange_gives_the_server_an_orderly_end",
    ),
    "a POST whose client has gone is hung up on": Plant(
        lambda: everywhere("proxy.attend", "may_abandon", always(True)),
        r"",
        f"{LEAVING}test_half_closed_and_gone[POST]",
    ),
    "the probe is a 103": Plant(
        lambda: everywhere("proxy.fin", "CONTINUE", lambda _: b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        r"103",
        f"{LEAVING}test_half_closed_and_served[GET-probe]",
    ),
}

MANNERS = {
    "a field is lost when its case is changed": Plant(
        lambda: method("core.manners", "Manners", "_lines", lambda real: lambda *asked: real(*asked)[:-1]),
        r"b'Via' != b'Content-Length'",
        "test_manners.py::test_header_case",
    ),
    "dot segments stay in a plain path": Plant(
        lambda: everywhere("core.cleaning", "normal_path", _with_dots),
        r"/a/\.\./b",
        "test_cleaning.py::test_normalise_path[/a/../b?x=/../y-/b?x=/../y]",
    ),
}

SLOW = {**BODIES, **RESPONSES, **LOAD, **LEFT, **MANNERS}
