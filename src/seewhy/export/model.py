"""Write a run's model as folders that transformers, peft and servers load: merged weights, or one adapter on the base.

A run merges the adapter of each round before it tunes the next, so the adapter of round 3 means nothing on the base.
But low-rank changes add up: B1 A1 + B2 A2 = [B1 B2] [A1; A2]. Stacked along the rank, the rounds' adapters are one
adapter of as many times the rank, and exact; what was trained in full (the projector) is as the last round left it.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save
from transformers import GenerationConfig

from seewhy.config import RunConfig
from seewhy.domain.domain import Domain
from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.proof.audit import Audit, audit
from seewhy.records import Answer, Selection
from seewhy.results import Figures, Metrics
from seewhy.run.finished import AGAIN, FinishedRun
from seewhy.run.progress import progress, say
from seewhy.run.stages import BASE, OURS, ModelKey, StageKey
from seewhy.vlm.chat import encode, move
from seewhy.vlm.model import VisionLanguageModel

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


TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}
"""Largest difference of a logit between the adapter on the base and the merged model, relative to the largest logit:
in half precision each round's merge was rounded."""
CHECKED = 2
"""Images that the adapter is checked on."""


@dataclass(frozen=True)
class AdapterCheck:
    """One adapter on the untuned base, held against the merged model; `difference` is relative to the largest logit.

    `in_full` names the modules that it replaces as a whole, which some servers do not take.
    """

    rank: int
    rounds: int
    difference: float
    tolerance: float
    in_full: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportedRound:
    """A finished run and the round of it that is exported, which has a measured model."""

    run: FinishedRun
    round: int
    metrics: Metrics
    audit: Audit

    @classmethod
    def open(cls, path: str, round: str | None, *, trust_remote_code: bool | None = None) -> "ExportedRound":
        """Open a run folder. `round` is as `FinishedRun.measured_round` takes it.

        Raises SeeWhyError for a folder without a measured model, for a round that it does not have, and where the data
        have changed since.
        """
        run = FinishedRun.open(path, trust_remote_code=trust_remote_code)
        chosen = run.measured_round(round)
        if OURS.model(chosen) not in run.models:
            raise SeeWhyError(f"{path} has no model of round {chosen}. {AGAIN}")
        domain_settings = run.manifest["stages"].get(str(StageKey("domain")), {}).get("settings", {})
        if domain_settings.get("data", {}).get("fingerprint") != run.domain.fingerprint:
            raise SeeWhyError(
                f"The images, labels, concepts or questions of {run.config.data.source} are no longer those that "
                f"{path} was made from, so a card would describe other data. Put them back, or run again on the new "
                "ones."
            )
        return cls(run, chosen, run.metrics or Metrics(Figures()), audit(run))

    @property
    def path(self) -> Path:
        return self.run.path

    @property
    def config(self) -> RunConfig:
        return self.run.config

    @property
    def domain(self) -> Domain:
        return self.run.domain

    @property
    def key(self) -> ModelKey:
        """The exported model."""
        return OURS.model(self.round)

    @cached_property
    def model(self) -> Path:
        """The folder of the merged model, all of whose files are whole."""
        return self.run.whole(self.key)

    @property
    def figures(self) -> Figures:
        """The exported model's figures."""
        return next(figures for figures in self.metrics.rounds if figures.round == self.round)

    def answers(self, round: int) -> list[Answer]:
        """Return what the method's model was tuned on in a round."""
        return self.run.complete_records(OURS.stage("answers", round), Answer)

    def selections(self) -> list[Selection]:
        """Return the concept scores of the training images, and what was selected of them."""
        return self.run.selections()


def write_merged(run: ExportedRound, target: Path) -> None:
    """The merged weights with processor, chat template, and a generation config that answers as the run measured."""
    files = sorted(path for path in run.model.iterdir() if path.is_file())
    target.mkdir(parents=True)
    with progress("copying the model", total=len(files), done=0) as advance:
        for path in files:
            shutil.copyfile(path, target / path.name)
            advance(1)
    tokens, remote = run.config.evaluate.max_new_tokens, run.config.model.trust_remote_code
    generation_config(run.model, tokens, trust_remote_code=remote).save_pretrained(target)


def generation_config(model: Path, max_new_tokens: int, *, trust_remote_code: bool = False) -> GenerationConfig:
    """Greedy decoding, ended by the tokens that end an answer in a run, whatever the base's own file says.

    The base's temperature, top-k or repetition penalty would give other answers than those that were measured.
    """
    vlm = VisionLanguageModel.outline(model, dtype=torch.float32, trust_remote_code=trust_remote_code)
    own = GenerationConfig.from_pretrained(model)
    vlm.model.generation_config = own
    ends = vlm.stop_token_ids
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        bos_token_id=own.bos_token_id,
        pad_token_id=vlm.pad_token_id,
        eos_token_id=ends if len(ends) > 1 else ends[0],
    )


def write_adapter(run: ExportedRound, target: Path, base: str | None) -> AdapterCheck:
    """One adapter on the untuned base, with the processor, checked against the merged model.

    `base` is the base's name for those who load it. Raises SeeWhyError where the run left no adapter, or the base with
    it does not answer as the merged model does.
    """
    adapters = run.run.adapters(run.round)
    written = write_stacked(adapters, target, base)
    say("checking the adapter on the base against the merged model")
    merged = run.run.load(run.key)
    merged.processor.save_pretrained(target)
    question, pictures = run.domain.questions.evaluation, run.domain.split("train")[:CHECKED]
    images = [load_image(run.domain.path(example)) for example in pictures]
    rows = [move(encode(merged, question, image), merged) for image in images]
    expected = _logits(merged.model, rows)
    tolerance = TOLERANCE[merged.model.dtype]
    del merged  # one model at a time
    untuned = run.run.load(BASE).model
    actual = _logits(PeftModel.from_pretrained(untuned, str(target)).eval(), rows)
    largest = max(float(logits.abs().max()) for logits in expected)
    difference = max(float((a - e).abs().max()) for a, e in zip(actual, expected, strict=True)) / largest
    if not difference <= tolerance:
        raise SeeWhyError(
            f"The base with the adapter does not answer as the merged model does: a logit differs by {difference:.2g} "
            f"of the largest, more than {tolerance:g}. Is {run.run.base} the base that the run began with? Else export "
            "the merged model alone (--model merged)."
        )
    in_full = tuple(written.get("modules_to_save") or ())
    return AdapterCheck(written["r"], len(adapters), difference, tolerance, in_full)


@torch.inference_mode()
def _logits(model: torch.nn.Module, rows: Sequence[Mapping[str, torch.Tensor]]) -> list[torch.Tensor]:
    return [model(**row).logits.float().cpu() for row in rows]
