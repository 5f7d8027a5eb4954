"""What a client's FIN behind its request means: that it wants its answer, or that it has gone.

TCP says the same of both. A browser whose tab was closed has closed its socket, and `nc -N` has only ended
its own direction. One byte tells them apart, since a closed socket answers it with a reset, and the only
bytes that can be sent before the answer are an interim response's: a 100 (Continue) is ignored by whoever
did not ask for one (RFC 9110 section 15.2.1); python's http.client takes a 102 or 103 for the answer itself.

Called by both lanes when the FIN is seen.
"""

from shieldproxy.core.policy import HalfClose, Policy


def on_fin(policy: Policy, *, minor: int, begun: bool) -> HalfClose:
    """Return what to do about a client's FIN behind a whole request.

    Args:
        policy: the client's. With ``probe``, one that cannot be sent a 100 is served: an HTTP/1.0 client has
            never heard of interim responses, and a rule may have them kept from this one.
        minor: of the request's version.
        begun: whether anything of the answer has gone out: then the answer itself is the probe.
    """
    if policy.half_close == "probe":
        deaf = minor == 0 or policy.request_version == "1.0" or policy.response_version is not None
        if deaf or begun or policy.interim == "none":
            return "serve"
    return policy.half_close
