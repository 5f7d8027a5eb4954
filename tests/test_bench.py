"""The benchmark's pure parts: reading /proc and wrk, ratios and bars, tables, the configurations it writes.

No test here takes a time: what the figures are is the benchmark's business, that they are computed rightly is
this file's.
"""

import io
import json
import os
import tomllib
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from benchmarks import clients, load, pairs, peers, procfs, product, report, speed
from benchmarks.browser import browser_head
from benchmarks.held import Held
from benchmarks.load import Scenario
from benchmarks.model import (
    Bar,
    Grid,
    Part,
    Sample,
    Spread,
    best_of,
    disturbance,
    least_ratio,
    middle,
    ratios,
    spread_text,
)
from benchmarks.peers import Place
from benchmarks.rig import BenchError, Rig, Server

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0
   1: 0100007F:1F90 0100007F:A001 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20 4
   2: 0100007F:1F90 0100007F:A002 05 00000000:00000000 00:00000000 00000000     0        0 13 1 0 20 4
   3: 0100007F:A001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 14 1 0 20 4
   4: 0100007F:1F90 0100007F:A003 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42 (nginx) S 7 42 42 0 -1 4194560 1 0", (42, 7)),
        ("43 (odd ) name) R 42 42 42 0 -1 4194560", (43, 42)),
    ],
)
def test_a_stat_line_gives_process_and_parent(text: str, expected: tuple[int, int]) -> None:
    assert procfs.parse_stat(text) == expected


def test_a_tree_is_the_root_and_all_below_it() -> None:
    pairs_of_processes = [(2, 1), (3, 2), (4, 2), (5, 3), (6, 1), (1, 0)]
    assert sorted(procfs.descendants(2, pairs_of_processes)) == [2, 3, 4, 5]
    assert procfs.descendants(99, pairs_of_processes) == [99]


def test_rollup_sizes_are_bytes_and_other_lines_are_passed_over() -> None:
    text = "557de4f52000-7ffe16bd6000 ---p 00000000 00:00 0   [rollup]\nRss:      1568 kB\nPss:   276 kB\n"
    assert procfs.parse_rollup(text) == {"Rss": 1568 * 1024, "Pss": 276 * 1024}


def test_sockstat_is_a_table_of_counters() -> None:
    table = procfs.parse_sockstat("sockets: used 16\nTCP: inuse 1 orphan 0 tw 3 alloc 1 mem 49\n")
    assert table["TCP"] == {"inuse": 1, "orphan": 0, "tw": 3, "alloc": 1, "mem": 49}
    assert table["sockets"] == {"used": 16}


def test_the_memory_of_sockets_is_what_they_have_taken_and_not_what_they_may() -> None:
    text = (
        "ESTAB 0 0 127.0.0.1:80 127.0.0.1:4\n\t skmem:(r512,rb131072,t7,tb2626560,f3584,w20,o0,bl0,d0)\n"
        "FIN-WAIT-2 0 0 127.0.0.1:80 127.0.0.1:5\n\t skmem:(r0,rb1,t0,tb2,f4096,w0,o0,bl0,d0)\n"
    )
    assert procfs.parse_skmem(text) == 512 + 3584 + 20 + 4096
    assert procfs.parse_skmem("") == 0


def test_busy_ticks_are_those_of_the_cpus_asked_for_without_idle_and_waiting() -> None:
    text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 4 800 900 8 16 32 0 0\ncpu1 100 0 0 5 5 0 0 0\nintr 5 6\n"
    assert procfs.parse_busy(text, {0}) == 63
    assert procfs.parse_busy(text, {0, 1}) == 163


def test_a_disturbed_run_is_said_to_be_one() -> None:
    quiet, busy = Sample(1, 1, 1, 1, 0.05), Sample(1, 1, 1, 1, 0.75)
    assert disturbance([quiet, quiet]) == ""
    assert "0.05 CPUs (median), 0.75 at worst" in disturbance([quiet, quiet, busy])


def test_of_disturbed_runs_the_least_disturbed_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(Path("/x"), frozenset({0}), frozenset({1}))
    server = cast("Server", None)
    for others, expected in (([0.9, 0.4, 0.7, 0.0], 0.4), ([0.1, 0.0], 0.1), ([0.5, 0.05, 0.0], 0.05)):
        left = iter(others)
        monkeypatch.setattr(load, "once", lambda *_args, left=left: Sample(1, 1, 1, 1, next(left)))
        assert load.run(rig, server, speed.KEEPALIVE, 1, 3).others == expected


