"""Answers from a model, in batches: what the method's `Sampler` protocol asks for.

`BatchSampler` groups prompts by image and draws token by token. `SharedDecoder` computes an image once for all its
questions and answers: it holds keys and values of a prefix (the image and what stands before the questions) once an
image, those of questions and answers once an answer, and takes one softmax over both. `PlainDecoder` shares nothing; it
serves models with other attention (sliding windows, capped scores). Answers that have ended leave the batch.

Deviation from the research code: only temperature and top-p shape the distribution, while `generate` adds top-k 50 and
whatever the model's generation_config holds. A text ends before its end token; any other special token stays in it, so
that `rejected_text` can refuse it.
"""

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from PIL import Image
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.vlm.chat import (
    Row,
    collate,
    encode_all,
    move,
    named_image,
    open_image,
    refused_sizes,
    special_token_in,
    token_level,
)
from seewhy.vlm.draws import draw, uniforms
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import as_model_takes, common_prefix, positions, replaced_attention, why_not_shared

BLOCK = 64
"""Tokens by which a cache buffer grows."""


class SharedDecoder:
    """Decodes `samples` answers to each row of each group; a group holds encoded questions about one image.

    `logits_BV` belong to the next token of the B answers, ordered by group, row and sample.
    """

    def __init__(self, vlm: VisionLanguageModel, groups: Sequence[Sequence[Row]], samples: int) -> None:
        self.vlm = vlm
        groups = [_with_positions(vlm, rows) for rows in groups]
        groups = [group for rows in groups for group in _split_unshared(rows, vlm.image_token_id)]
        lengths = [_shared_length(rows, vlm.image_token_id) for rows in groups]
        self._prefill([_head(rows[0], length) for rows, length in zip(groups, lengths, strict=True)])
        tails = [_tail(row, length) for rows, length in zip(groups, lengths, strict=True) for row in rows]
        self._branch(tails, torch.tensor([image for image, rows in enumerate(groups) for _ in rows]))
        self.cache.batch_repeat_interleave(samples)
        self.valid_BS, self.last_B1, self.logits_BV = (
            tensor.repeat_interleave(samples, 0) for tensor in (self.valid_BS, self.last_B1, self.logits_BV)
        )
        self._seat(self.image_B.repeat_interleave(samples))

    def step(self, ids_B: torch.Tensor) -> None:
        """Append a token to each answer and compute `logits_BV` for the one after it."""
        self.valid_BS = torch.cat([self.valid_BS, self.valid_BS.new_ones(len(ids_B), 1)], 1)
        self._forward(ids_B[:, None], self.valid_BS[:, None, None], self.last_B1 + 1)

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all answers but these, and the images that have none left."""
        self.cache.batch_select_indices(rows)
        self.valid_BS, self.last_B1, self.logits_BV = (t[rows] for t in (self.valid_BS, self.last_B1, self.logits_BV))
        kept_I, image_B = self.image_B[rows.cpu()].unique(return_inverse=True)
        if len(kept_I) < len(self.prefix_valid_IP):
            kept_I = kept_I.to(self.vlm.device)
            self.prefix_valid_IP = self.prefix_valid_IP[kept_I]
            self.prefix = [(keys[kept_I], values[kept_I]) for keys, values in self.prefix]
        self._seat(image_B)

    def _prefill(self, heads: Sequence[Row]) -> None:
        inputs = move(collate(heads, self.vlm.pad_token_id, "left"), self.vlm)
        inputs["position_ids"] = as_model_takes(inputs["position_ids"])
        cache: Any = DynamicCache(config=self.vlm.model.config.get_text_config())
        self.vlm.model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        self.prefix = [(layer.keys, layer.values) for layer in cache.layers]
        self.prefix_valid_IP = inputs["attention_mask"].bool()

    def _branch(self, tails: Sequence[Row], image_B: torch.Tensor) -> None:
        inputs = move(collate(tails, self.vlm.pad_token_id, "left"), self.vlm)
        self.cache: Any = DynamicCache()
        self.cache.layers = [BufferedLayer() for _ in self.prefix]
        self.valid_BS = inputs["attention_mask"].bool()
        self._seat(image_B)
        length = self.valid_BS.shape[1]
        causal_SS = torch.ones(length, length, dtype=torch.bool, device=self.vlm.device).tril()
        self._forward(inputs["input_ids"], (self.valid_BS[:, None] & causal_SS)[:, None], inputs["position_ids"])

    def _forward(self, ids_BT: torch.Tensor, allowed_B1TS: torch.Tensor, positions_BT: torch.Tensor) -> None:
        dtype = self.vlm.model.dtype
        mask = torch.zeros(allowed_B1TS.shape, dtype=dtype, device=ids_BT.device)
        mask.masked_fill_(~allowed_B1TS, torch.finfo(dtype).min)
        with replaced_attention(self.vlm.model, self.attend):
            self.logits_BV = self.vlm.model(
                input_ids=ids_BT, attention_mask=mask, position_ids=as_model_takes(positions_BT),
                past_key_values=self.cache, use_cache=True, logits_to_keep=1,
            ).logits[:, -1]  # fmt: skip
        self.last_B1 = positions_BT[:, -1:]

    def _seat(self, image_B: torch.Tensor) -> None:
        """Give every answer a seat at its image, so that one product scores all answers of an image."""
        self.image_B = image_B
        count_I = torch.bincount(image_B)
        first_I = count_I.cumsum(0) - count_I
        seat_B = torch.arange(len(image_B)) - first_I[image_B]
        self.seats = int(count_I.max())
        flat_B = image_B * self.seats + seat_B
        whole = len(image_B) == len(count_I) * self.seats
        self.seat_B = None if whole else flat_B.to(self.vlm.device)
        padding_I11P = ~self.prefix_valid_IP[:, None, None]
        self.prefix_padding_I11P = padding_I11P if bool(padding_I11P.any()) else None

    def attend(
        self,
        module: Any,
        query_BHTE: torch.Tensor,
        keys_BGSE: torch.Tensor,
        values_BGSE: torch.Tensor,
        mask_B1TS: torch.Tensor,
        scaling: float | None = None,
        **_other: Any,
    ) -> tuple[torch.Tensor, None]:
        """Attend to the image's prefix and the answer's own tokens, (B, T, H, E). H heads share G key heads."""
        prefix_keys_IGPE, prefix_values_IGPE = self.prefix[module.layer_idx]
        (images, groups, prefix, size), (answers, heads, new, _) = prefix_keys_IGPE.shape, query_BHTE.shape
        scaling = size**-0.5 if scaling is None else scaling
        query = query_BHTE.reshape(answers, groups, heads // groups * new, size) * scaling
        to_prefix = self._seated(query, images) @ prefix_keys_IGPE.transpose(-1, -2)
        if self.prefix_padding_I11P is not None:
            to_prefix = to_prefix.masked_fill(self.prefix_padding_I11P, torch.finfo(query.dtype).min)
        to_own = (query @ keys_BGSE.transpose(-1, -2)).unflatten(2, (-1, new)) + mask_B1TS[:, :, None]
        scores = torch.cat([self._unseated(to_prefix, answers), to_own.flatten(2, 3)], -1)
        weights = torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype)
        from_prefix = self._seated(weights[..., :prefix], images) @ prefix_values_IGPE
        out = self._unseated(from_prefix, answers) + weights[..., prefix:] @ values_BGSE
        return out.reshape(answers, heads, new, size).transpose(1, 2).contiguous(), None

    def _seated(self, of_answers: torch.Tensor, images: int) -> torch.Tensor:
        """Reorder (B, G, N, X) by answer to (I, G, seats * N, X) by image; empty seats hold zeros."""
        if self.seat_B is not None:
            seated = of_answers.new_zeros(images * self.seats, *of_answers.shape[1:])
            of_answers = seated.index_copy_(0, self.seat_B, of_answers)
        return of_answers.unflatten(0, (images, self.seats)).transpose(1, 2).flatten(2, 3)

    def _unseated(self, of_images: torch.Tensor, answers: int) -> torch.Tensor:
        """Invert `_seated`."""
        seated = of_images.unflatten(2, (self.seats, -1)).transpose(1, 2).flatten(0, 1)
        return seated if self.seat_B is None else seated[self.seat_B]


class PlainDecoder:
    """A SharedDecoder's interface with a sequence of its own for every answer."""

    def __init__(self, vlm: VisionLanguageModel, groups: Sequence[Sequence[Row]], samples: int) -> None:
        self.vlm = vlm
        rows = [row for rows in groups for row in _with_positions(vlm, rows)]
        inputs = move(collate(rows, vlm.pad_token_id, "left"), vlm)
        positions_BT = inputs.pop("position_ids")
        inputs["position_ids"] = as_model_takes(positions_BT)
        self.cache = DynamicCache(config=vlm.model.config.get_text_config())
        self.cache.layers = [BufferedLayer() if type(layer) is DynamicLayer else layer for layer in self.cache.layers]
        logits_BV = vlm.model(**inputs, past_key_values=self.cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        self.cache.batch_repeat_interleave(samples)
        self.logits_BV, self.mask_BT, self.last_B1 = (
            tensor.repeat_interleave(samples, 0)
            for tensor in (logits_BV, inputs["attention_mask"], positions_BT[:, -1:])
        )

    def step(self, ids_B: torch.Tensor) -> None:
        """Append a token to each answer."""
        self.mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(ids_B), 1)], 1)
        self.last_B1 = self.last_B1 + 1
        self.logits_BV = self.vlm.model(
            input_ids=ids_B[:, None], attention_mask=self.mask_BT, position_ids=as_model_takes(self.last_B1),
            past_key_values=self.cache, use_cache=True,
        ).logits[:, -1]  # fmt: skip

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all answers but these."""
        self.cache.batch_select_indices(rows)
        self.mask_BT, self.last_B1, self.logits_BV = (t[rows] for t in (self.mask_BT, self.last_B1, self.logits_BV))


def _with_positions(vlm: VisionLanguageModel, rows: Sequence[Row]) -> list[Row]:
    return [{**row, "position_ids": positions(vlm, row)} for row in rows]


def _split_unshared(rows: Sequence[Row], image_token_id: int) -> Sequence[Sequence[Row]]:
    """Return the rows as one group, or each as its own where no common prefix holds the image."""
    return [rows] if _shared_length(rows, image_token_id) else [[row] for row in rows]


def _shared_length(rows: Sequence[Row], image_token_id: int) -> int:
    """Return how many tokens the rows share; each keeps at least one of its own."""
    ids = [row["input_ids"][0].tolist() for row in rows]
    shortest = min(map(len, ids)) - 1
    return shortest if len(rows) == 1 else min(common_prefix(ids, image_token_id), shortest)


def _head(row: Row, length: int) -> Row:
    return {**row, **{name: row[name][:, :length] for name in token_level(row)}}


def _tail(row: Row, length: int) -> Row:
    return {name: row[name][:, length:] for name in ("input_ids", "attention_mask", "position_ids")}


class BufferedLayer(DynamicLayer):
    """A cache layer that writes into a buffer grown by blocks; DynamicLayer copies all it holds at each token."""

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


CPU_SEQUENCES, GPU_SEQUENCES = 16, 384
"""The most sequences in a batch of automatic size. A GPU's token step takes as long for 384 of a 7B model as for 24."""
CACHED = 0.75
"""Share of a GPU's free memory that keys and values of new tokens may take; images and scores need the rest."""
LEAVING = 0.25
"""Share of a batch's answers that must have ended before they leave it."""


