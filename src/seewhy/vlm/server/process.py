"""A server that a run starts for one of its models, and that never outlives the run.

The command runs under `watchdog.py` in a session of its own: all that it started ends when `stop` is called, when the
process that started it ends in any way, and when its `ServerProcess` is collected; on macOS, all but what has left the
process group. What it prints goes to a log that no other user of the machine can read.
"""

import http.client
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from seewhy.errors import SeeWhyError
from seewhy.run.progress import say
from seewhy.run.storage import disk
from seewhy.vlm.server import watchdog
from seewhy.words import masked, remember_secrets_of

GRACE = 10.0
"""Seconds that a server has to end when it is asked to, before it is killed."""

PORT_ATTEMPTS = 3
"""Free ports that are tried: another process may take one before the server does."""

TAIL = 20
"""Lines of the log that an error shows."""


class ServerProcess:
    """A running command. Its log is `log`, to which each start appends."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """Starts the command. Raises SeeWhyError where there is no such program."""
        if os.name != "posix":
            raise SeeWhyError(
                "A run starts servers on Linux and macOS alone: start it yourself and set model.engine.base_url."
            )
        if shutil.which(command[0]) is None:
            raise SeeWhyError(
                f"There is no program {command[0]} to start a server with: install it, correct model.engine.command, "
                f"or start a server yourself and set model.engine.base_url."
            )
        self.log = log
        with disk(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "ab", opener=_private) as file:
                file.write(f"$ {masked(shlex.join(command))}\n".encode())
                file.flush()
                self._begins_at = file.tell()
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", watchdog.__file__, str(GRACE), *command],
                    stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
        assert self._process.stdin is not None
        self._let_go = weakref.finalize(self, self._process.stdin.close)

    def ended(self, within: float = 1.0) -> bool:
        """Whether the server has ended, or does within some seconds: its connections break a little earlier."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self._process.returncode is not None

    @property
    def group(self) -> int:
        """Id of the process group in which the server and all that it starts are."""
        return self._process.pid

    def tail(self) -> str:
        """The last lines of what this server printed, and where the rest is."""
        with self.log.open("rb") as file:
            file.seek(self._begins_at)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(["Its last lines:", *(f"  {line}" for line in lines[-TAIL:]), f"(all of them: {self.log})"])

    def stop(self) -> None:
        """End the server and everything that it started, and wait until they are gone."""
        self._let_go()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE + 5)
        with suppress(ProcessLookupError, PermissionError):  # a group without living members
            os.killpg(self.group, signal.SIGKILL)
        self._process.wait()


def _private(path: str, flags: int) -> int:
    """Open a log that no other user reads: a server may print the key that it was given."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def start(
    template: str, values: Mapping[str, str], log: Path, *, port: int, seconds: float
) -> tuple[ServerProcess, str]:
    """Start a server and wait until it answers. Returns it with its address, http://localhost:PORT/v1.

    `template` is a command line in which {port} and the names in `values` are filled in after it is split into words.
    `port` 0 takes a free one. Raises SeeWhyError, with the end of the log, where the server ends or is not ready within
    `seconds`, and where the port is in use.
    """
    if port and not _is_free(port):
        raise SeeWhyError(
            f"Port {port} is in use: stop what listens there, or set model.engine.port to another one, or to 0 for any."
        )
    for attempt in range(PORT_ATTEMPTS):
        chosen = port or _free_port()
        process = ServerProcess(command_line(template, {**values, "port": str(chosen)}), log)
        try:
            _wait(process, f"http://localhost:{chosen}", seconds)
        except SeeWhyError:
            taken = "address already in use" in process.tail().lower()
            process.stop()
            if port or not taken or attempt == PORT_ATTEMPTS - 1:
                raise
        except BaseException:
            process.stop()
            raise
        else:
            return process, f"http://localhost:{chosen}/v1"
    raise AssertionError("every attempt returns or raises")


def command_line(template: str, values: Mapping[str, str]) -> list[str]:
    """The words of a command, with {names} filled in; a path with spaces stays one word. Its secrets are masked from
    now on."""
    remember_secrets_of(template)
    try:
        words = [word.format_map(values) for word in shlex.split(template)]
    except (ValueError, KeyError, IndexError) as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        raise SeeWhyError(
            f"model.engine.command cannot be read ({error}): {template!r}. It may hold {known}; write {{{{ and }}}} "
            f"for braces that mean themselves."
        ) from error
    if not words:
        raise SeeWhyError(
            "model.engine.command is empty: give a command, or model.engine.base_url of a running server."
        )
    if "{port}" not in template:
        raise SeeWhyError(f"model.engine.command does not say {{port}}, so the server cannot be found: {template!r}.")
    return words


def key_in(template: str) -> str:
    """Return the key with which a command starts its server (`--api-key KEY`), and for which that asks then; empty
    where it is open to all on this machine."""
    words = shlex.split(template)
    for number, word in enumerate(words):
        name, is_given, value = word.partition("=")
        if name in ("--api-key", "--api_key"):
            return value if is_given else "".join(words[number + 1 : number + 2])
    return ""


def _wait(process: ServerProcess, root: str, seconds: float) -> None:
    """Until the server answers at its address at all: servers load their model first, or say 503 until they have."""
    say(f"waiting for the server to load its model, for {seconds:g} seconds at most (log: {process.log})")
    begun = time.monotonic()
    while not _answers(f"{root}/health"):
        if process.ended(within=0.2):
            raise SeeWhyError(
                f"The server ended before it answered: correct model.engine.command, or what it complains of. "
                f"{process.tail()}"
            )
        if time.monotonic() - begun > seconds:
            raise SeeWhyError(
                f"The server did not answer within {seconds:g} seconds: raise model.engine.start_timeout if it still "
                f"loads its model. {process.tail()}"
            )
    say(f"the server is ready after {time.monotonic() - begun:.0f} seconds")


def _answers(url: str) -> bool:
    """Whether something other than a failure comes back; 'not found' is an answer. Proxies are left out."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, http.client.HTTPException):
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("localhost", port))
        except OSError:
            return False
        return True
