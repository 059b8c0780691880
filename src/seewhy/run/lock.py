"""The lock of a run folder: one process at a time works in it, on whichever machine of those that share it.

The system's lock on the file `lock` ends with its process, however that ends. Some network folders do not tell other
machines of it. So `lock.pid` says who holds it, and its holder touches it every few seconds: where the file names
another machine and goes on being touched, the folder is in use. No two clocks are compared.
"""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from seewhy.errors import SeeWhyError
from seewhy.run.progress import say
from seewhy.run.storage import refuse_links, write_atomically

BEAT = 5.0
"""Seconds between two touches of lock.pid."""


def holder_file(folder: Path) -> Path:
    """Return the file that says which process works in a run folder, while it does."""
    return folder / "lock.pid"


class Held:
    """The lock of a run folder, while this process holds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = _identity(folder / "lock")

    def check(self) -> None:
        """Raise SeeWhyError where the folder was moved, or its lock deleted, so that another process may be in it."""
        if _identity(self.folder / "lock") != self._file:
            raise SeeWhyError(
                f"{self.folder / 'lock'} is no longer the file that this process locked: the run folder was moved or "
                "renamed, or its lock was deleted, while the run worked in it. Nothing more is written. What is "
                "finished is kept; start the run again, with --output where the folder is now."
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def locked(folder: Path) -> Iterator[Held]:
    """Keep other processes out of a run folder, which is made where it is missing.

    Raises SeeWhyError where another process, on this or another machine, works in it, and where it cannot be written.
    """
    holder, lock = holder_file(folder), FileLock(folder / "lock")
    refuse_links(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise _in_use(folder, _read(holder)) from None
    except OSError as error:
        remedy = "Choose another output folder."
        raise SeeWhyError(f"{folder} cannot hold a run: {error.strerror}. {remedy}") from error
    ended = threading.Event()
    try:
        if is_held_elsewhere(holder):
            raise _in_use(folder, _read(holder))
        write_atomically(holder, f"{os.getpid()} on {platform.node()}".encode())
        threading.Thread(target=_touch, args=(holder, ended), daemon=True).start()
        try:
            yield Held(folder)
        finally:
            ended.set()
            with suppress(OSError):  # on a disk that takes nothing more, it is told by nobody touching it
                holder.unlink(missing_ok=True)
    finally:
        lock.release()


def is_held_elsewhere(holder: Path) -> bool:
    """Return whether a process of another machine holds the lock, though this machine's system knows nothing of it.

    A file that such a process left behind is told by nobody touching it.
    """
    before = _read(holder), _touched(holder)
    _process, _, host = before[0].partition(" on ")
    if host in ("", platform.node()):
        return False
    say(f"{holder} names process {before[0]}: looking whether it still works there")
    until = time.monotonic() + 3 * BEAT
    while time.monotonic() < until:
        time.sleep(BEAT / 5)
        if holder.exists() and (_read(holder), _touched(holder)) != before:
            return True
    return False


def _in_use(folder: Path, holder: str) -> SeeWhyError:
    who = f"process {holder}" if holder else "another process"
    return SeeWhyError(f"{folder} is in use by {who}. Wait for it, stop it, or choose another output folder.")


def _read(holder: Path) -> str:
    """Return what the file says; opening it also makes a network folder ask for its latest state."""
    try:
        return holder.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _touched(holder: Path) -> int:
    try:
        return holder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _touch(holder: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            os.utime(holder)
