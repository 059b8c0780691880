"""FS, fluency score: the perplexity of a model's answers under the untuned base model. Lower is better.

    FS = exp( sum of the negative log-likelihoods of all answer tokens / number of all answer tokens )

over all answers of a split, each token given the image, the question and the tokens before it: a long answer weighs as
much as its tokens, unlike in a mean of perplexities. How the paper scores fluency could not be confirmed; this is
defined here, and figures of two different base models cannot be compared.

FS says how far tuning has moved the model's way of writing. A name that the base has never seen costs an answer much,
and more the shorter the answer is: bare names are few tokens, all of them rare.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seewhy.records import Likelihood, Prediction

NAME = "fs"
"""Of the figure, in metrics.json; it is counted in nats and tokens, as every figure is a ratio of two sums."""


def nats_and_tokens(
    predictions: Sequence[Prediction], likelihoods: Sequence[Likelihood]
) -> tuple[list[float], list[float]]:
    """Of each answer. Raises ValueError where the likelihoods are of other answers."""
    if [p.example_id for p in predictions] != [found.example_id for found in likelihoods]:
        raise ValueError("the likelihoods are not those of these answers")
    return [found.nll for found in likelihoods], [float(found.tokens) for found in likelihoods]


def in_units(name: str, ratio: Any) -> Any:
    """A ratio of sums, or several in a list or an array, as the figure `name`: of nats over tokens the exponential, any
    other as it is."""
    if name != NAME:
        return ratio
    return np.exp(ratio) if isinstance(ratio, np.ndarray) else np.exp(ratio).tolist()


def in_figures(name: str, estimated: Mapping[str, float | list[float]]) -> dict[str, float | list[float]]:
    """The ratio and the interval of an estimate (`bootstrap.estimate`) in the units of the figure `name`."""
    ratios = (name, f"{name}_interval")
    return {key: in_units(name, value) if key in ratios else value for key, value in estimated.items()}
