"""What check warns of: keys that can never act, and pairs of keys that leave nothing between them."""

import os
from pathlib import Path

import pytest

from shieldproxy.config import load
from shieldproxy.configplan import plan
from shieldproxy.configwarnings import unwritable
from tests.kit.configs import LEAST, Write, least


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    return Write(tmp_path)


TWO = "['127.0.0.1:9000', '127.0.0.1:9001']"
BACKED = "['a:1', { address = 'b:1', backup = true }, { address = 'c:1', backup = true }]"

UPSTREAM = [
    ("servers = [{ address = 'a:1', weight = 3 }]", "servers: the only server has a weight, which"),
    (
        "servers = [{ address = 'a:1', weight = 3 }, { address = 'b:1', weight = 3 }]",
        "servers: all servers have the same weight, which changes nothing",
    ),
    (
        "servers = ['a:1', { address = 'b:1', backup = true, weight = 3 }]",
        "servers: the weight of a backup changes nothing",
    ),
    ("balance = 'client_hash'", "balance: never acts: there is one server"),
    ("resolve = '1m'", "resolve: never acts: no server is set by name"),
    (
        "servers = ['unix:/s']\nsource = '127.0.0.7'",
        "source: never acts: unix sockets have no source address",
    ),
    ("keep_alive = false\nmax_requests = 5", "max_requests: never acts: keep_alive is false"),
    ("keep_alive = false\npool_idle = '5s'", "pool_idle: never acts: keep_alive is false"),
    (f"servers = {TWO}\nmax_fails = 'off'\neject = '1s'", "eject: never acts: max_fails is off"),
    ("max_fails = 1", "max_fails: never acts: there is one server, which is asked in any case"),
    ("health = { path = '/up' }", "health: is told in the log and changes nothing else: there is one server"),
    (
        "retries = 2\nretry_budget = 0",
        "retries: as retry_budget is 0, only what no server has had is sent again",
    ),
    ("queue_length = 0\nqueue_order = 'fifo'", "queue_order: never acts: queue_length is 0"),
]


@pytest.mark.parametrize(("lines", "told"), UPSTREAM)
def test_of_an_upstream(write: Write, lines: str, told: str) -> None:
    servers = "" if "servers = " in lines else 'servers = ["127.0.0.1:9000"]\n'
    (line,) = write.warnings(f"[upstream.x]\n{servers}{lines}\n[[route]]\nupstream = 'x'")
    assert line.startswith(f"a.toml: upstream.x.{told}")


@pytest.mark.parametrize(
    "lines",
    [
        "servers = ['a:1', { address = 'b:1', weight = 3 }]\nbalance = 'client_hash'\nresolve = '1m'",
        "servers = ['unix:/s', '127.0.0.1:1']\nsource = '127.0.0.7'",
        f"servers = {TWO}\nkeep_alive = false\nmax_requests = 'off'\nretries = 0\nretry_budget = 0.3",
        f"servers = {BACKED}\nbalance = 'round_robin'",
        f"servers = {TWO}\nqueue_length = 'off'\nqueue_timeout = 'off'\nmax_fails = 'off'",
        f"servers = {TWO}\nhttp_version = '1.0'\nkeep_alive = false",
    ],
)
def test_of_nothing_where_every_key_acts(write: Write, lines: str) -> None:
    assert write.warnings(f"[upstream.x]\n{lines}\n[[route]]\nupstream = 'x'") == []


BUFFERS = [
    ("[timeouts]\nbody_total = '5s'", "timeouts.body_idle: never acts: body_total is over before (5s)"),
    ("[buffers]\nrequest_memory = '32MiB'", "buffers.request_memory: 32MiB is above limits.body (16MiB)"),
    (
        "[buffers]\nresponse_file = '16GiB'",
        "buffers.response_file: response_file (16GiB) is above disk_total (8GiB): one may fill all of it",
    ),
    (
        "[buffers]\ndisk_total = '512MiB'",
        "buffers.disk_total: response_file (1GiB) is above disk_total (512MiB): one may fill all of it",
    ),
    (
        "[buffers]\ndisk_total = 'off'",
        "buffers.disk_total: without files an upload above request_memory (64KiB) gets 503 where ",
    ),
    (
        "[buffers]\ndisk_total = 'off'\nresponse_file = '1MiB'\nrequest_memory = '16MiB'",
        "buffers.response_file: never acts: disk_total is off, so that there are no files",
    ),
    (
        "[buffers]\ndisk_total = 0\ndirectory = 'x'\nrequest_memory = '16MiB'",
        "buffers.directory: never acts: disk_total is off",
    ),
    (
        "[limits]\nbody = '10GiB'",
        "buffers.disk_total: 8GiB is below limits.body (10GiB): a body above it gets 503",
    ),
    (
        "[[rule]]\nname = 'r'\nlimits = { body = '10GiB' }",
        "buffers.disk_total: 8GiB is below limits.body (10GiB)",
    ),
]


@pytest.mark.parametrize(("text", "told"), BUFFERS)
def test_of_bodies(write: Write, text: str, told: str) -> None:
    (line,) = write.warnings(f"{LEAST}\n{text}")
    assert line.startswith(f"a.toml: {told}")


def test_memory_alone_will_do_where_bodies_fit_or_are_streamed(write: Write) -> None:
    assert write.warnings(f"{LEAST}[buffers]\ndisk_total = 'off'\nrequest_memory = '16MiB'") == []
    streamed = least(route="buffer_request = 'stream'")
    assert write.warnings(f"{streamed}[buffers]\ndisk_total = 'off'") == []
    collected = "[[rule]]\nname = 'r'\nbuffer_request = 'whole'\n"
    assert len(write.warnings(f"{streamed}{collected}[buffers]\ndisk_total = 'off'")) == 1


