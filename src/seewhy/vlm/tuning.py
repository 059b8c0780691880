"""Supervised tuning on (image, query, answer), loss on the answer alone (docs/method.md 4), by transformers.Trainer.

Deviations from the research code:
1. Killed at any moment and started again, it ends with the same bytes on a CPU. The order of all epochs is drawn before
   the first step, an item's number decides its turn and its augmentation, and a checkpoint counts only when its
   marker, written last, is there and names this very plan.
2. The adapter is merged in float32, and the merge is checked on real rows (model.py).
3. Turns without an image (replay) stand in the same batches as those with one.

    tune(vlm, turns, config.tune, folder, seed)    # writes folder/adapter and folder/model
"""

import hashlib
import json
import math
import random
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from seewhy.config import AugmentConfig, TuneConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.vlm.augment import augment
from seewhy.vlm.chat import Row, collate, encode_answered, move, open_image
from seewhy.vlm.model import VisionLanguageModel, add_adapter, merge_adapter

MARKER = "complete"
"""File that ends a checkpoint; it holds the plan's fingerprint."""


def tune(
    vlm: VisionLanguageModel,
    turns: Sequence[Turn],
    config: TuneConfig,
    folder: Path,
    seed: int,
    opener: Callable[[str], Image.Image] = open_image,
) -> Path:
    """Tunes on `turns`; writes folder/adapter and folder/model (merged, in the model's dtype) and returns the latter.

    Started again on the same folder it goes on from its last checkpoint. `vlm` is used up: load the result. Raises
    SeeWhyError, naming the turn, for a text with a special token in it or too long for the model, and for no turns.
    """
    check_turns(vlm, turns)
    dtype = vlm.model.dtype
    set_seed(seed)
    adapted = add_adapter(
        vlm.model,
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        projector=config.projector,
        vision_tower=config.vision_tower,
    )
    plan = Plan(vlm, turns, config.epochs, config.augment, seed, opener)
    checkpoints = Checkpoints(folder / "checkpoints", _fingerprint(turns, config, seed))
    trainer = _CheckpointedTrainer(
        checkpoints,
        model=adapted,
        args=_arguments(vlm, config, len(plan), checkpoints.folder, seed),
        train_dataset=plan,
        data_collator=lambda rows: collate(rows, vlm.pad_token_id, side="right"),
        callbacks=[_ProgressCallback()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=checkpoints.newest())
    trainer.accelerator.unwrap_model(adapted, keep_fp32_wrapper=False)  # its forward was wrapped in autocast
    _replace(folder / "adapter", lambda path: _save_adapter(adapted, vlm.name, path))
    rows = [move(plan.row(turn, None), vlm) for turn in turns[:2]]
    merged, change = merge_adapter(adapted, rows, dtype)
    if change == 0:
        warnings.warn("Tuning changed nothing: no logit moved. Check learning_rate and epochs.", stacklevel=2)
    _replace(folder / "model", VisionLanguageModel(vlm.name, merged, vlm.processor).save)
    checkpoints.remove()
    return folder / "model"


def check_turns(vlm: VisionLanguageModel, turns: Sequence[Turn]) -> None:
    """Raises SeeWhyError naming the first turn whose text cannot be tuned on, before any time is spent."""
    if not turns:
        raise SeeWhyError("There is nothing to tune on: no turns are left.")
    for turn in turns:
        try:
            row = encode_answered(vlm, turn.query, turn.answer, None)
        except SeeWhyError as error:
            raise SeeWhyError(f"Turn {turn.id}: {error}") from error
        _check_length(vlm, turn, row)


def _check_length(vlm: VisionLanguageModel, turn: Turn, row: Row) -> None:
    length = row["input_ids"].shape[1]
    if length > vlm.max_length:
        raise SeeWhyError(
            f"Turn {turn.id} has {length} tokens, more than the {vlm.max_length} of model {vlm.name}: shorten its text."
        )


class Plan(Dataset[Row]):
    """All epochs' rows in the order of training, each epoch in its own. Item i depends on (seed, i) alone."""

    def __init__(
        self,
        vlm: VisionLanguageModel,
        turns: Sequence[Turn],
        epochs: int,
        changes: AugmentConfig,
        seed: int,
        opener: Callable[[str], Image.Image] = open_image,
    ) -> None:
        self.vlm, self.turns, self.changes, self.seed, self.opener = vlm, turns, changes, seed, opener
        rng = random.Random(seed)
        self.order = [index for _ in range(epochs) for index in rng.sample(range(len(turns)), len(turns))]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, item: int) -> Row:
        digest = hashlib.sha256(f"{self.seed}/{item}".encode()).digest()
        return self.row(self.turns[self.order[item]], int.from_bytes(digest[:8], "big"))

    def row(self, turn: Turn, seed: int | None) -> Row:
        """One turn as tensors; its image is changed at random by `seed`, or left as it is."""
        image = self.opener(turn.image) if turn.image else None
        if image is not None and seed is not None:
            image = augment(image, self.changes, seed)
        row = encode_answered(self.vlm, turn.query, turn.answer, image)
        _check_length(self.vlm, turn, row)
        return row


