"""The documents of tests.clients.servers as a WSGI application, for gunicorn."""

import hashlib
import os
import time
from collections.abc import Iterable
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

DOCUMENTS = Path(os.environ.get("DOCUMENTS", "."))


def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Files with their length; the echo without one, in pieces."""
    path = environ["PATH_INFO"]
    if path == "/cgi-bin/echo":
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        first = f"{environ['REQUEST_METHOD']} {environ['QUERY_STRING']}\n".encode()
        return iter([first, hashlib.sha256(body).hexdigest().encode() + b"  -\n"])
    if path == "/cgi-bin/slow":
        time.sleep(0.1)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"slow\n"]
    file = DOCUMENTS / path.lstrip("/")
    if not file.is_file():
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"none\n"]
    changed = formatdate(file.stat().st_mtime, usegmt=True)
    if environ.get("HTTP_IF_MODIFIED_SINCE") == changed:
        start_response("304 Not Modified", [("Last-Modified", changed)])
        return []
    data = file.read_bytes()
    start_response("200 OK", [("Content-Length", str(len(data))), ("Last-Modified", changed)])
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [data]
