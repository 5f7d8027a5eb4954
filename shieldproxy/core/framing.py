"""Where a body ends (RFC 9112 section 6.3): Content-Length and Transfer-Encoding, of both directions.

It decides by the values of these two fields alone, and refuses every message that two readers could cut at
different places: that is what request smuggling is made of. It never reads a body. Called by head and
response for messages that have one of the fields; strict towards clients, and towards servers where leniency
would be dangerous.
"""

import re
from typing import Final

from shieldproxy.core.fields import CHUNKED, UNTIL_CLOSE, Fault, is_token

is_length: Final = re.compile(rb"[0-9]{1,18}+").fullmatch
"""A decimal number that fits into 63 bits."""


def request_length(lengths: list[bytes], codings: list[bytes], minor: int) -> int | Fault:
    """Return the length of a request's body, or CHUNKED.

    Args:
        lengths: Values of Content-Length, one for each line, stripped.
        codings: Values of Transfer-Encoding, likewise.
        minor: Of the request's version; HTTP/1.0 has no codings.
    """
    if codings:
        if lengths:
            return Fault(400, "length-and-coding", "both Content-Length and Transfer-Encoding")
        if minor == 0:
            return Fault(400, "coding-version", "Transfer-Encoding in HTTP/1.0")
        return CHUNKED if codings == [b"chunked"] else _request_coding(codings)
    if not lengths:
        return 0
    if len(lengths) > 1 or b"," in lengths[0]:
        return Fault(400, "length-many", "more than one Content-Length")
    if not is_length(lengths[0]):
        return Fault(400, "length-bad", "Content-Length is not a decimal number of at most 18 digits")
    return int(lengths[0])


def _request_coding(codings: list[bytes]) -> int | Fault:
    """Judge a Transfer-Encoding that is not plainly ``chunked`` (RFC 9112 sections 6.1 and 6.3).

    Without ``chunked`` at the end nobody knows where the body ends: a 400, whatever stands there. So is
    ``chunked`` twice or with parameters, and what is no list of codings. Another coding before it is a 501.
    """
    names = [item.strip(b" \t").lower() for value in codings for item in value.split(b",")]
    if names == [b"chunked"]:
        return CHUNKED
    tokens = [name.partition(b";")[0].rstrip(b" \t") for name in names]
    if not all(map(is_token, tokens)):
        return Fault(400, "coding-bad", "Transfer-Encoding is not a list of codings")
    if tokens[-1] != b"chunked" or b"chunked" in tokens[:-1]:
        return Fault(400, "coding-bad", "chunked is not the last coding, or stands there twice")
    if names[-1] != b"chunked":
        return Fault(400, "coding-bad", "chunked has no parameters")
    return Fault(501, "coding-unknown", "a transfer coding that is not known here")


def response_length(lengths: list[bytes], codings: list[bytes], minor: int) -> int | Fault:
    """Return the length that a response announces for its body: CHUNKED, UNTIL_CLOSE or a number.

    A length that is repeated with the same value counts once (RFC 9110 section 8.6); old servers do that.
    """
    if codings:
        if lengths:
            return Fault(502, "length-and-coding", "the upstream sent Content-Length and Transfer-Encoding")
        if minor == 0:
            return Fault(502, "coding-version", "the upstream sent Transfer-Encoding in HTTP/1.0")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            return Fault(502, "coding-unknown", "the upstream sent a transfer coding that is not known here")
        return CHUNKED
    if not lengths:
        return UNTIL_CLOSE
    value = lengths[0]
    if len(lengths) > 1 or not is_length(value):
        found = {item.strip(b" \t") for length in lengths for item in length.split(b",")}
        value = found.pop()
        if found:
            return Fault(502, "length-many", "the upstream sent lengths that differ")
        if not is_length(value):
            return Fault(502, "length-bad", "the upstream sent a malformed Content-Length")
    return int(value)
