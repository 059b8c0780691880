"""Runs a server, and ends it with all that it started once the process that wanted it is gone.

    python watchdog.py GRACE COMMAND ...

Its standard input is a pipe whose other end that process holds. The system closes it however the process ends, kill -9
included; the watchdog then asks the server to end, gives it GRACE seconds, and kills its own process group, in which
everything is that the server started. Needs the standard library alone, so that it starts at once.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    grace, command = float(sys.argv[1]), sys.argv[2:]
    try:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", flush=True)
        sys.exit(127)

    def end(*_signal: object) -> None:
        server.terminate()
        threading.Timer(grace, kill_group).start()

    def until_closed() -> None:
        while os.read(0, 1024):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=until_closed, daemon=True).start()
    print(f"The server ended with exit code {server.wait()}.", flush=True)
    kill_group()


def kill_group() -> None:
    """The watchdog as well: nothing of the group is left."""
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
