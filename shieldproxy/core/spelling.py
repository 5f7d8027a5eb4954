"""How field names are written, for servers that compare them as they stand.

Names mean the same in any case (RFC 9110 section 5.1), and many clients write them small; a server of 1996
may look for ``Content-Length`` and nothing else. ``titled`` changes letters' case and no more: what comes out
is always the same name. It is called for each field line of a request, for upstreams that ask for it only.
"""

from typing import Final

_WRITTEN: Final = (
    b"A-IM Accept Accept-CH Accept-Charset Accept-Datetime Accept-Encoding Accept-Language Accept-Ranges Age "
    b"Allow ALPN Alt-Svc Alt-Used Authorization Cache-Control Connection Content-Disposition Content-DPR "
    b"Content-Encoding Content-ID Content-Language Content-Length Content-Location Content-MD5 Content-Range "
    b"Content-Security-Policy Content-Transfer-Encoding Content-Type Cookie Cookie2 DASL Date DAV Depth "
    b"Destination Digest DNT DPR Early-Data ECT ETag Expect Expires Forwarded From Host HTTP2-Settings IM If "
    b"If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since Keep-Alive Last-Event-ID "
    b"Last-Modified Link Location Lock-Token Max-Forwards MIME-Version NEL Ns-Proxy-Authorization Origin "
    b"Overwrite P3P Pragma Prefer Priority Proxy-Authorization Proxy-Connection Range Referer Request-Range "
    b"RTT Save-Data Sec-CH-UA Sec-CH-UA-Arch Sec-CH-UA-Bitness Sec-CH-UA-Full-Version "
    b"Sec-CH-UA-Full-Version-List Sec-CH-UA-Mobile Sec-CH-UA-Model Sec-CH-UA-Platform "
    b"Sec-CH-UA-Platform-Version Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-GPC "
    b"Sec-WebSocket-Accept Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Protocol "
    b"Sec-WebSocket-Version Service-Worker SLUG SOAPAction TE Timeout Trailer Transfer-Encoding Translate "
    b"UA-CPU UA-Color UA-OS UA-Pixels Upgrade Upgrade-Insecure-Requests User-Agent Via Want-Digest Warning "
    b"WWW-Authenticate X-ATT-DeviceId X-CSRF-Token X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto "
    b"X-HTTP-Method-Override X-Real-IP X-Requested-With X-UA-Compatible X-UIDH X-Wap-Profile X-XSRF-TOKEN"
).split()
_known: Final[dict[bytes, bytes]] = {name.lower(): name for name in _WRITTEN}
_seen: Final[dict[bytes, bytes]] = {}
_ROOM: Final = 1024
_LONGEST: Final = 64


def titled(name: bytes) -> bytes:
    """Return a field name as it is commonly written; letters' case is all that changes.

    A well-known name gets its usual form, whatever it came in. Of any other, the parts between its dashes
    that are small are given a capital; one that its sender wrote with capitals is left as that: it knows
    better.
    """
    written = _seen.get(name)
    if written is None:
        written = _known.get(name.lower())
        if written is None:
            parts = name.split(b"-")
            written = b"-".join([part.capitalize() if part.islower() else part for part in parts])
        if len(name) <= _LONGEST:
            if len(_seen) >= _ROOM:
                _seen.clear()
            _seen[name] = written
    return written


def titled_line(line: bytes) -> bytes:
    """Return a field line with its name as ``titled`` writes it."""
    name, colon, value = line.partition(b":")
    return titled(name) + colon + value
