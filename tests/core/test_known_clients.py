"""config/known-clients.toml: each client that is known, and what it meets.

Loaded as it stands, without the configuration's reader: the file is part of the product.
"""

from pathlib import Path
from typing import Any

import pytest
import tomli

from shieldproxy.core.inert import inert_effects
from shieldproxy.core.policy import EFFECTS, Policy, Rule, amend
from shieldproxy.core.rulebook import RuleBook

FILE = Path(__file__).resolve().parents[2] / "config" / "known-clients.toml"
CONDITIONS = ("user_agent", "client", "method", "path", "host", "version")


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def read(table: dict[str, Any]) -> Rule:
    told = {key: table.pop(key) for key in ("name", "why", "source")}
    found = {key: table.pop(key) for key in CONDITIONS if key in table}
    effects = [(f"timeouts.{key}", seconds(value)) for key, value in table.pop("timeouts", {}).items()]
    if "method" in found:
        found["method"] = tuple(found["method"])
    return Rule(effects=(*effects, *table.items()), **told, **found)


RULES = [read(table) for table in tomli.loads(FILE.read_text())["rule"]]
BOOK = RuleBook(RULES, Policy())

UNTOUCHED: dict[str, object] = {}
CLOSES: dict[str, object] = {"keep_alive": False}
OLD: dict[str, object] = {"keep_alive": False, "request_version": "1.0", "response_version": "1.0"}
SAYS_1_0: dict[str, object] = {"response_version": "1.0"}
SHORT: dict[str, object] = {"timeouts.fin_wait_2": 1.0}
ONLY_100: dict[str, object] = {"interim": "100"}
PYTHON: dict[str, object] = {"interim": "100", "timeouts.fin_wait_2": 1.0}

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
CHROME = f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/156.0.0.0 Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"

