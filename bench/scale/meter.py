"""Seconds, seconds of CPU and highest resident memory of the parts of one process, each part's own.

What else the machine does prolongs the seconds, and hardly those of the CPU: they tell how a part grows.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from bench import measure

_CLEAR = Path("/proc/self/clear_refs")
"""Linux: writing 5 there lets VmHWM begin anew at what is resident now."""


class Meter:
    """Times parts that call each other. A part's seconds are without those of the parts that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.peak_gb: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = (time.perf_counter(), time.process_time())

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens within to a part."""
        self._note()
        self._open.append(name)
        try:
            yield
        finally:
            self._note()
            self._open.pop()

    def metered(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work` as a part."""

        @wraps(work)
        def counted(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return work(*arguments, **named)

        return counted

    def report(self) -> dict[str, dict[str, float]]:
        """Return part -> its seconds and peak."""
        return {
            name: {"seconds": self.seconds[name], "cpu": self.cpu[name], "gb": self.peak_gb[name]}
            for name in self.seconds
        }

    def _note(self) -> None:
        now, peak = (time.perf_counter(), time.process_time()), measure.highest_resident() / 1e9
        if self._open:
            name = self._open[-1]
            self.seconds[name] += now[0] - self._since[0]
            self.cpu[name] += now[1] - self._since[1]
            self.peak_gb[name] = max(self.peak_gb[name], peak)
        if os.access(_CLEAR, os.W_OK):
            _CLEAR.write_text("5")
        self._since = now
