"""What tuning trains, and what it saves: an adapter (`lora`), one on a 4-bit model (`qlora`), or the model (`full`).

    learner = prepare(vlm, config.tune, rows)        # `rows` are inputs on which models are compared before and after
    trainer = Trainer(learner.model, ...); trainer.train()
    learner.save(folder, rows)                       # folder/adapter (not for full) and folder/model

Parts of a model are found by transformers' own accessors: `get_decoder()` is the language model,
`get_encoder(modality="image")` the vision tower, and the projector is what is neither of them nor the output head (Qwen
keeps its projector inside the vision tower under the name `merger`).

Deviations from the research code: the merge is done in float32 and compared with the adapter on real rows; and a model
whose logits did not change, in the dtype that is written, is an error: sampling from it would cost hours for nothing.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PreTrainedModel

from seewhy.config import TuneConfig
from seewhy.errors import SeeWhyError
from seewhy.vlm.interpolation import interpolate, interpolate_adapter
from seewhy.vlm.loading import evaluation_mode, is_four_bit
from seewhy.vlm.model import VisionLanguageModel

COLOURS = 3
"""Inputs of a convolution that reads pixels."""

MERGE_TOLERANCE = 1e-3
"""Largest change of a logit by merging, relative to the largest logit."""


def _name_of(model: nn.Module, part: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is part)


def vision_tower_of(model: PreTrainedModel) -> nn.Module:
    """Return the vision tower. Raises SeeWhyError if the model names none."""
    tower = model.get_encoder(modality="image")
    if tower is model or tower is model.base_model:
        raise SeeWhyError(f"No vision tower found in a {type(model).__name__}; this model cannot be tuned.")
    return tower


def projector_names(model: PreTrainedModel) -> list[str]:
    """Return the names of the modules between vision tower and language model.

    They are the outermost modules that hold neither and are not the output head, or else the tower's own mergers.
    """
    tower, decoder, head = vision_tower_of(model), model.get_decoder(), model.get_output_embeddings()
    known = {id(module) for part in (tower, decoder, head) if part is not None for module in part.modules()}

    def outermost(module: nn.Module, prefix: str) -> Iterable[str]:
        for name, child in module.named_children():
            if id(child) in known:
                continue
            if any(id(inner) in known for inner in child.modules()):
                yield from outermost(child, f"{prefix}{name}.")
            elif any(True for _ in child.parameters()):
                yield prefix + name

    return list(outermost(model, "")) or [f"{_name_of(model, tower)}.{name}" for name in _mergers(tower)]


def _mergers(tower: nn.Module) -> Iterable[str]:
    """Yield the names of a tower's mergers; those in a list (one for each layer that they feed) one by one."""
    for name, child in tower.named_children():
        if "merger" in name and isinstance(child, nn.ModuleList):
            yield from (f"{name}.{number}" for number in range(len(child)))
        elif "merger" in name:
            yield name


def _patterns(model: nn.Module, part: nn.Module, skip: Iterable[str] = ()) -> set[str]:
    """Return patterns for the full names of `part`'s layers that take an adapter, open in the numbers of layers.

    A layer keeps its own number where a layer that takes none has the same name but for the number.
    """
    prefix = _name_of(model, part)
    layers = {f"{prefix}.{name}": _takes_adapter(module) for name, module in part.named_modules()}
    others = {_open_in_numbers(name) for name, takes in layers.items() if not takes}
    kept = (name for name, takes in layers.items() if takes and not any(name.startswith(other) for other in skip))
    return {re.escape(name) if _open_in_numbers(name) in others else _open_in_numbers(name) for name in kept}


def _open_in_numbers(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\\\.)", r"\\d+", re.escape(name))


def _takes_adapter(module: nn.Module) -> bool:
    return type(module) is nn.Linear or is_four_bit(module) or _is_dense_convolution(module)


def _is_dense_convolution(module: nn.Module) -> bool:
    """Return whether a module is a convolution that peft adapts and merges, other than one that reads the pixels.

    Depthwise and other grouped ones cannot be merged, and peft does not copy a dilation or another padding than zeros.
    What reads the pixels (a stem, a transformer's patch embedding) has three inputs, and LoRA mostly leaves it alone.
    """
    if type(module) is not nn.Conv2d or module.in_channels == COLOURS:
        return False
    return module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"


def _tower_patterns(model: PreTrainedModel) -> set[str]:
    """Return patterns for the vision tower's layers that take an adapter. Raises SeeWhyError where there are none."""
    tower = vision_tower_of(model)
    patterns = _patterns(model, tower, skip=projector_names(model))
    if not patterns:
        raise SeeWhyError(
            f"tune.vision_tower: lora reaches no layer of this model's vision tower ({type(tower).__name__}), which "
            "has neither linear layers nor convolutions over all channels: set it to frozen or full."
        )
    return patterns


