"""The figures of a bench, written to their file after each one, and failures among them.

A figure is a number, or a text under `error_...` (what went wrong) or `skipped_...` (why it was not tried).
"""

import gc
import json
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from seewhy.run.storage import write_atomically

Figure = float | str


@dataclass
class Figures:
    """Figures that are in `path` as soon as they are known. `until`: when to begin nothing more (time.monotonic)."""

    path: Path
    until: float = float("inf")
    known: dict[str, Figure] = field(default_factory=dict)

    @classmethod
    def after(cls, earlier: Iterable[Path], path: Path, until: float) -> "Figures":
        """Return the figures of earlier runs, to be added to; where two have one, the last has the word."""
        known = [json.loads(file.read_text(encoding="utf-8")) for file in earlier]
        return cls(path, until, {name: value for figures in known for name, value in figures.items()})

    def begin(self, part: str) -> None:
        """Drop what an earlier run says of a part that failed or was skipped."""
        stale = [name for name in self.known if name.startswith(("error_", "skipped_")) and name.endswith(part)]
        for name in stale:
            del self.known[name]

    def add_quietly(self, figures: Mapping[str, Figure]) -> None:
        """Take figures over that another process has printed."""
        self.known |= figures
        write_atomically(self.path, (json.dumps(self.known, indent=2) + "\n").encode())

    def add(self, **figures: Figure) -> None:
        """Write and print figures."""
        self.add_quietly(figures)
        for name, value in figures.items():
            print(f"{name} = {value if isinstance(value, str) else format(value, '.4g')}", flush=True)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Record an exception in the body as `error_<name>` and go on; memory that it held is free afterwards."""
        try:
            yield
        except Exception as error:  # one measurement that fails is a finding: it must not cost the others
            lines = str(error).strip().splitlines() or [""]
            self.add(**{f"error_{name}": f"{type(error).__name__}: {lines[0]}"})
            traceback.print_exc()
            traceback.clear_frames(error.__traceback__)
        finally:
            gc.collect()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()

    def late(self, name: str) -> bool:
        """Return whether the time is up, and record that `name` is skipped for it."""
        if time.monotonic() < self.until:
            return False
        self.add(**{f"skipped_{name}": "no time left"})
        return True

    def failed(self, name: str) -> bool:
        return f"error_{name}" in self.known
