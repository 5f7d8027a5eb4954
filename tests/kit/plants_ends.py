"""Planted faults in how things end: closing, retries, the pool, the line, deadlines, the log."""

import socket
import struct
from collections import OrderedDict
from dataclasses import replace
from math import inf
from sys import maxsize
from typing import Any

from shieldproxy.core.closing import Action, Event, State
from tests.kit.patches import (
    MissedError,
    always,
    entry,
    everywhere,
    forced,
    method,
    planned,
    text,
    timeouts,
    upstreams,
)
from tests.kit.plants_model import Plant

LINGER = "test_linger.py::"
RESPONSES = "test_framing_responses.py::"
POOL = "test_upstream_pool.py::"
IDLE = "test_reap_upstream.py::TestIdle::"
LINE = "test_reap_upstream.py::TestLine::"
WE_END = "test_reap_proxy.py::TestWeEnd::"
SILENCE = r"nothing came in|cut off by nothing"


def _for_ever() -> None:
    everywhere("core.closing", "review", always(None))
    everywhere("core.closing", "next_look", always(1e12))


def _byte_forgotten() -> None:
    everywhere("core.retry", "may_retry", forced(answered=False))
    text("proxy.download", "Download", "_upstream_ended", "if ex.answered or ex.from_up:", "if False:")


