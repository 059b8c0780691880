"""What tuning trains and what it leaves: an adapter (`lora`), one on a 4-bit model (`qlora`), or the model (`full`).

    learner = learner_of(vlm, config.tune, rows)     # `rows` are inputs that the model is compared on, before and after
    trainer = Trainer(learner.model, ...); trainer.train()
    learner.leave(folder, rows)                      # folder/adapter (not for full) and folder/model

A round is believed only where the model that it leaves answers otherwise than the one that it began with: in the dtype
that is written, so that steps too small for bfloat16 are found out. Sampling from a model that has learnt nothing costs
hours and teaches the next round nothing, so this is an error and not a warning.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import nn

from seewhy.config import TuneConfig
from seewhy.errors import SeeWhyError
from seewhy.vlm.adapter import (
    add_adapter,
    largest_change,
    logits_of,
    merge_adapter,
    round_weights,
    train_in_full,
)  # fmt: skip
from seewhy.vlm.model import VisionLanguageModel

TRAINED = "trained.safetensors"
"""File of a checkpoint of a model that is tuned without an adapter."""

Rows = Sequence[Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class AdapterLearner:
    """`model` is the base under its adapter."""

    vlm: VisionLanguageModel
    model: Any
    dtype: torch.dtype
    four_bit: bool

    def leave(self, folder: Path, rows: Rows) -> None:
        """Writes adapter and merged model. A 4-bit base is merged as it was before it was folded, on the CPU: there it
        is read from where it came from, in full precision (four_bit.py)."""
        replace(folder / "adapter", lambda path: save_adapter(self.model, self.vlm.name, path))
        adapted = self.model
        if self.four_bit:
            whole = self.vlm.loaded_again().model
            adapted = PeftModel.from_pretrained(whole, str(folder / "adapter"))  # pyright: ignore[reportArgumentType]
            rows = [{name: tensor.cpu() for name, tensor in row.items()} for row in rows]
        merged, change = merge_adapter(adapted, rows, self.dtype)
        check_changed(change, self.dtype)
        save(self.vlm, merged, folder)


@dataclass(frozen=True)
class FullLearner:
    """`model` is the model itself, in float32."""

    vlm: VisionLanguageModel
    model: Any
    dtype: torch.dtype
    before: Sequence[torch.Tensor]

    def leave(self, folder: Path, rows: Rows) -> None:
        """Writes the model."""
        round_weights(self.model.eval(), self.dtype)
        check_changed(largest_change(self.before, logits_of(self.model, rows)), self.dtype)
        save(self.vlm, self.model.to(self.dtype), folder)


def learner_of(vlm: VisionLanguageModel, config: TuneConfig, rows: Rows) -> AdapterLearner | FullLearner:
    """Readies `vlm.model`, in place, to be trained. An adapter's first weights come from torch's global generator.

    Raises SeeWhyError for settings that do not go together.
    """
    dtype = vlm.model.dtype
    if config.method == "full":
        train_in_full(vlm.model, projector=config.projector, vision_tower=config.vision_tower)
        return FullLearner(vlm, vlm.model, dtype, logits_of(vlm.model, rows))
    adapted = add_adapter(
        vlm.model,
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        projector=config.projector,
        vision_tower=config.vision_tower,
    )
    return AdapterLearner(vlm, adapted, dtype, four_bit=config.method == "qlora")


def check_changed(change: float, dtype: torch.dtype) -> None:
    """Raises SeeWhyError where tuning moved no logit. `change` is the largest, in the dtype that is written."""
    if change > 0:
        return
    raise SeeWhyError(
        f"Tuning changed nothing: in {str(dtype).removeprefix('torch.')} no logit moved, so there is no model to go on "
        "from. Raise tune.learning_rate or tune.epochs; with few steps, or in 16 bits, small changes are rounded away."
    )


def save_trained(model: Any, folder: Path) -> None:
    """The trained weights of a model without an adapter, for a checkpoint: under their own names, where
    save_pretrained writes those of the Hub, which Trainer does not read back."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(trained, folder / TRAINED)


def load_trained(model: Any, folder: Path) -> None:
    """Puts them back."""
    saved = load_file(folder / TRAINED)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(saved[name])


def save_adapter(adapted: PeftModel, base: str, folder: Path) -> None:
    """The adapter as peft reads it, with the base's name but not its place on this machine."""
    adapted.peft_config["default"].base_model_name_or_path = Path(base).name if Path(base).is_dir() else base
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink()  # an empty form


def save(vlm: VisionLanguageModel, model: nn.Module, folder: Path) -> None:
    replace(folder / "model", VisionLanguageModel(vlm.name, model, vlm.processor).save)  # pyright: ignore[reportArgumentType]


def replace(folder: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    write(folder)
