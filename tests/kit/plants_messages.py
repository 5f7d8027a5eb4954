"""Planted faults in what is read and written: framing, targets, Host, forwarding, responses, limits."""

import re
from sys import maxsize
from typing import Any

from shieldproxy.core.diagnose import BARE_LF, FOLDS, Target
from shieldproxy.core.fields import CHUNKED, PLAIN, TOKEN
from tests.kit.patches import always, entry, everywhere, forced, limits, text
from tests.kit.plants_model import Plant

ONE = "test_framing_requests.py::test_nothing_or_exactly_one_well_formed_request"
FIELDS = "test_forward_fields.py::"
RESPONSES = "test_framing_responses.py::"
JUDGED = r"not one of \[|bad |came 2 times|Host fields"


def _lengths(pick: Any) -> Any:
    """`request_length` or `response_length` that is told only a part."""

    def plant(real: Any) -> Any:
        def length(lengths: list[bytes], codings: list[bytes], minor: int) -> Any:
            return real(*pick(lengths, codings), minor)

        return length

    return plant


def _forgiven(oddity: int) -> Any:
    def plant(real: Any) -> Any:
        def judge(head: Any, policy: Any) -> Any:
            head.oddities &= ~oddity
            return real(head, policy)

        return judge

    return plant


def _colons(real: Any) -> Any:
    def read(data: bytes, end: int) -> Any:
        tidy = re.sub(rb"[ \t]+:", b":", bytes(data[:end]))
        return real(tidy, len(tidy))

    return read


def _one_host(real: Any) -> Any:
    return lambda head, hosts, authority: real(head, hosts, authority) if len(hosts) == 1 else None


def _any_version(real: Any) -> Any:
    return lambda line: real(re.sub(rb"HTTP/[0-9]+\.[0-9]+$", b"HTTP/1.1", line))


def _hops(table: str) -> None:
    for name in (b"keep-alive", b"proxy-connection", b"upgrade"):
        entry("core.fields", table, name, PLAIN)


def _forever(real: Any) -> Any:
    def read(*asked: Any) -> Any:
        head = real(*asked)
        if hasattr(head, "persistent"):
            head.persistent = True
        return head

    return read


def _flood() -> None:
    everywhere("proxy.download", "INTERIMS", lambda _: maxsize)
    everywhere("proxy.download", "INTERIM_BYTES", lambda _: maxsize)


FRAMING = {
    "a coding beside a length is taken": Plant(
        lambda: everywhere("core.framing", "request_length", _lengths(lambda n, c: ([] if c else n, c))),
        JUDGED,
        f"{ONE}[length and coding]",
        f"{ONE}[coding and length]",
    ),
    "the first of two lengths counts": Plant(
        lambda: everywhere("core.framing", "request_length", _lengths(lambda n, c: (n[:1], c))),
        JUDGED,
        f"{ONE}[two lengths]",
    ),
    "a length may have a sign": Plant(
        lambda: everywhere("core.framing", "is_length", lambda _: re.compile(rb"\+?[0-9]{1,18}").fullmatch),
        JUDGED,
        f"{ONE}[length plus]",
    ),
    "any coding counts as chunked": Plant(
        lambda: everywhere("core.framing", "_request_coding", always(CHUNKED)),
        JUDGED,
        f"{ONE}[coding gzip first]",
        f"{ONE}[coding identity]",
    ),
    "chunk lines are read carelessly": Plant(
        lambda: everywhere(
            "core.body",
            "_size_line",
            lambda _: re.compile(rb"[ +]?(?:0x)?([0-9A-Fa-f]{1,16})[^\n]*\n").fullmatch,
        ),
        JUDGED,
        f"{ONE}[chunk: bare LF after size]",
        f"{ONE}[chunk: size plus]",
    ),
    "the end of a chunk is not looked at": Plant(
        lambda: text(
            "core.body",
            "ChunkedReader",
            "_chunk_data",
            'if end != b"\\r\\n"[2 - self._left :][: len(end)]:',
            "if False:",
        ),
        JUDGED,
        f"{ONE}[chunk: data with two other bytes]",
    ),
    "bare LF is let through": Plant(
        lambda: everywhere("core.head", "judge_request", _forgiven(BARE_LF)),
        JUDGED,
        f"{ONE}[line: all bare LF]",
        f"{ONE}[length after bare LF]",
    ),
    "folds are let through": Plant(
        lambda: everywhere("core.head", "judge_request", _forgiven(FOLDS)),
        JUDGED,
        f"{ONE}[field: fold]",
        f"{ONE}[host: folded]",
    ),
    "white space before a colon is forgiven": Plant(
        lambda: everywhere("core.head", "read_request", _colons),
        JUDGED,
        f"{ONE}[length blank before colon]",
        f"{ONE}[field: tab before colon]",
    ),
    "NUL and controls may stand in values": Plant(
        lambda: everywhere("core.fields", "is_field", lambda _: re.compile(TOKEN + rb":[^\r\n]*").fullmatch),
        JUDGED,
        f"{ONE}[field: NUL in value]",
        f"{ONE}[field: escape in value]",
    ),
    "Host is not looked at": Plant(
        lambda: everywhere("core.fields", "read_host", lambda _: lambda value: value.lower()),
        JUDGED,
        f"{ONE}[host: slash]",
        f"{ONE}[host: blank inside]",
    ),
    "Host may be missing, or come twice": Plant(
        lambda: everywhere("core.head", "_read_host", _one_host),
        JUDGED,
        f"{ONE}[host: missing]",
        f"{ONE}[host: two]",
    ),
    "any version counts as 1.1": Plant(
        lambda: everywhere("core.diagnose", "request_line", _any_version),
        JUDGED,
        f"{ONE}[line: HTTP/2.7]",
        f"{ONE}[line: version two digits]",
    ),
    "any target is forwarded": Plant(
        lambda: everywhere(
            "core.diagnose", "request_target", lambda _: lambda _method, target: Target(target, target, b"")
        ),
        JUDGED,
        f"{ONE}[line: target without a slash]",
        f"{ONE}[line: authority form for GET]",
    ),
}

