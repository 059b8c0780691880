"""Checks that a server answers as the model does in this process: the same prompt tokens, the same greedy answers.

A few prompts are answered in process once. `Reference` keeps the tokens that the model holds equal to each chosen one,
up to the resolution of its dtype: other kernels add up in another order, so a tie in bfloat16 may fall the other way,
and all that follows is then another text. Anything else is a difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.vlm.chat import Row, answer_ids, encode, move, special_token_in, with_answer
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

IMAGES = 8
"""Prompts that are compared, of different images as far as possible."""

TOKENS = 64
"""Longest answer that is compared."""

TIE = 8.0
"""Logits closer than this many units in the last place of the largest one are a tie."""


@dataclass(frozen=True)
class Reference:
    """One prompt and its greedy answer in process."""

    prompt: Prompt
    text: str
    prompt_tokens: int
    image_tokens: int
    ids: tuple[int, ...]
    """Ids of the text and its end token; empty where the text holds a special token."""
    ties: tuple[frozenset[int], ...]
    """For each of `ids`, the tokens that the model might equally have chosen."""


@dataclass(frozen=True)
class Finding:
    """How one answer of a server differs from its reference; `problem` is None where it does not."""

    problem: str | None
    tied: bool = False
    """Whether the texts differ from a tie on."""


def chosen(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts to compare: the first of each image, then others, `IMAGES` at most."""
    first = list({prompt.image: prompt for prompt in reversed(prompts)}.values())[::-1]
    others = [prompt for prompt in prompts if prompt not in first]
    return [*first, *others][:IMAGES]


def references(sampler: BatchSampler, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Reference]:
    """Answer prompts greedily in process."""
    sampling = Sampling(max_new_tokens=min(max_new_tokens, TOKENS))
    texts = [text for (text,) in sampler.sample(prompts, sampling, seed=0)]
    return [_reference(sampler, prompt, text) for prompt, text in zip(prompts, texts, strict=True)]


def _reference(sampler: BatchSampler, prompt: Prompt, text: str) -> Reference:
    vlm = sampler.vlm
    row = encode(vlm, prompt.text, sampler.opener(prompt.image) if prompt.image else None)
    length = row["input_ids"].shape[1]
    image_tokens = int((row["input_ids"] == vlm.image_token_id).sum())
    if special_token_in(vlm, text):
        return Reference(prompt, text, length, image_tokens, (), ())
    ids = answer_ids(vlm, text)
    return Reference(prompt, text, length, image_tokens, tuple(ids), _ties(vlm, with_answer(vlm, row, text), len(ids)))


@torch.inference_mode()
def _ties(vlm: VisionLanguageModel, row: Row, length: int) -> tuple[frozenset[int], ...]:
    inputs = move({name: tensor for name, tensor in row.items() if name != "labels"}, vlm)
    logits_TV = vlm.model(**inputs).logits[0, -length - 1 : -1]
    resolution = TIE * torch.finfo(logits_TV.dtype).eps * logits_TV.abs().amax(-1, keepdim=True).float()
    near_TV = logits_TV.float() >= logits_TV.float().amax(-1, keepdim=True) - resolution
    return tuple(frozenset(near_V.nonzero()[:, 0].tolist()) for near_V in near_TV)


def compare(vlm: VisionLanguageModel, reference: Reference, text: str, prompt_tokens: int | None) -> Finding:
    """Compare a server's answer, and the prompt tokens that it counted, with the reference.

    Leaving special tokens out of texts, or images out of counts, is no difference.
    """
    counts = (reference.prompt_tokens, *(reference.prompt_tokens - reference.image_tokens + mark for mark in (0, 1)))
    if prompt_tokens is not None and prompt_tokens not in counts:
        return Finding(f"it counts {prompt_tokens} prompt tokens, where there are {reference.prompt_tokens}")
    if text in (reference.text, _without_special_tokens(vlm, reference.text)):
        return Finding(None)
    if reference.ids and special_token_in(vlm, text) is None:
        theirs = answer_ids(vlm, text)
        pairs = zip(reference.ids, theirs, reference.ties, strict=False)
        parting = next((tie for ours, other, tie in ((o, t, (t, ties)) for o, t, ties in pairs) if ours != other), None)
        if parting is not None and parting[0] in parting[1]:
            return Finding(None, tied=True)
    return Finding("its greedy answer is another one")


def _without_special_tokens(vlm: VisionLanguageModel, text: str) -> str:
    for token in vlm.tokenizer.all_special_tokens:
        text = text.replace(str(token), "")
    return text.strip()


def check(
    vlm: VisionLanguageModel, server: str, found: Sequence[Reference], answers: Sequence[tuple[str, int | None]]
) -> int:
    """Return how many of a server's (text, prompt tokens) differ from a tie on.

    Raises SeeWhyError, with both texts of the first, where one differs otherwise.
    """
    findings = [compare(vlm, ref, *answer) for ref, answer in zip(found, answers, strict=True)]
    wrong = [number for number, finding in enumerate(findings) if finding.problem]
    if not wrong:
        return sum(finding.tied for finding in findings)
    reference, (text, _) = found[wrong[0]], answers[wrong[0]]
    raise SeeWhyError(
        f"The server at {server} does not answer as model {vlm.name} does in process, for {len(wrong)} of {len(found)} "
        f"prompts. For prompt {reference.prompt.id} ({reference.prompt.text!r}) {findings[wrong[0]].problem}.\n"
        f"  in process: {reference.text!r}\n"
        f"  the server: {text!r}\n"
        f"What usually causes it: another chat template, or one applied twice (the prompt tokens differ); a "
        f"model that the server lets think first; another preprocessing of images; another dtype (add "
        f"--dtype {{dtype}} to model.engine.command); the weights of another model. Nothing was sampled."
    )
