"""How well are concepts selected, against the number of descriptions of an image, and against the text encoder?

The paper's Figure 5 and its comparison of encoders, with the ground truth of the data set in the place of its
annotators. The descriptions are those of a finished run. Of each image's, in a random order, the first 1, 2, 3, ...
are taken, so that subsets are nested; what they give is averaged over several orders. Both rules of selection
(select.rule) are measured with the run's other settings; its own rule and encoder stand under short names in the JSON.

With `--lose 1,2` it is measured instead what it does to the selection that some images (`--losers`) have one or two
descriptions fewer than the others, as where a text was empty or held a special token: precision and recall of those
images and of all others, before and after, and the share of verdicts that change.

Encoders: `fieldguide` is the small one that is shipped, `tfidf` a bag of words weighted by scikit-learn (every
description is a document), anything else a sentence-transformers model by folder or name.

examples:
  python -m bench.descriptions runs/fieldguide
  python -m bench.descriptions runs/fieldguide --counts 1,2,3,6 --encoders fieldguide,tfidf --json descriptions.json
  python -m bench.descriptions runs/fieldguide --encoders fieldguide --lose 1,2 --losers 40
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from bench.measure import limit_threads, machine, note, numbers, report, show
from seewhy.config import RunConfig, SelectionRule
from seewhy.domain.domain import Domain
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import ENCODER
from seewhy.method.clauses import Said
from seewhy.method.encoder import Encoder, TextEncoder
from seewhy.method.sampler import example_random
from seewhy.method.select import select, select_said
from seewhy.proof.figures import count_selected
from seewhy.proof.statistics import estimate
from seewhy.records import Description, Selection
from seewhy.run.finished import FinishedRun
from seewhy.run.progress import progress
from seewhy.run.stages import StageKey

RULES: tuple[SelectionRule, ...] = get_args(SelectionRule)
FIGURES = ("precision", "recall")


class BagOfWords:
    """TF-IDF vectors of words, the descriptions being the documents. Words that none of them has count for nothing."""

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vectorizer = TfidfVectorizer(token_pattern=r"\b\w+\b").fit(texts)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.vectorizer.transform(texts).toarray().astype(np.float32)

    def embed_concepts(self, concepts: Sequence[str]) -> np.ndarray:
        return self.embed_texts(concepts)


@dataclass(frozen=True)
class Reading:
    """What an encoder makes of a run: the embeddings of its D descriptions and C concepts, and the rows of the concepts
    that each text says."""

    texts_DE: np.ndarray
    concepts_CE: np.ndarray
    said: Mapping[str, Collection[int]]


@dataclass(frozen=True)
class Described:
    """A run's training images with their descriptions, and what is true of them."""

    config: RunConfig
    domain: Domain
    descriptions: Sequence[Description]

    @classmethod
    def of(cls, run: str) -> "Described":
        """Raises SeeWhyError for a run that has no descriptions yet, or data without ground truth."""
        opened = FinishedRun.open(run)
        descriptions, domain = opened.complete_records(StageKey("describe"), Description), opened.domain
        if domain.truth is None:
            raise SeeWhyError(f"{domain.name} has no ground truth (data.truth) to hold the selected concepts against.")
        return cls(opened.config, domain, descriptions)

    @property
    def most(self) -> int:
        """Descriptions of the image that has most."""
        rows = self._rows()
        return max(map(len, rows.values()))

    def subset(self, count: int, draw: int) -> np.ndarray:
        """Rows of `count` descriptions of each image (all, where it has fewer): the first of its order in a draw."""
        orders = ((e, example_random(draw, e, "bench.descriptions").sample(r, len(r))) for e, r in self._rows().items())
        return np.array(sorted(row for _, order in orders for row in order[:count]))

    def without(self, count: int, losers: int, draw: int) -> tuple[np.ndarray, set[str]]:
        """Rows that are left when `losers` images, drawn at random, lose `count` descriptions each, and their ids.

        An image keeps one description at least.
        """
        random, rows_of = example_random(draw, "losers", "bench.descriptions"), self._rows()
        chosen = set(random.sample(sorted(rows_of), min(losers, len(rows_of))))
        lost = {row for e in sorted(chosen) for row in random.sample(rows_of[e], min(count, len(rows_of[e]) - 1))}
        return np.array([row for row in range(len(self.descriptions)) if row not in lost]), chosen

    def read_by(self, encoder: TextEncoder) -> "Reading":
        """Return what an encoder makes of all descriptions and concepts."""
        texts, concepts = [d.text for d in self.descriptions], self.domain.concepts.all_concepts
        concepts_CE = encoder.embed_concepts(concepts)
        said = Said(concepts, concepts_CE, self.domain.questions.noun, encoder).said(texts)
        return Reading(encoder.embed_texts(texts), concepts_CE, said)

    def selections(self, rows: np.ndarray, rule: SelectionRule, reading: "Reading") -> list[Selection]:
        """What a rule selects with some of the descriptions."""
        bank, config = self.domain.concepts, replace(self.config.select, rule=rule)
        examples, descriptions = self.domain.split("train"), [self.descriptions[row] for row in rows]
        if rule == "said":
            return select_said(examples, descriptions, bank, bank.all_concepts, reading.said, config)
        texts_DE = reading.texts_DE[rows]
        return select(examples, descriptions, texts_DE, bank, bank.all_concepts, reading.concepts_CE, config)

    def counts(self, selections: Sequence[Selection]) -> np.ndarray:
        """(3, N): of each image whose truth is known, the concepts selected and visible, selected, and visible."""
        truth = self.domain.truth or {}
        of_image: dict[str, list[Selection]] = defaultdict(list)
        for selection in selections:
            of_image[selection.example_id].append(selection)
        return np.array([count_selected(group, truth[e])[:3] for e, group in of_image.items() if e in truth], float).T

    def _rows(self) -> Mapping[str, list[int]]:
        rows: dict[str, list[int]] = defaultdict(list)
        for row, description in enumerate(self.descriptions):
            rows[description.example_id].append(row)
        return rows


