"""One training step on Q pairs about one image: shared, in separate sequences, and as TRL's SFTTrainer does it.

All three have the same model, adapter, pairs, labels and precision. A step is forward and backward, without the
optimizer (which sees the same gradients in all three) and without reading the image. Loss and gradients are compared as
well. The limit is what the tokens, and the FLOPs of matrix products and attention, would let sharing gain over TRL.
"""

import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from bench import measure, models
from seewhy.config import AugmentConfig
from seewhy.records import Turn
from seewhy.vlm.adapter import add_adapter
from seewhy.vlm.chat import Row, collate, move
from seewhy.vlm.data import Schedule
from seewhy.vlm.loss import answer_loss
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import branch_attention

SHARED, SEPARATE, TRL = "shared", "separate", "trl"
RANK = {"small": 8, "7b": 128}
"""3 % of the model's width."""
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 matrix products a second, by the maker's data sheet."""
CUB_IMAGES, CUB_EPOCHS = 5_994, 2


@dataclass(frozen=True)
class Setting:
    tokens: int
    pairs: int
    size: models.Size
    device: str

    @property
    def name(self) -> str:
        return f"{self.tokens}x{self.pairs}"


@dataclass(frozen=True)
class Step:
    """One contender's step on `batch`: called, it leaves gradients in `model` and returns the loss."""

    model: nn.Module
    batch: Row
    loss_of: Callable[[Row], torch.Tensor]

    def __call__(self) -> float:
        self.model.zero_grad(set_to_none=True)
        return float(self.loss_of(self.batch))

    def gradients(self) -> dict[str, torch.Tensor]:
        return {name: p.grad.float() for name, p in self.model.named_parameters() if p.grad is not None}


def contenders(setting: Setting, *names: str) -> dict[str, Step]:
    """Steps by name. Ours stand on one model; TRL has a copy, because its trainer rewrites the model's forward."""
    steps = {}
    ours = [name for name in names if name != TRL]
    if ours:
        vlm, adapted = adapted_model(setting)
        turns = models.pairs(vlm, setting.pairs)
        steps = {name: our_step(vlm, adapted, turns, setting, share_image=name == SHARED) for name in ours}
    if TRL in names:
        vlm, adapted = adapted_model(setting)
        steps[TRL] = trl_step(vlm, adapted, models.pairs(vlm, setting.pairs), setting)
    return steps


def contender(setting: Setting, name: str) -> Step:
    return contenders(setting, name)[name]


def adapted_model(setting: Setting) -> tuple[VisionLanguageModel, nn.Module]:
    """The model under our adapter, whose second factors are no longer zero: so the first have gradients too."""
    vlm = models.llava(setting.tokens, size=setting.size, device=setting.device)
    rank = RANK[setting.size]
    adapted = add_adapter(vlm.model, rank=rank, alpha=2 * rank, dropout=0.0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return vlm, adapted.train()


def our_step(
    vlm: VisionLanguageModel, adapted: nn.Module, turns: list[Turn], setting: Setting, *, share_image: bool
) -> Step:
    """What tune() does for one batch."""
    schedule = Schedule(
        vlm, turns, pairs=len(turns), epochs=1, changes=AugmentConfig(), seed=0, share_image=share_image,
        opener=models.opener(setting.tokens),
    )  # fmt: skip
    batch = move(collate(schedule.rows(turns, None), vlm.pad_token_id, "right"), vlm)
    half = vlm.model.dtype != torch.float32

    def loss_of(batch: Row) -> torch.Tensor:
        with branch_attention(vlm.model):
            with torch.autocast(vlm.device.type, vlm.model.dtype, enabled=half):
                loss = answer_loss(adapted, batch)
            loss.backward()
        return loss.detach()

    return Step(adapted, batch, loss_of)


def trl_step(vlm: VisionLanguageModel, adapted: nn.Module, turns: list[Turn], setting: Setting) -> Step:
    """TRL's own training step on a batch of its own data loader: one row a pair, each with the image."""
    from datasets import Dataset
    from trl.trainer.sft_config import SFTConfig  # pyright: ignore[reportMissingImports] -- an extra
    from trl.trainer.sft_trainer import SFTTrainer  # pyright: ignore[reportMissingImports]

    image = models.picture(setting.tokens)
    examples = [
        {
            "prompt": [{"role": "user", "content": turn.query}],
            "completion": [{"role": "assistant", "content": turn.answer}],
            "images": [image],
        }
        for turn in turns
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=adapted,  # pyright: ignore[reportArgumentType]
            args=SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=len(turns),
                train_sampling_strategy="sequential",
                gradient_checkpointing=False,
                max_length=None,
                bf16=setting.device != "cpu",
                use_cpu=setting.device == "cpu",
                report_to="none",
            ),
            train_dataset=Dataset.from_list(examples),
            processing_class=vlm.processor,
        )
    trainer.current_gradient_accumulation_steps = 1  # which train() would set
    batch = next(iter(trainer.get_train_dataloader()))
    return Step(adapted, dict(batch), lambda batch: trainer.training_step(adapted, dict(batch)))


