"""Supervised tuning on (image, query, answer), loss on the answer alone (docs/method.md 4), by transformers.Trainer.

    tune(vlm, turns, config.tune, folder, seed)    # writes folder/adapter and folder/model

Deviations from the research code:
1. A tuning that is killed and started again ends with the same bytes on a CPU. The order of all epochs is drawn before
   the first step, a step's number decides its turns and their augmentation, and a checkpoint counts only when its
   marker, written last, names this very tuning.
2. The adapter is merged in float32, and the merge is checked on real rows (adapter.py).
3. Turns without an image (replay) stand in the same steps as those with one.
4. A step is cut into micro-batches after its turns are drawn, and its loss is divided by what all of them hold, so that
   `micro_batch_size` changes memory and time alone.
"""

import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import torch
from peft import PeftModel
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import distributed, nn
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_pt_utils import safe_globals

from seewhy.config import TuneConfig, decisive
from seewhy.errors import SeeWhyError
from seewhy.records import Turn
from seewhy.run.checksums import broken, write_sums
from seewhy.run.folder import changes
from seewhy.run.progress import console, say
from seewhy.run.storage import digest, sync, write_atomically
from seewhy.vlm.adapter import frozen_parts, load_trained, prepare, rest_frozen, save_trained
from seewhy.vlm.chat import Row, collate, move, open_image
from seewhy.vlm.data import MicroBatches, Schedule, drop_too_long
from seewhy.vlm.loading import check_saveable, evaluation_mode
from seewhy.vlm.loss import answer_logits, answer_loss, answers_of, weights_of
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import attend, branch_attention, why_not_shared

MARKER = "complete"
"""File that completes a checkpoint. It holds, as JSON, all that the weights depend on."""
DAMAGED = "damaged-"
"""How the name of a checkpoint begins that was found damaged."""


class Checkpoints:
    """The checkpoints of one tuning. Only complete ones count, and only the newest is kept.

    `made_of` is all that the weights depend on, nested and JSON-able.
    """

    def __init__(self, folder: Path, made_of: Mapping[str, Any]) -> None:
        self.folder = folder
        self.made_of: Mapping[str, Any] = json.loads(json.dumps(made_of))

    def newest(self) -> str | None:
        """Return the folder of the newest complete checkpoint, or None, and remove all others.

        Reports a newest checkpoint of other settings or data, which does not count.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        complete = {path: marker for path in self.folder.iterdir() if (marker := self._marker(path)) is not None}
        newest = max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
        if newest is not None and (fault := next(chain(broken(newest), _unreadable(newest)), None)):
            say(
                f"tuning goes on without {newest}, of which {fault[0]} {fault[1]}: it is set aside as "
                f"{DAMAGED}{newest.name}, and removed when the tuning ends"
            )
            (newest / MARKER).unlink()
            newest.rename(newest.with_name(DAMAGED + newest.name))
            return self.newest()
        if newest is not None and complete[newest] != self.made_of:
            what = "; ".join(changes(complete[newest], self.made_of))
            say(f"tuning begins anew, without {newest.name} in {self.folder}, which was made otherwise ({what})")
            newest = None
        for path in self.folder.iterdir():
            if path != newest and not path.name.startswith(DAMAGED):
                self._remove(path)
        return None if newest is None else str(newest)

    def complete(self, step: int) -> None:
        """Mark the checkpoint of `step` as complete, once it is on disk, and remove the older ones."""
        checkpoint = self.folder / f"checkpoint-{step}"
        write_sums(checkpoint)
        for path in [*checkpoint.rglob("*"), checkpoint]:
            sync(path)
        write_atomically(checkpoint / MARKER, json.dumps(self.made_of).encode())
        for path in self.folder.iterdir():
            if path != checkpoint and not path.name.startswith(DAMAGED):
                self._remove(path)

    def remove(self) -> None:
        """Remove all checkpoints and their folder."""
        for path in self.folder.iterdir():
            self._remove(path)
        self.folder.rmdir()

    def _remove(self, path: Path) -> None:
        (path / MARKER).unlink(missing_ok=True)  # first, so that half a checkpoint never counts
        shutil.rmtree(path)

    def _marker(self, path: Path) -> Mapping[str, Any] | None:
        """Return what a complete checkpoint was made of; None for an incomplete one."""
        try:
            marker = json.loads((path / MARKER).read_text())
        except (OSError, ValueError):
            return None
        return marker if isinstance(marker, dict) else None


def _unreadable(checkpoint: Path) -> Iterator[tuple[str, str]]:
    """Yield the files of a checkpoint that hold something else than a Trainer's numbers, such as code; no tensor is
    read."""
    for path in sorted([*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth")]):
        try:
            with safe_globals():
                torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, LookupError):
            yield path.name, "is not what a tuning of SeeWhy writes"


MICRO_BATCHES = "micro_batches"
"""Key under which a step's micro-batches reach the trainer."""

