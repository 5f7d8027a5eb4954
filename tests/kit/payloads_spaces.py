"""Line ends and white space that servers read in different ways (see ``tests.kit.payloads``)."""

from tests.kit.payloads import BAD, EITHER, HOST, ONCE, SMUGGLED, VERSION, Case

LINE = b"GET /a HTTP/1.1\r\n"
GET = LINE + HOST + b"\r\n"


def _field(line: bytes) -> bytes:
    return LINE + HOST + line + b"\r\n\r\n"


def _line_ends() -> list[Case]:
    refused = {
        "CR before": b"\r" + GET,
        "LF CR before": b"\n\r" + GET,
        "a line of a blank before": b" \r\n" + GET,
        "a line of a tab before": b"\t\r\n" + GET,
        "NUL before": b"\x00\r\n" + GET,
        "40 blank lines before": b"\r\n" * 40 + GET,
        "LF behind Host": LINE + b"Host: test.example\n\r\n",
        "LF behind the last field": LINE + HOST + b"X: y\n\r\n",
        "LF for the blank line": LINE + HOST + b"\n" + SMUGGLED,
        "LF LF behind a field": LINE + HOST + b"X: y\n\n" + SMUGGLED,
        "CR CR LF": LINE + b"Host: test.example\r\r\n\r\n",
        "CR CR LF behind the request line": b"GET /a HTTP/1.1\r\r\n" + HOST + b"\r\n",
        "CR CR LF for the blank line": LINE + HOST + b"\r\r\n\r\n",
        "LF CR everywhere": b"GET /a HTTP/1.1\n\rHost: test.example\n\r\n\r\r\n\r\n",
        "CR everywhere": b"GET /a HTTP/1.1\rHost: test.example\r\r\n\r\n",
        "CR for the blank line": LINE + HOST + b"\rX: y\r\n\r\n",
        "vertical tab for a line end": LINE + b"Host: test.example\x0bX: y\r\n\r\n",
        "form feed for a line end": LINE + b"Host: test.example\x0cX: y\r\n\r\n",
        "NUL for a line end": LINE + b"Host: test.example\x00X: y\r\n\r\n",
        "LF in a name": _field(b"X\nY: z"),
        "CR in a name": _field(b"X\rY: z"),
        "CR before the colon": _field(b"X\r: z"),
        "CR behind the colon": _field(b"X:\rz"),
        "CR LF CR in a value": _field(b"X: a\r\n\rb"),
        "CR smuggling a field": _field(b"X: a\rContent-Length: 5"),
        "CR CR smuggling a request": _field(b"X: a\r\rGET /smuggled HTTP/1.1\rHost: a"),
        "LF smuggling a request": LINE + HOST + b"X: a\n\nGET /smuggled HTTP/1.1\nHost: a\n\n",
        "LF in a body's head": b"POST /a HTTP/1.1\n" + HOST + b"Content-Length: 5\n\nhello",
        "LF CR LF in a body's head": b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\n\r\nhello",
        **{
            f"{name} separator": _field(b"X: a" + bytes([number]) + b"Y: b")
            for number, name in ((28, "file"), (29, "group"), (30, "record"), (31, "unit"))
        },
    }
    once = {
        "a blank line before": b"\r\n" + GET,
        "three blank lines before": b"\r\n" * 3 + GET,
        "next line in a value": _field(b"X: a\x85Y: b"),
        "line separator in a value": _field("X: a\u2028Y: b".encode()),
        "line ends in letters": _field(b"X: a\\r\\nY: b"),
        "line ends in percent": _field(b"X: a%0d%0aY: b"),
    }
    cases = [Case(f"line end: {name}", data, VERSION) for name, data in refused.items()]
    cases += [Case(f"line end: {name}", data, ONCE) for name, data in once.items()]
    return [*cases, Case("line end: LF before", b"\n" + GET, EITHER)]


def _spaces() -> list[Case]:
    names = {
        "vertical tab": b"\x0b",
        "form feed": b"\x0c",
        "nbsp": b"\xa0",
        "next line": b"\x85",
        "ideographic": "\u3000".encode(),
        "zero width": "\u200b".encode(),
        "byte order mark": b"\xef\xbb\xbf",
        "file separator": b"\x1c",
    }
    cases = []
    for name, blank in names.items():
        cases += [
            Case(f"space: {name} before a colon", _field(b"X" + blank + b": y"), BAD),
            Case(f"space: {name} before a name", _field(blank + b"X: y"), BAD),
            Case(f"space: {name} behind the method", b"GET" + blank + GET[3:], BAD),
        ]
        host = b"Host:" + blank + b"test.example\r\n\r\n"
        cases.append(Case(f"space: {name} before a host", LINE + host, BAD))
    refused = {
        "two before a colon": b"X  : y",
        "blank and tab before a colon": b"X \t: y",
        "blank before a name": b" X: y",
        "tab before a name": b"\tX: y",
        "only a tab": b"\t",
        "blank in Host": b" Host: other.example",
        "blank before Transfer-Encoding": b" Transfer-Encoding: chunked",
        "tab before Content-Length": b"\tContent-Length: 5",
    }
    once = {
        "two behind a colon": b"X:  y",
        "tab behind a colon": b"X:\ty",
        "none behind a colon": b"X:y",
        "many around": b"X: \t \t y \t \t",
        "tabs alone": b"X:\t\t",
        "blanks in Connection": b"Connection: \t keep-alive \t,\t",
    }
    cases += [Case(f"space: {name}", _field(line), BAD) for name, line in refused.items()]
    cases += [Case(f"space: {name}", _field(line), ONCE) for name, line in once.items()]
    return cases


LINE_ENDS = _line_ends()
SPACES = _spaces()
