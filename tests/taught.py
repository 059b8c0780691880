"""A run of the shipped base, and what its models are tuned on."""

from pathlib import Path
from typing import Any

import pytest

from seewhy.config import RunConfig
from seewhy.fieldguide.guide import BASE
from seewhy.records import Turn
from seewhy.run import steps
from tiny_run import tiny_run


class Killed(Exception):
    """Stands for the end of the process."""


def noted(monkeypatch: pytest.MonkeyPatch) -> list[Turn]:
    """What models are tuned on from now on."""
    taught: list[Turn] = []

    def noting(vlm: Any, turns: list[Turn], *args: Any, **options: Any) -> Path:
        taught.extend(turns)
        return tune(vlm, turns, *args, **options)

    tune = steps.tune
    monkeypatch.setattr(steps, "tune", noting)
    return taught


def shipped_run(root: Path, **changes: Any) -> RunConfig:
    """Return a run of the shipped base, which has words, on six train images; `changes` are those of `tiny_run`."""
    return tiny_run(
        root,
        train=2,
        test=1,
        tokens=48,
        base=str(BASE),
        shard_size=2,
        describe={"samples_per_prompt": 2},
        evaluate={"bootstrap": 10, "consistency": False, "fluency": False},
        **changes,
    )