Key = tuple[str, str, int]
"""Encoder, rule, number of descriptions."""


def measure(
    described: Described, encoders: Mapping[str, TextEncoder], counts: Sequence[int], draws: int, resamples: int
) -> dict[Key, dict[str, float]]:
    """precision and recall, each with _low and _high (95 % over images), and selected, the concepts an image keeps."""
    found = {}
    with progress("selecting", total=len(encoders) * len(RULES) * len(counts), done=0) as advance:
        for name, encoder in encoders.items():
            reading = described.read_by(encoder)
            for rule, count in product(RULES, counts):
                subsets = [described.subset(count, draw) for draw in range(draws if count < described.most else 1)]
                counted = [described.counts(described.selections(s, rule, reading)) for s in subsets]
                found[name, rule, count] = figures(np.mean(counted, axis=0), resamples)
                advance(1)
    return found


Loss = tuple[str, str, int, str]
"""Encoder, rule, descriptions lost, and of whom: "theirs", the images that lost them, or "others"."""


def measure_losses(
    described: Described, encoders: Mapping[str, TextEncoder], losses: Sequence[int], losers: int, draws: int
) -> dict[Loss, dict[str, float]]:
    """precision, recall, each with _before, and changed, the share of verdicts that change; means over the draws."""
    found: dict[Loss, dict[str, float]] = {}
    whole = np.arange(len(described.descriptions))
    for name, encoder in encoders.items():
        reading = described.read_by(encoder)
        for rule in RULES:
            before = described.selections(whole, rule, reading)
            for count in losses:
                drawn: dict[str, list[dict[str, float]]] = {"theirs": [], "others": []}
                for draw in range(draws):
                    rows, chosen = described.without(count, losers, draw)
                    after = described.selections(rows, rule, reading)
                    for whose, group in drawn.items():
                        pairs = [
                            (b, a)
                            for b, a in zip(before, after, strict=True)
                            if (b.example_id in chosen) == (whose == "theirs")
                        ]
                        group.append(change(described, pairs))
                for whose, group in drawn.items():
                    found[name, rule, count, whose] = {
                        key: float(np.mean([values[key] for values in group])) for key in group[0]
                    }
    return found


def change(described: Described, pairs: Sequence[tuple[Selection, Selection]]) -> dict[str, float]:
    """What selections of the same concepts, before and after, differ in; nan for a share of nothing."""
    shares: dict[str, float] = {}
    for end, side in (("_before", 0), ("", 1)):
        counts = described.counts([pair[side] for pair in pairs])
        both, selected, visible = counts.sum(axis=1) if counts.size else (0.0, 0.0, 0.0)
        shares |= {f"precision{end}": both / selected if selected else np.nan}
        shares |= {f"recall{end}": both / visible if visible else np.nan}
    return {**shares, "changed": float(np.mean([b.selected != a.selected for b, a in pairs]))}


def figures(counts_3N: np.ndarray, resamples: int) -> dict[str, float]:
    both_N, selected_N, visible_N = counts_3N.tolist()
    shares: dict[str, float] = {"selected": float(np.mean(selected_N))}
    for name, of_N in zip(FIGURES, (selected_N, visible_N), strict=True):
        estimated = estimate(name, both_N, of_N, resamples=resamples, seed=0)
        if not estimated:
            raise SeeWhyError(
                "Nothing is selected, or nothing that is listed can be seen: there is nothing to measure."
            )
        shares[name] = estimated.value
        if estimated.interval:  # too few images have none
            shares |= dict(zip((f"{name}_low", f"{name}_high"), estimated.interval, strict=True))
    return shares


