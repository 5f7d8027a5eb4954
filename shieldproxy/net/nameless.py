"""Files without a name: where they can be made, and how."""

import errno
import os
import tempfile
from pathlib import Path


def make_file(directory: str) -> int:
    """Make a file without a name.

    Raises:
        OSError: there can be none.
    """
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}:
            raise
    fd, path = tempfile.mkstemp(prefix="shieldproxy-", dir=directory)
    try:
        Path(path).unlink()
    except OSError:
        os.close(fd)
        raise
    return fd


def usable(directory: str) -> tuple[str, str]:
    """Find out where files can be made.

    Returns:
        The directory (empty: there is none), and what is to be said about it.
    """
    try:
        directory = directory or tempfile.gettempdir()
        os.close(make_file(directory))
    except OSError as exc:
        where = directory or "the system's directory for temporary files"
        return "", (
            f"buffers.directory: no file can be made in {where} ({exc.strerror}): bodies are held in memory "
            "only; request bodies above buffers.request_memory are refused with 503, responses above "
            "buffers.response_memory wait for their clients"
        )
    return directory, ""
