"""What a program is here, and what was seen of it.

Every client is put through the same story, as far as it can follow: it asks for 200 kB (``kept``), is idle
while the proxy ends the idle connection, asks again (``again``), uploads 300 kB (``post``), uploads 3 MB
where only 64 KiB are allowed (``refused``), asks for 200 kB on a path whose rule ends the connection
(``closed``), and is idle once more. A program tells what it saw in lines: ``STEP STATUS BYTES SHA256`` or
``STEP error WHY``.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.clients.stage import Stage

PAGE = 200_000
UPLOAD = 300_000
REFUSED = 3_000_000
KEPT, AGAIN, POST, REFUSAL, CLOSED = "kept", "again", "post", "refused", "closed"


def text(name: str, size: int = PAGE) -> bytes:
    """A text of lines, different for each name, that no browser has a reason to change."""
    lines, total, number = [], 0, 0
    while total < size:
        line = hashlib.sha256(f"{name} {number}".encode()).hexdigest().encode() + b"\n"
        lines.append(line)
        total += len(line)
        number += 1
    return b"".join(lines)[: size - 1] + b"\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw of one response: a status and a body, or an error."""

    status: int = 0
    size: int = 0
    digest: str = ""
    error: str = ""

    @staticmethod
    def of(status: int, body: bytes) -> "Seen":
        """Of a body in hand."""
        return Seen(status, len(body), hashlib.sha256(body).hexdigest())


def told(output: str) -> dict[str, Seen]:
    """Read the lines of a program; others are skipped."""
    found = {}
    for line in output.splitlines():
        word = line.split(None, 3)
        if len(word) >= 2 and word[1] == "error":
            found[word[0]] = Seen(error=" ".join(word[2:])[:160] or "error")
        elif len(word) == 4 and word[1].isdigit() and word[2].isdigit():
            found[word[0]] = Seen(int(word[1]), int(word[2]), word[3].strip())
    return found


@dataclass(frozen=True, slots=True)
class Needs:
    """What a program needs: commands or python modules, and where they come from."""

    commands: Sequence[str] = ()
    modules: Sequence[str] = ()
    source: str = ""

    def missing(self) -> str:
        """Why it cannot run here; empty if it can."""
        for command in self.commands:
            if shutil.which(command) is None:
                return f"{command} is not installed ({self.source})"
        for module in self.modules:
            if not _importable(module):
                return f"the module {module} is not installed ({self.source})"
        return ""


def _importable(module: str) -> bool:
    return find_spec(module) is not None


Story = Callable[["Stage"], dict[str, Seen]]


@dataclass(frozen=True, slots=True)
class Program:
    """One client: what it needs, how it tells its version, and how it follows the story."""

    name: str
    needs: Needs
    version: Callable[[], str]
    story: Story
    steps: Sequence[str] = (KEPT, AGAIN, POST, REFUSAL, CLOSED)
    """The steps that it can follow and tell of; the others are not expected."""
    idles: bool = True
    """Whether it can be kept running without doing anything."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Closing:
    """How one connection was closed, from the client's side and from ours."""

    fin: str
    """When the client's FIN came, in words."""
    receipt: dict[str, Any] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """The receipt in a few words."""
        if not self.receipt:
            return "no receipt"
        words = [f"{self.receipt['by']}: {self.receipt['reason']}"]
        if "linger" in self.receipt:
            words.append(f"linger {self.receipt['linger']}")
        return ", ".join(words)


@dataclass(slots=True)
class Row:
    """All that was seen of one program."""

    program: Program
    version: str = ""
    seen: dict[str, Seen] = field(default_factory=dict)
    idle: Closing | None = None
    asked: Closing | None = None
    refusal: Closing | None = None
    http: str = ""
    faults: list[str] = field(default_factory=list)
    receipts: list[dict[str, Any]] = field(default_factory=list)
