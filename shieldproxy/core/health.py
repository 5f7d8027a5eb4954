"""Which servers are left out for a while, and how they come back.

What counts as a failure, whatever the request: a connection that could not be made; one that closed or was
reset before a whole head of a response, unless it had served others before (that is the race of keep-alive,
and says nothing); a response that did not come in time. A status does not count, nor does a body that breaks
off: only the application knows what they mean.

`max_fails` failures within `fail_window` eject a server for `eject` seconds, twice as long each time again.
Then one request probes it, and everybody else keeps away until that one has been answered, or has failed
(ejected again). A request that had to go there before its time, as nobody was well, can bring it back, but
does not lengthen its ejection. The length starts from the beginning once the server has been well for as long
as it was out.

Active checks (`HealthSpec`) add a second reason to be left out: `fall` failed ones in a row, until `rise`
have passed; these also end an ejection.
"""

from math import inf
from typing import Final

from shieldproxy.core.upstreams import HealthSpec, UpstreamSpec

FAILURES: Final = frozenset({"upstream-closed", "upstream-reset", "upstream-truncated", "response-timeout"})
"""Reasons of an exchange that ended before the whole head of a response, and that count."""


class Health:
    """What is known of one server. Times are in seconds."""

    __slots__ = (
        "_due",
        "_fails",
        "_in_row",
        "_length",
        "_probe_until",
        "_returned",
        "_spec",
        "down",
        "until",
    )

    def __init__(self, spec: UpstreamSpec) -> None:
        self._spec = spec
        self._fails: list[float] = []
        """When it failed, of late."""
        self.until = -inf
        """Ejected, and not probed before this; -inf: it is not ejected."""
        self._length = 0.0
        """Of the last ejection."""
        self._returned = -inf
        self._probe_until = -inf
        """A probe is under way, and is waited for until then."""
        self._due = False
        """That probe was not before its time."""
        self.down = False
        """By its active checks."""
        self._in_row = 0
        """Active checks in a row that passed, or that failed (below 0)."""

    @property
    def troubled(self) -> bool:
        """Whether there is any reason to leave it out, now or until it is probed."""
        return self.down or self.until > -inf

    @property
    def badness(self) -> tuple[bool, float]:
        """What to sort by when none is usable: the least bad is probed first."""
        return (self.down, self.until)

    def usable(self, now: float) -> bool:
        """Whether a request may go there: to a server that is well, or as its probe."""
        return not self.down and now >= self.until and now >= self._probe_until

    def asked(self, now: float, patience: float) -> None:
        """A request goes there; to a server that is left out as its probe.

        Args:
            now: in seconds.
            patience: seconds for which others keep away at most, if nothing is heard of it.
        """
        if self.until > -inf:
            self._due = now >= self.until or (self._due and now < self._probe_until)
            self._probe_until = now + patience

    def failed(self, now: float) -> float:
        """A failure; return the seconds for which that ejects it, 0 if it does not."""
        spec = self._spec
        if self.until > -inf:
            if now >= self._probe_until:
                return 0.0  # of a request that went there before: no news
            if not self._due:
                self._probe_until = -inf
                return 0.0  # asked before its time, as nobody was well: it is out already
        else:
            self._fails = [when for when in self._fails if when > now - spec.fail_window]
            self._fails.append(now)
            if len(self._fails) < spec.max_fails:
                return 0.0
            if now - self._returned >= max(self._length, spec.fail_window):
                self._length = 0.0
        self._fails.clear()
        self._length = min(spec.eject_max, self._length * 2 or spec.eject)
        self._probe_until = -inf
        self.until = now + self._length
        return self._length

    def passed(self, now: float) -> bool:
        """A whole response; tell whether that brings the server back."""
        if self.until == -inf or now >= self._probe_until:
            return False
        self._return(now)
        return True

    def relent(self, now: float) -> None:
        """End the wait, not the ejection: the next request is the probe."""
        self.until = min(self.until, now)

    def unproved(self) -> None:
        """The probe ended without a verdict: the client went away, for one. The next request is the probe."""
        self._probe_until = -inf

    def checked(self, now: float, check: HealthSpec, *, well: bool) -> bool:
        """An active check is over; tell whether it changes anything."""
        row = self._in_row = max(0, self._in_row) + 1 if well else min(0, self._in_row) - 1
        if well and row >= check.rise and self.troubled:
            self.down = False
            self._return(now)
            return True
        if not well and -row >= check.fall and not self.down:
            self.down = True
            return True
        return False

    def _return(self, now: float) -> None:
        self.until = self._probe_until = -inf
        self._returned = now