FORWARDING = {
    "forwarding fields of anybody are believed": Plant(
        lambda: everywhere("core.forward", "forwarded_block", forced(trusted=True)),
        r"1\.2\.3\.4",
        f"{FIELDS}test_spoofed_forwarding_fields_are_rewritten",
    ),
    "a stray forwarding field": Plant(
        lambda: entry("core.fields", "_REQUEST_NAMES", b"x-forwarded-for", PLAIN, new=True),
        r"x-forwarded-for came",
        f"{FIELDS}test_spoofed_forwarding_fields_are_rewritten",
    ),
    "hop-by-hop fields go up": Plant(
        lambda: _hops("_REQUEST_NAMES"),
        r"keep-alive",
        f"{FIELDS}test_hop_by_hop_fields_end_here",
    ),
    "hop-by-hop fields come down": Plant(
        lambda: _hops("_RESPONSE_NAMES"),
        r"keep-alive",
        f"{FIELDS}test_hop_by_hop_fields_end_here",
    ),
    "what Connection names is kept": Plant(
        lambda: everywhere(
            "core.fields",
            "read_connection",
            lambda real: lambda value: real(value)._replace(named=frozenset()),
        ),
        r"x-private",
        f"{FIELDS}test_hop_by_hop_fields_end_here",
    ),
    "no Via": Plant(
        lambda: everywhere("core.forward", "_VIA", lambda _: (b"\r\n", b"\r\n")),
        r"None == b'1.1 shieldproxy'",
        f"{FIELDS}test_via_is_added_both_ways",
    ),
}

ANSWERS = {
    "a response to HEAD has a body": Plant(
        lambda: everywhere("core.response", "read_response", forced(method=b"GET")),
        r"bad status line|poison",
        f"{RESPONSES}test_a_body_in_answer_to_head",
    ),
    "a response's coding beside a length is taken": Plant(
        lambda: everywhere("core.framing", "response_length", _lengths(lambda n, c: ([] if c else n, c))),
        r"200 == 502",
        f"{RESPONSES}test_a_bad_head[length and coding]",
    ),
    "the first of a response's lengths counts": Plant(
        lambda: everywhere("core.framing", "response_length", _lengths(lambda n, c: (n[:1], c))),
        r"200 == 502",
        f"{RESPONSES}test_a_bad_head[two lengths]",
    ),
    "a response that closes is thought to stay": Plant(
        lambda: everywhere("core.response", "read_response", _forever),
        r"!=",
        "test_wire_pipeline.py::test_an_http_1_0_upstream_without_keep_alive_is_not_reused",
    ),
    "interim responses without end": Plant(
        _flood,
        r"200 == 502",
        "test_wire_interim.py::test_a_flood_of_interim_responses_is_ended[count]",
        "test_wire_interim.py::test_a_flood_of_interim_responses_is_ended[size]",
    ),
    "interim responses to HTTP/1.0": Plant(
        lambda: everywhere("proxy.answer", "forwards_interim", always(True)),
        r"interims",
        "test_wire_interim.py::test_http_1_0_clients_get_none",
    ),
}

LIMITS = {
    "an unbounded head": Plant(
        lambda: limits(head=maxsize), JUDGED, f"{ONE}[field: too large]", f"{ONE}[line: target too long]"
    ),
    "an unbounded body": Plant(
        lambda: limits(body=maxsize),
        r"HTTP/1.1 (200|408)",
        "test_wire_limits.py::test_413_by_length",
        "test_wire_limits.py::test_413_by_chunks",
    ),
    "any number of fields": Plant(lambda: limits(fields=maxsize), JUDGED, f"{ONE}[field: too many]"),
    "any User-Agent": Plant(lambda: limits(user_agent=maxsize), JUDGED, f"{ONE}[field: user agent too long]"),
    "an unbounded response head": Plant(
        lambda: limits(response_head=maxsize), r"200 == 502", f"{RESPONSES}test_a_bad_head[head too large]"
    ),
}

MESSAGES = {**FRAMING, **FORWARDING, **ANSWERS, **LIMITS}