class BatchSampler:
    """Samples answers from a model in this process, `batch_size` sequences at a time; 0 is automatic.

    A batch that is too large for the GPU's memory is halved, with a warning, and stays so. The same prompts and seed
    give the same texts whatever the batch size, up to rounding: each answer has random numbers of its own. `opener`
    reads an image (RGB) from a path; without `share_image` each prompt computes its own.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        batch_size: int,
        opener: Callable[[str], Image.Image] = open_image,
        *,
        share_image: bool = True,
    ) -> None:
        self.vlm = vlm
        self.automatic = batch_size == 0
        self.batch_size = batch_size or (GPU_SEQUENCES if vlm.device.type == "cuda" else CPU_SEQUENCES)
        self.opener = opener
        self.share_image = share_image

    def rejected_text(self, text: str) -> str | None:
        """Return why `text` is no plain text to this model (a special token or chat marker in it), or None."""
        marker = special_token_in(self.vlm, text)
        return None if marker is None else f"holds {marker!r}, a marker of the model"

    def count_tokens(self, text: str) -> int:
        """Return the number of the model's tokens in a text, without an end token."""
        return len(self.vlm.tokenizer(text, add_special_tokens=False)["input_ids"])  # pyright: ignore[reportArgumentType]

    def refused_sizes(self, sizes: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], str]:
        """Return the image sizes (width, height) that the model's processor refuses, each with the reason."""
        return refused_sizes(self.vlm, sizes)

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        """Return `sampling.samples` texts for each prompt, in the prompts' order.

        Consecutive prompts about one image share it. Raises SeeWhyError, naming the prompt, for a special token in it
        and for one that is too long for the model, and where a GPU's memory does not do for one sequence.
        """
        texts: list[list[str]] = []
        while len(texts) < len(prompts):
            size = self._at_once(sampling)
            try:
                for batch in self._batches(prompts[len(texts) :], max(1, size // sampling.samples)):
                    texts += self._answers(batch, sampling, seed, len(texts), min(sampling.samples, size))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise SeeWhyError(
                        f"The GPU's memory does not do for model {self.vlm.name} and one answer of up to "
                        f"{sampling.max_new_tokens} tokens: lower max_new_tokens or model.max_pixels."
                    ) from None
                self.batch_size = size // 2
            else:
                break
            gc.collect()
            torch.cuda.empty_cache()
            warnings.warn(
                f"The GPU's memory does not do for {size} answers at once: {self.batch_size} from now on "
                "(model.batch_size).",
                stacklevel=2,
            )
        return texts

    def _at_once(self, sampling: Sampling) -> int:
        """Return how many answers to begin with: an automatic size leaves room for the longest texts' cache."""
        size = self.batch_size
        if self.automatic and self.vlm.device.type == "cuda":
            each = _token_bytes(self.vlm) * (sampling.max_new_tokens + BLOCK)
            while size > 1 and size * each > CACHED * _free_bytes(self.vlm.device):
                size //= 2
        return size

    def _answers(
        self, batch: Sequence[Sequence[Prompt]], sampling: Sampling, seed: int, first: int, repeats: int
    ) -> list[list[str]]:
        """Return the texts of each prompt of a batch, `repeats` a prompt at a time; the prompts' places in the call,
        which decide their random numbers, begin at `first`."""
        groups = [self._rows(group, sampling) for group in batch]
        asked = range(first, first + sum(map(len, groups)))
        uniforms_PSN = torch.stack([uniforms(seed, place, sampling) for place in asked]).to(self.vlm.device)
        answers: list[list[str]] = [[] for _ in asked]
        for done in range(0, sampling.samples, repeats):
            uniforms_PCN = uniforms_PSN[:, done : done + repeats]
            count = uniforms_PCN.shape[1]
            for number, ids in enumerate(self._generate(groups, sampling, uniforms_PCN).tolist()):
                answers[number // count].append(self._decode(ids))
        return answers

    def _batches(self, prompts: Sequence[Prompt], size: int) -> Iterator[list[list[Prompt]]]:
        """Yield batches of at most `size` prompts, in their order, as groups about one image."""
        batch: list[list[Prompt]] = []

        def image_of(numbered: tuple[int, Prompt]) -> str | int:
            number, prompt = numbered
            return prompt.image if self.share_image and prompt.image else number

        for _, consecutive in groupby(enumerate(prompts), image_of):
            group = [prompt for _, prompt in consecutive]
            for start in range(0, len(group), size):
                part = group[start : start + size]
                if batch and sum(map(len, batch)) + len(part) > size:
                    yield batch
                    batch = []
                batch.append(part)
        if batch:
            yield batch

    def _rows(self, group: Sequence[Prompt], sampling: Sampling) -> list[Row]:
        image = self.opener(group[0].image) if group[0].image else None
        with named_image(group[0].image):
            rows = encode_all(self.vlm, [prompt.text for prompt in group], image)
        for prompt, row in zip(group, rows, strict=True):
            length = row["input_ids"].shape[1]
            if length + sampling.max_new_tokens > self.vlm.max_length:
                raise SeeWhyError(
                    f"Prompt {prompt.id} has {length} tokens, and {sampling.max_new_tokens} more do not fit into "
                    f"the {self.vlm.max_length} of model {self.vlm.name}: shorten it or lower max_new_tokens."
                )
        return rows

    @cached_property
    def _decoder(self) -> type[SharedDecoder] | type[PlainDecoder]:
        reason = why_not_shared(self.vlm.model, "sample")
        if reason is None:
            return SharedDecoder
        if self.share_image:
            warnings.warn(
                f"In sampling, every answer of {self.vlm.name} has a sequence of its own: {reason}.", stacklevel=2
            )
        return PlainDecoder

    @torch.inference_mode()
    def _generate(
        self, groups: Sequence[Sequence[Row]], sampling: Sampling, uniforms_PCN: torch.Tensor
    ) -> torch.Tensor:
        """Return the new ids_BN of C answers to each of the P rows of `groups`, padded with end tokens."""
        decoder = self._decoder(self.vlm, groups, uniforms_PCN.shape[1])
        uniforms_BN = uniforms_PCN.flatten(0, 1)
        ends = torch.tensor(self.vlm.stop_token_ids, device=self.vlm.device)
        going_B = torch.arange(len(decoder.logits_BV), device=self.vlm.device)
        ended_B = torch.zeros_like(going_B, dtype=torch.bool)
        written_BN = ends[:1].repeat(len(going_B), sampling.max_new_tokens)
        for place in range(sampling.max_new_tokens):
            ids_B = torch.where(ended_B, ends[0], draw(decoder.logits_BV, sampling, uniforms_BN[going_B, place]))
            written_BN[going_B, place] = ids_B
            ended_B |= torch.isin(ids_B, ends)
            ended = int(ended_B.sum())
            if ended == len(going_B) or place == sampling.max_new_tokens - 1:
                break
            decoder.step(ids_B)
            if ended > LEAVING * len(going_B):
                stay = (~ended_B).nonzero()[:, 0]
                decoder.keep(stay)
                going_B, ended_B = going_B[stay], ended_B[stay]
        return written_BN

    def _decode(self, ids: list[int]) -> str:
        ends = self.vlm.stop_token_ids
        length = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        return str(self.vlm.tokenizer.decode(ids[:length])).strip()


def _token_bytes(vlm: VisionLanguageModel) -> int:
    """Return the bytes of a token's keys and values in all layers."""
    text = vlm.model.config.get_text_config()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2 * text.num_hidden_layers * text.num_key_value_heads * size * vlm.model.dtype.itemsize


def _free_bytes(device: torch.device) -> int:
    """Return the bytes of a GPU that this process can still fill, with those that torch keeps in reserve."""
    reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + reserve
