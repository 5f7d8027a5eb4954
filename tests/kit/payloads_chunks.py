"""Chunked bodies that servers read in different ways (see ``tests.kit.payloads``)."""

from tests.kit.payloads import BAD, EITHER, ONCE, SMUGGLED, Case, post


def _chunks() -> list[Case]:
    te = b"Transfer-Encoding: chunked\r\n"
    end = b"0\r\n\r\n"
    refused = {
        "size with a letter": b"5x\r\nhello\r\n" + end,
        "size in 0x": b"0x5\r\nhello\r\n" + end,
        "size plus": b"+5\r\nhello\r\n" + end,
        "size minus": b"-5\r\nhello\r\n" + end,
        "size missing": b"\r\nhello\r\n" + end,
        "size blank before": b" 5\r\nhello\r\n" + end,
        "size underscore": b"0_5\r\nhello\r\n" + end,
        "size overflow": b"fffffffffffffffff\r\nhello\r\n" + end,
        "size 2^64+5": b"10000000000000005\r\nhello\r\n" + end,
        "size fullwidth": "５".encode() + b"\r\nhello\r\n" + end,
        "bare LF after size": b"5\nhello\r\n" + end,
        "bare CR after size": b"5\rhello\r\n" + end,
        "CR LF swapped": b"5\n\rhello\r\n" + end,
        "data too long": b"5\r\nhello!\r\n" + end,
        "data without CRLF": b"5\r\nhello" + end,
        "data with bare LF": b"5\r\nhello\n" + end,
        "data with bare CR": b"5\r\nhello\r" + end,
        "data with two other bytes": b"5\r\nhelloXX" + end,
        "NUL in size": b"5\x00\r\nhello\r\n" + end,
        "NUL in extension": b"5;a=\x00\r\nhello\r\n" + end,
        "bare CR in extension": b"5;a=\r1\r\nhello\r\n" + end,
        "bare LF in extension": b"5;a=\n1\r\nhello\r\n" + end,
        "LF in a quoted extension": b'5;a="\n"\r\nhello\r\n' + end,
        "control in extension": b"5;a=\x01\r\nhello\r\n" + end,
        "extension without size": b";a=b\r\nhello\r\n" + end,
        "extension too long": b"5;" + b"a" * 70000 + b"\r\nhello\r\n" + end,
        "last chunk bare LF": b"0\n\n",
        "last chunk bare LF then CRLF": b"0\n\r\n",
        "last line bare LF": b"0\r\n\n",
        "last chunk with NUL": b"0\x00\r\n\r\n",
        "trailer blank before colon": b"0\r\nX : y\r\n\r\n",
        "trailer without colon": b"0\r\nxyz\r\n\r\n",
        "trailer with NUL": b"0\r\nX: a\x00b\r\n\r\n",
        "trailer bare LF": b"0\r\nX: y\n\r\n",
        "trailer bare CR": b"0\r\nX: y\rz\r\n\r\n",
        "trailer folded": b"0\r\nX: y\r\n z\r\n\r\n",
        "trailer without a name": b"0\r\n: y\r\n\r\n",
        "trailers too large": b"0\r\n" + b"X: " + b"y" * 70000 + b"\r\n\r\n",
        "trailers too many": b"0\r\n" + b"X: y\r\n" * 3000 + b"\r\n",
    }
    cases = [
        Case(f"chunk: {name}", post(te, body + SMUGGLED), BAD | {413, 431}, True)
        for name, body in refused.items()
    ]
    served = {
        "extension": b"5;a=b\r\nhello\r\n" + end,
        "quoted extension": b'5;a="b"\r\nhello\r\n' + end,
        "upper and lower hex": b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + end,
        "zeros before size": b"0005\r\nhello\r\n" + end,
        "long zero": b"5\r\nhello\r\n000\r\n\r\n",
        "extension on the last": b"5\r\nhello\r\n0;a=b\r\n\r\n",
        "trailer": b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    }
    either = {
        "blank after size": b"5 \r\nhello\r\n" + end,
        "blank before extension": b"5 ;a=b\r\nhello\r\n" + end,
        "extension without a name": b"5;\r\nhello\r\n" + end,
        "seventeen digits": b"00000000000000005\r\nhello\r\n" + end,
        "trailer that frames": b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
        "trailer that codes": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "trailer that routes": b"5\r\nhello\r\n0\r\nHost: other.example\r\n\r\n",
    }
    cases += [Case(f"chunk: {name}", post(te, body), ONCE) for name, body in served.items()]
    cases += [Case(f"chunk: {name}", post(te, body), EITHER, True) for name, body in either.items()]
    return cases


CHUNKS = _chunks()
