"""`seewhy plan` against counted truth on a small LLaVA, and what it says of CUB-200 with LLaVA-1.5-7B's shape.

Tokens: every token that a run of the whole loop really computes and writes is counted where it goes into the model.
Memory: the allocator's own record of one tuning step (torch.profiler), against the step simulated without data. The
7B model has LLaVA-1.5's configuration and image processor; the tokenizer is the shipped one, which spells a question
in about as many tokens.
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaProcessor,
)

from bench import measure, models
from seewhy.config import AugmentConfig, RunConfig, TuneConfig
from seewhy.cost import hardware, memory
from seewhy.cost.estimate import Planner, RunCost
from seewhy.cost.hardware import GPUS, Shape
from seewhy.cost.memory import Batch, step_peak
from seewhy.cost.scaling import scale
from seewhy.cost.tokens import Assumed, Workload
from seewhy.domain.questions import Questions
from seewhy.fieldguide.guide import BASE
from seewhy.records import Turn
from seewhy.report.terminal_checks import print_cost
from seewhy.run.folder import RunFolder
from seewhy.vlm import loss, sampling, tuning
from seewhy.vlm.chat import Row, collate, move
from seewhy.vlm.data import Schedule
from seewhy.vlm.loss import answer_loss
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import branch_attention
from seewhy.vlm.sampling import BatchSampler

CUB = {"train": 5_994, "test": 5_794}
CUB_CLASSES = 200
COLOURS = ("red", "yellow", "black", "white", "brown")
PLAIN = AugmentConfig(flip=0, rotate=0, colour=0, blur=0, perspective=0)


@dataclass
class Tokens:
    """Tokens by stage, as they went into the model (padding left out) and as they were written."""

    read: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)


@contextmanager
def counted() -> Iterator[Tokens]:
    """Counts what runs in this process compute."""
    found, stage = Tokens(), [""]
    records, folder, generate = RunFolder.records, RunFolder.folder, BatchSampler._generate

    def in_stage(method: Any) -> Any:
        def noting(self: Any, of: Any, *rest: Any, **more: Any) -> Any:
            stage[0] = of.name
            return method(self, of, *rest, **more)

        return noting

    def collated(rows: list[Row], pad_token_id: int, side: Any) -> Row:
        batch = collate(rows, pad_token_id, side)
        found.read[stage[0]] += int(batch["attention_mask"].sum())
        return batch

    def generated(self: Any, *arguments: Any) -> torch.Tensor:
        written_BN = generate(self, *arguments)
        ended_BN = torch.isin(written_BN, torch.tensor(self.vlm.stop_token_ids, device=written_BN.device))
        found.written[stage[0]] += int((ended_BN.cumsum(1) - ended_BN.int() == 0).sum())
        return written_BN

    with (
        patch.object(RunFolder, "records", in_stage(records)),
        patch.object(RunFolder, "folder", in_stage(folder)),
        patch.object(BatchSampler, "_generate", generated),
        patch.object(sampling, "collate", collated),
        patch.object(tuning, "collate", collated),
        patch.object(loss, "collate", collated),
    ):
        yield found


def planned(cost: RunCost) -> Tokens:
    """What the plan says, in the same form."""
    rows = [stage.tokens for stage in cost.stages]
    read, written = ({str(row.key): getattr(row, name) for row in rows} for name in ("read", "written"))
    return Tokens(Counter(read), Counter(written))


def ratios(plan: Mapping[str, float], truth: Mapping[str, int]) -> dict[str, float]:
    """Planned over counted, for each stage and for all."""
    found = {name: plan[name] / truth[name] for name in truth if truth[name]}
    return {**found, "all": sum(plan.values()) / sum(truth.values())}


@dataclass(frozen=True)
class Case:
    """One tuning step of the small LLaVA."""

    method: Any = "lora"
    shared: bool = True
    checkpointing: bool = False
    dropout: float = 0.0
    dtype: torch.dtype = torch.float32
    tokens: int = 64
    images: int = 2
    pairs: int = 4
    question: int = 20
    answer: int = 60

    @property
    def name(self) -> str:
        words = [self.method, "shared" if self.shared else "separate", str(self.dtype).removeprefix("torch.")]
        return "_".join([*words, *(["checkpointed"] if self.checkpointing else [])])

    @property
    def settings(self) -> TuneConfig:
        return TuneConfig(
            method=self.method, lora_rank=16, lora_dropout=self.dropout, gradient_checkpointing=self.checkpointing
        )


SIXTEEN = Case(dtype=torch.bfloat16, tokens=16, images=1, pairs=2)
"""Smaller: a CPU is slow in 16 bits."""
CASES = [
    Case(method, shared, checkpointing)
    for method, shared, checkpointing in product(("lora", "full"), (True, False), (False, True))
] + [Case(dropout=0.05), SIXTEEN, replace(SIXTEEN, shared=False)]


def step_bytes(case: Case) -> tuple[float, float]:
    """What a step adds to weights, gradients and optimizer state, planned and as allocated."""
    outline = models.llava(case.tokens, device="meta")
    outline.model.to(case.dtype)  # pyright: ignore[reportArgumentType]
    parts = Shape.of(outline)
    prefix = _prefix(case)
    rows = (case.images, case.pairs) if case.shared else (case.images * case.pairs, 1)
    batch = Batch(rows[0], prefix, rows[1], case.question, case.answer)
    learner = hardware.trainable_on_meta(outline, case.settings)
    lengths: Any = Namespace(patches=case.tokens, prefix=prefix)
    config = RunConfig(tune=case.settings)
    planned = step_peak(outline, learner, batch, case.dtype, layers=parts.layers, checkpointing=case.checkpointing)
    return planned + memory.images_bytes(parts, config, lengths, batch, case.dtype), _allocated(case)


def _prefix(case: Case) -> int:
    """Tokens up to the image's last."""
    vlm = models.llava(case.tokens, device="meta")
    ids = vlm.tokenise(vlm.render("?", image=True), models.picture(case.tokens))["input_ids"][0]
    return int((ids == vlm.image_token_id).nonzero()[-1, 0]) + 1