SHARING_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}
"""Largest change of a logit by sharing the image, relative to the largest logit."""


def tune(
    vlm: VisionLanguageModel,
    turns: Sequence[Turn],
    config: TuneConfig,
    folder: Path,
    seed: int,
    opener: Callable[[str], Image.Image] = open_image,
    *,
    share_image: bool = True,
    callbacks: Sequence[TrainerCallback] = (),
) -> Path:
    """Tune on `turns`; write folder/adapter (not for method "full") and folder/model (merged), and return the latter.

    Started again on the same folder, it goes on from its last checkpoint. `vlm` is used up: load the result. Method
    "qlora" takes one loaded in 4 bits. Where all ranks of a process group call it at once, each computes its share of
    every step, with the loss and the gradients of one process, and rank 0 writes. With `share_image` the turns of one
    image follow it in one sequence (prefix.py): the same gradients for less work, checked on real rows before the first
    step. Turns that are too long are dropped with a warning. Raises SeeWhyError for a turn with a special token in it,
    for no turns, for a model that could not be saved, and for tuning that changed nothing.
    """
    share = _share()
    turns = drop_too_long(vlm, turns, opener)
    check_saveable(vlm.name, vlm.model, vlm.processor)
    dtype = vlm.model.dtype
    schedule = Schedule(
        vlm, turns, pairs=config.batch_size, epochs=config.epochs, changes=config.augment, seed=seed,
        share_image=share_image, name_weight=config.name_weight, opener=opener,
    )  # fmt: skip
    rows = [attend(move(row, vlm), vlm.model) for turn in turns[:2] for row in schedule.rows([turn], None)]
    set_seed(seed)
    learner = prepare(vlm, config, rows)
    with branch_attention(vlm.model):
        if share_image:
            schedule.share_image = sharing_agrees(vlm, schedule)
        checkpoints = Checkpoints(folder / "checkpoints", _made_of(turns, config, seed, shared=schedule.share_image))
        trainer = _CheckpointedTrainer(
            checkpoints,
            config.loss_per,
            model=learner.model,
            args=_arguments(vlm.device, dtype, config, len(schedule), checkpoints.folder, seed),
            train_dataset=MicroBatches(schedule, _micro(config), share),
            data_collator=lambda steps: {
                MICRO_BATCHES: [collate(rows, vlm.pad_token_id, "right") for step in steps for rows in step]
            },
            callbacks=[_ProgressCallback(), *callbacks],
        )
        trainer.remove_callback(PrinterCallback)
        if share[0]:
            torch.manual_seed(seed + share[0])  # ranks drop out differently
        try:
            trainer.train(resume_from_checkpoint=_newest(checkpoints, share))
        except torch.OutOfMemoryError:
            raise SeeWhyError(_too_large(vlm, config)) from None
        trainer.accelerator.unwrap_model(learner.model, keep_fp32_wrapper=False)  # it ran in autocast
    if share[0] == 0:
        learner.save(folder, rows)
        checkpoints.remove()
    return folder / "model"