def test_a_stream_to_a_server_of_http_1_0(write: Write) -> None:
    told = 'upstream.legacy has http_version = "1.0", so that chunked uploads get 411'
    old = "http_version = '1.0'"
    assert write.warnings(least(old, "buffer_request = 'stream'")) == [
        f"a.toml: route[0].buffer_request: {told}"
    ]
    assert write.warnings(least(old) + "[[rule]]\nname = 'r'\nbuffer_request = 'stream'") == [
        f'a.toml: rule "r" with buffer_request = "stream": {told}'
    ]
    assert write.warnings(least(old)) == []


def test_a_host_of_the_route_goes_before_that_of_the_upstream(write: Write) -> None:
    (line,) = write.warnings(
        least("host = 'a.example'", "request_headers = { set = { HOST = 'b.example' } }")
    )
    assert line == "a.toml: route[0].request_headers.set.HOST: is sent in place of upstream.legacy.host"


def test_a_route_that_would_send_again_what_is_never_sent_again(write: Write) -> None:
    (line,) = write.warnings(least("retry_budget = 0", "retry_unsafe = true"))
    assert line == "a.toml: route[0].retry_unsafe: never acts: upstream.legacy.retry_budget is 0"
    assert write.warnings(least("retries = 0", "retry_unsafe = true")) == []


def test_a_missing_folder_is_told_by_check(write: Write) -> None:
    loaded = load(write(f"{LEAST}[buffers]\ndirectory = 'none'"))
    assert loaded.config is not None
    made = plan(loaded.config)
    assert unwritable(loaded.config, made) == ["a.toml: buffers.directory: there is no folder none"]
    (write.folder / "none").write_text("")
    assert unwritable(loaded.config, made) == ["a.toml: buffers.directory: no folder is none"]
    (write.folder / "none").unlink()
    (write.folder / "none").mkdir()
    assert unwritable(loaded.config, made) == []


def test_a_server_of_two_upstreams_is_told(write: Write) -> None:
    (line,) = write.warnings(
        f"{LEAST}[upstream.again]\nservers = ['127.0.0.1:9000']\n[[route]]\npath = '/b'\nupstream = 'again'"
    )
    assert line.startswith(
        "a.toml: upstream.again.servers: 127.0.0.1:9000 is a server of upstream.legacy too"
    )


def test_a_rule_s_key_in_a_route_is_sent_where_it_belongs(write: Write) -> None:
    loaded = load(write(least("", "half_close = 'abort'")))
    (fault,) = loaded.faults
    assert fault.wrong == 'unknown key: it belongs into a [[rule]] with path = "..."'


def test_a_log_that_can_be_written_needs_no_folder(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /dev/null, for who is not root."""
    log = write.folder / "access.log"
    loaded = load(write(f"{LEAST}[log]\naccess = 'access.log'"))
    assert loaded.config is not None
    made = plan(loaded.config)
    monkeypatch.setattr("shieldproxy.configwarnings.os.access", lambda place, _: Path(place).name == log.name)
    told = "a.toml: log.access: the present user cannot write"
    assert unwritable(loaded.config, made) == [f"{told} in ."]
    log.touch()
    assert unwritable(loaded.config, made) == []
    monkeypatch.setattr("shieldproxy.configwarnings.os.access", lambda _, __: False)
    assert unwritable(loaded.config, made) == [f"{told} to access.log"]


def test_a_log_where_the_present_user_may_not_look(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(write(f"{LEAST}[log]\naccess = 'closed/access.log'"))
    assert loaded.config is not None
    made = plan(loaded.config)
    (write.folder / "closed").mkdir()
    stat = os.stat

    def closed(path: str, **how: bool) -> os.stat_result:
        if Path(path).parent.name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", closed)
    monkeypatch.setattr(os, "access", lambda _, __: False)
    told = "a.toml: log.access: the present user cannot write in closed"
    assert unwritable(loaded.config, made) == [told]


@pytest.mark.parametrize(
    ("listen", "same"),
    [("0.0.0.0:9000", True), ("127.0.0.1:9000", True), ("[::]:9000", False), ("0.0.0.0:9001", False)],
)
def test_a_listener_is_a_server_only_where_it_can_be_reached(write: Write, listen: str, same: bool) -> None:
    lines = write.warnings(f"{LEAST}[server]\nlisten = ['{listen}']")
    assert any("is where this proxy listens itself" in line for line in lines) == same


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "[upstream.spare]\nservers = ['127.0.0.1:9001']", "upstream.spare: no route names it", id="spare"
        ),
        pytest.param(
            "[server]\nlisten = ['0.0.0.0:9000']",
            "upstream.legacy.servers: 127.0.0.1:9000 is where this proxy listens itself",
            id="itself",
        ),
        pytest.param(
            "[[route]]\npath = '/n'\nupstream = 'legacy'\nnormalise_path = true",
            "route[1].normalise_path: upstream.legacy has routes without it: a path that leaves this one, "
            'such as "/a/../b", may be theirs, and goes on as it came',
            id="not all clean",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(write: Write, text: str, told: str) -> None:
    assert write.warnings(f"{LEAST}{text}\n") == [f"a.toml: {told}"]


def test_a_body_that_is_not_kept_cannot_be_sent_again(write: Write) -> None:
    (line,) = write.warnings(least("", "retry_unsafe = true\nbuffer_request = 'stream'"))
    assert line == 'a.toml: route[0].retry_unsafe: with buffer_request = "stream" no body can be sent again'
