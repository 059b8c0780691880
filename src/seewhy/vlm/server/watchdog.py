"""Runs a server, and ends it with all that it started once the process that wanted it is gone.

    python watchdog.py GRACE COMMAND ...

Its standard input is a pipe whose other end that process holds. The system closes it however the process ends, kill -9
included; the watchdog then asks the server to end, gives it GRACE seconds, and kills all that is left. That is its own
process group and, on Linux, also what has left the group (by setsid, as daemons do): it is made the parent of such
orphans (PR_SET_CHILD_SUBREAPER). There are two watchdogs, one the child of the other: where one of them is killed, the
other ends the server. Needs the standard library alone, so that it starts at once.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

IS_LINUX = sys.platform == "linux"
_PARENT_DEATH_SIGNAL, _CHILD_SUBREAPER = 1, 36
"""Options of prctl(2)."""


def main() -> None:
    adopt_orphans()
    inner = os.fork()
    if inner:
        outer(inner)
    else:
        end_with_parent(signal.SIGTERM)
        adopt_orphans()
        run(float(sys.argv[1]), sys.argv[2:])


def outer(inner: int) -> None:
    """Wait for the watchdog that runs the server, and end what it left behind."""
    signal.signal(signal.SIGTERM, lambda *_signal: os.kill(inner, signal.SIGTERM))
    _, status = os.waitpid(inner, 0)
    kill_all()
    os._exit(os.waitstatus_to_exitcode(status) & 255)


def run(grace: float, command: list[str]) -> None:
    """Run the server until it ends, or is to end."""
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=lambda: end_with_parent(signal.SIGKILL))
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", flush=True)
        os._exit(127)

    def end(*_signal: object) -> None:
        server.terminate()
        threading.Timer(grace, finish).start()

    def until_closed() -> None:
        while os.read(0, 1024):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=until_closed, daemon=True).start()
    print(f"The server ended with exit code {server.wait()}.", flush=True)
    finish()


def finish() -> None:
    """End all that the server started, and this process."""
    kill_all()
    os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent ends."""
    if IS_LINUX:
        ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(how: signal.Signals) -> None:
    """Get this signal when the parent ends."""
    if IS_LINUX:
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(how), 0, 0, 0)


def kill_all() -> None:
    """Kill every descendant, in whatever group; elsewhere than on Linux the group, with this process."""
    if not IS_LINUX:
        os.killpg(0, signal.SIGKILL)
    gone = time.monotonic() + 5  # a process in the kernel's hands ends later, by itself
    while (found := descendants(os.getpid())) and time.monotonic() < gone:
        for process in found:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def descendants(process: int) -> list[int]:
    """Return the ids of a process's children and of theirs, from /proc; zombies are left out."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(name))
    found, waiting = [], [process]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


if __name__ == "__main__":
    main()
