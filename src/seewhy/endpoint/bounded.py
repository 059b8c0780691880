"""Replies of bounded length and time: a server that sends a byte a minute, or without end, is given up.

The time-outs of httpx are for each read; these are for the whole body. This module needs the package openai, so it is
imported late.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import import_module
from typing import Any

import openai

_CLIENT = next(of for of in openai.DefaultHttpxClient.__mro__ if of.__name__ == "Client")
httpx: Any = import_module(_CLIENT.__module__.partition(".")[0])
"""The package that openai sends with: httpx, or httpx2 from some version of openai 3 on."""

MOST_BYTES = 2**25
"""Bytes of a body that are read."""
PLAIN = "identity"
"""The content-encoding that is asked for: a packed body may hold any multiple of its bytes, and is not read."""


class _Limit:
    def __init__(self, response: Any, seconds: float) -> None:
        packed = response.headers.get("content-encoding", "").strip().lower() not in ("", PLAIN)
        self.left = 0 if packed else MOST_BYTES
        self.ends = time.monotonic() + seconds

    def passed(self, chunk: bytes) -> bytes:
        """Return the next part of a body. Raises an error of httpx where it is too much, or too late."""
        self.left -= len(chunk)
        if self.left < 0:
            raise httpx.ReadError("the reply is packed, or too long to be an answer")
        if time.monotonic() > self.ends:
            raise httpx.ReadTimeout("the reply does not end")
        return chunk


class _Stream(httpx.SyncByteStream):
    def __init__(self, inner: Any, limit: _Limit) -> None:
        self.inner, self.limit = inner, limit

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.inner:
            yield self.limit.passed(chunk)

    def close(self) -> None:
        self.inner.close()


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, inner: Any, limit: _Limit) -> None:
        self.inner, self.limit = inner, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.inner:
            yield self.limit.passed(chunk)

    async def aclose(self) -> None:
        await self.inner.aclose()


def bounded(seconds: float) -> dict[str, list[Callable[[Any], None]]]:
    """Return the `event_hooks` of a client of httpx whose bodies must arrive within some seconds."""

    def bind(response: Any) -> None:
        response.encoding = "utf-8"  # as all JSON is, whatever the headers say
        response.stream = _Stream(response.stream, _Limit(response, seconds))

    def ask(request: Any) -> None:
        request.headers["accept-encoding"] = PLAIN

    return {"request": [ask], "response": [bind]}


def bounded_async(seconds: float) -> dict[str, list[Callable[[Any], Awaitable[None]]]]:
    """Return the same for an asynchronous client."""

    async def bind(response: Any) -> None:
        response.encoding = "utf-8"
        response.stream = _AsyncStream(response.stream, _Limit(response, seconds))

    async def ask(request: Any) -> None:
        request.headers["accept-encoding"] = PLAIN

    return {"request": [ask], "response": [bind]}