class Checkpoints:
    """The checkpoints of one plan, of which only complete ones count and only the newest is kept."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    def newest(self) -> str | None:
        """Folder of the newest complete checkpoint of this plan, or None; all others are removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        complete = [path for path in self.folder.iterdir() if self._is_complete(path)]
        newest = max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
        for path in self.folder.iterdir():
            if path != newest:
                self._remove(path)
        return None if newest is None else str(newest)

    def complete(self, step: int) -> None:
        """Marks the checkpoint of `step` as complete and removes the older ones."""
        (self.folder / f"checkpoint-{step}" / MARKER).write_text(self.fingerprint)
        self.newest()

    def remove(self) -> None:
        """Removes them all."""
        for path in self.folder.iterdir():
            self._remove(path)
        self.folder.rmdir()

    def _remove(self, path: Path) -> None:
        (path / MARKER).unlink(missing_ok=True)  # first, so that half a checkpoint never counts
        shutil.rmtree(path)

    def _is_complete(self, path: Path) -> bool:
        marker = path / MARKER
        return marker.is_file() and marker.read_text() == self.fingerprint


def _fingerprint(turns: Sequence[Turn], config: TuneConfig, seed: int) -> str:
    plan = {"turns": [asdict(turn) for turn in turns], "config": asdict(config), "seed": seed}
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


class _CheckpointedTrainer(Trainer):
    def __init__(self, checkpoints: Checkpoints, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.checkpoints = checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self.checkpoints.complete(self.state.global_step)


def _arguments(vlm: VisionLanguageModel, config: TuneConfig, items: int, folder: Path, seed: int) -> TrainingArguments:
    on_gpu = vlm.device.type == "cuda"
    micro = min(config.micro_batch_size, config.batch_size)
    if config.batch_size % micro:
        raise SeeWhyError(f"tune.batch_size ({config.batch_size}) is no multiple of tune.micro_batch_size ({micro}).")
    steps = math.ceil(items / config.batch_size)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,  # the plan holds them all
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=config.batch_size // micro,
        train_sampling_strategy="sequential",
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=int(steps * config.warmup),
        optim="adamw_torch",
        bf16=vlm.model.dtype == torch.bfloat16,
        fp16=vlm.model.dtype == torch.float16,
        use_cpu=vlm.device.type == "cpu",
        gradient_checkpointing=config.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if config.gradient_checkpointing else None,
        save_steps=config.checkpoint_steps,
        logging_steps=10,
        logging_first_step=True,
        report_to=list(config.trackers) or "none",
        remove_unused_columns=False,
        dataloader_num_workers=4 if on_gpu else 0,
        dataloader_pin_memory=on_gpu,
        disable_tqdm=True,
        log_level="error",
        seed=seed,
    )


class _ProgressCallback(TrainerCallback):
    """A bar with the time left and the loss."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        columns = (TextColumn("tuning"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True))
        self.task = self.progress.add_task("", total=state.max_steps, completed=state.global_step)
        if state.is_world_process_zero and self.progress.console.is_terminal:
            self.progress.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress.update(self.task, completed=state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        if logs and "loss" in logs:
            self.progress.update(self.task, description=f"loss {float(logs['loss']):.3f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress.stop()


def _save_adapter(adapted: PeftModel, base: str, folder: Path) -> None:
    """The adapter as peft reads it, with the base's name but not its place on this machine."""
    adapted.peft_config["default"].base_model_name_or_path = Path(base).name if Path(base).is_dir() else base
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink()  # an empty form


def _replace(folder: Path, save: Callable[[Path], None]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    save(folder)