def _allocated(case: Case) -> float:
    """The highest sum of live allocations in a second step, forward and backward, by the profiler's record."""
    vlm = models.llava(case.tokens)
    vlm.model.to(case.dtype)  # pyright: ignore[reportArgumentType]
    learner = hardware.trainable_on_meta(vlm, case.settings).train()
    if case.checkpointing:
        vlm.model.gradient_checkpointing_enable({"use_reentrant": False})
    pairs = models.pairs(vlm, case.pairs, question=case.question, answer=case.answer)
    turns = [replace(turn, image=str(image)) for image in range(case.images) for turn in pairs]
    schedule = Schedule(
        vlm, turns, pairs=len(turns), epochs=1, changes=PLAIN, seed=0, share_image=case.shared,
        opener=models.opener(case.tokens),
    )  # fmt: skip
    rows = [row for start in range(0, len(turns), case.pairs) for row in _rows(schedule, turns, start, case)]
    with branch_attention(vlm.model):
        _step(vlm, learner, rows, case.dtype)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            _step(vlm, learner, rows, case.dtype)
    changes = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]  # pyright: ignore
    now = peak = 0
    event: Any
    for event in sorted(changes, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return float(peak)


def _rows(schedule: Schedule, turns: list[Turn], start: int, case: Case) -> list[Row]:
    return schedule.rows(turns[start : start + case.pairs], None)


def _step(vlm: VisionLanguageModel, learner: Any, rows: list[Row], dtype: torch.dtype) -> None:
    batch = move(collate(rows, vlm.pad_token_id, "right"), vlm)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss = answer_loss(learner, batch)
    loss.backward()


def llava_7b() -> VisionLanguageModel:
    """LLaVA-1.5-7B without its weights: its configuration, images of 336 pixels in 576 tokens; our tokenizer."""
    shipped: Any = AutoProcessor.from_pretrained(BASE)
    square: Any = {"height": 336, "width": 336}
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=square),
        tokenizer=shipped.tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=shipped.chat_template,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**models.VISION["7b"], image_size=336, patch_size=14),
        text_config=LlamaConfig(
            **models.TEXT["7b"], vocab_size=models.VOCABULARY["7b"], max_position_embeddings=models.CONTEXT
        ),
        image_token_id=processor.image_token_id,  # pyright: ignore[reportCallIssue]
        image_seq_length=576,
        vision_feature_layer=-2,
    )
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    return VisionLanguageModel("LLaVA-1.5-7B (shape)", model.eval(), processor)


def cub_200(
    config: RunConfig,
    gpu: str | None,
    assumed: Assumed = Assumed(),  # noqa: B008
    images: Mapping[str, int] = CUB,
) -> RunCost:
    """The plan of CUB-200-2011 by its published counts, or of so many images like its own, with 20 concepts a class."""
    concepts = [f"{colour} {part}" for part, colour in product(("crown", "breast", "wings", "bill"), COLOURS)]
    bank = {f"Species Number {number}": concepts for number in range(CUB_CLASSES)}
    work = Workload(images, {(500, 375): 1}, Questions.for_noun("bird"), bank)
    return Planner(config, work, GPUS[gpu] if gpu else None, assumed, lambda _dtype: llava_7b()).cost()


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    if options.images:
        config = RunConfig(tune=TuneConfig(batch_size=options.batch))
        cost = cub_200(config, options.gpu, images={**CUB, "train": options.images})
        print_cost(replace(cost, scaled=scale(cost, config, options.gpus)), Console())
        return
    measure.begin(options)
    figures: dict[str, float] = {}
    rows = []
    for case in CASES[:2] if options.quick else CASES:
        plan, truth = step_bytes(case)
        figures[f"plan_memory_ratio_{case.name}{'_dropout' if case.dropout else ''}"] = plan / truth
        rows.append([case.name, plan / 2**20, truth / 2**20, plan / truth])
    measure.show("What a tuning step adds, MiB", ["step", "planned", "allocated", "planned / allocated"], rows)
    cost = cub_200(RunConfig(), options.gpu)
    print_cost(cost, Console())
    figures["plan_cub_hours"] = (cost.seconds or 0) / 3600
    figures["plan_cub_peak_gb"] = cost.peak / 1e9
    figures["plan_cub_tokens_read"] = sum(stage.tokens.read for stage in cost.stages)
    measure.report(figures, options.json)


def parsed(arguments: list[str] | None) -> Namespace:
    parser = measure.parser("bench.plan", __doc__ or "")
    parser.add_argument("--gpu", default="H100", choices=list(GPUS), help="card of the CUB-200 plan (default: H100)")
    parser.add_argument("--images", type=int, help="only plan, for so many train images like those of CUB-200")
    parser.add_argument("--gpus", type=int, default=8, help="number of cards of that plan (default: 8)")
    parser.add_argument("--batch", type=int, default=32, help="tune.batch_size of that plan (default: 32)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
