"""Minutes of one round of CUB-200-2011 by what was measured: tuning, merge, sampling, evaluation.

The paper needed 143 minutes (LLaVA-1.5-7B; its card is not named). Left out: the encoder's pass over candidates, the
augmentation and processing of images (other cores do them meanwhile), loading and writing the model.
"""

from collections.abc import Mapping

from bench.gpu.shapes import Shape
from bench.tuning import CUB_EPOCHS, CUB_IMAGES
from seewhy.config import TuneConfig

CUB_TEST_IMAGES = 5_794
PAIRS = 8
PAPERS_MINUTES = 143.0


def projected(figures: Mapping[str, float | str], name: str, shape: Shape) -> dict[str, float]:
    """Return minutes a round, shared and by separate tuning with `generate`; nothing where a figure is missing.

    Two bounds of the answers' length: all end at `shape.answer` tokens, or a batch goes on to `shape.longest`.
    """
    known = {key.removesuffix(f"_{name}"): value for key, value in figures.items() if isinstance(value, float)}
    try:
        optimizer = known["tuning_optimizer_seconds"] * PAIRS / TuneConfig().batch_size
        tuning = {mode: known[f"tuning_seconds_per_image_{mode}"] + optimizer for mode in ("shared", "separate")}
        rates = [
            (
                known[f"sampling_read_seconds_shared_{n}images"] / n,
                known[f"sampling_token_seconds_shared_{n}images"] / n,
            )
            for n in shape.sampling
            if f"sampling_token_seconds_shared_{n}images" in known
        ]
        reading = known["evaluation_read_seconds_per_image"]
        token = known["evaluation_token_seconds"] / shape.evaluated
        generate = known["sampling_seconds_per_image_generate"] / shape.new_tokens
    except KeyError:
        return {}
    if not rates:
        return {}
    minutes = {}
    for bound, length in (("", shape.answer), ("_at_longest", shape.longest)):
        sampling = min(read + length * each for read, each in rates)
        evaluation = CUB_TEST_IMAGES * (reading + length * token)
        fixed = evaluation + known.get("merge_seconds", 0.0)
        shared = CUB_IMAGES * (CUB_EPOCHS * tuning["shared"] + sampling) + fixed
        plain = CUB_IMAGES * (CUB_EPOCHS * tuning["separate"] + generate * length) + fixed
        minutes[f"cub_round_minutes{bound}_{name}"] = shared / 60
        minutes[f"cub_round_minutes_separate_and_generate{bound}_{name}"] = plain / 60
        minutes[f"cub_round_papers_ratio{bound}_{name}"] = PAPERS_MINUTES * 60 / shared
    return minutes
