"""The adapters of several rounds as one adapter on the untuned base.

A run merges the adapter of each round before it tunes the next, so the adapter of round 3 means nothing on the base.
But low-rank changes add up: B1 A1 + B2 A2 = [B1 B2] [A1; A2]. Stacked along the rank, the rounds' adapters are one
adapter of as many times the rank, and exact; what was trained in full (the projector) is as the last round left it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from seewhy.errors import SeeWhyError

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def stack(adapters: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The weights of one adapter that changes a model as `adapters`, merged one after the other, do.

    Rank R each: lora_A (R, in) and lora_B (out, R) become (N R, in) and (out, N R). Raises ValueError where they do not
    hold the same weights, or any that are neither LoRA's nor a module's in full.
    """
    if any(adapter.keys() != adapters[0].keys() for adapter in adapters):
        raise ValueError("the adapters of the rounds do not hold the same weights")
    stacked: dict[str, torch.Tensor] = {}
    for name in adapters[0]:
        parts = [adapter[name] for adapter in adapters]
        if name.endswith(".lora_A.weight"):
            stacked[name] = torch.cat(parts, dim=0)
        elif name.endswith(".lora_B.weight"):
            stacked[name] = torch.cat(parts, dim=1)
        elif ".lora_" in name:
            raise ValueError(f"{name} is no plain LoRA weight")
        else:
            stacked[name] = parts[-1]
    return stacked


def stacked_config(configs: Sequence[Mapping[str, Any]], base: str | None) -> dict[str, Any]:
    """Their configuration as one: N times the rank and alpha, so that the scale alpha / rank stays."""
    first = configs[0]
    if any(config[key] != first[key] for config in configs for key in ("r", "lora_alpha", "peft_type")):
        raise ValueError("the adapters of the rounds do not have the same rank and alpha")
    if first["peft_type"] != "LORA" or first["use_rslora"] or first["use_dora"] or first["rank_pattern"]:
        raise ValueError("only plain LoRA can be stacked")
    count = len(configs)
    scaled = {"r": count * first["r"], "lora_alpha": count * first["lora_alpha"]}
    return {**first, **scaled, "base_model_name_or_path": base, "inference_mode": True}


def write_stacked(folders: Sequence[Path], target: Path, base: str | None) -> dict[str, Any]:
    """Write the adapters in `folders` to `target` as one on the untuned base; returns its configuration."""
    if missing := [folder for folder in folders if not (folder / WEIGHTS).is_file()]:
        raise SeeWhyError(
            f"There is no adapter in {missing[0]}: the model was tuned in full, or the folder is not whole. Export the "
            "merged model (--model merged)."
        )
    try:
        configs = [json.loads((folder / CONFIG).read_text(encoding="utf-8")) for folder in folders]
        config = stacked_config(configs, base)
        weights = stack([load_file(str(folder / WEIGHTS)) for folder in folders])
    except (ValueError, KeyError) as error:
        raise SeeWhyError(
            f"The adapters up to {folders[-1]} cannot be made one on the base ({error}): export the merged model "
            "(--model merged)."
        ) from error
    target.mkdir(parents=True)
    (target / WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))
    (target / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return config
