"""Every payload, and the classes of discrepancies that they are of."""

import re

from tests.kit.payloads import FRAMING
from tests.kit.payloads_chunks import CHUNKS
from tests.kit.payloads_fields import FIELDS, HOSTS
from tests.kit.payloads_lines import LINES
from tests.kit.payloads_spaces import LINE_ENDS, SPACES
from tests.kit.payloads_targets import TARGETS, VERSIONS

ALL = [*FRAMING, *CHUNKS, *LINES, *TARGETS, *VERSIONS, *LINE_ENDS, *SPACES, *FIELDS, *HOSTS]

CLASSES = {
    "framing": r"length.*coding|coding.*length|coding (twice|then|in HTTP)|identity|(two|three) .*length"
    r"|length (on|listed|named)|coding (on|named)|chunk: (data|last|trailer)",
    "targets": r"^target|line: .*(target|star|authority|scheme|slash|fragment|dots|query|percent|brackets)",
    "Host": r"(?i)host",
    "chunk lines": r"^chunk: (size|.*(after size|extension|in size|digits|hex|zero|swapped))",
    "lengths": r"length",
    "codings": r"^coding|that codes",
    "versions": r"^version|line: (version|name|HTTP)|HTTP/1.0",
    "line ends": r"^line end|LF|CR\b|line line|fold|blank line",
    "whitespace": r"^space|blank|tab|space",
    "fields": r"^field|^line: (method|unknown|odd|lower)",
}
"""Class -> pattern of the names that are of it; a payload may be of several."""


def counts() -> dict[str, int]:
    """How many payloads are of each class."""
    return {
        name: sum(bool(re.search(pattern, case.name)) for case in ALL) for name, pattern in CLASSES.items()
    }