def _too_large(vlm: VisionLanguageModel, config: TuneConfig) -> str:
    smaller = [f"a tune.micro_batch_size below {_micro(config)}"] if _micro(config) > 1 else []
    smaller += [] if config.gradient_checkpointing else ["tune.gradient_checkpointing: true"]
    smaller += [] if config.method == "qlora" else ["tune.method: qlora"]
    return (
        f"The GPU's memory does not do for tuning {vlm.name} with {_micro(config)} pairs at once: set "
        f"{' or '.join(smaller) or 'model.max_pixels'}, and start the run again. It goes on from the last checkpoint, "
        "unless another method is tuned."
    )


def _share() -> tuple[int, int]:
    """Return the number of this rank, and of how many (see run/ranks.py)."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def _newest(checkpoints: Checkpoints, share: tuple[int, int]) -> str | None:
    """Return the checkpoint to go on from; rank 0 decides and removes the others."""
    if share[1] == 1:
        return checkpoints.newest()
    told: list[Any] = [(newest := checkpoints.newest()) and Path(newest).name if share[0] == 0 else None]
    distributed.broadcast_object_list(told, src=0)
    return str(checkpoints.folder / told[0]) if told[0] else None


def sharing_agrees(vlm: VisionLanguageModel, schedule: Schedule) -> bool:
    """Return whether two turns about one image have the same logits when they share it; warn if not."""
    groups = (group for step in schedule.steps for group in step if len(group) > 1)
    turns = [schedule.turns[index] for index in next(groups, [])[:2]]
    reason = _disagreement(vlm, schedule, turns) if turns else None
    if reason:
        warnings.warn(
            f"Image sharing is off for {vlm.name}: {reason}. Every turn is tuned on in a sequence of its own.",
            stacklevel=3,
        )
    return bool(turns) and reason is None


def _disagreement(vlm: VisionLanguageModel, schedule: Schedule, turns: Sequence[Turn]) -> str | None:
    """Return why two turns cannot share their image, or None where their logits stay those that they have alone."""
    rows = schedule.rows(turns, None)
    if len(rows) != 1:
        return "its prompts differ before the end of the image"
    if reason := why_not_shared(vlm.model, "tune"):
        return reason
    alone = [row for turn in turns for row in schedule.rows([turn], None)]
    evaluation_mode(vlm.model)
    half = vlm.model.dtype != torch.float32
    with torch.inference_mode(), torch.autocast(vlm.device.type, vlm.model.dtype, enabled=half):
        shared, separate = (torch.cat([answer_logits(vlm.model, move(r, vlm))[0] for r in rs]) for rs in (rows, alone))
    difference = float((shared - separate).abs().max() / separate.abs().max())
    same = difference <= SHARING_TOLERANCE[vlm.model.dtype]
    return None if same else f"with it, logits differ by {difference:.2g} of the largest"


def _made_of(turns: Sequence[Turn], config: TuneConfig, seed: int, *, shared: bool) -> dict[str, Any]:
    """Return what the weights of a checkpoint depend on. Replay data are among the turns."""
    settings = {key: value for key, value in decisive(config).items() if key not in ("replay", "replay_ratio")}
    return {
        "tune": settings,
        "turns": digest([{k: v for k, v in asdict(turn).items() if k != "names" or v} for turn in turns]),
        "seed": seed,
        "image shared": shared,
    }


class _CheckpointedTrainer(Trainer):
    """Trainer over steps that are cut into micro-batches, with checkpoints that count only when complete."""

    def __init__(self, checkpoints: Checkpoints, loss_per: Literal["token", "answer"], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.checkpoints = checkpoints
        self.loss_per: Literal["token", "answer"] = loss_per
        self._frozen: list[nn.Module] = []
        self.model_accepts_loss_kwargs = True  # the loss is divided by all the tokens of an optimizer step, or answers

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, torch.Tensor | int | None]:
        """Return one step, and the tokens, or answers, in all its micro-batches."""
        step = next(epoch_iterator)
        return [step], self._get_num_items_in_batch(step[MICRO_BATCHES], device)

    def training_step(
        self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Accumulate gradients over a step's micro-batches; ranks add them up after the last."""
        total, batches = torch.zeros((), device=self.args.device), inputs[MICRO_BATCHES]
        for number, batch in enumerate(batches, 1):
            with nullcontext() if number == len(batches) else self.accelerator.no_sync(model):
                total += super().training_step(model, batch, num_items_in_batch)
        return total

    def get_train_dataloader(self) -> DataLoader:
        """Return every step's micro-batches. Ranks share a step, not the steps, so each reads them all."""
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        args, steps = self.args, cast(Dataset[list[list[Row]]], self.train_dataset)
        return DataLoader(
            steps, batch_size=1, collate_fn=self.data_collator, num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
        )  # fmt: skip

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        return sum(int(super(_CheckpointedTrainer, self).floating_point_ops(b)) for b in inputs[MICRO_BATCHES])

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,  # noqa: FBT001, FBT002 -- Trainer's signature
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        self._frozen = self._frozen or frozen_parts(model)
        rest_frozen(self._frozen)  # training_step has just called model.train()
        loss = answer_loss(model, inputs, num_items_in_batch, per=self.loss_per)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes
        return (loss, None) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | int | None:
        weighted = "weights" in batch_samples[0]
        if self.loss_per == "token" and not weighted:
            return super()._get_num_items_in_batch(batch_samples, device)
        if self.loss_per == "answer":
            total = torch.tensor(sum(len(answers_of(batch["labels"])[1]) for batch in batch_samples), device=device)
        else:
            total = torch.stack([weights_of(batch).sum() for batch in batch_samples]).sum().to(device)
        if self.args.world_size > 1:
            distributed.all_reduce(total)
        return total

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if isinstance(self.model, PeftModel):
            return super()._save(output_dir, state_dict)
        save_trained(self.model, Path(output_dir or str(self.args.output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if isinstance(self.model, PeftModel):
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_trained(self.model, Path(resume_from_checkpoint))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self.checkpoints.complete(self.state.global_step)


def _micro(config: TuneConfig) -> int:
    micro = min(config.micro_batch_size, config.batch_size)
    if config.batch_size % micro:
        raise SeeWhyError(f"tune.batch_size ({config.batch_size}) is no multiple of tune.micro_batch_size ({micro}).")
    return micro


def _arguments(
    device: torch.device, dtype: torch.dtype, config: TuneConfig, steps: int, folder: Path, seed: int
) -> TrainingArguments:
    on_gpu = device.type == "cuda"
    if not on_gpu and distributed.is_initialized():
        os.environ.setdefault("ACCELERATE_TORCH_DEVICE", "cpu")  # not cpu:0, to which torch.load maps no checkpoint
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,  # the schedule holds them all
        per_device_train_batch_size=1,  # an item of the schedule is a step, with its micro-batches
        train_sampling_strategy="sequential",
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        lr_scheduler_type=config.schedule,
        warmup_steps=int(steps * config.warmup),
        optim="adamw_torch",
        bf16=dtype == torch.bfloat16,
        fp16=dtype == torch.float16,
        use_cpu=device.type == "cpu",
        gradient_checkpointing=config.gradient_checkpointing,
        ddp_find_unused_parameters=True,  # a micro-batch without an image leaves the projector alone
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
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one device: nn.DataParallel would cut a batch along its rows and leave its images whole
    return arguments


class _ProgressCallback(TrainerCallback):
    """Shows a bar with the time left and the loss."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.save_steps = args.save_steps  # a checkpoint brings its own back
        columns = (TextColumn("tuning"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, TextColumn("{task.description}"), console=console(stderr=True))
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
