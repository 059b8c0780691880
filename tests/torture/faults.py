"""A shim under the file operations of this process: it is asked before each, and may kill the process or refuse it."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Before = Callable[[str, Path], None]
"""Called with the kind of an operation (open, flush, rename, mkdir, remove) and its path."""

_KINDS = {"os.rename": "rename", "os.mkdir": "mkdir", "os.remove": "remove", "os.rmdir": "remove", "open": "open"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def before_operations(folder: Path, before: Before) -> None:
    """From now on call `before` ahead of each operation that changes a file below `folder`. There is no way back, so
    call this in a child."""
    inside = os.path.realpath(folder) + os.sep
    fsync, busy = os.fsync, False

    def ask(kind: str, path: str) -> None:
        nonlocal busy
        if busy or not os.path.abspath(path).startswith(inside):
            return
        busy = True
        try:
            before(kind, Path(path))
        finally:
            busy = False

    def audit(event: str, details: tuple[object, ...]) -> None:
        kind = _KINDS.get(event)
        if kind is None or not isinstance(details[0], str | bytes | os.PathLike):
            return
        if kind == "open" and not (isinstance(details[2], int) and details[2] & _WRITES):
            return
        ask(kind, os.fsdecode(details[1] if kind == "rename" else details[0]))  # type: ignore[arg-type]

    def flush(descriptor: int) -> None:
        ask("flush", os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    os.fsync = flush
    sys.addaudithook(audit)


def tear(path: Path) -> None:
    """Leave half of a file, as a power cut in the midst of a write does."""
    if path.is_file():
        os.truncate(path, path.stat().st_size // 2)


def tear_last_line(path: Path) -> None:
    """Leave half of a file's last line."""
    content = path.read_bytes()
    last = content.rstrip(b"\n").rpartition(b"\n")[2]
    os.truncate(path, len(content) - 1 - len(last) // 2)


def die(name: signal.Signals) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), name)


def refusing(errors: int) -> Before:
    """Return a `before` that refuses what a disk refuses that is full (ENOSPC) or not ours (EACCES)."""
    refused = {"open", "flush", "mkdir"} if errors == errno.ENOSPC else {"open", "mkdir", "rename", "remove"}

    def before(kind: str, path: Path) -> None:
        if kind in refused:
            raise OSError(errors, os.strerror(errors), str(path))

    return before


def note(path: Path, text: str) -> None:
    """Write a line that outlives the process that writes it."""
    with suppress(FileNotFoundError):
        path.unlink()
    path.write_text(text)
