"""What the search has found, kept as cases: the check, its choice, the shortest message, and what was wrong.

`make fuzz` prints a find as a line for this table; `test_finds.py` runs every line of it again.
"""

from typing import NamedTuple


class Find(NamedTuple):
    """One input that made a check fail."""

    check: str
    choice: int
    data: bytes
    why: str


FINDS: list[Find] = [
    Find(
        "requests", 1, b"T / HTTP/1.1\r\nHost:a\nContent-Length:2\n\r\n\r\nab",
        "bare LFs accepted: a blank line behind the one that ends the head was read as part of the head, "
        "though the body had begun",
    ),
    Find(
        "chunks", 31, b"0\r\nHost:Connection: close,  te)mp\r\n\r\n",
        "trailers of exactly the limit were refused if the CR of the blank line behind them came alone",
    ),
    Find(
        "responses", 0, b"HTTP/1.1 200\r\nConnection: HTTP2-Settings\r\nHTTP2-Settings: a\r\n\r\n",
        "a field that the server's Connection named went on to the client",
    ),
    Find(
        "dripped request", 90, b"POST / HTTP/1.0\nContent-Length: 5\n\n1\r\n\r\n",
        "bare LFs accepted: CRLF CRLF in the body was taken for the end of the head, if all came at once",
    ),
    Find(
        "dripped request", 76, b"T /a HTTP/1.1\nHost: tple\n\n\r\n",
        "LF LF CR LF: the second blank line was taken for the head's end, if both came at once",
    ),
    Find(
        "readers", 145, b"HTTP/1.1 200\nContent-Length:\nTransfer-Encoding :\n\n",
        "the check itself: a field whose name is followed by a space was not seen to stand in the head",
    ),
    Find(
        "dripped request", 8, b"CONNECT / HTTP/1.0\r\n\n\r\n\r\n",
        "CRLF LF behind CONNECT: 405 if more blank lines came with it, 400 if they came later",
    ),
    Find(
        "readers", 7, b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding\r\n\t: a\r\n\r\n",
        "a name with its colon on a second line was read as a field: a fold is part of a value",
    ),
]  # fmt: skip
