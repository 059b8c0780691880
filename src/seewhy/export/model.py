"""A run's model as folders that transformers, peft and servers load: merged weights, and an adapter on the base."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from transformers import GenerationConfig

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.explainer import load_model
from seewhy.export.adapter import write_stacked
from seewhy.export.finished import FinishedRun
from seewhy.progress import progress, say
from seewhy.vlm.chat import encode, move
from seewhy.vlm.model import VisionLanguageModel

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


def write_merged(run: FinishedRun, target: Path) -> None:
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


def write_adapter(run: FinishedRun, target: Path, base: str | None) -> AdapterCheck:
    """One adapter on the untuned base, with the processor, checked against the merged model.

    `base` is the base's name for those who load it. Raises SeeWhyError where the run left no adapter, or the base with
    it does not answer as the merged model does.
    """
    written = write_stacked(run.adapters, target, base)
    say("checking the adapter on the base against the merged model")
    merged = load_model(run.config, str(run.model))
    merged.processor.save_pretrained(target)
    question, pictures = run.domain.questions.evaluation, run.domain.split("train")[:CHECKED]
    images = [load_image(run.domain.path(example)) for example in pictures]
    rows = [move(encode(merged, question, image), merged) for image in images]
    expected = _logits(merged.model, rows)
    tolerance = TOLERANCE[merged.model.dtype]
    del merged  # one model at a time
    untuned = load_model(run.config, run.base).model
    actual = _logits(PeftModel.from_pretrained(untuned, str(target)).eval(), rows)
    largest = max(float(logits.abs().max()) for logits in expected)
    difference = max(float((a - e).abs().max()) for a, e in zip(actual, expected, strict=True)) / largest
    if not difference <= tolerance:
        raise SeeWhyError(
            f"The base with the adapter does not answer as the merged model does: a logit differs by {difference:.2g} "
            f"of the largest, more than {tolerance:g}. Is {run.base} the base that the run began with? Else export the "
            "merged model alone (--model merged)."
        )
    in_full = tuple(written.get("modules_to_save") or ())
    return AdapterCheck(written["r"], len(run.adapters), difference, tolerance, in_full)


@torch.inference_mode()
def _logits(model: torch.nn.Module, rows: Sequence[Mapping[str, torch.Tensor]]) -> list[torch.Tensor]:
    return [model(**row).logits.float().cpu() for row in rows]
