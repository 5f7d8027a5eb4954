"""Field lines and Hosts that servers read in different ways (see ``tests.kit.payloads``)."""

from tests.kit.payloads import BAD, EITHER, HOST, LONG, ONCE, Case


def _field(line: bytes) -> bytes:
    return b"GET /a HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n"


def _host(lines: bytes) -> bytes:
    return b"GET /a HTTP/1.1\r\n" + lines + b"\r\n\r\n"


def _fields() -> list[Case]:
    refused = {
        "blank before colon": b"X : y",
        "tab before colon": b"X\t: y",
        "no name": b": y",
        "no colon": b"xyz",
        "blank in name": b"X Y: z",
        "bracket in name": b"X(1): z",
        "8th bit in name": b"\xc9: y",
        "NUL in name": b"X\x00: y",
        "control in name": b"X\x01: y",
        "slash in name": b"X/Y: z",
        "at in name": b"X@Y: z",
        "quote in name": b'"X": y',
        "DEL in name": b"X\x7f: y",
        "NUL in value": b"X: a\x00b",
        "NUL alone": b"X: \x00",
        "control in value": b"X: a\x01b",
        "escape in value": b"X: a\x1bb",
        "DEL in value": b"X: a\x7fb",
        "vertical tab in value": b"X: a\x0bb",
        "form feed in value": b"X: a\x0cb",
        "backspace in value": b"X: a\x08b",
        "bare CR in value": b"X: a\rb",
        "bare CR at the end": b"X: a\r",
        "bare CR alone": b"X: \r",
        "bare CR before a field": b"X: a\rY: b",
        "bare CR before a blank line": b"X: a\r\r",
        "fold": b"X: a\r\n b",
        "fold with a tab": b"X: a\r\n\tb",
        "fold of nothing": b"X: a\r\n ",
        "bare LF": b"X: a\nY: b",
        "bare LF fold": b"X: a\n b",
        "LF CR": b"X: a\n\rY: b",
        "blank line of a blank": b" \r\nX: y",
        "comma name": b"A,B: c",
        "equals in name": b"a=b: c",
        "semicolon": b"a;b: c",
        "lone CR line": b"X: y\r\n\r",
        "8th bit colon": "X：y".encode(),
    }
    cases = [Case(f"field: {name}", _field(line), BAD) for name, line in refused.items()]
    return [
        *cases,
        Case("field: fold at once", b"GET /a HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n", BAD),
        Case("field: blank line at once", b"GET /a HTTP/1.1\r\n \r\n" + HOST + b"\r\n", BAD),
        Case("field: too many", _field(b"\r\n".join(b"X-%d: y" % n for n in range(150))), LONG),
        Case("field: too large", _field(b"X: " + b"y" * 40000), LONG),
        Case("field: too large a name", _field(b"X" * 40000 + b": y"), LONG),
        Case(
            "field: too large together",
            _field(b"\r\n".join(b"X-%d: " % n + b"y" * 1000 for n in range(60))),
            LONG,
        ),
        Case("field: user agent too long", _field(b"User-Agent: " + b"y" * 2000), LONG),
        Case("field: empty value", _field(b"X:"), ONCE),
        Case("field: blanks for a value", _field(b"X: \t "), ONCE),
        Case("field: 8th bit in value", _field(b"X: \xc3\xa4\xff\x80"), ONCE),
        Case("field: tab in value", _field(b"X: a\tb"), ONCE),
        Case("field: odd name", _field(b"!#$%&'*+-.^_`|~09az: y"), ONCE),
        Case("field: colons in value", _field(b"X: :a:b"), ONCE),
        Case("field: the same twice", _field(b"X: a\r\nX: b"), ONCE),
        Case("field: underscores", _field(b"Content_Length: 5\r\nTransfer_Encoding: chunked"), EITHER),
        Case("field: Connection names Host", _field(b"Connection: Host"), EITHER),
        Case("field: Connection odd", _field(b'Connection: ,,a;b, "c, close'), EITHER),
        Case("field: Expect unknown", _field(b"Expect: tea"), frozenset({417})),
        Case("field: Expect two", _field(b"Expect: 100-continue, tea"), frozenset({417})),
        Case(
            "field: Upgrade",
            _field(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk"),
            ONCE,
        ),
    ]


def _hosts() -> list[Case]:
    refused = {
        "missing": b"X: y",
        "two": b"Host: a\r\nHost: b",
        "two equal": b"Host: a\r\nHost: a",
        "two cases": b"Host: a\r\nhOST: b",
        "blank inside": b"Host: a b",
        "comma": b"Host: a,b",
        "slash": b"Host: a/b",
        "userinfo": b"Host: u@a",
        "port of letters": b"Host: a:b",
        "two ports": b"Host: a:80:80",
        "port minus": b"Host: a:-1",
        "port plus": b"Host: a:+80",
        "bracket open": b"Host: [::1",
        "bracket closed": b"Host: ::1]",
        "v6 bare": b"Host: ::1",
        "bracket of a name": b"Host: [a b]",
        "after bracket": b"Host: [::1]x",
        "question mark": b"Host: a?b",
        "fragment": b"Host: a#b",
        "NUL": b"Host: a\x00b",
        "a URI": b"Host: http://a/",
        "markup": b"Host: <b>",
        "quote": b'Host: a"b',
        "backslash": b"Host: a\\b",
        "blank before colon": b"Host : a",
        "folded": b"Host:\r\n a",
        "folded to two": b"Host: a\r\n b",
        "tab inside": b"Host: a\tb",
        "control": b"Host: a\x01",
        "bare CR": b"Host: a\rb",
        "caret": b"Host: a^b",
        "pipe": b"Host: a|b",
        "brace": b"Host: {a}",
        "leading colon and path": b"Host: :80/",
    }
    cases = [Case(f"host: {name}", _host(lines), BAD) for name, lines in refused.items()]
    return [
        *cases,
        Case("host: two, one in the target", b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", BAD),
        Case("host: missing beside absolute form", b"GET http://a/ HTTP/1.1\r\nX: y\r\n\r\n", EITHER),
        Case("host: empty", _host(b"Host:"), EITHER),
        Case("host: port empty", _host(b"Host: a:"), EITHER),
        Case("host: port 0", _host(b"Host: a:0"), EITHER),
        Case("host: port too large", _host(b"Host: a:99999"), EITHER),
        Case("host: percent", _host(b"Host: a%20b"), EITHER),
        Case("host: 8th bit", _host("Host: ä.example".encode()), EITHER),
        Case("host: final dot", _host(b"Host: a.example."), ONCE),
        Case("host: v6", _host(b"Host: [2001:db8::1]:8080"), ONCE),
        Case("host: v4", _host(b"Host: 127.0.0.1:80"), ONCE),
        Case("host: underscore", _host(b"Host: a_b.example"), ONCE),
        Case("host: upper case", _host(b"HOST: A.EXAMPLE"), ONCE),
        Case("host: last field", _host(b"X: y\r\nHost: a"), ONCE),
        Case("host: blanks around", _host(b"Host: \t a \t"), ONCE),
        Case("host: missing in HTTP/1.0", b"GET /a HTTP/1.0\r\n\r\n", ONCE),
        Case("host: two in HTTP/1.0", b"GET /a HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", BAD),
        Case("host: bad in HTTP/1.0", b"GET /a HTTP/1.0\r\nHost: a b\r\n\r\n", BAD),
    ]


FIELDS = _fields()
HOSTS = _hosts()
