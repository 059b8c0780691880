"""Sampling on a model's shape: shared, separate and `generate`, reading and writing told apart, and evaluation."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bench import measure
from bench.gpu.figures import Figures
from bench.gpu.profiles import profiled
from bench.gpu.shapes import Shape
from bench.sampling import SAMPLES, asked, generate, ours, suppress_end
from seewhy.records import Prompt, Sampling
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

PROFILED_TOKENS = 8
WARM_UP_TOKENS = 2

Work = Callable[[int], object]
"""Samples answers of so many tokens."""


def measure_sampling(
    vlm: VisionLanguageModel, name: str, shape: Shape, figures: Figures, repetitions: int, tables: Path
) -> None:
    """Measure sampling of `SAMPLES` answers to each of an image's questions and leave its figures."""
    hook = suppress_end(vlm)
    prompts = asked(vlm, max(shape.sampling), shape.pairs)
    one, opener = prompts[: shape.pairs], shape.opener()

    def shared(images: int) -> Work:
        return lambda tokens: ours(vlm, prompts[: images * shape.pairs], opener, tokens, share_image=True)

    few = max(1, shape.pairs // 4)
    works: dict[str, tuple[float, Work]] = {
        "shared": (1, shared(1)),
        "separate": (1, lambda tokens: ours(vlm, one, opener, tokens, share_image=False)),
        "generate_batched": (1, lambda tokens: generate(vlm, one, opener, tokens, at_once=len(one))),
        "generate": (few / len(one), lambda tokens: generate(vlm, one[:few], opener, tokens, at_once=1)),
    }  # one question after another takes so long that some stand for all
    for mode, (images, work) in works.items():
        _time(figures, f"{mode}_{name}", work, images, shape, min(repetitions, 2))
    _ratios(figures, name)
    for images in shape.sampling:
        key = f"shared_{images}images_{name}"
        _time(figures, key, shared(images), images, shape, 1)
        _read_and_write(figures, key, shared(images), images, shape)
    if not figures.late(f"evaluation_{name}"):
        with figures.attempt(f"evaluation_{name}"):
            figures.add(**_evaluation(vlm, name, shape))
    for images in (1, max(shape.sampling)):
        key, work = f"sampling_{images}images_{name}", shared(images)
        if not figures.late(f"profile_{key}"):
            with figures.attempt(f"profile_{key}"):
                figures.add(**profiled(lambda work=work: work(PROFILED_TOKENS), key, tables))
    hook.remove()


def _time(figures: Figures, key: str, work: Work, images: float, shape: Shape, repetitions: int) -> None:
    """Leave tokens a second, seconds an image and peak memory of `work`, which samples for so many images."""
    if figures.late(f"sampling_{key}"):
        return
    with figures.attempt(f"sampling_{key}"):
        work(WARM_UP_TOKENS)
        measure.reset_peak()
        seconds = measure.median_seconds(lambda: work(shape.new_tokens), repetitions, warm_up=0)
        written = images * shape.pairs * SAMPLES * shape.new_tokens
        figures.add(**{
            f"sampling_tokens_per_second_{key}": written / seconds,
            f"sampling_seconds_per_image_{key}": seconds / images,
            f"sampling_peak_gb_{key}": measure.peak_gb(),
        })  # fmt: skip


def _read_and_write(figures: Figures, key: str, work: Work, images: int, shape: Shape) -> None:
    """Leave the seconds until all answers' first token, and the seconds of each token after it."""
    whole = figures.known.get(f"sampling_seconds_per_image_{key}")
    if not isinstance(whole, float) or figures.late(f"sampling_read_{key}"):
        return
    with figures.attempt(f"sampling_read_{key}"):
        reading = measure.median_seconds(lambda: work(1), 2, warm_up=0)
        token = (whole * images - reading) / (shape.new_tokens - 1)
        figures.add(**{f"sampling_read_seconds_{key}": reading, f"sampling_token_seconds_{key}": token})


def _evaluation(vlm: VisionLanguageModel, name: str, shape: Shape) -> dict[str, float]:
    """Return the seconds that reading takes an image, one question each, and the seconds a token of all of them."""
    questions: Sequence[Prompt] = [Prompt(str(n), str(n), q.text) for n, q in enumerate(asked(vlm, shape.evaluated, 1))]
    sampler = BatchSampler(vlm, len(questions), shape.opener())

    def answer(tokens: int) -> Callable[[], object]:
        return lambda: sampler.sample(questions, Sampling(max_new_tokens=tokens), seed=0)

    few = 1 + shape.new_tokens // 4
    reading = measure.median_seconds(answer(1), 1)
    whole = measure.median_seconds(answer(few), 1, warm_up=0)
    return {
        f"evaluation_read_seconds_per_image_{name}": reading / len(questions),
        f"evaluation_token_seconds_{name}": (whole - reading) / (few - 1),
    }


def _ratios(figures: Figures, name: str) -> None:
    shared = figures.known.get(f"sampling_seconds_per_image_shared_{name}")
    for mode in ("separate", "generate_batched", "generate"):
        seconds = figures.known.get(f"sampling_seconds_per_image_{mode}_{name}")
        if isinstance(shared, float) and isinstance(seconds, float):
            figures.add(**{f"sampling_ratio_{mode}_{name}": seconds / shared})
