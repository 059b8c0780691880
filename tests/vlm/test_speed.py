"""The measurement of a CPU, and the hours that `seewhy plan` makes of it."""

import pytest

from seewhy.config import ModelConfig, RunConfig
from seewhy.cost.estimate import sampling_seconds, tuning_seconds
from seewhy.cost.hardware import Shape, processor
from seewhy.cost.tokens import StageTokens
from seewhy.run.stages import StageKey
from seewhy.vlm.speed import SEQUENCES, CpuSpeed, cpu_speed

SPEED = CpuSpeed(reading=30e9, tuning=15e9, writing=8e9, threads=2)
SHAPE = Shape(
    decoder=100_000_000, head=0, embeddings=0, tower=0, projector=0, layers=30, width=576, attention=0, keys=0,
    vocabulary=1000,
)  # fmt: skip


def test_all_three_are_measured() -> None:
    found = cpu_speed(seconds=0.3)
    assert min(found.reading, found.tuning, found.writing) > 1e7
    assert found.threads >= 1


def test_hours_are_operations_over_what_was_measured() -> None:
    config = RunConfig(model=ModelConfig(batch_size=SEQUENCES))
    cpu = processor(SPEED, memory=16e9)
    assert cpu.is_cpu
    assert tuning_seconds(15e9 * 3600, config, cpu) == pytest.approx(3600)
    written = StageTokens(StageKey("describe"), "sample", 1, 0, 0, SEQUENCES, 0.0, 0.0, 50, 50)
    step = 2 * SHAPE.decoder * SEQUENCES / SPEED.writing
    assert sampling_seconds(SHAPE, written, 0, config, cpu) == pytest.approx(50 * step, rel=0.02)
