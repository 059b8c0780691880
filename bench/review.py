"""What verdicts are worth: a simulated expert reviews a finished run by the page's order, and by chance.

    python -m bench.review RUN [--verdicts 0,100,300]

The run's data must have complete truth of its train images (WBCAtt, the field guide). The expert answers by it: right
where the truth says visible, wrong otherwise. The page's order asks about the ASKED most doubtful concepts of each
image and draws every fourth image by chance; chance asks about pairs drawn uniformly, the mean of ten draws. What is
printed is how right the selection is when the verdicts have the last word, over all train images. Nothing is trained.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

from seewhy.domain.corrections import Corrections, Opinions, for_training
from seewhy.domain.verdicts import Verdict
from seewhy.proof.figures import count_selected, verdict
from seewhy.proof.review import ASKED, Order, Pair, pairs_of, review_order, what_they_show
from seewhy.records import Selection, Truth
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import StageKey

DRAWS = 10
"""Draws of the order by chance."""


def by_the_page(order: Order) -> list[tuple[str, str]]:
    """Return the pairs in the order in which the page asks about them."""
    return [(name, concept) for name in order.images for concept in order.asked[name][:ASKED]]


def by_chance(pairs: Sequence[Pair], seed: int) -> list[tuple[str, str]]:
    """Return the pairs in an order drawn by chance."""
    keys = [(pair.image, pair.concept) for pair in pairs]
    random.Random(seed).shuffle(keys)
    return keys


def answered(keys: Sequence[tuple[str, str]], truth: dict[str, Truth], sha256: dict[str, str]) -> list[Verdict]:
    """Return what the expert says of these pairs."""
    return [
        Verdict(f"{n:06}", "Expert", "2026-01-01T00:00:00+00:00", "concept",
                "right" if verdict(concept, truth[name]) == "true" else "wrong", name, sha256[name], concept=concept)
        for n, (name, concept) in enumerate(keys)
    ]  # fmt: skip


def rightness(selections: Sequence[Selection], truth: dict[str, Truth]) -> tuple[float, float]:
    """Return precision and recall of the selection over all images."""
    of_image: dict[str, list[Selection]] = {}
    for selection in selections:
        of_image.setdefault(selection.example_id, []).append(selection)
    counts = [count_selected(rows, truth[name]) for name, rows in of_image.items()]
    both, selected, visible = (sum(count[i] for count in counts) for i in range(3))
    return both / selected, both / visible


def main() -> None:
    """Print the figures, and write them to --output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--verdicts", default="0,100,300")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    run = FinishedRun.open(given.run)
    domain, config = run.domain, run.config.select
    if domain.truth is None:
        raise SystemExit(f"{given.run} has no truth of its train images, by which the expert answers.")
    truth = dict(domain.truth)
    selections = [s for s in run.complete_records(StageKey("select"), Selection) if s.example_id in truth]
    pairs = pairs_of(selections, run.labels, config, {})
    order, sha256 = review_order(pairs), {e.id: e.sha256 for e in domain.examples}
    print(f"{len(order.images):,} images, {len(pairs):,} pairs")
    found = []
    for number in map(int, given.verdicts.split(",")):
        ways = {"page": [by_the_page(order)], "chance": [by_chance(pairs, seed) for seed in range(DRAWS)]}
        for way, drawn in ways.items():
            figures, corrected = [], []
            for keys in drawn:
                verdicts = answered(keys[:number], truth, sha256)
                corrections = for_training(verdicts, domain) if verdicts else Corrections()
                figures.append(rightness(corrections.apply(selections), truth))
                changed = sum(a != b for a, b in zip(selections, corrections.apply(selections), strict=True))
                corrected.append(changed)
            precision, recall = (sum(values) / len(figures) for values in zip(*figures, strict=True))
            changed = sum(corrected) / len(corrected)
            found.append({"way": way, "verdicts": number, "precision": precision, "recall": recall, "changed": changed})
            print(f"{number:5} verdicts by {way:7} precision {100 * precision:.2f} %  recall {100 * recall:.2f} %  "
                  f"corrected {changed:.1f}")  # fmt: skip
        shown = what_they_show(
            pairs, Opinions.read(answered(by_the_page(order)[:number], truth, sha256)), order, config
        )
        print(f"      the page then says: {shown.precision}; {shown.better}; {len(shown.reword)} concepts to reword")
    if given.output:
        given.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
