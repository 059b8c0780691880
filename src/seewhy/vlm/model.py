"""An image-text-to-text model of transformers with its processor.

Deviations from the research code: weights are read from safetensors alone; remote code is off unless asked for.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from seewhy.errors import SeeWhyError
from seewhy.run.model_files import check_model_folder
from seewhy.vlm import template
from seewhy.vlm.loading import (
    fill_gaps,
    four_bit_config,
    load_processor,
    loading,
    model_source,
    refuse_kernels,
    saveable,
)


@dataclass(frozen=True)
class VisionLanguageModel:
    """A model and its processor. `name` is where it was loaded from, `source` the settings of that."""

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    source: Mapping[str, Any] = field(default_factory=dict)
    max_pixels: int | None = None
    """Images with more pixels are scaled down before the processor."""
    earlier: tuple[tuple[str, str], ...] = ()
    """Questions and answers that every prompt begins with: see `in_conversation`."""

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
        four_bit: bool = False,
        max_pixels: int | None = None,
        tiles: bool = True,
    ) -> "VisionLanguageModel":
        """Load a model from a folder or the Hub, in evaluation mode.

        `device` "auto" takes a GPU where there is one; `dtype` "auto" is bfloat16 on a GPU and float32 on a CPU.
        `four_bit` holds the language model's linear layers in 4 bits, for QLoRA. Without `tiles` the processor gives
        the model whole images alone.
        Raises SeeWhyError where there is no such model, its weights are not safetensors, it takes no images, its
        processor needs a missing package, or its chat template is missing or has no place for an image.
        """
        name = model_source(name_or_path)
        device, torch_dtype = resolve(device, dtype)
        source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        if Path(name).is_dir():
            check_model_folder(Path(name), weights=True)
        with loading(name, "its configuration"):
            config = AutoConfig.from_pretrained(name, **source)
            refuse_kernels(name, config, allowed=trust_remote_code)
        quantised = {}
        if four_bit:
            quantised = four_bit_config(name, config, device, torch_dtype, trust_remote_code=trust_remote_code)
        with loading(name, "its weights"):
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                name, config=config, dtype=torch_dtype, use_safetensors=True, output_loading_info=True,
                **source, **quantised,
            )  # fmt: skip
            model, info = loaded
        _check_whole(name, model, info["missing_keys"])
        processor = load_processor(name, source, tiles=tiles)
        model.generation_config = saveable(model.generation_config or GenerationConfig())
        vlm = cls(name, model, processor, {**source, "dtype": str(torch_dtype).removeprefix("torch.")}, max_pixels)
        vlm._check_processor()
        (model if four_bit else model.to(device)).eval()
        return vlm

    @classmethod
    def outline(
        cls,
        name_or_path: str | Path,
        *,
        dtype: torch.dtype,
        revision: str | None = None,
        trust_remote_code: bool = False,
        max_pixels: int | None = None,
        tiles: bool = True,
    ) -> "VisionLanguageModel":
        """Load the processor, and the model's shape on torch's meta device: no weights are read or held.

        Raises SeeWhyError as `load` does, and for a model of the Hub that is not at hand offline.
        """
        name = model_source(name_or_path)
        source: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        if Path(name).is_dir():
            check_model_folder(Path(name), weights=False)
        with loading(name, "its configuration"):
            config = AutoConfig.from_pretrained(name, **source)
            refuse_kernels(name, config, allowed=trust_remote_code)
            with torch.device("meta"):
                model = AutoModelForImageTextToText.from_config(
                    config, dtype=dtype, trust_remote_code=trust_remote_code
                )
        processor = load_processor(name, source, tiles=tiles)
        vlm = cls(name, model.eval(), processor, max_pixels=max_pixels)
        vlm._check_processor()
        return vlm

    def loaded_again(self, device: str = "cpu") -> "VisionLanguageModel":
        """Load the model from its source again, in full precision."""
        return VisionLanguageModel.load(self.name, device=device, **self.source)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.processor.tokenizer  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def image_token_id(self) -> int:
        """Id of the token that stands for a piece of an image in `input_ids`."""
        return int(self.model.config.image_token_id)

    @property
    def image_mark_id(self) -> int:
        """Id of the token that the chat template writes for an image; mostly `image_token_id`, which becomes a run."""
        return int(self.processor.image_token_id)  # pyright: ignore[reportAttributeAccessIssue]

    @cached_property
    def end_token_id(self) -> int:
        """Id of the token that ends an answer: the special token that the chat template writes after one (Gemma's
        `<end_of_turn>`), or else the tokenizer's (LLaVA-1.5's template writes none)."""
        after_answer = template.conversation(self.processor).rpartition(template.MARK)[2].lstrip()
        special = [(t.content, i) for i, t in self.tokenizer.added_tokens_decoder.items() if t.special]
        ends = [(len(text), i) for text, i in special if text and after_answer.startswith(text)]
        return max(ends)[1] if ends else int(self.tokenizer.eos_token_id)  # pyright: ignore[reportArgumentType]

    @cached_property
    def stop_token_ids(self) -> list[int]:
        """Ids of the tokens that end an answer: of the template, then the tokenizer, then the generation config."""
        others = (self.model.generation_config or GenerationConfig()).eos_token_id
        others = others if isinstance(others, list) else [] if others is None else [others]
        return list(dict.fromkeys([self.end_token_id, int(self.tokenizer.eos_token_id), *others]))  # pyright: ignore[reportArgumentType]

    @property
    def pad_token_id(self) -> int:
        """Id of padding, which is masked, so any will do where the tokenizer has none."""
        pad = self.tokenizer.pad_token_id
        return self.end_token_id if pad is None else int(pad)  # pyright: ignore[reportArgumentType]

    @property
    def max_length(self) -> int:
        """Longest sequence, in tokens, that the language model has positions for."""
        return self.model.config.get_text_config().max_position_embeddings

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), configuration and processor to `folder`; `load` reads them back."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    def render(self, question: str, *, image: bool) -> str:
        """Return the prompt for a question, with or without an image, up to where the answer begins."""
        return template.prompt(self.processor, question, image=image, earlier=self.earlier)

    def in_conversation(self, earlier: Sequence[tuple[str, str]]) -> "VisionLanguageModel":
        """Return the same model with these questions and answers before every question; the image is in the first."""
        return replace(self, earlier=tuple(earlier))

    @cached_property
    def answer_context(self) -> tuple[str, str]:
        """A short prompt, and what the chat template writes between it and an answer: mostly nothing or a space.

        Tokenizers join that space to the answer's first word ("ASSISTANT:" and " ").
        """
        prompt = template.prompt(self.processor, "?", image=False)
        before_answer = template.conversation(self.processor).split(template.MARK)[0]
        return prompt, before_answer.removeprefix(prompt) if before_answer.startswith(prompt) else ""

    def tokenise(self, prompt: str, image: Image.Image | None) -> dict[str, torch.Tensor]:
        """Return the input tensors of a rendered prompt, on the CPU, with a leading batch axis of 1."""
        images = {} if image is None else {"images": [self.limited(image)]}
        inputs = self.processor(
            text=[prompt],
            **images,  # pyright: ignore[reportArgumentType]
            return_tensors="pt",  # pyright: ignore[reportCallIssue]
            add_special_tokens=not self._is_begun(prompt),  # pyright: ignore[reportCallIssue]
        )
        return dict(inputs)

    def limited(self, image: Image.Image) -> Image.Image:
        """Return the image scaled down to at most `max_pixels`, its aspect kept; a smaller one as it is."""
        pixels = image.width * image.height
        if self.max_pixels is None or pixels <= self.max_pixels:
            return image
        scale = math.sqrt(self.max_pixels / pixels)
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        return image.resize(size, Image.Resampling.LANCZOS)

    def token_ids(self, prompt: str) -> list[int]:
        """Return the ids of a rendered prompt by the tokenizer alone: an image is one token."""
        return self.tokenizer(prompt, add_special_tokens=not self._is_begun(prompt))["input_ids"]  # pyright: ignore[reportReturnType]

    def _is_begun(self, prompt: str) -> bool:
        """Return whether the template wrote the token that begins a sequence, so that no second one is added."""
        bos = self.tokenizer.bos_token
        return bos is not None and prompt.startswith(str(bos))

    @cached_property
    def markers(self) -> tuple[str, ...]:
        """Markers that no text may hold: special tokens, added tokens that are no words, and role markers."""
        added = self.tokenizer.added_tokens_decoder.values()
        tokens = {token.content for token in added if token.special or not token.content.replace(" ", "").isalnum()}
        before_question, before_answer = self.render("\0", image=False).split("\0")
        roles = set()
        for text in (before_question, before_answer):
            for token in tokens:
                text = text.replace(token, " ")
            roles |= {word for word in text.split()[-1:] if not word.isalnum()}
        return tuple(sorted(marker for marker in tokens | roles if marker.strip()))

    def _check_processor(self) -> None:
        """Raise SeeWhyError, saying what to do, for a processor that takes no question about an image."""
        if not isinstance(self.processor, ProcessorMixin):
            raise SeeWhyError(f"Model {self.name} takes no images: its processor is a {type(self.processor).__name__}.")
        template.prepare(self.name, self.processor, self.tokenizer)
        if self.tokenizer.eos_token_id is None:
            raise SeeWhyError(
                f"The tokenizer of model {self.name} has no end-of-sequence token: set eos_token in its "
                f"tokenizer_config.json to the token that ends an answer."
            )
        for part, named in (("config.json", self.model.config), ("processor", self.processor)):
            if getattr(named, "image_token_id", None) is None:
                raise SeeWhyError(
                    f"Model {self.name} has no image token (image_token_id) in its {part}, so an image has no place "
                    f"in a prompt. Use a model whose images are tokens (LLaVA, Qwen-VL, SmolVLM, InternVL, Gemma 3)."
                )
        fill_gaps(self.name, self.model, self.processor)
        try:
            ids = self.tokenise(self.render("?", image=True), Image.new("RGB", (64, 64)))["input_ids"]
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # some processors count the images in the text themselves; others lack a setting that they need
            raise SeeWhyError(
                f"Model {self.name} takes no image through its chat template and processor. ({error})"
            ) from error
        if not (ids == self.image_token_id).any():
            raise SeeWhyError(
                f"The chat template of model {self.name} leaves the image out: it must write the processor's image "
                f"token for a content part of type 'image'."
            )


def resolve(device: str, dtype: str) -> tuple[str, torch.dtype]:
    """Return device and dtype with "auto" resolved: a GPU where there is one, with bfloat16; else a CPU, float32."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if dtype == "auto":
        return device, torch.float32 if device == "cpu" else torch.bfloat16
    return device, getattr(torch, dtype)


def _check_whole(name: str, model: PreTrainedModel, missing: Collection[str]) -> None:
    """Raise SeeWhyError where the files lack weights: transformers fills them with random numbers."""
    lacking = sorted(set(missing) & {key for key, _ in model.named_parameters()})
    if lacking:
        raise SeeWhyError(
            f"The weights of model {name} lack {len(lacking)} tensors ({', '.join(lacking[:3])}), which would be "
            f"random numbers: the files are not whole, or of another model than config.json says. Download it again."
        )