CLIENTS = [
    # 1997: guilty and innocent
    ("Mozilla/3.01 (X11; I; FreeBSD 2.1.5-RELEASE i386)", CLOSES),
    ("Mozilla/2.02 (X11; I; FreeBSD 2.1.5-RELEASE i386)", CLOSES),
    ("Mozilla/3.01Gold (X11; I; SunOS 5.5 sun4m)", CLOSES),
    ("Mozilla/3.01 (Win95; I)", UNTOUCHED),
    ("Mozilla/3.01Gold (Win95; I)", UNTOUCHED),
    ("Mozilla/3.01 (Macintosh; I; PPC)", UNTOUCHED),
    ("Mozilla/3.04 (X11; I; FreeBSD 2.1.5-RELEASE i386)", UNTOUCHED),
    # Netscape 2, and others who took its name
    ("Mozilla/2.0 (Win16; I)", CLOSES),
    ("Mozilla/2.0b6a (Win32)", CLOSES),
    ("Mozilla/2.02E-KIT (Win95; U)", CLOSES),
    ("Mozilla/2.01Gold (Macintosh; I; PPC)", CLOSES),
    ("Mozilla/2.02E (OS/2; I)", CLOSES),
    ("Mozilla/2.0 (compatible; Ask Jeeves/Teoma)", UNTOUCHED),
    ("Mozilla/20.0 (X11; Linux x86_64)", UNTOUCHED),
    ("Mozilla/4.08 [en] (Win98; I)", UNTOUCHED),
    # Internet Explorer
    ("Mozilla/1.22 (compatible; MSIE 2.0; Windows 95)", OLD),
    ("Mozilla/2.0 (compatible; MSIE 3.01; Mac_PowerPC)", OLD),
    ("Mozilla/2.0 (compatible; MSIE 3.01; Windows 95)", OLD),
    ("Mozilla/2.0 (compatible; MSIE 3.01; AK; Windows 95)", OLD),
    ("Mozilla/4.0 (compatible; MSIE 4.0b2; Windows 95)", OLD),
    ("Mozilla/4.0 (compatible; MSIE 4.01; Windows 98)", OLD),
    ("Mozilla/4.0 (compatible; MSIE 5.0; Windows 98; DigExt)", OLD),
    ("Mozilla/4.0 (compatible; MSIE 5.5; Windows NT 5.0; (R1 1.3))", OLD),
    ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", UNTOUCHED),
    ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", UNTOUCHED),
    ("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.0)", UNTOUCHED),
    ("Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)", UNTOUCHED),
    ("Mozilla/4.0 (compatible; MSIE 20.0; Windows NT 12.0)", UNTOUCHED),
    ("Mozilla/5.0 (compatible; MSIE 52.1; Windows NT 12.0)", UNTOUCHED),
    ("Mozilla/4.0 (compatible; MSIE 5.0; Windows 98) Opera 5.12  [en]", UNTOUCHED),
    # Apache's other rules
    ("RealPlayer 4.0", SAYS_1_0),
    ("RealPlayer 4.01", UNTOUCHED),
    ("RealPlayer 14.0", UNTOUCHED),
    ("Java/1.0.2", SAYS_1_0),
    ("HotJava/1.0", SAYS_1_0),
    ("Java/1.08", UNTOUCHED),
    ("Java/11.0.2", UNTOUCHED),
    ("Java/17.0.9", UNTOUCHED),
    ("JDK/1.0.2", SAYS_1_0),
    ("JDK/1.1", UNTOUCHED),
    ("Java1.2beta2", CLOSES),
    ("Java1.2beta3", CLOSES),
    ("Java1.2beta4", UNTOUCHED),
    ("Java1.2.2", UNTOUCHED),
    # cannot be expressed
    ("Microsoft Data Access Internet Publishing Provider Cache Manager", UNTOUCHED),
    ("MS FrontPage 6.0", UNTOUCHED),
    ("WebDrive 8.0", UNTOUCHED),
    ("WebDAVFS/1.2 (01208000) Darwin/6.2", UNTOUCHED),
    ("gnome-vfs/1.0.5", UNTOUCHED),
    ("gvfs/1.54", UNTOUCHED),
    ("XML Spy", UNTOUCHED),
    ("Dreamweaver-WebDAV-SCM1.02", UNTOUCHED),
    ("Mozilla/5.0 (compatible; Konqueror/4.5; Linux) KHTML/4.5.4 (like Gecko) Konqueror/4.5", UNTOUCHED),
    # 2026: never answer our FIN
    ("python-requests/2.32.3", PYTHON),
    ("python-urllib3/2.2.1", PYTHON),
    ("python-urllib3/1.26.18", PYTHON),
    ("Boto3/1.26.27 Python/3.11.2 Linux/6.18 Botocore/1.29.27", PYTHON),
    ("Boto3/1.34.46 md/Botocore#1.34.46 ua/2.0 os/linux#6.18 lang/python#3.11.2", PYTHON),
    ("Botocore/1.34.46 ua/2.0 os/linux#6.18", PYTHON),
    ("Python-httplib2/0.22.0 (gzip)", PYTHON),
    ("Python-urllib/3.11", ONLY_100),
    ("", ONLY_100),
    ("python-httpx/0.28.1", SHORT),
    ("PycURL/7.45.2 libcurl/7.88.1 OpenSSL/3.0.15 zlib/1.2.13", SHORT),
    ("libwww-perl/6.68", SHORT),
    ("lwp-request/6.68 libwww-perl/6.68", SHORT),
    ("HTTP-Tiny/0.082", SHORT),
    ("Apache-HttpClient/4.5.14 (Java/17.0.9)", SHORT),
    ("Apache-HttpClient/5.3 (Java/17.0.9)", UNTOUCHED),
    ("NetSurf/3.10 (Linux)", SHORT),
    ("Mozilla/5.0 (X11; Linux) NetSurf/3.10", SHORT),
    ("python-requests/3.0.0", UNTOUCHED),
    # 2026: late, or at once, or first
    ("Wget/1.21.3", UNTOUCHED),
    ("curl/7.88.1", UNTOUCHED),
    ("curl/8.14.1", UNTOUCHED),
    ("Mozilla/5.0 (pc-x86_64-linux-gnu) Siege/4.0.7", UNTOUCHED),
    ("Links (2.28; Linux 6.18 x86_64; GNU C 12.2; text)", UNTOUCHED),
    ("ELinks/0.13.2 (textmode; Linux; 80x24-2)", UNTOUCHED),
    ("Java-http-client/17.0.9", UNTOUCHED),
    ("node", UNTOUCHED),
    ("undici", UNTOUCHED),
    ("Python/3.11 aiohttp/3.11.11", UNTOUCHED),
    ("Go-http-client/1.1", UNTOUCHED),
    ("w3m/0.5.3+git20230121", UNTOUCHED),
    ("Lynx/2.9.0dev.12 libwww-FM/2.14 SSL-MM/1.4.1", UNTOUCHED),
    ("Mozilla/4.0 (compatible; Dillo 3.0)", UNTOUCHED),
    ("Dillo/3.2.0", UNTOUCHED),
    ("ApacheBench/2.3", UNTOUCHED),
    ("aria2/1.36.0", UNTOUCHED),
    # today's browsers
    (FIREFOX, UNTOUCHED),
    (CHROME, UNTOUCHED),
    (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/156.0.0.0 Safari/537.36", UNTOUCHED),
    (f"{MAC} {WEBKIT} Chrome/156.0.0.0 Safari/537.36", UNTOUCHED),
    (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/156.0.0.0 Mobile Safari/537.36", UNTOUCHED),
    (f"{MAC} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15", UNTOUCHED),
    (f"{IPHONE} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1", UNTOUCHED),
    (f"{CHROME} Edg/156.0.0.0", UNTOUCHED),
    (f"{CHROME} OPR/130.0.0.0", UNTOUCHED),
    ("Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko", UNTOUCHED),
]


def policy_of(agent: str, method: bytes = b"GET") -> Policy:
    return BOOK.decide("192.0.2.1", method, b"/", b"www.example", 1, agent.encode(), 1.0).policy


@pytest.mark.parametrize(("agent", "expected"), CLIENTS)
def test_each_client_meets_what_is_meant_for_it(agent: str, expected: dict[str, object]) -> None:
    assert policy_of(agent) == amend(Policy(), expected.items())


@pytest.mark.parametrize(
    ("agent", "closes"),
    [
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", True),
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; Strange Story)", True),
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", False),
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1; .NET CLR 1.1.4322)", False),
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows 98) Opera 7.0  [en]", False),
        ("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.0)", False),
        ("Mozilla/3.01 (Win95; I)", False),
        (FIREFOX, False),
        (CHROME, False),
    ],
)
def test_only_old_explorers_lose_persistence_by_a_post(agent: str, closes: bool) -> None:
    assert policy_of(agent, b"POST").keep_alive is not closes
    assert policy_of(agent, b"GET").keep_alive


def test_each_rule_says_why_and_who_found_it() -> None:
    assert [rule.name for rule in RULES if not (rule.why and rule.source)] == []
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_each_rule_has_effects_and_all_of_them_can_act() -> None:
    for rule in RULES:
        assert set(dict(rule.effects)) <= set(EFFECTS)
        assert inert_effects(rule) == []


def test_each_rule_is_for_some_client_of_the_table() -> None:
    book = RuleBook(RULES, Policy())
    for agent, _ in CLIENTS:
        book.decide("192.0.2.1", b"POST", b"/", b"www.example", 1, agent.encode(), 1.0)
    assert [name for name, hits, _ in book.matches() if not hits] == []


def test_nobody_is_refused_and_nothing_holds_at_accept() -> None:
    assert [rule.name for rule in RULES if "deny" in dict(rule.effects)] == []
    assert BOOK.at_accept("192.0.2.1") == Policy()
