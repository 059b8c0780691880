"""Who makes the shards of a stage.

A stage is a set of shards with fixed items and seeds, so any number of workers gives the same bytes (docs/scale.md).
There are three kinds: this process, the ranks of torchrun or `accelerate launch` (`ranks.py`), and Ray's actors
(`workers_ray.py`). One process runs the loop, holds the lock and writes the manifest, and asks its workers for what a
model has to make; a worker opens the same run folder and the same data, and makes what it is told to.
"""

from collections.abc import Callable, Sequence
from typing import Protocol


class Workers(Protocol):
    """What makes the shards and the models of a run."""

    def make(
        self, stage: str, missing: Sequence[int], here: Callable[[int], None], made: Callable[[int], None]
    ) -> None:
        """Make the missing shards of a stage. `here(number)` makes one in this process; `made(number)` is called for
        each that is there."""
        ...

    def together(self, stage: str, here: Callable[[], None]) -> None:
        """Make a stage that is one folder, such as a tuned model; `here()` makes it in this process."""
        ...


class ThisProcess:
    """This process makes everything."""

    def make(
        self, stage: str, missing: Sequence[int], here: Callable[[int], None], made: Callable[[int], None]
    ) -> None:
        """Make the missing shards of a stage, one after the other."""
        for number in missing:
            here(number)
            made(number)

    def together(self, stage: str, here: Callable[[], None]) -> None:
        """Make a stage that is one folder."""
        here()
