"""When a request may start: at most so many a minute, and none while the server has asked for a pause."""

import math
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime


class Gate:
    """What every request passes, whichever thread sends it. `stop` opens it for nobody any more."""

    def __init__(self, per_minute: float | None, stop: threading.Event) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._stop = stop
        self._next = 0.0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Wait for one's turn. False when the job was stopped."""
        while not self._stop.is_set():
            with self._lock:
                now = time.monotonic()
                wait = self._next - now
                if wait <= 0:
                    self._next = now + self._interval
                    return True
            self._stop.wait(wait)
        return False

    def pause(self, seconds: float) -> None:
        """Let nobody in for a while."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def pause_asked(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a response asks to wait (Retry-After, in seconds or as a date; retry-after-ms), or None.

    `now` is in seconds since the epoch; the keys of `headers` are in lower case, or found in any.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now)
    except (TypeError, ValueError):
        return None
