"""The adapter that tuning trains, and its merge into the model.

A model's parts are found through transformers' own accessors: `get_decoder()` is the language model,
`get_encoder(modality="image")` the vision tower, and the projector is what is neither of the two nor the output head
(Qwen keeps its projector inside the vision tower under the name `merger`).

Deviation from the research code: the merge is done in float32 and compared with the adapter on real rows before
anything is saved.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from seewhy.errors import SeeWhyError
from seewhy.vlm.four_bit import is_four_bit

MERGE_TOLERANCE = 1e-3
"""Largest difference of a logit that merging may make, relative to the largest logit."""


def _name_of(model: nn.Module, part: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is part)


def vision_tower_of(model: PreTrainedModel) -> nn.Module:
    """The vision tower. Raises SeeWhyError if the model does not show one."""
    tower = model.get_encoder(modality="image")
    if tower is model or tower is model.base_model:
        raise SeeWhyError(f"No vision tower found in a {type(model).__name__}; this model cannot be tuned.")
    return tower


def projector_names(model: PreTrainedModel) -> list[str]:
    """Names of the modules between vision tower and language model: the outermost ones that hold neither and are not
    the output head; or else the tower's own mergers."""
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
    """Names of a tower's mergers; those in a list (one for each layer that they feed) one by one."""
    for name, child in tower.named_children():
        if "merger" in name and isinstance(child, nn.ModuleList):
            yield from (f"{name}.{number}" for number in range(len(child)))
        elif "merger" in name:
            yield name


def _linears(model: nn.Module, part: nn.Module, skip: Iterable[str] = ()) -> set[str]:
    """Patterns for the full names of `part`'s linear layers, numbers (of layers) left open."""
    prefix = _name_of(model, part)
    names = (f"{prefix}.{name}" for name, module in part.named_modules() if _is_linear(module))
    kept = (name for name in names if not any(name.startswith(other) for other in skip))
    return {re.sub(r"(?<=\.)\d+(?=\\\.)", r"\\d+", re.escape(name)) for name in kept}


def _is_linear(module: nn.Module) -> bool:
    return type(module) is nn.Linear or is_four_bit(module)


def add_adapter(
    model: PreTrainedModel,
    *,
    rank: int,
    alpha: int,
    dropout: float,
    projector: Literal["full", "frozen"] = "full",
    vision_tower: Literal["frozen", "lora", "full"] = "frozen",
) -> PeftModel:
    """LoRA on every linear layer of the language model, never on embeddings or output head; the projector in full or
    frozen; the vision tower frozen, with LoRA, or in full. Trained weights are float32 whatever the model's dtype.

    Wraps `model` in place. The initial weights come from torch's global generator.
    """
    tower = vision_tower_of(model)
    projectors = projector_names(model)
    if projector == "full" and not projectors:
        raise SeeWhyError(f"No projector found in a {type(model).__name__}: set tune.projector to frozen.")
    patterns = _linears(model, model.get_decoder())
    if not patterns:
        raise SeeWhyError(f"The language model of a {type(model).__name__} has no linear layers to adapt.")
    if vision_tower == "lora":
        patterns |= _linears(model, tower, skip=projectors)
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
    return adapted  # pyright: ignore[reportReturnType]


def train_in_full(
    model: PreTrainedModel, *, projector: Literal["full", "frozen"], vision_tower: Literal["frozen", "lora", "full"]
) -> None:
    """Leaves everything to be trained but, where they are frozen, the projector and the vision tower.

    The model is then float32: steps of a usual size are lost in 16-bit weights.
    """
    if vision_tower == "lora":
        raise SeeWhyError("tune.vision_tower: lora needs an adapter, which tune.method: full has none of.")
    projectors, tower = projector_names(model), _name_of(model, vision_tower_of(model))
    for name, parameter in model.float().named_parameters():
        in_projector = any(name.startswith(f"{other}.") for other in projectors)
        part = projector if in_projector else vision_tower if name.startswith(f"{tower}.") else "full"
        parameter.requires_grad_(part == "full")


@torch.inference_mode()
def logits_of(model: Callable[..., Any], rows: Iterable[Mapping[str, torch.Tensor]]) -> list[torch.Tensor]:
    """The float32 logits of rows, on the CPU; the rows' own numbers are made float32 first."""
    whole = ({k: v.float() if v.is_floating_point() else v for k, v in row.items()} for row in rows)
    return [model(**row).logits.float().cpu() for row in whole]


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Gives float32 weights the values that `dtype` has for them. Buffers, such as rotary frequencies, are not written
    and stay."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).float()


def largest_change(before: Iterable[torch.Tensor], after: Iterable[torch.Tensor]) -> float:
    """The largest absolute difference of a logit."""
    return max(float((b - a).abs().max()) for b, a in zip(before, after, strict=True))


def merge_adapter(
    adapted: PeftModel, rows: Sequence[Mapping[str, torch.Tensor]], dtype: torch.dtype
) -> tuple[Any, float]:
    """Merges in float32 and returns the model in `dtype`, with the largest change that its weights in that dtype make
    to a logit.

    `rows` are inputs the merged model is compared on. Raises SeeWhyError with the difference where its logits are not
    those of base and adapter within MERGE_TOLERANCE.
    """
    adapted = adapted.float().eval()
    expected = logits_of(adapted, rows)
    with adapted.disable_adapter():
        before = logits_of(adapted, rows)
    merged: Any = adapted.merge_and_unload(safe_merge=True)
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
