"""CPU time, memory and sockets of a process and all its descendants, as the kernel counts them.

CPU time comes from the process's own CPU clock (nanoseconds, threads that have ended included), not from
the ticks of ``/proc/PID/stat``: a run of one second would be known to two per cent only. Resident memory
comes from ``smaps_rollup``, because the counters behind VmRSS are batched for each CPU. The ``parse_*``
functions and :func:`descendants` are pure.
"""

import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
LISTENING = 0x0A
SKMEM = re.compile(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+),")
"""What ss(8) says of one socket: bytes received, set aside, queued to be sent."""


def parse_stat(text: str) -> tuple[int, int]:
    """Process id and parent of a ``/proc/PID/stat``; the command in it may hold blanks and brackets."""
    head, _, tail = text.rpartition(")")
    return int(head.partition(" ")[0]), int(tail.split()[1])


def descendants(root: int, parents: Iterable[tuple[int, int]]) -> list[int]:
    """``root`` and all that descend from it, given pairs of process id and parent."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents:
        children.setdefault(parent, []).append(pid)
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, ()))
    return found


def parse_rollup(text: str) -> dict[str, int]:
    """``smaps_rollup``: its fields in bytes."""
    sizes = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB":
            sizes[name] = int(words[0]) * 1024
    return sizes


def parse_sockstat(text: str) -> dict[str, dict[str, int]]:
    """``/proc/net/sockstat``: for each protocol its counters; ``mem`` is in pages."""
    table = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        table[name] = {key: int(value) for key, value in zip(words[::2], words[1::2], strict=True)}
    return table


def parse_tcp(text: str, port: int) -> set[int]:
    """``/proc/net/tcp``: the inodes of sockets, other than listening ones, whose local port is ``port``."""
    inodes = set()
    for line in text.splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port and int(words[3], 16) != LISTENING:
            inodes.add(int(words[9]))
    return inodes - {0}


def parse_busy(text: str, cpus: Collection[int]) -> int:
    """``/proc/stat``: ticks that these CPUs were not idle; what a hypervisor took counts as busy."""
    ticks = 0
    for line in text.splitlines():
        name, *words = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cpus:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks


def cpu_clock(pid: int) -> int:
    """The identifier of a process's CPU clock (clock_getcpuclockid(3)): complement, and CPUCLOCK_SCHED."""
    return (~pid << 3) | 2


def tree(root: int) -> list[int]:
    """``root`` and its descendants that are alive now."""
    parents = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            # A process may end while the table is read.
            with suppress(FileNotFoundError, ProcessLookupError):
                parents.append(parse_stat((folder / "stat").read_text(errors="replace")))
    return descendants(root, parents)


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far.

    Raises:
        OSError: the process has ended.
    """
    return sum(time.clock_gettime(cpu_clock(pid)) for pid in tree(root))


def busy_seconds(cpus: Collection[int]) -> float:
    """How long these CPUs have worked, for anybody."""
    return parse_busy(Path("/proc/stat").read_text(), cpus) / TICKS


def own_seconds() -> float:
    """CPU time of this process, all that it has started, and all that it has waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu_seconds(os.getpid()) + ended.ru_utime + ended.ru_stime


def memory(root: int) -> Mapping[str, int]:
    """Resident (``Rss``) and proportional (``Pss``) bytes of the tree."""
    total = {"Rss": 0, "Pss": 0}
    for pid in tree(root):
        sizes = parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())
        for name in total:
            total[name] += sizes[name]
    return total


def held(root: int, port: int) -> int:
    """How many sockets on the local ``port`` descriptors of the tree hold open."""
    inodes = set()
    for pid in tree(root):
        with suppress(FileNotFoundError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    target = str(entry.readlink())
                    if target.startswith("socket:["):
                        inodes.add(int(target[8:-1]))
    return len(inodes & parse_tcp(Path("/proc/net/tcp").read_text(), port))


def spooled(root: int) -> int:
    """Bytes of the unlinked files that descriptors of the tree hold open."""
    total = 0
    for pid in tree(root):
        with suppress(FileNotFoundError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    target = str(entry.readlink())
                    if target.startswith("/") and target.endswith("(deleted)"):
                        total += entry.stat().st_blocks * 512
    return total


def parse_skmem(text: str) -> int:
    """``ss -m``: bytes of kernel memory that these sockets hold, received, to send, and set aside."""
    total = 0
    for found in SKMEM.finditer(text):
        total += sum(map(int, found.groups()))
    return total


def socket_memory(port: int) -> int | None:
    """Bytes in the kernel's buffers of the connections with this local port; None without ss(8)."""
    if shutil.which("ss") is None:
        return None
    command = ["ss", "-Htmn", "sport", "=", f":{port}"]
    return parse_skmem(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def tcp_memory() -> int:
    """Bytes in the kernel's TCP buffers; a figure of the whole machine."""
    return parse_sockstat(Path("/proc/net/sockstat").read_text())["TCP"]["mem"] * PAGE
