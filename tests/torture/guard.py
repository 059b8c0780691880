"""What no input may make the package do: an exception that is no SeeWhyError, a hang, a write or a program outside."""

import os
import platform
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from seewhy.errors import SeeWhyError

HANG_SECONDS = 10.0
"""CPU time that an input may take."""
HUGE = 2**30
"""Bytes that an input may take."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod"}
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"}


platform.processor()  # is found by a program, once


class Hang(BaseException):
    """More CPU time than any input is worth."""


@dataclass
class _Watch:
    allowed: tuple[str, ...] | None = None
    """The folders that may be written to; None while nothing is watched."""
    outside: list[str] = field(default_factory=list)
    installed: bool = False


_WATCH = _Watch()


@dataclass(frozen=True)
class Fault:
    """What an input has made the package do."""

    kind: str
    """traceback, hang or outside_write."""
    said: str
    where: str = ""
    """The line of the package at which it happened."""


def fault_of(use: Callable[[], Any], folder: Path, *, seconds: float = HANG_SECONDS) -> Fault | None:
    """Return what is wrong with how the package meets an input: None where it gives a result or a SeeWhyError."""
    _WATCH.outside.clear()
    before = _peak()
    try:
        with _watching(folder), _at_most(seconds), _within(2 * HUGE):
            use()
    except MemoryError as error:
        return Fault("hang", "more memory than it may have", _line_of(error))
    except SeeWhyError as error:
        if not str(error).strip():
            return Fault("traceback", "a SeeWhyError that says nothing")
    except Hang:
        return Fault("hang", f"more than {seconds:g} s", _line_of(sys.exc_info()[1]))
    except Exception as error:
        return Fault("traceback", f"{type(error).__name__}: {error!s:.200}", _line_of(error))
    if _WATCH.outside:
        return Fault("outside_write", "; ".join(_WATCH.outside[:3]))
    if (grown := _peak() - before) > HUGE:
        return Fault("hang", f"{grown / 2**30:.1f} GB of memory")
    return None


def _peak() -> int:
    """The most memory that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _line_of(error: BaseException | None) -> str:
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    own = [frame for frame in frames if f"{os.sep}seewhy{os.sep}" in frame.filename] or list(frames)
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


@contextmanager
def _watching(folder: Path) -> Iterator[None]:
    if not _WATCH.installed:
        sys.addaudithook(_audit)
        _WATCH.installed = True
    _WATCH.allowed = (os.path.realpath(folder), "/dev/", "/proc/")
    try:
        yield
    finally:
        _WATCH.allowed = None


def _audit(event: str, details: tuple[Any, ...]) -> None:
    if _WATCH.allowed is None:
        return
    if event in _PROGRAMS:
        _WATCH.outside.append(f"{event} {details[:2]!r:.200}")
    elif event in _CHANGES or (event == "open" and isinstance(details[2], int) and details[2] & _WRITES):
        paths = details[:2] if event == "os.rename" else details[:1]
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):
                real = os.path.realpath(os.fsdecode(path))
                if not real.startswith(_WATCH.allowed) and Path(real).parent != Path(tempfile.gettempdir()):
                    _WATCH.outside.append(f"{event} {real}")


@contextmanager
def _within(size: int) -> Iterator[None]:
    """Let this process have so many bytes more than it has."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    def expired(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, expired)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
