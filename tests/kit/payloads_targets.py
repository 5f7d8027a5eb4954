"""Targets and versions that servers read in different ways (see ``tests.kit.payloads``)."""

from tests.kit.payloads import BAD, EITHER, HOST, LONG, ONCE, VERSION, Case

TARGET = frozenset({400, 404, 421})
METHOD = frozenset({400, 405, 501})


def _get(line: bytes) -> bytes:
    return line + b"\r\n" + HOST + b"\r\n"


def _targets() -> list[Case]:
    refused = {
        "absolute https": b"https://test.example/",
        "absolute with user": b"http://user:pw@test.example/",
        "absolute v6 without brackets": b"http://::1/",
        "absolute with one slash": b"http:/test.example/a",
        "absolute without slashes": b"http:test.example",
        "absolute without a name": b"http://:80/a",
        "absolute with a comma": b"http://a,b/",
        "absolute with two ports": b"http://a:80:80/",
        "absolute with an open bracket": b"http://[::1/",
        "absolute with a fragment": b"http://test.example/#a",
        "absolute with a tab": b"http://test.example/\ta",
        "absolute with NUL": b"http://test.example\x00/",
        "a file": b"file:///etc/passwd",
        "a script": b"javascript:alert(1)",
        "a mail address": b"mailto:a@b",
        "a host and a path": b"test.example/a",
        "a port": b":80/",
        "at": b"@other.example/a",
        "a dot": b".",
        "two dots": b"../etc/passwd",
        "a semicolon": b";a",
        "percent slash": b"%2fa",
        "quoted": b'"/a"',
        "markup": b"</a>",
        "ampersand": b"&a=b",
        "star and query": b"*?a",
        "DEL in the query": b"/?a\x7f",
        "NUL in the query": b"/?a\x00",
        "tab in the query": b"/?a\tb",
        "escape in the query": b"/?a\x1bb",
        "blank in the query": b"/?a b",
        "vertical tab": b"/a\x0bb",
        "form feed": b"/a\x0cb",
        "unit separator": b"/a\x1fb",
        "fragment behind a query": b"/?a#b",
    }
    once = {
        "absolute": b"http://test.example/a",
        "absolute in capitals": b"HTTP://TEST.EXAMPLE/a",
        "absolute without a path": b"http://test.example",
        "absolute with a query alone": b"http://test.example?a=b",
        "absolute of another host": b"http://other.example/a",
        "absolute v6": b"http://[2001:db8::1]:8080/a",
        "another URI as a path": b"/http://other.example/",
        "a port as a path": b"/:80",
        "at in the path": b"/@other.example",
        "empty query": b"/?",
        "two question marks": b"/?a?b",
        "parameters": b"/a;jsessionid=1",
        "tilde": b"/~a",
    }
    either = {
        "absolute with an empty port": b"http://test.example:/a",
        "absolute with percent": b"http://a%20b/",
        "percent alone": b"/%",
        "percent cut": b"/%0",
        "percent NUL": b"/%00",
        "percent line end": b"/%0d%0aX:%20y",
        "percent dots": b"/%2e%2e/%2e%2e/",
        "percent slash in the path": b"/a%2fb",
        "dots and semicolon": b"/..;/a",
        "dots": b"/a/./b//../c",
        "backslashes": b"/\\..\\a",
        "utf-8": "/ä".encode(),
        "overlong utf-8": b"/\xc0\xaf",
        "fullwidth slash": "/a／b".encode(),
    }
    rows = [(refused, TARGET), (once, ONCE), (either, EITHER)]
    return [
        *[
            Case(f"target: {name}", _get(b"GET " + target + b" HTTP/1.1"), allowed)
            for table, allowed in rows
            for name, target in table.items()
        ],
        Case("target: OPTIONS of a whole server", _get(b"OPTIONS * HTTP/1.1"), ONCE),
        Case("target: OPTIONS of an absolute server", _get(b"OPTIONS http://a HTTP/1.1"), ONCE),
        Case("target: star for POST", _get(b"POST * HTTP/1.1"), BAD),
        Case("target: CONNECT", _get(b"CONNECT test.example:80 HTTP/1.1"), METHOD),
        Case("target: CONNECT to a path", _get(b"CONNECT /a HTTP/1.1"), METHOD),
        Case("target: TRACE", _get(b"TRACE /a HTTP/1.1"), METHOD),
        Case("target: query too long", _get(b"GET /?" + b"a" * 40000 + b" HTTP/1.1"), LONG),
        Case("target: authority too long", _get(b"GET http://" + b"a" * 1000 + b"/ HTTP/1.1"), BAD),
    ]


def _versions() -> list[Case]:
    refused = {
        "1.1.": b"HTTP/1.1.",
        "1.": b"HTTP/1.",
        ".1": b"HTTP/.1",
        "two dots": b"HTTP/1..1",
        "no dot": b"HTTP/11",
        "two slashes": b"HTTP//1.1",
        "slash behind": b"HTTP/1.1/",
        "parameter": b"HTTP/1.1;a=b",
        "comma": b"HTTP/1.1,",
        "0.0": b"HTTP/0.0",
        "10.1": b"HTTP/10.1",
        "1.01": b"HTTP/1.01",
        "1.999": b"HTTP/1.999",
        "0001.1": b"HTTP/0001.1",
        "colon": b"HTTP/1:1",
        "hyphen": b"HTTP-1.1",
        "backslash": b"HTTP\\1.1",
        "HTTPS": b"HTTPS/1.1",
        "XHTTP": b"XHTTP/1.1",
        "HTCPCP": b"HTCPCP/1.0",
        "RTSP": b"RTSP/1.0",
        "SIP": b"SIP/2.0",
        "ICAP": b"ICAP/1.0",
        "NUL behind": b"HTTP/1.1\x00",
        "NUL before": b"\x00HTTP/1.1",
        "NUL inside": b"HTTP/\x001.1",
        "nbsp behind": b"HTTP/1.1\xa0",
        "fullwidth digit": "HTTP/１.1".encode(),
        "hexadecimal": b"HTTP/0x1.1",
        "exponent": b"HTTP/1e0.1",
        "quoted": b'"HTTP/1.1"',
        "percent": b"HTTP/%31.1",
        "HTTP/2 alone": b"HTTP/2",
        "HTTP/3 alone": b"HTTP/3",
        "twice": b"HTTP/1.1HTTP/1.1",
    }
    cases = [
        Case(f"version: {name}", _get(b"GET /a " + version), VERSION) for name, version in refused.items()
    ]
    return [
        *cases,
        Case("version: 1.0 with Host", _get(b"GET /a HTTP/1.0"), ONCE),
        Case("version: 1.3", _get(b"GET /a HTTP/1.3"), EITHER | VERSION),
        Case("version: 1.9", _get(b"GET /a HTTP/1.9"), EITHER | VERSION),
        Case("version: 1.0 and Upgrade", b"GET /a HTTP/1.0\r\n" + HOST + b"Upgrade: HTTP/2.0\r\n\r\n", ONCE),
    ]


TARGETS = _targets()
VERSIONS = _versions()
