"""Whole messages, heads and bodies in both directions: generated, then broken in the ways that bytes break.

The checks are those of the coverage-guided search (tests/fuzz): what is taken is what h11 reads, with the
same end; what is forwarded is the same message once; and the answer is the same in pieces and whole. Here the
messages are made by grammar, so that most are taken; there they grow from the seeds.
"""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from shieldproxy.core.fields import Fault
from shieldproxy.core.head import end_of_head, read_request, read_response
from tests.fuzz.checks import CHECKS

CHOICES = st.integers(0, 255)

tokens = st.sampled_from(b"X-A X-B x_c Trailer User-Agent Via Date ETag Set-Cookie Warning Server".split())
texts = st.sampled_from([b"", b"a", b"a, b", b"a\tb", b"\xe9", b"x" * 60, b'"q;r"', b"1.1 shieldproxy"])
plain_lines = st.builds(lambda name, value: name + b": " + value, tokens, texts)
hop_lines = st.sampled_from(
    [
        *[b"Connection: close", b"Connection: keep-alive, X-A", b"Connection: x-b", b"Keep-Alive: 5"],
        *[b"TE: trailers", b"Upgrade: h2c", b"Proxy-Connection: close", b"X-Forwarded-For: 1.2.3.4"],
        *[b"Expect: 100-continue", b"Forwarded: for=a", b"Max-Forwards: 3", b"Cookie: a=1", b"Cookie: b"],
    ]
)
field_lines = st.lists(plain_lines | hop_lines, max_size=4)
data = st.binary(max_size=60) | st.sampled_from(
    [b"\r\n\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n", b"x" * 300]
)


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(data.filter(bool), max_size=4))
    form = draw(st.sampled_from([b"%x\r\n%b\r\n", b"%04X\r\n%b\r\n", b"%x;a=b\r\n%b\r\n"]))
    trailers = draw(st.lists(plain_lines, max_size=3))
    body = b"".join(form % (len(part), part) for part in parts)
    return body + b"0\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


@st.composite
def framed(draw: st.DrawFn, *, closing: bool) -> tuple[list[bytes], bytes]:
    """The field that says where a body ends, and the body."""
    kind = draw(st.sampled_from(["none", "length", "length", "chunked", "chunked"] + ["close"] * closing))
    if kind == "chunked":
        return [draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"]))], draw(
            chunked()
        )
    body = draw(data)
    if kind == "length":
        return [draw(st.sampled_from([b"Content-Length: %d", b"content-length:\t0%d "])) % len(body)], body
    return [], body if kind == "close" else b""


@st.composite
def head(draw: st.DrawFn, first: bytes, fields: list[bytes]) -> bytes:
    lines = draw(field_lines)
    for field in fields:
        lines.insert(draw(st.integers(0, len(lines))), field)
    return b"".join(line + b"\r\n" for line in [first, *lines]) + b"\r\n"


@st.composite
def request(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"M-SEARCH"]))
    target = draw(
        st.sampled_from([b"/", b"/a?b", b"//x", b"/%00", b"*", b"http://c.example/d", b"http://c?e"])
    )
    version = draw(st.sampled_from([b"HTTP/1.1"] * 4 + [b"HTTP/1.0", b"HTTP/1.7"]))
    fields, body = draw(framed(closing=False))
    host = draw(st.sampled_from([[b"Host: a.example"]] * 5 + [[b"host:[::1]:80"], []]))
    return draw(head(b" ".join([method, target, version]), host + fields)) + body


@st.composite
def response(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([b"200 OK"] * 4 + [b"304 Not", b"204 No", b"404", b"500 ", b"413 \xe9"]))
    version = draw(st.sampled_from([b"HTTP/1.1"] * 3 + [b"HTTP/1.0"]))
    fields, body = draw(framed(closing=True))
    interims = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 A\r\nX: y\r\n\r\n"]
    interim = draw(st.sampled_from([b"", b"", *interims]))
    return interim + draw(head(version + b" " + status, fields)) + body


BITS = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b" ",
        b"\t",
        b":",
        b"\x00",
        b"\x0b",
        b"\xff",
        b"0",
        b";",
        b",",
    ]
)


@st.composite
def broken(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """Up to three of: a bit flipped, bytes put in or taken out, a line doubled, a cut, a message put in."""
    message = draw(messages)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(message)))
        how = draw(st.sampled_from(["flip", "put", "take", "double", "cut", "splice"]))
        if how == "flip" and at < len(message):
            message = message[:at] + bytes([message[at] ^ 1 << draw(st.integers(0, 7))]) + message[at + 1 :]
        elif how == "put":
            message = message[:at] + draw(BITS) + message[at:]
        elif how == "take":
            message = message[:at] + message[at + draw(st.integers(1, 9)) :]
        elif how == "double":
            lines = message.split(b"\n")
            number = at % len(lines)
            message = b"\n".join([*lines[: number + 1], *lines[number:]])
        elif how == "cut":
            message = message[:at]
        else:
            message = message[:at] + draw(messages)[draw(st.integers(0, 99)) :]
    return message


requests = st.lists(broken(request()), min_size=1, max_size=3).map(b"".join)
responses = broken(response())


def note(read: object) -> None:
    """Count how many are taken at all."""
    event("refused" if isinstance(read, Fault) else "taken")


@given(CHOICES, requests)
@settings(max_examples=250)
def test_requests(choice: int, message: bytes) -> None:
    end = end_of_head(message, 0)
    note(read_request(message, end) if end >= 0 else Fault(0, "", ""))
    CHECKS["requests"](choice, message)
    CHECKS["dripped request"](choice, message)
    CHECKS["readers"](choice & ~1, message)
    CHECKS["memory"](choice & ~1, message)


@given(CHOICES, responses)
@settings(max_examples=250)
def test_responses(choice: int, message: bytes) -> None:
    end = end_of_head(message, 0)
    note(read_response(message, end, b"GET") if end >= 0 else Fault(0, "", ""))
    CHECKS["responses"](choice, message)
    CHECKS["dripped response"](choice, message)
    CHECKS["readers"](choice | 1, message)
    CHECKS["memory"](choice | 1, message)


@given(CHOICES, broken(chunked()))
@settings(max_examples=250)
def test_chunks(choice: int, message: bytes) -> None:
    CHECKS["chunks"](choice, message)


@given(request(), response())
@settings(max_examples=20)
def test_cut_anywhere(asked: bytes, answered: bytes) -> None:
    """What breaks off is forwarded as what breaks off, wherever that is."""
    for name, message in (("requests", asked), ("responses", answered)):
        for end in range(len(message)):
            CHECKS[name](0, message[:end])
