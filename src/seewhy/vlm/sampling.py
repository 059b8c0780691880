"""Answers from a model, in batches: what the method's `Sampler` asks for.

An image is computed once for all its questions, and read once a token for all their answers (decoding.py); answers
that have ended leave the batch.

Deviation from the research code: only temperature and top-p shape the distribution; `generate` adds top-k 50 and
whatever the model's generation_config holds. Texts end before their end token; any other special token stays to
be seen, so that `rejected_text` can refuse it.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby

import torch
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.storage import digest
from seewhy.vlm.chat import Row, encode_all, open_image, special_token_in
from seewhy.vlm.decoding import PlainDecoder, SharedDecoder, can_share
from seewhy.vlm.image_sizes import of_file, refused_sizes
from seewhy.vlm.model import VisionLanguageModel

LEAVING = 0.25
"""Share of a batch's answers that must have ended before they are taken out of it."""


class BatchSampler:
    """Samples answers, `batch_size` sequences at a time. Same prompts and seed, same texts, up to rounding, whatever
    the batch size: each answer has random numbers of its own.

    `opener` reads an image (RGB) from a path. Without `share_image` every prompt has its image computed for itself.
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
        self.batch_size = batch_size
        self.opener = opener
        self.share_image = share_image

    def rejected_text(self, text: str) -> str | None:
        """Why `text` may not be used as text with this model (a special token or chat marker in it), or None."""
        marker = special_token_in(self.vlm, text)
        return None if marker is None else f"holds {marker!r}, a marker of the model"

    def refused_sizes(self, sizes: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], str]:
        """Those of some image sizes (width, height) that the model's processor refuses, with what it says."""
        return refused_sizes(self.vlm, sizes)

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        """`sampling.samples` texts for each prompt, in the prompts' order.

        Prompts about one image share it where they follow one another. Raises SeeWhyError, naming the prompt, for one
        with a special token in it or too long for the model.
        """
        repeats = min(sampling.samples, self.batch_size)
        texts: list[list[str]] = []
        for batch in self._batches(prompts, self.batch_size // repeats):
            groups = [self._rows(group, sampling) for group in batch]
            asked = range(len(texts), len(texts) + sum(map(len, groups)))
            uniforms_PSN = torch.stack([uniforms(seed, place, sampling) for place in asked]).to(self.vlm.device)
            answers: list[list[str]] = [[] for _ in asked]
            for done in range(0, sampling.samples, repeats):
                uniforms_PCN = uniforms_PSN[:, done : done + repeats]
                count = uniforms_PCN.shape[1]
                for number, ids in enumerate(self._generate(groups, sampling, uniforms_PCN).tolist()):
                    answers[number // count].append(self._decode(ids))
            texts += answers
        return texts

    def _batches(self, prompts: Sequence[Prompt], size: int) -> Iterator[list[list[Prompt]]]:
        """Groups of prompts about one image, in their order, at most `size` prompts together."""
        batch: list[list[Prompt]] = []
        for _, found in groupby(enumerate(prompts), self._image_of):
            group = [prompt for _, prompt in found]
            for start in range(0, len(group), size):
                part = group[start : start + size]
                if batch and sum(map(len, batch)) + len(part) > size:
                    yield batch
                    batch = []
                batch.append(part)
        if batch:
            yield batch

    def _image_of(self, numbered: tuple[int, Prompt]) -> str | int:
        number, prompt = numbered
        return prompt.image if self.share_image and prompt.image else number

    def _rows(self, group: Sequence[Prompt], sampling: Sampling) -> list[Row]:
        image = self.opener(group[0].image) if group[0].image else None
        with of_file(group[0].image):
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
        if can_share(self.vlm):
            return SharedDecoder
        if self.share_image:
            warnings.warn(
                f"{self.vlm.name} has layers that do not attend to all that came before: in sampling, every answer is "
                f"given a sequence of its own.", stacklevel=2,
            )  # fmt: skip
        return PlainDecoder

    @torch.inference_mode()
    def _generate(
        self, groups: Sequence[Sequence[Row]], sampling: Sampling, uniforms_PCN: torch.Tensor
    ) -> torch.Tensor:
        """New ids_BN of C answers for each of the P rows of `groups`, padded with end tokens once they have ended."""
        decoder = self._decoder(self.vlm, groups, uniforms_PCN.shape[1])
        uniforms_BN = uniforms_PCN.flatten(0, 1)
        ends = torch.tensor(self.vlm.stop_token_ids, device=self.vlm.device)
        going_B = torch.arange(len(decoder.logits_BV), device=self.vlm.device)
        ended_B = torch.zeros_like(going_B, dtype=torch.bool)
        written_BN = ends[:1].repeat(len(going_B), sampling.max_new_tokens)
        for place in range(sampling.max_new_tokens):
            ids_B = torch.where(ended_B, ends[0], _draw(decoder.logits_BV, sampling, uniforms_BN[going_B, place]))
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


def uniforms(seed: int, place: int, sampling: Sampling) -> torch.Tensor:
    """Random numbers in [0, 1), (samples, max_new_tokens), one for each token of the answers to the prompt at a place
    among those of a call. They do not hang on the batch in which an answer is drawn, nor on the device."""
    generator = torch.Generator().manual_seed(int(digest([seed, place])[:15], 16))
    return torch.rand(sampling.samples, sampling.max_new_tokens, generator=generator)


def _draw(logits_BV: torch.Tensor, sampling: Sampling, uniform_B: torch.Tensor) -> torch.Tensor:
    """One id a row: the likeliest at temperature 0, or else that at which the distribution over the smallest set of
    mass `top_p`, summed in the order of ids, passes the row's number in [0, 1)."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    probs_BV = torch.softmax(logits_BV.float() / sampling.temperature, -1)
    if sampling.top_p < 1:
        sorted_BV, order_BV = probs_BV.sort(-1, descending=True)
        before_BV = sorted_BV.cumsum(-1) - sorted_BV  # mass of the likelier ids: the likeliest is always kept
        sorted_BV[before_BV >= sampling.top_p] = 0
        probs_BV = torch.zeros_like(probs_BV).scatter_(-1, order_BV, sorted_BV)
    reached_BV = probs_BV.cumsum(-1)
    below_one_B1 = uniform_B[:, None].clamp(max=1 - 2**-22)  # else its product with the whole mass might round to that
    return torch.searchsorted(reached_BV, below_one_B1 * reached_BV[:, -1:], right=True)[:, 0]
