"""Tunes a tiny LLaVA as a process of its own, which kills itself where it is told."""

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from PIL import Image
from transformers import TrainerCallback

from seewhy.config import TuneConfig
from seewhy.records import Turn
from seewhy.vlm import adapter, tuning
from seewhy.vlm.model import VisionLanguageModel

CONFIG = TuneConfig(
    epochs=2, learning_rate=1e-2, batch_size=4, micro_batch_size=2, lora_rank=4, lora_alpha=8, checkpoint_steps=2
)


def turns(base: Path) -> list[Turn]:
    """Ten about images and two without one (replay)."""
    made = []
    for number in range(10):
        path = base / f"{number}.png"
        if not path.exists():
            Image.linear_gradient("L").resize((40, 40)).rotate(36 * number).convert("RGB").save(path)
        made.append(Turn(f"t{number}", str(path), "What is the name of this bird?", f"This is a Fish Crow {number}."))
    return [*made, *(Turn(f"r{n}", "", "Name it.", f"It has {n} legs.") for n in range(2))]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DieAt(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            die()


def tune_once(base: Path, out: Path, step: int, place: str, change: Mapping[str, Any]) -> None:
    """Tunes `base` into `out`, and dies at `place`: `step` (in the midst of it), `checkpoint` (in the midst of writing
    that of `step`), `adapter` or `model` (when it has been written in part), or `never`. `change`: of the settings."""
    trainer_class = tuning._CheckpointedTrainer
    if place == "step":
        initialise = trainer_class.__init__

        def with_death(self, *args, **kwargs):
            initialise(self, *args, **kwargs)
            self.add_callback(DieAt(step))

        trainer_class.__init__ = with_death
    elif place == "checkpoint":
        save_rng = trainer_class._save_rng_state  # adapter and optimizer are written, the rest is not

        def die_instead(self, output_dir):
            die() if self.state.global_step == step else save_rng(self, output_dir)

        trainer_class._save_rng_state = die_instead
    elif place in ("adapter", "model"):
        replace_whole = adapter.replace

        def save_half(folder, save):
            replace_whole(folder, save)
            if folder.name == place:
                next(folder.glob("*.safetensors")).unlink()
                (folder / "stray").write_text("half")
                die()

        adapter.replace = save_half
    vlm = VisionLanguageModel.load(base, device="cpu")
    tuning.tune(vlm, turns(base), replace(CONFIG, **change), out, seed=3)


class Killed(Exception):
    """Ends a tuning in the process of the test."""


class KillAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise Killed


def dying(step: int) -> Any:
    """Let tuning raise Killed in the midst of `step`, in this process."""
    initialise = tuning._CheckpointedTrainer.__init__

    def with_death(self: Any, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        self.add_callback(KillAt(step))

    return patch.object(tuning._CheckpointedTrainer, "__init__", with_death)
