"""Fuzzing by Hypothesis: every input gives a result or a SeeWhyError."""

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from torture.guard import Fault, fault_of
from torture.inputs import TARGETS, Target

AT_ONCE = {"image": 1500}
"""Inputs of one kind before the next kind has its turn; 100 of the others."""


@dataclass(frozen=True)
class Found:
    """A faulty input."""

    fault: Fault
    payload: bytes


def met(target: Target, payload: bytes, folder: Path) -> Fault | None:
    """Return what is wrong with how the package meets an input, in a folder made for it and removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return fault_of(lambda: target.use(payload, folder), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_inputs(name: str, folder: Path, count: int, number: int, each: Callable[[str, Found | None], None]) -> None:
    """Draw `count` inputs of a kind and call `each` with their kind and what was found. `number` seeds the draws."""
    target = TARGETS[name]

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(target.inputs())
    def run(payload: bytes) -> None:
        fault = met(target, payload, folder)
        each(name, Found(fault, payload) if fault else None)

    run()


def fuzz(
    folder: Path,
    seconds: float,
    number: int,
    each: Callable[[str, Found | None], None],
    kinds: Iterable[str] = TARGETS,
) -> None:
    """Give each kind of input its turn until the time is over."""
    end = time.monotonic() + seconds
    for turn, name in enumerate(cycle(kinds)):
        if time.monotonic() > end:
            return
        try_inputs(name, folder, AT_ONCE.get(name, 100), number + turn, each)
