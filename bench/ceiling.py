"""What a supervised head for each attribute reaches on the eyes of a run's base: the ceiling of stated-true.

A run's model learns from labels and concept lists alone. Here a multinomial logistic regression for each attribute, and
one for the class, learns from the experts' marks of the same train images, on the average and the maximum of the base's
vision features, with a weight decay chosen on val. It states the phrase of each attribute's likeliest mark: all of
them, or only the most confident, as many as the run's model states on average, which is the fair comparison.

`same_class_follows_ceiling` is how often such a phrase goes with another image of the same class that does not show it,
on the images that `seewhy faithfulness --images N` takes (`--exchange N`).

example:
  python -m bench.ceiling runs/compare_cells/seed-0 --split val --json ceiling.json
"""

import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.measure import limit_threads, machine, note, report, show
from seewhy.domain.domain import Domain
from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.proof.comparison import Tally, shares
from seewhy.proof.confusion import spread
from seewhy.proof.interventions import count_exchange
from seewhy.records import Example, Truth
from seewhy.results import Counts
from seewhy.run.finished import FinishedRun
from seewhy.run.progress import progress
from seewhy.run.stages import BASE
from seewhy.vlm.adapter import vision_tower_of
from seewhy.vlm.chat import collate, encode, move
from seewhy.vlm.model import VisionLanguageModel

DECAYS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Weight decays to choose from: half of each times the sum of the squared weights is added to the loss."""
CLASS = "class"
BATCH = 16


@dataclass(frozen=True)
class Head:
    """One question with several answers. `phrases` has an empty one where nothing is marked."""

    name: str
    phrases: tuple[str, ...]


@torch.inference_mode()
def vision_features(vlm: VisionLanguageModel, paths: Sequence[str], title: str) -> np.ndarray:
    """Return the average and the maximum over its places of what the vision tower makes of each image, (N, 2E)."""
    seen: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _args: tuple, output) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output.last_hidden_state)

    found = []
    hook = vision_tower_of(vlm.model).register_forward_hook(keep)
    try:
        with progress(title, total=len(paths), done=0) as advance:
            for start in range(0, len(paths), BATCH):
                rows = [encode(vlm, "?", load_image(path)) for path in paths[start : start + BATCH]]
                vlm.model(**move(collate(rows, vlm.pad_token_id, "left"), vlm), logits_to_keep=1, use_cache=False)
                found.append(pooled(seen.pop().float().cpu(), len(rows)))
                advance(len(rows))
    finally:
        hook.remove()
    return np.concatenate(found)


def pooled(features: torch.Tensor, images: int) -> np.ndarray:
    """Return averages and maxima, (B, 2E), of features (B, P, E) of tokens, or (B, E, H, W) of a map.

    Raises SeeWhyError where the tower does not give one set of features for each image.
    """
    if len(features) != images or features.ndim not in (3, 4):
        raise SeeWhyError(
            f"The vision tower gives features of shape {tuple(features.shape)} for {images} images, not one set an"
            " image: take a base that sees an image whole."
        )
    places_BPE = features.flatten(2).transpose(1, 2) if features.ndim == 4 else features
    return torch.cat([places_BPE.mean(1), places_BPE.amax(1)], 1).numpy()


def heads_of(domain: Domain) -> list[Head]:
    """Return the class's head and one for each attribute."""
    return [Head(CLASS, domain.labels), *(Head(name, (*phrases, "")) for name, phrases in domain.attributes.items())]


def answer_of(head: Head, example: Example, truth: Truth) -> int:
    """Return the place of the right answer: the label, the phrase that is marked, or the last for none."""
    if head.name == CLASS:
        return head.phrases.index(example.label)
    return next((i for i, phrase in enumerate(head.phrases) if phrase in truth.visible), len(head.phrases) - 1)


