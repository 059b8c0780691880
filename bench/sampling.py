"""Answers a second: 8 questions an image, 3 samples each, exactly 64 new tokens, from image and text to text.

Contenders: our sampler; the same with share_image off; transformers' `generate(num_return_sequences=3)` for one (image,
question) at a time, as the research code does it; and `generate` for all questions of an image in one batch. All have
the same model, prompts, temperature and top-p, with top-k off. The end token is suppressed for all of them by the same
hook on the output head. transformers' continuous batching is looked at and left out where it takes token ids alone.
"""

import inspect
from argparse import Namespace
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from PIL import Image
from torch.utils.hooks import RemovableHandle
from transformers.generation.continuous_batching import ContinuousBatchingManager, ContinuousMixin

from bench import measure, models
from seewhy.records import Prompt, Sampling
from seewhy.vlm.chat import Row, encode, move
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

SHARED, SEPARATE, GENERATE, BATCHED = "shared", "separate", "generate", "generate, batched"
SAMPLES, TEMPERATURE, TOP_P = 3, 0.7, 0.6
CUB_IMAGES = 5_994
Opener = Callable[[str], Image.Image]


def suppress_end(vlm: VisionLanguageModel) -> RemovableHandle:
    """No answer ends by itself, until the hook is removed: the end tokens' logits are minus infinity for everyone."""
    ends = vlm.stop_token_ids

    def hook(_module: Any, _inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        logits[..., ends] = -torch.inf
        return logits

    head: Any = vlm.model.get_output_embeddings()
    return head.register_forward_hook(hook)


def asked(vlm: VisionLanguageModel, images: int, queries: int) -> list[Prompt]:
    """`queries` questions of 25 tokens about each image."""
    turns = models.pairs(vlm, images * queries)
    return [Prompt(turn.id, str(number // queries), turn.query) for number, turn in enumerate(turns)]


def ours(
    vlm: VisionLanguageModel,
    prompts: Sequence[Prompt],
    opener: Opener,
    new_tokens: int,
    *,
    share_image: bool,
    batch: int | None = None,
) -> list[list[str]]:
    """Answers by our sampler, `batch` sequences at a time (default: all together)."""
    sampler = BatchSampler(vlm, batch or len(prompts) * SAMPLES, opener, share_image=share_image)
    return sampler.sample(prompts, Sampling(SAMPLES, TEMPERATURE, TOP_P, new_tokens), seed=0)


def generate(
    vlm: VisionLanguageModel, prompts: Sequence[Prompt], opener: Opener, new_tokens: int, *, at_once: int
) -> list[list[str]]:
    """transformers' own, `at_once` prompts in a batch. Prompts of a batch have one length here, so none is padded."""
    texts = []
    for start in range(0, len(prompts), at_once):
        rows = [encode(vlm, prompt.text, opener(prompt.image)) for prompt in prompts[start : start + at_once]]
        inputs = move(_stacked(rows), vlm)
        with torch.inference_mode():
            ids = vlm.model.generate(  # pyright: ignore[reportCallIssue]
                **inputs, do_sample=True, temperature=TEMPERATURE, top_p=TOP_P, top_k=0,
                num_return_sequences=SAMPLES, max_new_tokens=new_tokens, pad_token_id=vlm.pad_token_id,
            )  # fmt: skip
        new = ids[:, inputs["input_ids"].shape[1] :].tolist()
        decoded = [str(vlm.tokenizer.decode(row, skip_special_tokens=True)) for row in new]
        texts += [decoded[first : first + SAMPLES] for first in range(0, len(decoded), SAMPLES)]
    return texts


def _stacked(rows: Sequence[Row]) -> Row:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def takes_images() -> bool:
    """Whether transformers' continuous batching has a way in for pixels."""
    parameters = [
        *inspect.signature(ContinuousMixin.generate_batch).parameters.values(),
        *inspect.signature(ContinuousBatchingManager.add_request).parameters.values(),
    ]
    return any(word in str(parameter) for parameter in parameters for word in ("pixel", "image", "multimodal"))


def contenders(vlm: VisionLanguageModel, tokens: int, options: Namespace) -> dict[str, Callable[[], list[list[str]]]]:
    prompts = asked(vlm, options.images, options.queries)
    task = (vlm, prompts, models.opener(tokens), options.new_tokens)
    return {
        SHARED: lambda: ours(*task, share_image=True),
        SEPARATE: lambda: ours(*task, share_image=False),
        GENERATE: lambda: generate(*task, at_once=1),
        BATCHED: lambda: generate(*task, at_once=options.queries),
    }


def token_ratio(tokens: int, options: Namespace) -> float:
    """Token positions that `generate` computes, over those that sharing does: it prefills every sample for itself."""
    question, new = 25, SAMPLES * options.queries * options.new_tokens
    alone = SAMPLES * options.queries * (tokens + question) + new
    return alone / (tokens + options.queries * question + new)


def main(arguments: list[str] | None = None) -> None:
    parser = measure.parser("bench.sampling", __doc__ or "")
    parser.add_argument("--size", choices=["small", "7b"], default="small", help="7b: LLaVA-1.5-7B's shape, on cuda")
    parser.add_argument("--image-tokens", type=measure.numbers, help="default: 64,576,1024 (576 if quick)")
    parser.add_argument("--images", type=int, help="images sampled for at once (default: 2; 1 if quick)")
    parser.add_argument("--queries", type=int, default=8, help="questions an image (default: 8)")
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens an answer (default: 64)")
    options = parser.parse_args(arguments)
    repetitions = measure.begin(options)
    options.images = options.images or (1 if options.quick else 2)
    if takes_images():
        measure.note(
            "transformers' continuous batching takes images now, which this benchmark does not know how to use."
        )
    else:
        measure.note("transformers' continuous batching (generate_batch) takes token ids alone, no images: left out.")
    figures: dict[str, float] = {}
    rows = []
    for tokens in options.image_tokens or ([576] if options.quick else [64, 576, 1024]):
        vlm = models.llava(tokens, size=options.size, device=options.device)
        suppress_end(vlm)
        works = contenders(vlm, tokens, options)
        seconds = measure.interleaved(works, repetitions)
        answers = options.images * options.queries * SAMPLES
        rates = {name: answers / median(taken) for name, taken in seconds.items()}
        rows.append([str(tokens), *rates.values(), rates[SHARED] / rates[GENERATE], token_ratio(tokens, options)])
        for name, rate in rates.items():
            key = name.replace(", ", "_")
            figures[f"sampling_answers_per_second_{key}_{tokens}"] = rate
            if name != SHARED:
                figures[f"sampling_ratio_{key}_{tokens}"] = measure.ratio(seconds, name, SHARED)
        if options.size == "7b":
            of_cub = CUB_IMAGES / options.images * median(seconds[SHARED]) / 60
            figures[f"sampling_minutes_cub_round_{tokens}"] = of_cub
    measure.show(
        f"Answers a second: {options.images} image(s) x {options.queries} questions x {SAMPLES} samples, "
        f"{options.new_tokens} new tokens",
        ["image tokens", SHARED, SEPARATE, GENERATE, BATCHED, "shared / generate", "token positions"],
        rows,
    )
    measure.report(figures, options.json)


if __name__ == "__main__":
    main()
