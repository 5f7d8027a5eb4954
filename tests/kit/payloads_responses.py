"""Responses that no proxy may pass on as they are: bad lines, heads and chunks, cuts, and what is unasked."""

from tests.kit.answers import reply

OK = b"HTTP/1.1 200 OK\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"

BAD_LINES = {
    "no version": b"200 OK",
    "HTTP/2": b"HTTP/2 200 OK",
    "HTTP/2.0": b"HTTP/2.0 200 OK",
    "HTTP/0.9": b"HTTP/0.9 200 OK",
    "ICY": b"ICY 200 OK",
    "lower case": b"http/1.1 200 OK",
    "two digits": b"HTTP/1.1 20 OK",
    "four digits": b"HTTP/1.1 2000 OK",
    "letters": b"HTTP/1.1 abc OK",
    "status 000": b"HTTP/1.1 000 X",
    "status 099": b"HTTP/1.1 099 X",
    "signed": b"HTTP/1.1 +20 OK",
    "tab": b"HTTP/1.1\t200 OK",
    "leading blank": b" HTTP/1.1 200 OK",
    "version 1.10": b"HTTP/1.10 200 OK",
    "NUL": b"HTTP/1.1 200 O\x00K",
    "control": b"HTTP/1.1 200 O\x01K",
    "bare CR": b"HTTP/1.1 200 OK\rX",
    "empty": b"",
    "garbage": b"\x16\x03\x01\x00",
    "html": b"<html>hello",
    "a request": b"GET / HTTP/1.1",
    "version letters": b"HTTP/x.y 200 OK",
    "no status": b"HTTP/1.1",
    "fraction": b"HTTP/1.1 200.1 OK",
}

BAD_HEADS = {
    "length and coding": b"Content-Length: 5\r\n" + TE + b"\r\n" + HELLO,
    "coding and length": TE + b"Content-Length: 5\r\n\r\n" + HELLO,
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length list": b"Content-Length: 5, 6\r\n\r\nhello!",
    "length plus": b"Content-Length: +5\r\n\r\nhello",
    "length minus": b"Content-Length: -5\r\n\r\nhello",
    "length hex": b"Content-Length: 0x5\r\n\r\nhello",
    "length words": b"Content-Length: 5 5\r\n\r\nhello",
    "length empty": b"Content-Length: \r\n\r\nhello",
    "length letters": b"Content-Length: five\r\n\r\nhello",
    "length huge": b"Content-Length: 999999999999999999999999\r\n\r\nhello",
    "coding unknown": b"Transfer-Encoding: cow\r\n\r\n" + HELLO,
    "coding not last": b"Transfer-Encoding: chunked, gzip\r\n\r\n" + HELLO,
    "coding twice": TE + TE + b"\r\n" + HELLO,
    "coding twice in a list": b"Transfer-Encoding: chunked, chunked\r\n\r\n" + HELLO,
    "coding with a parameter": b"Transfer-Encoding: chunked;a=b\r\n\r\n" + HELLO,
    "coding with vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n" + HELLO,
    "field without a name": b": x\r\nContent-Length: 5\r\n\r\nhello",
    "field without a colon": b"hello\r\nContent-Length: 5\r\n\r\nhello",
    "blank in a name": b"X Y: z\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in a name": b"X\x00: z\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in a value": b"X: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
    "control in a value": b"X: a\x01b\r\nContent-Length: 5\r\n\r\nhello",
    "bare CR in a value": b"X: a\rSet-Cookie: b\r\nContent-Length: 5\r\n\r\nhello",
    "fold at once": b" X: y\r\nContent-Length: 5\r\n\r\nhello",
    "head too large": b"X: " + b"y" * 70000 + b"\r\nContent-Length: 5\r\n\r\nhello",
    "chunked in HTTP/1.0": b"",
}

BAD_CHUNKS = {
    "size of letters": b"xyz\r\nhello\r\n0\r\n\r\n",
    "size signed": b"+5\r\nhello\r\n0\r\n\r\n",
    "size 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size overflow": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "too long": b"5\r\nhello!!\r\n0\r\n\r\n",
    "no CRLF": b"5\r\nhello0\r\n\r\n",
    "bare CR": b"5\rhello\r\n0\r\n\r\n",
    "NUL": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "bad trailer": b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "trailers too large": b"5\r\nhello\r\n0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    "extension too long": b"5;" + b"a" * 100_000 + b"\r\nhello\r\n",
}

LENGTH = OK + b"Content-Length: 100\r\n\r\n"
CHUNKED = OK + TE + b"\r\n"
CUTS = {
    "length, after the head": LENGTH,
    "length, in the body": LENGTH + b"hello",
    "length, one byte missing": LENGTH + b"x" * 99,
    "chunked, after the head": CHUNKED,
    "chunked, in a size": CHUNKED + b"5",
    "chunked, after a size": CHUNKED + b"5\r\n",
    "chunked, in a chunk": CHUNKED + b"5\r\nhel",
    "chunked, after data": CHUNKED + b"5\r\nhello",
    "chunked, after a chunk": CHUNKED + b"5\r\nhello\r\n",
    "chunked, in the last size": CHUNKED + b"5\r\nhello\r\n0",
    "chunked, after the last size": CHUNKED + b"5\r\nhello\r\n0\r\n",
    "chunked, in the trailers": CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n",
    "chunked, large": CHUNKED + b"186a0\r\n" + b"x" * 100_000 + b"\r\n",
    "length, large": OK + b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000,
}

UNSOLICITED = {
    "a response": reply(b"poison"),
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "one byte": b"x",
    "408": reply(b"", status="408 Request Timeout", fields="Connection: close\r\n"),
    "a blank line": b"\r\n",
    "an interim response": b"HTTP/1.1 103 X\r\n\r\n",
    "large": reply(b"poison" * 50_000),
}