def _three_times(real: Any) -> Any:
    return lambda **facts: real(**{**facts, "reused": True, "retries": facts["retries"] // 3})


def _always_used(real: Any) -> Any:
    """A fresh connection that ends is taken for one that had served before."""

    def again(ex: Any, *, unrun: bool) -> Any:
        ex.up.uses += 1
        return real(ex, unrun=unrun)

    return again


def _tireless() -> None:
    everywhere("core.retry", "may_retry", _three_times)
    everywhere("proxy.lease", "again", _always_used)


def _aged(real: Any) -> Any:
    """A pooled connection is as old as it is, not as long as it was not used."""
    born: dict[Any, float] = {}

    def release(self: Any, up: Any) -> None:
        now = self._lobby.now
        real(self, up)
        if up in up.server.idle:
            up.since = born.setdefault(up, now)
            self._lobby.arm(up, up.since + self.spec.pool_idle)

    return release


def _surplus_forgotten() -> None:
    method("proxy.express", "Express", "_answer", forced(surplus=False))
    method("proxy.download", "Download", "_upstream_done", forced(surplus=False))


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Backwards(OrderedDict[Any, None]):
    """A line in which the last to come is served first."""

    def popitem(self, last: bool = True) -> tuple[Any, None]:
        return super().popitem(last=not last)


def _backwards(real: Any) -> Any:
    def init(self: Any, *rest: Any) -> None:
        real(self, *rest)
        if type(self.line) is not OrderedDict:
            raise MissedError("the line is another")
        self.line = Backwards()

    return init


def _extended(real: Any) -> Any:
    """Each byte of a head gives it time anew."""

    def more(self: Any, rec: Any, data: bytes) -> None:
        real(self, rec, data)
        if rec.fd >= 0 and rec.state is State.IDLE:
            self._lobby.arm(rec, self._lobby.now + rec.policy.timeouts.head)

    return more


CLOSING = {
    "no linger": Plant(
        lambda: entry("core.closing", "END", "ack", Event.END_OFF),
        r"is_held|== 0|more than one read|rst",
        "test_framing_requests.py::test_a_refusal_reaches_a_client_that_goes_on_sending",
        "test_close_survives.py::test_no_response_is_lost[413 of ours, by length]",
        f"{LINGER}test_fin_after_the_last_byte_then_the_clients_fin_ends_it",
    ),
    "a linger without end": Plant(
        _for_ever,
        r"0 connection lines",
        f"{LINGER}test_a_client_that_never_closes_is_let_go_after_the_gap",
    ),
    "no FIN": Plant(
        lambda: text("net.linger", "Closer", "_begin", "rec.sock.shutdown(socket.SHUT_WR)", "pass"),
        SILENCE,
        "test_wire_pipeline.py::test_http_1_0_closes",
    ),
    "a reset in place of the FIN": Plant(
        lambda: entry("core.closing", "TABLE", (State.ACTIVE, Event.END_ACK), (State.RESET, (Action.RST,))),
        r"rst",
        "test_wire_pipeline.py::test_http_1_0_closes",
    ),
    "a truncated response is ended cleanly": Plant(
        lambda: text(
            "proxy.download",
            "Download",
            "_upstream_ended",
            'if resp.length != UNTIL_CLOSE or how != "closed":',
            "if False:",
        ),
        r"looks whole|whole=True",
        f"{RESPONSES}test_a_truncated_response_looks_truncated[chunked, after a chunk-fin]",
        "test_framing_truncated.py::test_at_every_byte[chunked-fin-pooled]",
    ),
    "a truncated response ends with a FIN": Plant(
        lambda: entry(
            "core.closing", "TABLE", (State.ACTIVE, Event.TRUNCATED), (State.CLOSED, (Action.ORPHAN,))
        ),
        r"rst|looks whole",
        f"{RESPONSES}test_a_truncated_response_to_http_1_0_is_not_ended_cleanly[fin]",
    ),
    "a half-close is an abort": Plant(
        lambda: everywhere("core.half", "on_fin", always("abort")),
        r"cut off",
        "test_reap_client.py::TestClientEnds::test_half_close_while_its_request_is_worked_on",
    ),
}

RETRIES = {
    "a POST is sent again": Plant(
        lambda: everywhere("core.retry", "IDEMPOTENT", lambda real: real | {b"POST"}),
        r"2 == \(?1|200 == 502",
        f"{POOL}test_never_a_retry_of_what_may_have_been_run[fin-POST]",
        f"{POOL}test_never_a_retry_of_what_may_have_been_run[rst-POST]",
        "test_upstream_servers.py::test_a_post_is_sent_again_only_if_the_route_says_so[False]",
    ),
    "sent again and again": Plant(
        _tireless,
        r"== 2",
        f"{POOL}test_one_retry_and_no_more",
    ),
    "sent again after a byte of the response": Plant(
        _byte_forgotten,
        r"2 == 1|200 == 502",
        f"{POOL}test_no_retry_after_a_byte_of_the_response",
    ),
    "never sent again": Plant(
        lambda: everywhere("core.retry", "may_retry", forced(reused=False)),
        r"502 == 200",
        f"{POOL}test_one_retry_of_an_idempotent_request[fin-GET]",
        f"{POOL}test_one_retry_of_an_idempotent_request[rst-PUT]",
    ),
}

KEPT = {
    "idle connections are kept for ever": Plant(
        lambda: method("net.parting", "Connections", "on_pool_due", always(None)),
        r"wait",
        f"{IDLE}test_pool_idle_ends_it_in_an_orderly_way",
    ),
    "a wrong age of a pooled connection": Plant(
        lambda: method("net.pool", "Group", "release", _aged), r"== 1", f"{IDLE}test_use_keeps_it"
    ),
    "unread bytes stay on a pooled connection": Plant(
        lambda: method("net.pool", "Group", "_silent", always(True)),
        r"planted",
        "test_wire_edges.py::test_what_is_planted_behind_a_response_answers_nobody[by_length-65536]",
    ),
    "a connection is kept after a surplus": Plant(
        _surplus_forgotten,
        r"!=|assert 1 == 2|all\(",
        f"{RESPONSES}test_more_than_one_response_to_a_request[length-x]",
        f"{RESPONSES}test_more_than_one_response_to_a_request[chunked-x]",
        "test_upstream_hostile.py::test_what_comes_behind_a_response_is_nobodys[HEAD-a byte]",
    ),
    "what comes on an idle connection is not seen": Plant(
        lambda: method("net.parting", "Connections", "on_pooled", always(None)),
        r"wait",
        f"{IDLE}test_unasked_bytes_poison_it",
        f"{IDLE}test_the_servers_fin_is_seen_at_once",
    ),
    "the server gets a reset": Plant(
        lambda: everywhere("net.parting", "_close_orderly", lambda _: reset),
        r"rst",
        f"{IDLE}test_pool_idle_ends_it_in_an_orderly_way",
    ),
}

ADMISSION = {
    "any number of connections to a server": Plant(
        lambda: upstreams(max_connections=maxsize // 1024),
        r"requests where",
        f"{POOL}test_max_connections_and_the_line",
    ),
    "the last in line is served first": Plant(
        lambda: method("net.pool", "Group", "__init__", _backwards),
        r"b'/0'|nothing came",
        f"{LINE}test_served_in_the_order_of_their_coming",
    ),
    "the line has no end": Plant(lambda: upstreams(queue_timeout=inf), SILENCE, f"{LINE}test_queue_timeout"),
    "any number of clients": Plant(
        lambda: method("proxy.admission", "Gate", "__init__", forced(most=maxsize)),
        r"200 == 503",
        "test_lobby_full.py::test_a_full_house_refuses_with_503_and_lingers",
    ),
    "rules are not looked at": Plant(
        lambda: planned(lambda plan: replace(plan, rules=())), r"200", "test_rules_effects.py::test_deny"
    ),
}

DEADLINES = {
    "no deadline for a head": Plant(
        lambda: timeouts(head=inf), SILENCE, f"{WE_END}test_head_while_fresh_is_closed_without_a_word"
    ),
    "dripping extends a head": Plant(
        lambda: method("net.downstream", "Clients", "_continue_head", _extended),
        r"200 == 408",
        f"{WE_END}test_a_slow_head_is_answered_408",
    ),
    "no deadline for an idle client": Plant(
        lambda: timeouts(keep_alive=inf), SILENCE, f"{WE_END}test_keep_alive"
    ),
    "no deadline for a body": Plant(lambda: timeouts(body_idle=inf), SILENCE, f"{WE_END}test_body_idle"),
    "no deadline for a response": Plant(
        lambda: upstreams(response_timeout=inf), SILENCE, f"{WE_END}test_response_timeout"
    ),
}

LOG = {
    "a wrong reason in the log": Plant(
        lambda: method("run.logs", "Journal", "exchange", forced(reason="done")),
        r"'done' == 'bare-lf'",
        "test_framing_requests.py::test_the_log_names_what_was_wrong",
    ),
    "the log blames the wrong side": Plant(
        lambda: method("run.logs", "Journal", "exchange", forced(by="client")),
        r"'upstream'",
        f"{RESPONSES}test_a_bad_status_line[ICY]",
    ),
    "receipts never say acknowledged": Plant(
        lambda: method("run.logs", "Journal", "receipt", forced(acknowledged=False)),
        r"False",
        f"{LINGER}test_fin_after_the_last_byte_then_the_clients_fin_ends_it",
    ),
}

ENDS = {**CLOSING, **RETRIES, **KEPT, **ADMISSION, **DEADLINES, **LOG}
