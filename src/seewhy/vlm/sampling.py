"""Answers from a model, in batches: what the method's `Sampler` asks for.

A prompt is prefilled once however many answers are sampled from it, and the keys and values of a batch live in buffers
that grow by blocks. Positions are left to the model, which continues from its own cache.

Deviation from the research code: only temperature and top-p shape the distribution; `generate` adds top-k 50 and
whatever the model's generation_config holds. Texts end before their end token; any other special token stays to
be seen, so that `rejected_text` can refuse it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from PIL import Image
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.vlm.chat import collate, encode, move, open_image, special_token_in
from seewhy.vlm.model import VisionLanguageModel

BLOCK = 64
"""Tokens that a cache buffer grows by."""


class BatchSampler:
    """Samples answers, `batch_size` sequences at a time, from a generator of its own: same call, same texts.

    `opener` reads an image (RGB) from a path.
    """

    def __init__(
        self, vlm: VisionLanguageModel, batch_size: int, opener: Callable[[str], Image.Image] = open_image
    ) -> None:
        self.vlm = vlm
        self.batch_size = batch_size
        self.opener = opener

    def rejected_text(self, text: str) -> str | None:
        """Why `text` may not be used as text with this model (a special token or chat marker in it), or None."""
        marker = special_token_in(self.vlm, text)
        return None if marker is None else f"holds {marker!r}, a marker of the model"

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        """`sampling.samples` texts for each prompt, in the prompts' order.

        Raises SeeWhyError, naming the prompt, for one with a special token in it or too long for the model.
        """
        generator = torch.Generator(self.vlm.device).manual_seed(seed)
        opener = lru_cache(maxsize=4)(self.opener)  # an image's prompts follow one another
        repeats = min(sampling.samples, self.batch_size)
        step = self.batch_size // repeats
        texts: list[list[str]] = [[] for _ in prompts]
        for start in range(0, len(prompts), step):
            batch = prompts[start : start + step]
            inputs = move(self._inputs(batch, sampling, opener), self.vlm)
            for done in range(0, sampling.samples, repeats):
                count = min(repeats, sampling.samples - done)
                ids_BN = self._generate(inputs, count, sampling, generator).tolist()
                for row, ids in enumerate(ids_BN):
                    texts[start + row // count].append(self._decode(ids))
        return texts

    def _inputs(
        self, prompts: Sequence[Prompt], sampling: Sampling, opener: Callable[[str], Image.Image]
    ) -> dict[str, torch.Tensor]:
        rows = []
        for prompt in prompts:
            row = encode(self.vlm, prompt.text, opener(prompt.image) if prompt.image else None)
            length = row["input_ids"].shape[1]
            if length + sampling.max_new_tokens > self.vlm.max_length:
                raise SeeWhyError(
                    f"Prompt {prompt.id} has {length} tokens, and {sampling.max_new_tokens} more do not fit into "
                    f"the {self.vlm.max_length} of model {self.vlm.name}: shorten it or lower max_new_tokens."
                )
            rows.append(row)
        return collate(rows, self.vlm.pad_token_id, side="left")

    @torch.inference_mode()
    def _generate(
        self, inputs: dict[str, torch.Tensor], repeats: int, sampling: Sampling, generator: torch.Generator
    ) -> torch.Tensor:
        """New ids_BN of `repeats` answers for every row of `inputs`, each padded with end tokens once it has ended."""
        model, ends = self.vlm.model, torch.tensor(self.vlm.stop_token_ids, device=self.vlm.device)
        cache = _buffered_cache(model.config.get_text_config())
        logits_BV = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        cache.batch_repeat_interleave(repeats)
        logits_BV = logits_BV.repeat_interleave(repeats, 0)
        mask_BT = inputs["attention_mask"].repeat_interleave(repeats, 0)
        ended_B = torch.zeros(len(mask_BT), dtype=torch.bool, device=mask_BT.device)
        columns: list[torch.Tensor] = []
        while True:
            ids_B = torch.where(ended_B, ends[0], _draw(logits_BV, sampling, generator))
            columns.append(ids_B)
            ended_B |= torch.isin(ids_B, ends)
            if len(columns) == sampling.max_new_tokens or bool(ended_B.all()):
                return torch.stack(columns, 1)
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(mask_BT), 1)], 1)
            outputs = model(input_ids=ids_B[:, None], attention_mask=mask_BT, past_key_values=cache, use_cache=True)
            logits_BV = outputs.logits[:, -1]

    def _decode(self, ids: list[int]) -> str:
        ends = self.vlm.stop_token_ids
        length = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        return str(self.vlm.tokenizer.decode(ids[:length])).strip()


def _draw(logits_BV: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    """One id a row: the likeliest at temperature 0, or else drawn from the smallest set of mass `top_p`."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    probs_BV = torch.softmax(logits_BV.float() / sampling.temperature, -1)
    if sampling.top_p < 1:
        sorted_BV, order_BV = probs_BV.sort(-1, descending=True)
        before_BV = sorted_BV.cumsum(-1) - sorted_BV  # mass of the likelier ids: the likeliest is always kept
        sorted_BV[before_BV >= sampling.top_p] = 0
        probs_BV = torch.zeros_like(probs_BV).scatter_(-1, order_BV, sorted_BV)
    return torch.multinomial(probs_BV, 1, generator=generator)[:, 0]


class _BufferedLayer(DynamicLayer):
    """A dynamic cache layer that writes into a buffer grown by blocks, where DynamicLayer copies all it holds at each
    token."""

    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < end or len(self._buffers[0]) != len(key_states):
            self._buffers = (_grown(self.keys, key_states, end), _grown(self.values, value_states, end))
        keys, values = self._buffers
        keys[:, :, start:end], values[:, :, start:end] = key_states, value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values


def _grown(held: torch.Tensor | None, new: torch.Tensor, length: int) -> torch.Tensor:
    buffer = new.new_empty(*new.shape[:2], length + BLOCK, new.shape[-1])
    if held is not None and held.numel():
        buffer[:, :, : held.shape[-2]] = held
    return buffer


def _buffered_cache(config: Any) -> DynamicCache:
    """The cache that the model would make for itself, its plain layers buffered; sliding or linear ones stay."""
    cache = DynamicCache(config=config)
    cache.layers = [_BufferedLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
