"""What `seewhy serve` counts of itself, in the text format of Prometheus."""

import resource
import sys
import threading
from collections import Counter
from pathlib import Path

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: the upper bounds of the buckets of the time that an answer took."""
_TEXTS = {
    "seewhy_requests_total": ("counter", "Requests to /explain, by status."),
    "seewhy_seconds": ("histogram", "Seconds from a request to its explanation, waiting included."),
    "seewhy_waiting": ("gauge", "Requests that are answered or wait now."),
    "process_resident_memory_bytes": ("gauge", "Resident memory in bytes."),
}


class Measured:
    """Counts requests by status, and the seconds of those that were explained."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: Counter[int] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds = 0.0
        self._explained = 0

    def count(self, status: int, seconds: float) -> None:
        """Count a request to /explain that has been answered."""
        with self._lock:
            self._statuses[status] += 1
            if status == 200:
                self._explained += 1
                self._seconds += seconds
                self._buckets.update(bound for bound in BOUNDS if seconds <= bound)

    def text(self, waiting: int) -> str:
        """Return all figures as Prometheus reads them."""
        with self._lock:
            values = {
                "seewhy_requests_total": [(f'{{status="{s}"}}', n) for s, n in sorted(self._statuses.items())],
                "seewhy_seconds": [
                    *((f'_bucket{{le="{bound:g}"}}', self._buckets[bound]) for bound in BOUNDS),
                    ('_bucket{le="+Inf"}', self._explained), ("_sum", round(self._seconds, 6)),
                    ("_count", self._explained),
                ],
                "seewhy_waiting": [("", waiting)],
                "process_resident_memory_bytes": [("", resident_bytes())],
            }  # fmt: skip
        lines: list[str] = []
        for name, (kind, text) in _TEXTS.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value}" for labels, value in values[name]]
        return "\n".join(lines) + "\n"


def resident_bytes() -> int:
    """Return the resident memory of this process; where the system does not tell, the most that it has had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * resource.getpagesize()