def check_tower_setting(model: PreTrainedModel, config: TuneConfig) -> None:
    """Raise SeeWhyError where the vision tower cannot be tuned as `tune.vision_tower` says; on the meta device too."""
    if config.vision_tower == "lora":
        if config.method == "full":
            raise SeeWhyError("tune.vision_tower: lora needs an adapter, which tune.method: full has none of.")
        _tower_patterns(model)


def add_adapter(
    model: PreTrainedModel,
    *,
    rank: int,
    alpha: int,
    dropout: float,
    projector: Literal["full", "frozen"] = "full",
    vision_tower: Literal["frozen", "lora", "full"] = "frozen",
) -> PeftModel:
    """Wrap `model`, in place, with LoRA on all linear layers of the language model, not on embeddings or output head.

    The projector is trained in full or frozen, the vision tower frozen, with LoRA on its linear layers and dense
    convolutions, or in full. Trained weights are float32 whatever the model's dtype; their initial values come from
    torch's global generator. Raises SeeWhyError where there is nothing to adapt.
    """
    tower = vision_tower_of(model)
    projectors = projector_names(model)
    if projector == "full" and not projectors:
        raise SeeWhyError(f"No projector found in a {type(model).__name__}: set tune.projector to frozen.")
    patterns = _patterns(model, model.get_decoder())
    if not patterns:
        raise SeeWhyError(f"The language model of a {type(model).__name__} has no linear layers to adapt.")
    if vision_tower == "lora":
        patterns |= _tower_patterns(model)
    in_full = projectors if projector == "full" else []
    if vision_tower == "full":
        tower_name = _name_of(model, tower)
        in_full = [tower_name, *(name for name in in_full if not name.startswith(f"{tower_name}."))]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="|".join(sorted(patterns)),
        modules_to_save=in_full or None,
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in adapted.modules():
        if isinstance(module, _BatchNorm) and any(parameter.requires_grad for parameter in module.parameters()):
            module.float()  # its statistics, too: they must have the dtype of its weights
    return adapted  # pyright: ignore[reportReturnType]


def train_in_full(
    model: PreTrainedModel, *, projector: Literal["full", "frozen"], vision_tower: Literal["frozen", "full"]
) -> None:
    """Make all weights trainable but those of a frozen projector or vision tower, in place.

    The model becomes float32: steps of a usual size are lost in 16-bit weights.
    """
    projectors, tower = projector_names(model), _name_of(model, vision_tower_of(model))
    for name, parameter in model.float().named_parameters():
        in_projector = any(name.startswith(f"{other}.") for other in projectors)
        part = projector if in_projector else vision_tower if name.startswith(f"{tower}.") else "full"
        parameter.requires_grad_(part == "full")


