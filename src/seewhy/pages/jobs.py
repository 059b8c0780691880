"""One job of a model at a time, in a thread of its own; a limited number wait, and none for ever."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class QueueFull(Exception):
    """As many jobs wait as may."""


class TookTooLong(Exception):
    """The job was not done in time. If it had not begun, it never will."""


class OneAtATime:
    """Runs jobs in the order in which they come. `waiting` may wait while one runs; each gets `seconds` in all."""

    def __init__(self, waiting: int, seconds: float) -> None:
        self.waiting = waiting
        self.seconds = seconds
        self.inside = 0
        """Jobs that run or wait now."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seewhy-model")

    async def run(self, job: Callable[[], T]) -> T:
        """Return what the job returns. Raises QueueFull, TookTooLong, or what the job raises."""
        if self.inside > self.waiting:
            raise QueueFull
        self.inside += 1
        loop = asyncio.get_running_loop()
        future = self._thread.submit(job)

        def left(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: the page has ended before its last job
                loop.call_soon_threadsafe(self._left)

        future.add_done_callback(left)
        return await _within(future, self.seconds)

    def _left(self) -> None:
        self.inside -= 1


async def _within(future: "Future[T]", seconds: float) -> T:
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
    except TimeoutError:
        future.cancel()
        raise TookTooLong from None