def fit(features_NE: torch.Tensor, answers_NH: torch.Tensor, sizes: Sequence[int], decay: float) -> torch.Tensor:
    """Return weights and bias of a logistic regression for each of H heads, side by side, (E + 1, K).

    `sizes` are the numbers of answers of each head, K together.
    """
    weights = torch.zeros(features_NE.shape[1] + 1, sum(sizes), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = (features_NE @ weights[:-1] + weights[-1]).split(list(sizes), 1)
        loss = sum(
            (torch.nn.functional.cross_entropy(part, answers_NH[:, h]) for h, part in enumerate(logits)),
            start=0.5 * decay * weights[:-1].square().sum(),
        )
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return weights.detach()


def probabilities(features_NE: torch.Tensor, weights: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
    """Return the probability of each answer, (N, K) for each head."""
    return [part.softmax(1) for part in (features_NE @ weights[:-1] + weights[-1]).split(list(sizes), 1)]


def chosen(
    fitted: Mapping[float, torch.Tensor], features_NE: torch.Tensor, answers_NH: torch.Tensor, sizes: Sequence[int]
) -> list[float]:
    """Return for each head the weight decay with which most images of val are right, the greatest of equals."""
    best = []
    found = {decay: probabilities(features_NE, weights, sizes) for decay, weights in fitted.items()}
    for h in range(len(sizes)):
        right = {decay: int((of[h].argmax(1) == answers_NH[:, h]).sum()) for decay, of in found.items()}
        best.append(max(right, key=lambda decay: (right[decay], decay)))
    return best


def stated(heads: Sequence[Head], found: Sequence[np.ndarray], per_image: float | None) -> list[list[str]]:
    """Return the phrases stated of each image: of each attribute the likeliest mark's, where it has a phrase.

    With `per_image` the most confident of all images together are kept, so many an image on average.
    """
    said = [
        (float(of_NK[n].max()), n, head.phrases[int(of_NK[n].argmax())])
        for head, of_NK in zip(heads, found, strict=True)
        if head.name != CLASS
        for n in range(len(of_NK))
    ]
    said = sorted((one for one in said if one[2]), reverse=True)
    if per_image is not None:
        said = said[: round(per_image * len(found[0]))]
    phrases: list[list[str]] = [[] for _ in found[0]]
    for _, n, phrase in said:
        phrases[n].append(phrase)
    return phrases


def counted(
    heads: Sequence[Head], found: Sequence[np.ndarray], answers_NH: np.ndarray, truths: Sequence[Truth],
    per_image: float | None,
) -> Counts:  # fmt: skip
    """Return the counts of the figures, one number an image."""
    tally = Tally(len(truths))
    for h, head in enumerate(heads):
        name = "accuracy_ceiling" if head.name == CLASS else f"attribute_ceiling_{head.name.replace(' ', '_')}"
        for n in range(len(truths)):
            tally.add(name, n, int(found[h][n].argmax()) == answers_NH[n, h])
    kinds = {"_all": None} if per_image is None else {"": per_image, "_all": None}
    for ending, number in kinds.items():
        for n, phrases in enumerate(stated(heads, found, number)):
            true = sum(phrase in truths[n].visible for phrase in phrases)
            tally.add(f"stated_true_ceiling{ending}", n, true, len(phrases))
            tally.add(f"stated_false_ceiling{ending}", n, len(phrases) - true, len(phrases))
    return tally.counts


def exchanged(
    heads: Sequence[Head], found: Sequence[np.ndarray], domain: Domain, examples: Sequence[Example],
    per_image: float | None, images: int,
) -> Counts:  # fmt: skip
    """Return the counts of the exchange within a class, one number for each of `images` of the examples."""
    taken = spread(examples, images)
    place = {example.id: n for n, example in enumerate(examples)}
    said = stated(heads, found, per_image)
    tally = Tally(len(taken))
    count_exchange(tally, domain, taken, [said[place[example.id]] for example in taken])
    return {f"{name}_ceiling": counts for name, counts in tally.counts.items()}


def measured(
    opened: FinishedRun, split: str, per_image: float | None, *, images: int, exchange: int
) -> tuple[Counts, Counts, dict[str, float]]:
    """Return the counts on a split, those of the exchange, and the weight decay that each head took.

    `images` bounds those of each split, and `exchange` those of the exchange within a class.
    """
    domain = opened.domain
    if not domain.attributes:
        raise SeeWhyError(
            f"{domain.name} does not say which attributes each image has: there is no ceiling to measure."
        )
    truth = domain.truth or {}
    parts = {name: spread(domain.split(name), images) for name in dict.fromkeys(("train", "val", split))}
    if missing := [name for name, examples in parts.items() if not examples]:
        raise SeeWhyError(f"{domain.name} has no {missing[0]} images: the ceiling needs train, val and {split}.")
    heads, vlm = heads_of(domain), opened.load(BASE)
    sizes = [len(head.phrases) for head in heads]
    seen = {name: vision_features(vlm, [domain.path(e) for e in of], f"{name} images") for name, of in parts.items()}
    answers = {
        name: np.array([[answer_of(h, e, truth[e.id]) for h in heads] for e in of]) for name, of in parts.items()
    }
    mean, scale = seen["train"].mean(0), seen["train"].std(0) + 1e-6
    features = {name: torch.from_numpy((of - mean) / scale) for name, of in seen.items()}
    fitted = {}
    with progress("fitting", total=len(DECAYS), done=0) as advance:
        for decay in DECAYS:
            fitted[decay] = fit(features["train"], torch.from_numpy(answers["train"]), sizes, decay)
            advance(1)
    decays = chosen(fitted, features["val"], torch.from_numpy(answers["val"]), sizes)
    by_decay = {decay: probabilities(features[split], fitted[decay], sizes) for decay in set(decays)}
    found = [by_decay[decay][h].numpy() for h, decay in enumerate(decays)]
    counts = counted(heads, found, answers[split], [truth[e.id] for e in parts[split]], per_image)
    exchanges = exchanged(heads, found, domain, parts[split], per_image, exchange)
    return counts, exchanges, {head.name: decay for head, decay in zip(heads, decays, strict=True)}


def options(arguments: Sequence[str] | None) -> Namespace:
    made = ArgumentParser("python -m bench.ceiling", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("run", metavar="RUN", help="the run folder, whose train images and base are used")
    made.add_argument("--split", default="val", choices=("val", "test"), help="images to measure on (default: val)")
    made.add_argument("--stated", type=float, help="phrases an image (default: as the run's last model states)")
    made.add_argument("--images", type=int, default=100_000, help="at most so many of each split")
    made.add_argument("--exchange", type=int, default=60, help="images of the exchange within a class (default: 60)")
    made.add_argument("--bootstrap", type=int, default=1000, help="resamples behind each interval")
    made.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, as one flat object")
    return made.parse_args(arguments)


def stated_by(opened: FinishedRun) -> float | None:
    """Return how many concepts the run's last measured model states in an answer; None before it is measured."""
    if opened.metrics is None or not opened.metrics.rounds:
        return None
    return opened.metrics.rounds[-1]["stated_per_answer"].value


def main(arguments: Sequence[str] | None = None) -> None:
    given = options(arguments)
    limit_threads(given.threads)
    note(machine("cpu", given.threads))
    opened = FinishedRun.open(given.run)
    per_image = stated_by(opened) if given.stated is None else given.stated
    start = time.perf_counter()
    counts, exchanges, decays = measured(opened, given.split, per_image, images=given.images, exchange=given.exchange)
    found = {
        name: figure
        for of in (counts, exchanges)
        for name, figure in shares(of, resamples=given.bootstrap, seed=0).items()
    }
    seconds = time.perf_counter() - start
    rows = []
    figures: dict[str, float] = {"ceiling_images": len(next(iter(counts.values()))[0])}
    for name, figure in found.items():
        low, high = figure.interval or (float("nan"), float("nan"))
        rows.append((name, figure.value, f"{low:.3f}-{high:.3f}", str(figure.n)))
        figures |= {name: figure.value, f"{name}_low": low, f"{name}_high": high}
    show(f"Supervised heads, {given.split} split, {seconds:.0f} s", ("figure", "share", "95 %", "of"), rows)
    note("Weight decays, chosen on val: " + ", ".join(f"{name} {decay:g}" for name, decay in decays.items()))
    report(figures, given.json)


if __name__ == "__main__":
    main()
