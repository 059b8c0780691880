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
    names = (f"{prefix}.{name}" for name, module in part.named_modules() if type(module) is nn.Linear)
    kept = (name for name in names if not any(name.startswith(other) for other in skip))
    return {re.sub(r"(?<=\.)\d+(?=\\\.)", r"\\d+", re.escape(name)) for name in kept}


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


@torch.inference_mode()
def _logits(model: Callable[..., Any], rows: Iterable[Mapping[str, torch.Tensor]]) -> list[torch.Tensor]:
    return [model(**row).logits.float().cpu() for row in rows]


def merge_adapter(
    adapted: PeftModel, rows: Sequence[Mapping[str, torch.Tensor]], dtype: torch.dtype
) -> tuple[Any, float]:
    """Merges in float32 and returns the model in `dtype`, with the largest change that the adapter made to a logit.

    `rows` are inputs the merged model is compared on. Raises SeeWhyError with the difference where its logits are not
    those of base and adapter within MERGE_TOLERANCE.
    """
    adapted = adapted.float().eval()
    rows = [{k: v.float() if v.is_floating_point() else v for k, v in row.items()} for row in rows]
    expected = _logits(adapted, rows)
    with adapted.disable_adapter():
        before = _logits(adapted, rows)
    merged = adapted.merge_and_unload(safe_merge=True)
    actual = _logits(merged, rows)
    scale = max(float(logits.abs().max()) for logits in expected)
    difference = max(float((a - e).abs().max()) for a, e in zip(actual, expected, strict=True))
    if not difference <= MERGE_TOLERANCE * max(scale, 1.0):
        raise SeeWhyError(
            f"The merged model does not answer as its adapter does: a logit differs by {difference:.3g} (largest logit "
            f"{scale:.3g}). The adapter is kept; nothing was saved in place of the model."
        )
    changed = max(float((b - e).abs().max()) for b, e in zip(before, expected, strict=True))
    return merged.to(dtype), changed
