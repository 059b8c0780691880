"""Where a page or an API is opened, to whom, and what it takes."""

import secrets
import socket
from dataclasses import dataclass, replace
from urllib.parse import quote

from seewhy.config import Count, CountOrZero
from seewhy.errors import SeeWhyError
from seewhy.run.progress import say

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""
NO_TOKEN = "none"
LAST_PORT = 65535


@dataclass(frozen=True)
class Door:
    """Where it is opened, and what it takes."""

    host: str = "127.0.0.1"
    """Address to listen on. The default is reached from this machine alone; 0.0.0.0 opens it to the network."""
    port: CountOrZero = 0
    """Port; 0 takes a free one."""
    token: str | None = None
    """The secret in the address (default: a new one at each start; 'none' for no secret)."""
    max_mb: Count = 20
    """Largest upload, in megabytes."""
    max_megapixels: Count = 50
    """Largest image, in millions of pixels; checked before it is decoded."""
    queue: CountOrZero = 8
    """How many may wait while a model answers, one at a time; others are told to come back."""
    seconds: Count = 120
    """Seconds for which a sender may keep the line, and an answer may take."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOCAL

    @property
    def max_bytes(self) -> int:
        return self.max_mb * 10**6

    @property
    def max_pixels(self) -> int:
        return self.max_megapixels * 10**6

    @property
    def secret(self) -> str:
        """The token; empty where there is none."""
        return "" if self.token in (None, NO_TOKEN) else str(self.token)

    @property
    def path(self) -> str:
        """The part of the address behind the port, without a slash at its end."""
        return f"/{quote(self.secret)}" if self.secret else ""

    def url(self, port: int) -> str:
        """Return the address on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{self.path}/"


THIS_MACHINE = Door()
API_DOOR = Door(port=8000)


def with_token(door: Door) -> Door:
    """Return the door with a new token where none is given. Raises SeeWhyError for one that no address can hold."""
    if door.token is None:
        return replace(door, token=secrets.token_urlsafe(16))
    if not door.token or not door.token.isascii() or not all(c.isalnum() or c in "-_" for c in door.token):
        raise SeeWhyError("A token (--token) takes letters, digits, - and _, or is 'none'.")
    return door


def listen(door: Door) -> socket.socket:
    """Return a socket that listens there. Raises SeeWhyError where that cannot be."""
    family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
    try:
        if door.port > LAST_PORT:
            raise OSError(None, f"ports end at {LAST_PORT}")
        return socket.create_server((door.host, door.port), family=family)
    except OSError as error:
        where = f"port {door.port} of {door.host}" if door.port else door.host
        raise SeeWhyError(
            f"{where[0].upper()}{where[1:]} cannot be opened ({error.strerror}): give another --port or --host."
        ) from error


def announce(door: Door, port: int, what: str) -> None:
    """Say where it is, who can reach it, and how to end it."""
    say(f"{what}: {door.url(port)}")
    if not door.is_local:
        whom = "who has this address" if door.secret else "without any secret (--token none)"
        say(
            f"It listens on {door.host}: everyone who reaches port {port} of this machine and {whom} can use it. What "
            "is sent is not encrypted."
            if door.secret
            else f"It listens on {door.host}: everyone who reaches port {port} of this machine can use it, {whom}. "
            "What is sent is not encrypted."
        )
    elif not door.secret:
        say("There is no secret in the address: every program and user of this machine can use it.")
    say("Ctrl-C ends it.")
