"""What stands before every page and API: the secret, the limits of what is sent, and headers that keep all else out.

`Guard` is plain ASGI, so that answers are streamed through it. A request without the secret is told nothing but that.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any

from seewhy.pages.door import LOCAL, Door

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing is loaded from, or sent to, anywhere else. Gradio's own scripts need the inline and eval parts."""
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
LET_END = 10.0
"""Seconds for which the rest of a refused request is read."""
FORM = 2**16
"""Bytes that a form may have around an upload."""
KEPT = ("/assets/", "/static/", "/manifest.json", "/favicon.ico")
"""Parts of a page that never change and may be kept by the browser."""


class _Refused(Exception):
    """The sender was answered while it still sent: what reads from it need not go on."""


class Guard:
    """Lets through what carries the secret, in the address or as a bearer, and is within the limits."""

    def __init__(self, app: App, door: Door, *, open_paths: Collection[str] = ()) -> None:
        """`open_paths` need no secret."""
        self.app = app
        self.door = door
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refusal(scope, headers):
            await self._let_end(receive)
            await _answer(send, *refusal)
            return
        begun = refused = False

        async def answered(message: Message) -> None:
            nonlocal begun
            if refused:
                return
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message["headers"], *_headers(scope["path"], message["headers"])]}
            await send(message)

        async def refuse(status: int, text: str) -> None:
            nonlocal refused
            if not begun:
                await _answer(send, status, text)
            refused = True
            raise _Refused

        with suppress(_Refused):  # frameworks answer with 500 and raise it again
            await self.app(scope, self._within_limits(receive, refuse), answered)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and text for what is not let in."""
        if self.door.is_local and _name(headers.get("host", "")) not in LOCAL:
            return 421, "This address is not one of this machine's."  # another site's name that leads here
        if scope["path"] not in self.open_paths and not self._is_known(scope["path"], headers):
            return 401, "The address needs the token that the command printed when it started."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            return 413, self._too_much
        return None

    def _is_known(self, path: str, headers: dict[str, str]) -> bool:
        if not self.door.secret or self._secret_in(path):
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and _same(given.strip(), self.door.secret)

    def _secret_in(self, path: str) -> bool:
        return _same(path.split("/")[1] if path.startswith("/") else "", self.door.secret)

    def _within_limits(self, receive: Receive, refuse: Callable[[int, str], Awaitable[None]]) -> Receive:
        received, ended = 0, False

        async def counted() -> Message:
            nonlocal received, ended
            if ended:  # what follows is the news that the client has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self.door.seconds)
            except TimeoutError:
                await refuse(408, f"Nothing was sent for {self.door.seconds} seconds.")
                raise
            received += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if received > self._most:
                await self._let_end(receive)
                await refuse(413, self._too_much)
            return message

        return counted

    async def _let_end(self, receive: Receive) -> None:
        """Read and forget the rest of what is sent, as far as is bearable: who still sends hears no answer."""
        left, more = 8 * self._most, True
        with suppress(TimeoutError):
            async with asyncio.timeout(LET_END):
                while more and left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    more = message.get("more_body", False)

    @property
    def _most(self) -> int:
        return self.door.max_bytes + FORM

    @property
    def _too_much(self) -> str:
        return f"More than {self.door.max_mb} MB were sent, which is the limit (--max_mb)."


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _name(host: str) -> str:
    """Return a Host header without its port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _headers(path: str, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in given}
    wanted = {name: value for name, value in HEADERS.items() if name != "cache-control" or not _is_kept(path)}
    return [(n.encode(), v.encode()) for n, v in wanted.items() if n.encode() not in there]


def _is_kept(path: str) -> bool:
    return any(part in path for part in KEPT)


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), *_headers("", [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": (text + "\n").encode()})
