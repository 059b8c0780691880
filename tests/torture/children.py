"""Work in forked children of a process that has imported everything: a verb starts in milliseconds, not in seconds."""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TRACEBACK = 70
"""The exit code of a child that an exception ended."""
CPU_SECONDS = 120
"""CPU time after which a verb on a tiny run counts as hung."""
PATIENCE = 15
"""How many times as long it may take by the clock, on a busy machine."""


@dataclass(frozen=True)
class Ended:
    """How a child has ended."""

    code: int
    """Its exit code, or minus the signal that killed it."""
    output: str
    errors: str
    hung: bool = False

    @property
    def fault(self) -> str:
        """What no verb may do whatever it is given: end by an exception, or not at all. Empty where it did neither."""
        if self.hung:
            return "hang"
        return "traceback" if self.code == TRACEBACK else ""


@dataclass(frozen=True)
class Child:
    """A forked child at work."""

    process: int
    files: Sequence[Path]
    cpu_seconds: int

    def end(self, shot: tuple[float, signal.Signals] | None = None) -> Ended:
        """Wait for the end. `shot` is a signal that the child gets after some seconds."""
        code, hung = _wait(self.process, self.cpu_seconds * PATIENCE, shot)
        output, errors = (file.read_text(errors="replace") for file in self.files)
        return Ended(code, output, errors, hung or code == -signal.SIGXCPU)


def begin(work: Callable[[], int], scratch: Path, *, cpu_seconds: int = CPU_SECONDS) -> Child:
    """Call `work` in a forked child, whose output goes by files in `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    files = scratch / "stdout", scratch / "stderr"
    child = os.fork()
    if child == 0:
        _work_and_exit(work, files, cpu_seconds)
    return Child(child, files, cpu_seconds)


def in_child(
    work: Callable[[], int],
    scratch: Path,
    *,
    cpu_seconds: int = CPU_SECONDS,
    shot: tuple[float, signal.Signals] | None = None,
) -> Ended:
    """Call `work` in a forked child and wait for its end; see `begin` and `Child.end`."""
    return begin(work, scratch, cpu_seconds=cpu_seconds).end(shot)


def verb(arguments: Sequence[str]) -> Callable[[], int]:
    """Return the work of a `seewhy` command."""

    def work() -> int:
        from seewhy.cli import main

        return main(list(arguments))

    return work


def _work_and_exit(work: Callable[[], int], files: Sequence[Path], cpu_seconds: int) -> None:
    code = TRACEBACK
    try:
        for number, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
        code = work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:  # before the command could catch it
        code = 130
    except BaseException:  # the parent is told by the exit code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, limit: float, shot: tuple[float, signal.Signals] | None) -> tuple[int, bool]:
    start, hung = time.monotonic(), False
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), hung
        passed = time.monotonic() - start
        if shot and passed >= shot[0]:
            os.kill(child, shot[1])
            shot = None
        if passed > limit and not hung:
            os.kill(child, signal.SIGKILL)
            hung = True
        time.sleep(0.002)
