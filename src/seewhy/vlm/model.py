"""Any image-text-to-text model of transformers with its processor; its adapter, and the adapter's merge.

A model's parts are found through transformers' own accessors: `get_decoder()` is the language model,
`get_encoder(modality="image")` the vision tower, and the projector is what is neither of the two nor the output head
(Qwen keeps its projector inside the vision tower under the name `merger`).

Deviations from the research code: the merge is done in float32 and compared with the adapter on real rows before
anything is saved; weights are read from safetensors alone; remote code is off unless asked for.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers import logging as transformers_logging
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from seewhy.errors import SeeWhyError

MERGE_TOLERANCE = 1e-3
"""Largest difference of a logit that merging may make, relative to the largest logit."""


@dataclass(frozen=True)
class VisionLanguageModel:
    """A model and its processor. `name` is what it was loaded from."""

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> "VisionLanguageModel":
        """Loads a model from a folder or the Hub, in evaluation mode.

        `device` "auto" takes a GPU where there is one; `dtype` "auto" is bfloat16 on a GPU and float32 on a CPU.
        Raises SeeWhyError when nothing is there, when the weights are not safetensors, when it is not an image-text
        model, and when its processor has no chat template or its template no place for an image.
        """
        name = str(name_or_path)
        if name.startswith(("/", ".", "~")) and not Path(name).expanduser().is_dir():
            raise SeeWhyError(f"There is no model folder {name}. Check model.name_or_path.")
        name = str(Path(name).expanduser()) if name.startswith("~") else name
        device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        torch_dtype = (
            (torch.float32 if device == "cpu" else torch.bfloat16) if dtype == "auto" else getattr(torch, dtype)
        )
        source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        transformers_logging.disable_progress_bar()
        try:
            config = AutoConfig.from_pretrained(name, **source)
            model = AutoModelForImageTextToText.from_pretrained(
                name, config=config, dtype=torch_dtype, use_safetensors=True, **source
            )
            processor = AutoProcessor.from_pretrained(name, **source)
        except (OSError, ValueError) as error:
            raise SeeWhyError(_why_not_loaded(name, error)) from error
        if not isinstance(processor, ProcessorMixin):
            raise SeeWhyError(f"Model {name} takes no images: its processor is a {type(processor).__name__}.")
        model.to(device).eval()  # pyright: ignore[reportArgumentType]
        vlm = cls(name, model, processor)
        vlm._check_chat_template()
        return vlm

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.processor.tokenizer  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def image_token_id(self) -> int:
        """Id of the token that stands for a piece of an image in `input_ids`."""
        return self.processor.image_token_id  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def end_token_id(self) -> int:
        """Id of the token that ends an answer."""
        return int(self.tokenizer.eos_token_id)  # pyright: ignore[reportArgumentType]

    @property
    def stop_token_ids(self) -> list[int]:
        """Ids of the tokens that end an answer, the tokenizer's first and then those of the generation config."""
        others = (self.model.generation_config or GenerationConfig()).eos_token_id
        others = others if isinstance(others, list) else [] if others is None else [others]
        return list(dict.fromkeys([self.end_token_id, *others]))

    @property
    def pad_token_id(self) -> int:
        """Id that fills up a batch; masked, so any will do where the tokenizer has none."""
        pad = self.tokenizer.pad_token_id
        return self.end_token_id if pad is None else int(pad)  # pyright: ignore[reportArgumentType]

    @property
    def max_length(self) -> int:
        """Longest sequence in tokens that the language model has positions for."""
        return self.model.config.get_text_config().max_position_embeddings

    def save(self, folder: Path) -> None:
        """Writes weights (safetensors), configuration and processor to `folder`; `load` reads them back."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def render(self, question: str, *, image: bool) -> str:
        """The prompt for a question, with or without an image, up to where the answer begins."""
        content = [*([{"type": "image"}] if image else []), {"type": "text", "text": question}]
        turns: list[Any] = [{"role": "user", "content": content}]
        return self.processor.apply_chat_template(turns, add_generation_prompt=True)

    def tokenise(self, prompt: str, image: Image.Image | None) -> dict[str, torch.Tensor]:
        """Input tensors of a rendered prompt, on the CPU, with a leading batch axis of 1."""
        bos = self.tokenizer.bos_token
        begun = bos is not None and prompt.startswith(str(bos))  # the template wrote it: not a second one
        images = {} if image is None else {"images": [image]}
        inputs = self.processor(
            text=[prompt],
            **images,  # pyright: ignore[reportArgumentType]
            return_tensors="pt",  # pyright: ignore[reportCallIssue]
            add_special_tokens=not begun,  # pyright: ignore[reportCallIssue]
        )
        return dict(inputs)

    @cached_property
    def markers(self) -> tuple[str, ...]:
        """What may not stand in a text: special tokens, added tokens that are no words, the template's role markers."""
        added = self.tokenizer.added_tokens_decoder.values()
        tokens = {token.content for token in added if token.special or not token.content.replace(" ", "").isalnum()}
        before_question, before_answer = self.render("\0", image=False).split("\0")
        roles = set()
        for text in (before_question, before_answer):
            for token in tokens:
                text = text.replace(token, " ")
            roles |= {word for word in text.split()[-1:] if not word.isalnum()}
        return tuple(sorted(marker for marker in tokens | roles if marker.strip()))

    def _check_chat_template(self) -> None:
        if not self.processor.chat_template:
            raise SeeWhyError(
                f"Model {self.name} has no chat template, so it is not known how to put a question to it. Use an "
                f"instruction-tuned model, or add a chat_template.jinja to its folder."
            )
        if self.tokenizer.eos_token_id is None:
            raise SeeWhyError(f"The tokenizer of model {self.name} has no end-of-sequence token.")
        try:
            ids = self.tokenise(self.render("?", image=True), Image.new("RGB", (64, 64)))["input_ids"]
        except ValueError as error:  # some processors count the images in the text themselves
            raise SeeWhyError(f"Model {self.name} takes no image through its chat template. ({error})") from error
        if not (ids == self.image_token_id).any():
            raise SeeWhyError(
                f"The chat template of model {self.name} leaves the image out: it must write the processor's image "
                f"token for a content part of type 'image'."
            )


def _why_not_loaded(name: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "safetensors" in text:
        return f"Model {name} has no safetensors weights, the only ones that are read. ({text})"
    if "Unrecognized configuration class" in text or "Unrecognized model" in text:
        return f"Model {name} is not an image-text-to-text model that transformers knows. ({text[:300]})"
    if "trust_remote_code" in text:
        return f"Model {name} runs code of its own: read it, then set model.trust_remote_code to true. ({text[:300]})"
    return f"Model {name} could not be loaded: check model.name_or_path and model.revision. ({text[:500]})"


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

    names = list(outermost(model, ""))
    tower_name = _name_of(model, tower)
    return names or [f"{tower_name}.{name}" for name, _ in tower.named_children() if "merger" in name]


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
    projectors = projector_names(model) if projector == "full" else []
    if projector == "full" and not projectors:
        raise SeeWhyError(f"No projector found in a {type(model).__name__}: set tune.projector to frozen.")
    patterns = _linears(model, model.get_decoder())
    if not patterns:
        raise SeeWhyError(f"The language model of a {type(model).__name__} has no linear layers to adapt.")
    if vision_tower == "lora":
        patterns |= _linears(model, tower, skip=projectors)
    in_full = [*projectors, *([_name_of(model, tower)] if vision_tower == "full" else [])]
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