def check_same_tokens(separate: Step, trl: Step) -> None:
    """Raises ValueError unless TRL trains on exactly our rows: the same ids, and the same of them labelled."""
    for name in ("input_ids", "labels", "pixel_values"):
        if not torch.equal(separate.batch[name].cpu(), trl.batch[name].to(separate.batch[name].dtype).cpu()):
            raise ValueError(f"TRL's {name} are not ours, so there is nothing to compare.")


def difference(of: Mapping[str, torch.Tensor], to: Mapping[str, torch.Tensor]) -> float:
    """Norm of the difference of all gradients, relative to the norm of `to`."""
    if of.keys() != to.keys():
        raise ValueError(f"Not the same parameters have gradients: {sorted(of.keys() ^ to.keys())[:3]}")
    apart = sum(float((of[name] - to[name]).square().sum()) for name in to)
    return (apart / sum(float(to[name].square().sum()) for name in to)) ** 0.5


CAUSAL: dict[str, tuple[int, int]] = {
    "flash_attention_for_cpu": (1, 3), "flash_attention": (1, 7), "efficient_attention": (3, 7),
    "cudnn_attention": (3, 10),
}  # fmt: skip
"""torch's kernels of attention: place of `is_causal` among the arguments after query, key and value, and in the
backward kernel after those and the gradient."""


def flops(step: Callable[[], object]) -> float:
    """Count the FLOPs of matrix products and attention in one step; causal attention is half of full attention."""

    def halved(count: Callable[..., int], tensors: int, place: int) -> Callable[..., int]:
        def formula(*arguments: Any, **_: Any) -> int:
            shapes, others = arguments[:tensors], arguments[tensors:]
            *before, query, key, value = shapes
            key, value = ((of[0], query[1], *of[2:]) for of in (key, value))  # heads that share keys count each
            return count(*before, query, key, value) // (2 if len(others) > place and others[place] else 1)

        return formula

    mapping = {}
    for name, (forward, backward) in CAUSAL.items():
        kernel = f"_scaled_dot_product_{name}"
        mapping[getattr(torch.ops.aten, kernel)] = halved(sdpa_flop_count, 3, forward)
        mapping[getattr(torch.ops.aten, f"{kernel}_backward")] = halved(sdpa_backward_flop_count, 4, backward)
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        step()
    return counter.get_total_flops()


def tokens_of(step: Step) -> int:
    return int(step.batch["attention_mask"].sum())


@dataclass
class Result:
    """What one setting gave."""

    seconds: dict[str, list[float]]
    peaks: dict[str, float]
    tokens: dict[str, int]
    flops: dict[str, float]
    loss_difference: dict[str, float]
    gradient_difference: dict[str, float]


def measured(setting: Setting, names: list[str], repetitions: int, threads: int, *, memory: bool) -> Result:
    """Peaks first, while this process is small."""
    peaks = measure.peaks({n: (contender, setting, n) for n in names}, threads, setting.device) if memory else {}
    steps = contenders(setting, *names)
    if TRL in names:
        check_same_tokens(steps[SEPARATE], steps[TRL])
    reference = names[-1]
    losses, gradients = {}, {}
    for name in reversed(names):
        losses[name] = steps[name]()
        gradients[name] = steps[name].gradients()
        if name != reference:
            gradients[name] = {"": torch.tensor(difference(gradients[name], gradients[reference]))}
    return Result(
        seconds=measure.interleaved(steps, repetitions, warm_up=0),  # each has run once above
        peaks=peaks,
        tokens={name: tokens_of(step) for name, step in steps.items()},
        flops={name: flops(step) for name, step in steps.items()},
        loss_difference={n: abs(losses[n] - losses[reference]) for n in names if n != reference},
        gradient_difference={n: float(gradients[n][""]) for n in names if n != reference},
    )


def main(arguments: list[str] | None = None) -> None:
    parser = measure.parser("bench.tuning", __doc__ or "")
    parser.add_argument("--size", choices=["small", "7b"], default="small", help="7b: LLaVA-1.5-7B's shape, on cuda")
    parser.add_argument("--settings", metavar="TOKENSxPAIRS,...", help="image tokens and pairs (default: the paper's)")
    parser.add_argument("--without-trl", action="store_true", help="leave TRL's SFTTrainer out (7b: always)")
    options = parser.parse_args(arguments)
    repetitions = measure.begin(options)
    names = [SHARED, SEPARATE]
    if options.size == "small" and not options.without_trl:
        if find_spec("trl"):
            names.append(TRL)
        else:
            measure.note("TRL is not installed, so it is left out: pip install -e '.[bench]'.")
    results = {
        setting: measured(setting, names, repetitions, options.threads, memory=not options.quick or setting.pairs > 1)
        for setting in settings_of(options)
    }
    show(results, names)
    measure.report(figures_of(results, names), options.json)