def test_sockets_of_a_port_leave_out_listeners_time_wait_and_the_other_end() -> None:
    assert procfs.parse_tcp(TCP, 8080) == {12, 13}
    assert procfs.parse_tcp(TCP, 0xA001) == {14}
    assert procfs.parse_tcp(TCP, 81) == set()


def test_the_cpu_clock_of_this_process_is_the_kernels() -> None:
    spent = procfs.cpu_seconds(os.getpid())
    assert procfs.cpu_seconds(os.getpid()) >= spent > 0


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, None, 9.0, 4.0], [1.0, 1.0, None, 2.0]) == [2.0, 2.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_the_best_of_a_round_leaves_out_what_is_missing() -> None:
    assert best_of([[3.0, None, None], [2.0, 5.0, None]]) == [2.0, 5.0, None]


def test_the_least_ratio_is_of_the_cheapest_rounds_wherever_they_stand() -> None:
    assert least_ratio([4.0, None, 3.0], [[2.0, 1.5, None], [None, 9.0, 9.0]]) == 2.0
    assert least_ratio([None], [[1.0]]) is None
    assert least_ratio([1.0], []) is None


def test_a_spread_has_its_median_and_its_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([]) is None
    assert spread_text([1.0, 3.0], 1) == "2.0 (1.0-3.0)"
    assert spread_text([]) == "-"
    assert middle([]) is None


@pytest.mark.parametrize(
    ("bar", "verdict"),
    [
        (Bar("a", 1.7, 1.7), "met"),
        (Bar("a", 1.71, 1.7), "missed"),
        (Bar("a", None, 1.7), "no figure"),
        (Bar("a", 0.99, 0.99, "at least"), "met"),
        (Bar("a", 0.98, 0.99, "at least"), "missed"),
    ],
)
def test_a_bar_is_met_on_its_edge(bar: Bar, verdict: str) -> None:
    assert bar.verdict == verdict
    assert bar.as_json()["verdict"] == verdict


RESULT = {"requests": 100, "bytes": 120000, "seconds": 2.0, "p50": 1.5, "p99": 9.0,
          "connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0}  # fmt: skip


def printed(**changes: float) -> str:
    """What wrk prints around the script's line."""
    return f"Running 2s test\n{load.MARK}{json.dumps({**RESULT, **changes})}\n"


def test_wrk_gives_requests_seconds_and_latencies() -> None:
    assert load.parse_result(printed(), 1024) == (100, 2.0, 1.5, 9.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (printed(status=3), "3 status errors"),
        (printed(read=1, timeout=2), "1 read errors, 2 timeout errors"),
        (printed(requests=0, bytes=0), "0 responses"),
        (printed(bytes=1000), "1000 bytes"),
        ("unable to connect", "no result: unable to connect"),
    ],
)
def test_a_run_that_is_not_clean_gives_no_figure(text: str, why: str) -> None:
    with pytest.raises(BenchError, match=why):
        load.parse_result(text, 1024)


def test_the_head_has_twelve_fields_and_changes_its_query_and_cookie() -> None:
    first, second = browser_head(1), browser_head(2)
    lines = first.split("\r\n")
    assert lines[-2:] == ["", ""]
    assert len(lines[1:-2]) == 12
    changed = {line.partition(":")[0] for line in set(lines) ^ set(second.split("\r\n"))}
    assert {line.partition(" ")[0] for line in changed} == {"GET", "Cookie"}


def test_a_post_announces_its_body_and_a_close_is_asked_for() -> None:
    head = browser_head(1, method="POST", path="/upload", body=1024, close=True)
    assert head.startswith("POST /upload?item=1&")
    assert "\r\nContent-Length: 1024\r\n" in head
    assert "\r\nConnection: close\r\n" in head


def test_the_script_holds_every_request() -> None:
    script = load.script_of(Scenario("x", "x", heads=('a "quoted"\r\n', "b\r\n"), body=7))
    assert r'"a \"quoted\"\r\n"' in script
    assert 'string.rep("x", 7)' in script
    assert "%%" not in script
    assert len(load.heads_of(Scenario("x", "x", body=peers.LARGE))) < len(load.heads_of(speed.KEEPALIVE))


def test_counters_are_the_last_of_their_kind_and_give_the_share() -> None:
    log = (
        '{"kind":"start"}\n{"kind":"counters","exchanges":{"express":1,"task":1}}\n'
        '{"kind":"counters","exchanges":{"express":99,"task":1}}\nnot json "counters"\n'
    )
    assert product.express_share(product.parse_counters(log)) == pytest.approx(0.99)
    assert product.parse_counters("nothing\n") == {}
    assert product.express_share({}) is None


@pytest.mark.parametrize("patient", [False, True])
@pytest.mark.parametrize("variant", product.VARIANTS.values(), ids=str)
def test_shieldproxys_configuration_is_toml(variant: product.Variant, patient: bool) -> None:
    found = tomllib.loads(variant.configuration(Place(Path("/x"), 8080, 9000, patient)))
    assert found["server"]["express"] is variant.express
    assert found["server"]["listen"] == ["127.0.0.1:8080"]
    assert found["upstream"]["origin"]["servers"] == ["127.0.0.1:9000"]
    assert found["include"] == [str(product.KNOWN_CLIENTS)]
    assert found["timeouts"] == (dict.fromkeys(product.WAITS, "120s") if patient else {})
    assert found.get("limits", {}) == ({"linger": "1024GiB"} if patient else {})


def test_the_rules_are_a_thousand_of_four_kinds() -> None:
    rules = tomllib.loads(pairs.rules_text())["rule"]
    assert len({rule["name"] for rule in rules}) == 1000
    assert {key: sum(key in rule for rule in rules) for key in pairs.RULES} == pairs.RULES
    agents = {
        line for head in pairs.rule_heads() for line in head.split("\r\n") if line.startswith("User-Agent:")
    }
    assert len(agents) == 1000


@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peers_configuration_names_its_ports_and_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    launch = peers.PEERS[name].write(Place(tmp_path, 8081, 9001), "/usr/sbin/server")
    text = "".join(file.read_text() for file in tmp_path.iterdir())
    assert launch.argv[0] == "/usr/sbin/server"
    assert "127.0.0.1:9001" in text
    assert ":8081" in text
    logs = launch.stdout or tmp_path / "access.log"
    assert logs.parent == tmp_path
    assert "/var/" not in text


@pytest.mark.parametrize(("count", "expected"), [(10, [10]), (9000, [9000]), (10001, [5001, 5000])])
def test_clients_are_split_over_processes(count: int, expected: list[int]) -> None:
    assert clients.shares(count) == expected


def test_a_held_figure_is_void_below_99_percent() -> None:
    whole = Held(wanted=1000, held=990, failed=0, base=1, resident=990 * 400, proportional=0, kernel=0)
    assert whole.each == 400
    assert Held(wanted=1000, held=989, failed=0, base=1, resident=1, proportional=0, kernel=0).each is None


def test_a_speed_bar_is_the_median_ratio_and_none_without_its_base() -> None:
    rounds: dict[str, list[Sample | None]] = {
        "shieldproxy": [Sample(30, 1, 1, 1), Sample(45, 1, 1, 1), Sample(32, 1, 1, 1)],
        "nginx": [Sample(20, 1, 1, 1), Sample(20, 1, 1, 1), Sample(20, 1, 1, 1)],
        "haproxy": [Sample(40, 1, 1, 1), Sample(10, 1, 1, 1), None],
    }
    assert speed.against("x", rounds, "shieldproxy", ["nginx"], 1.7).value == pytest.approx(1.6)
    assert speed.against("x", rounds, "shieldproxy", ["nginx", "haproxy"], 1.7).value == pytest.approx(1.6)
    assert speed.against("x", rounds, "shieldproxy", ["caddy"], 1.7).value is None
    assert speed.against("x", rounds, "shieldproxy task", ["nginx"], 1.7).value is None


def test_tables_show_every_cell_and_the_verdicts(tmp_path: Path) -> None:
    part = Part(
        "demo",
        [Grid("a title", ("proxy", "x nginx"), [["nginx", "1.00"], ["other", "2.34"]], "a note")],
        [Bar("fast", 1.5, 1.7), Bar("small", 2048, 1024, unit=" B", digits=0)],
        {"samples": 3},
        ["wrk: 3 [status] errors"],
    )
    console = Console(file=io.StringIO(), width=120)
    report.show(console, part)
    report.summary(console, [part])
    text = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    for expected in (
        "a title",
        "2.34",
        "a note",
        "met",
        "missed",
        "2,048 B",
        "at most 1,024 B",
        "3 [status] errors",
    ):
        assert expected in text
    file = tmp_path / "sub" / "out.json"
    report.write_json(file, {"cpus": 2}, [part])
    written = json.loads(file.read_text())
    assert written["parts"]["demo"]["bars"][1]["verdict"] == "missed"
    assert written["parts"]["demo"]["samples"] == 3