def frozen_parts(model: nn.Module) -> list[nn.Module]:
    """Return the parts that stay in evaluation mode while a model is tuned.

    These are the modules all of whose parameters are frozen, with all that is in them, so that their dropout is off,
    and all batch normalisation, trained or not, so that its statistics stay (docs/decisions.md).
    """
    if isinstance(model, _BatchNorm):
        return [model]
    parameters = list(model.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return [model]
    return [part for child in model.children() for part in frozen_parts(child)]


def rest_frozen(parts: Iterable[nn.Module]) -> None:
    """Put frozen parts back into evaluation mode, after every `model.train()`, which Trainer calls in each step."""
    for part in parts:
        evaluation_mode(part)


@torch.inference_mode()
def logits_of(model: Callable[..., Any], rows: Iterable[Mapping[str, torch.Tensor]]) -> list[torch.Tensor]:
    """Return the logits of rows, computed in float32, on the CPU."""
    whole = ({k: v.float() if v.is_floating_point() else v for k, v in row.items()} for row in rows)
    return [model(**row).logits.float().cpu() for row in whole]


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Round float32 weights to `dtype`. Buffers, such as rotary frequencies, are not saved and stay."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).float()


def largest_change(before: Iterable[torch.Tensor], after: Iterable[torch.Tensor]) -> float:
    """Return the largest absolute difference of a logit."""
    return max(float((b - a).abs().max()) for b, a in zip(before, after, strict=True))


def merge_adapter(
    adapted: PeftModel, rows: Sequence[Mapping[str, torch.Tensor]], dtype: torch.dtype
) -> tuple[Any, float]:
    """Merge in float32; return the model in `dtype`, and the largest change of a logit to the base's.

    The change is that of the rounded weights. Raises SeeWhyError, with the difference, where the merged model's logits
    of `rows` are not those of base and adapter within MERGE_TOLERANCE.
    """
    adapted = adapted.float().eval()
    expected = logits_of(adapted, rows)
    with adapted.disable_adapter():
        before = logits_of(adapted, rows)
    try:
        merged: Any = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:
        if "NaN" not in str(error):
            raise
        raise SeeWhyError(
            "Tuning has diverged: the adapter's weights are no longer numbers. Lower tune.learning_rate or "
            "tune.lora_alpha, or raise tune.warmup."
        ) from error
    actual = logits_of(merged, rows)
    scale = max(float(logits.abs().max()) for logits in expected)
    difference = largest_change(actual, expected)
    if not difference <= MERGE_TOLERANCE * max(scale, 1.0):
        raise SeeWhyError(
            f"The merged model does not answer as its adapter does: a logit differs by {difference:.3g} (largest logit "
            f"{scale:.3g}). The adapter is kept; nothing was saved in place of the model."
        )
    if dtype != torch.float32:
        round_weights(merged, dtype)
        actual = logits_of(merged, rows)
    return merged.to(dtype), largest_change(before, actual)


TRAINED = "trained.safetensors"
"""Checkpoint file of a model that is tuned without an adapter."""

Rows = Sequence[Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class AdapterLearner:
    """A base model under its adapter (`model`), which may be in 4 bits."""

    vlm: VisionLanguageModel
    model: Any
    dtype: torch.dtype
    four_bit: bool
    kept: float
    """Share of the change that is kept (interpolation.py)."""

    def save(self, folder: Path, rows: Rows) -> None:
        """Write adapter and merged model. A 4-bit base is loaded again in full precision, on the CPU, to be merged."""
        if self.kept < 1:
            interpolate_adapter(self.model, self.kept)
        replace(folder / "adapter", lambda path: save_adapter(self.model, self.vlm.name, path))
        adapted = self.model
        if self.four_bit:
            whole = self.vlm.loaded_again().model
            adapted = PeftModel.from_pretrained(whole, str(folder / "adapter"))  # pyright: ignore[reportArgumentType]
            rows = [{name: tensor.cpu() for name, tensor in row.items()} for row in rows]
        merged, change = merge_adapter(adapted, rows, self.dtype)
        check_changed(change, self.dtype)
        save_model(self.vlm, merged, folder)


@dataclass(frozen=True)
class FullLearner:
    """A model that is trained itself, in float32. `before` holds its logits before tuning."""

    vlm: VisionLanguageModel
    model: Any
    dtype: torch.dtype
    kept: float
    """Share of the change that is kept (interpolation.py)."""
    before: Sequence[torch.Tensor]

    def save(self, folder: Path, rows: Rows) -> None:
        """Write the model. If not all of its change is kept, the one before is loaded again, on the CPU."""
        if self.kept < 1:
            interpolate(self.model.parameters(), self.vlm.loaded_again().model.parameters(), self.kept)
        round_weights(self.model.eval(), self.dtype)
        check_changed(largest_change(self.before, logits_of(self.model, rows)), self.dtype)
        save_model(self.vlm, self.model.to(self.dtype), folder)


def prepare(vlm: VisionLanguageModel, config: TuneConfig, rows: Rows) -> AdapterLearner | FullLearner:
    """Make `vlm.model` ready to be trained, in place. Raises SeeWhyError for settings that do not go together."""
    dtype = vlm.model.dtype
    model = trainable(vlm.model, config)
    if isinstance(model, PeftModel):
        return AdapterLearner(vlm, model, dtype, config.method == "qlora", config.interpolate)
    return FullLearner(vlm, model, dtype, config.interpolate, logits_of(model, rows))


def trainable(model: PreTrainedModel, config: TuneConfig) -> PeftModel | PreTrainedModel:
    """Return `model`, changed in place, under its adapter or to be trained in full; on the meta device as well."""
    check_tower_setting(model, config)
    if config.method == "full":
        tower: Literal["frozen", "full"] = "full" if config.vision_tower == "full" else "frozen"
        train_in_full(model, projector=config.projector, vision_tower=tower)
        return model
    return add_adapter(
        model,
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        projector=config.projector,
        vision_tower=config.vision_tower,
    )


def check_changed(change: float, dtype: torch.dtype) -> None:
    """Raise SeeWhyError where tuning moved no logit. `change` is the largest, in the dtype that is written."""
    if change > 0:
        return
    raise SeeWhyError(
        f"Tuning changed nothing: in {str(dtype).removeprefix('torch.')} no logit moved, so there is no model to go on "
        "from. Raise tune.learning_rate or tune.epochs; with few steps, or in 16 bits, small changes are rounded away."
    )


def save_trained(model: Any, folder: Path) -> None:
    """Write the trained weights of a model without an adapter to a checkpoint.

    They keep their own names; save_pretrained writes those of the Hub, which Trainer does not read back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trained = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(trained, folder / TRAINED)


def load_trained(model: Any, folder: Path) -> None:
    """Load the weights that `save_trained` wrote."""
    saved = load_file(folder / TRAINED)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(saved[name])


def save_adapter(adapted: PeftModel, base: str, folder: Path) -> None:
    """Write the adapter as peft reads it, with the base's name but not its place on this machine."""
    adapted.peft_config["default"].base_model_name_or_path = Path(base).name if Path(base).is_dir() else base
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink()  # an empty form


def save_model(vlm: VisionLanguageModel, model: nn.Module, folder: Path) -> None:
    """Write a model with `vlm`'s processor to folder/model."""
    replace(folder / "model", VisionLanguageModel(vlm.name, model, vlm.processor).save)  # pyright: ignore[reportArgumentType]


def replace(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    write(folder)