def settings_of(options: Namespace) -> list[Setting]:
    full = "576x1,576x2,576x4,576x8,576x16,64x8,1024x8"
    asked = options.settings or ("576x1,576x8" if options.quick else full)
    sizes = [tuple(map(int, part.split("x"))) for part in asked.split(",")]
    return [Setting(tokens, pairs, options.size, options.device) for tokens, pairs in sizes]


def show(results: Mapping[Setting, Result], names: list[str]) -> None:
    """Three tables: speed, what sharing gains and could gain, memory and agreement."""
    last = names[-1]
    columns = ["image tokens x pairs", *(f"{name}, images/s" for name in names)]
    measure.show(
        "Training step (forward and backward)", columns,
        [[s.name, *(1 / median(r.seconds[n]) for n in names)] for s, r in results.items()],
    )  # fmt: skip
    columns = ["image tokens x pairs", *(f"{n} / shared" for n in names[1:]), "token limit", f"FLOP limit to {last}"]
    measure.show(
        "How many times as long as the shared step", columns,
        [
            [
                s.name, *(measure.ratio(r.seconds, n, SHARED) for n in names[1:]),
                r.tokens[SEPARATE] / r.tokens[SHARED], r.flops[last] / r.flops[SHARED],
            ]
            for s, r in results.items()
        ],
    )  # fmt: skip
    columns = [
        "image tokens x pairs",
        *(f"{n}, peak GB" for n in names),
        f"loss, shared - {last}",
        "gradients, relative",
    ]
    measure.show(
        "Memory above the loaded model, and agreement", columns,
        [
            [
                s.name, *(r.peaks.get(n, "-") for n in names),
                r.loss_difference[SHARED], r.gradient_difference[SHARED],
            ]
            for s, r in results.items()
        ],
    )  # fmt: skip


def figures_of(results: Mapping[Setting, Result], names: list[str]) -> dict[str, float]:
    """The flat figures. Differences are the largest of all settings."""
    figures: dict[str, float] = {}
    for setting, result in results.items():
        for name in names:
            figures[f"tuning_images_per_second_{name}_{setting.name}"] = 1 / median(result.seconds[name])
        for name in names[1:]:
            figures[f"tuning_ratio_{name}_{setting.name}"] = measure.ratio(result.seconds, name, SHARED)
        figures[f"tuning_token_limit_{setting.name}"] = result.tokens[SEPARATE] / result.tokens[SHARED]
        figures[f"tuning_flop_limit_{setting.name}"] = result.flops[names[-1]] / result.flops[SHARED]
        for name, peak in result.peaks.items():
            figures[f"tuning_peak_gb_{name}_{setting.name}"] = peak
            if name != SHARED:
                figures[f"tuning_memory_ratio_{name}_{setting.name}"] = result.peaks[SHARED] / peak
        if setting.pairs == 1:
            figures["tuning_ratio_q1"] = figures[f"tuning_ratio_{SEPARATE}_{setting.name}"]
        if setting.device != "cpu":
            figures |= gpu_figures(setting, result)
    figures["tuning_loss_difference"] = max(max(r.loss_difference.values()) for r in results.values())
    figures["tuning_gradient_difference"] = max(max(r.gradient_difference.values()) for r in results.values())
    main_setting = max(results, key=lambda setting: (setting.tokens == 576, setting.pairs == 8))
    for name in names[1:]:
        if name in results[main_setting].peaks:
            figures[f"tuning_memory_ratio_{name}"] = figures[f"tuning_memory_ratio_{name}_{main_setting.name}"]
    return figures


def gpu_figures(setting: Setting, result: Result) -> dict[str, float]:
    """Tokens a second, share of the GPU's FLOPs, and minutes to tune a CUB-200 round at this many pairs an image."""
    known: Any = (peak for name, peak in PEAK_FLOPS.items() if name in torch.cuda.get_device_name())
    peak = next(known, None)
    figures = {}
    for name in (SHARED, SEPARATE):
        seconds, place = median(result.seconds[name]), f"{name}_{setting.name}"
        figures[f"tuning_tokens_per_second_{place}"] = result.tokens[name] / seconds
        figures[f"tuning_minutes_cub_round_{place}"] = CUB_IMAGES * CUB_EPOCHS * seconds / 60
        if peak:
            figures[f"tuning_flops_utilisation_{place}"] = result.flops[name] / seconds / peak
    return figures


if __name__ == "__main__":
    main()