def flat(found: Mapping[Key, Mapping[str, float]], own: tuple[str, str]) -> Iterator[tuple[str, float]]:
    """Names and figures for the JSON; those of the run's own encoder and rule also without their names."""
    for (encoder, rule, count), values in found.items():
        for name, value in values.items():
            figure, _, end = name.partition("_")
            end = f"_{end}" if end else ""
            yield f"selection_{figure}_{rule}_{encoder}_{count}{end}", value
            if (encoder, rule) == own:
                yield f"selection_{figure}_{count}{end}", value


def encoder_of(name: str, texts: Sequence[str], *, prefixes: bool) -> TextEncoder:
    if name == "tfidf":
        return BagOfWords(texts)
    return Encoder(str(ENCODER if name == "fieldguide" else Path(name).expanduser()), prefixes=prefixes)


def options(arguments: Sequence[str] | None) -> Namespace:
    made = ArgumentParser(
        "python -m bench.descriptions", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--counts", type=numbers, help="descriptions an image (default: 1, 2, 3, ... up to all, thinned)")
    made.add_argument("--encoders", type=lambda text: text.split(","), help="(default: the run's own, and tfidf)")
    made.add_argument("--lose", type=numbers, help="descriptions that some images lose: measure what that does")
    made.add_argument("--losers", type=int, default=40, help="images that lose them (default: 40)")
    made.add_argument("--draws", type=int, default=5, help="random orders of the descriptions (default: 5)")
    made.add_argument("--bootstrap", type=int, default=1000, help="resamples behind each interval")
    made.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, as one flat object")
    return made.parse_args(arguments)


def thinned(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 9, 13, ... and `most`."""
    counts = [1]
    while counts[-1] < most:
        counts.append(min(most, max(counts[-1] + 1, round(counts[-1] * 1.5))))
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    given = options(arguments)
    limit_threads(given.threads)
    note(machine("cpu", given.threads))
    described = Described.of(given.run)
    counts = sorted({min(count, described.most) for count in given.counts or thinned(described.most)})
    if counts[0] < 1 or given.draws < 1:
        raise SeeWhyError("An image needs at least 1 description, and they at least 1 order: see --counts and --draws.")
    texts = [description.text for description in described.descriptions]
    settings = described.config.select
    names = list(dict.fromkeys(given.encoders or [settings.encoder, "tfidf"]))
    encoders = {Path(name).name: encoder_of(name, texts, prefixes=settings.prefixes) for name in names}
    if given.lose:
        return show_losses(described, encoders, given)
    found = measure(described, encoders, counts, given.draws, given.bootstrap)
    images = len(described.domain.split("train"))
    for encoder, rule in product(encoders, RULES):
        rows = [
            (str(count), *(cell(values, name) for name in FIGURES), values["selected"])
            for count in counts
            for values in [found[encoder, rule, count]]
        ]
        show(f"Rule {rule}, encoder {encoder}, {images} images", ("descriptions", *FIGURES, "selected an image"), rows)
    report(dict(flat(found, (Path(settings.encoder).name, settings.rule))), given.json)


def show_losses(described: Described, encoders: Mapping[str, TextEncoder], given: Namespace) -> None:
    """Measure, print and write what lost descriptions do."""
    found = measure_losses(described, encoders, given.lose, given.losers, given.draws)
    for encoder, rule in product(encoders, RULES):
        rows = [
            (
                str(count),
                whose,
                *(f"{values[f'{name}_before']:.3f} -> {values[name]:.3f}" for name in FIGURES),
                f"{values['changed']:.2%}",
            )
            for (of, by, count, whose), values in found.items()
            if (of, by) == (encoder, rule)
        ]
        titles = ("lost", "images", *FIGURES, "verdicts that change")
        show(f"Rule {rule}, encoder {encoder}, {given.losers} images lose descriptions", titles, rows)
    flat_figures = {
        f"lost_{name}_{rule}_{encoder}_{count}_{whose}": value
        for (encoder, rule, count, whose), values in found.items()
        for name, value in values.items()
    }
    report(flat_figures, given.json)


def cell(values: Mapping[str, float], name: str) -> str:
    if f"{name}_low" not in values:
        return f"{values[name]:.3f}"
    return f"{values[name]:.3f} ({values[f'{name}_low']:.3f}-{values[f'{name}_high']:.3f})"


if __name__ == "__main__":
    main()
