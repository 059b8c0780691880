"""What verdicts are worth: a simulated expert reviews a finished run by the page's order, and by chance.

The run's data must have complete truth of its train images (WBCAtt, the field guide). The expert answers by it: right
where the truth says visible, wrong otherwise. The page's order asks about the ASKED most valuable concepts of each
image, by the scores alone, and draws every fourth image by chance; chance asks about pairs drawn uniformly, the mean of
ten draws. What is
printed is how right the selection is over all train images: by the judged pairs alone ("judged"), and where the
verdicts count for the other images too ("carried", method/carry.py).

With --round each way's verdicts, and none, are written beside a copy of the run in that folder, which is started again:
what they touch is made anew, tuning included, and what the models of the last round state on --split is compared with
the truth. Chance is then its first draw. A copy that is finished is not made again. What follows RUN and the options
below are settings of these runs.

examples:
  python -m bench.review runs/fieldguide
  python -m bench.review runs/cells --round runs/cells_reviewed --verdicts 0,300 --rounds 1
"""

import argparse
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import note
from seewhy.domain.corrections import Corrections, Opinions, for_training
from seewhy.domain.domain import Domain
from seewhy.domain.verdicts import FILE, Verdict
from seewhy.proof.figures import count_selected, verdict
from seewhy.proof.review import ASKED, Order, Pair, pairs_of, review_order, what_they_show
from seewhy.records import Selection, Truth
from seewhy.run import loop
from seewhy.run.correcting import corrected
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import StageKey
from seewhy.settings import load_config

DRAWS = 10
"""Draws of the order by chance."""
WHEN = "2026-01-01T00:00:00+00:00"
LEFT_OUT = ("discarded", "lge", "nl", "scratch", "lock*", FILE)
"""What a copy does not take over: controls would be made anew as well."""


def by_the_page(order: Order) -> list[tuple[str, str]]:
    """Return the pairs in the order in which the page asks about them."""
    return [(name, concept) for name in order.images for concept in order.asked[name][:ASKED]]


def by_chance(pairs: Sequence[Pair], seed: int) -> list[tuple[str, str]]:
    """Return the pairs in an order drawn by chance."""
    keys = [(pair.image, pair.concept) for pair in pairs]
    random.Random(seed).shuffle(keys)
    return keys


def answered(keys: Sequence[tuple[str, str]], domain: Domain, *, carry: bool = False) -> list[Verdict]:
    """Return what the expert says of these pairs, and whether it is to count for the other images too."""
    truth, sha256 = domain.truth or {}, {e.id: e.sha256 for e in domain.examples}
    said = [
        Verdict(f"{n:06}", "Expert", WHEN, "concept", "right" if verdict(concept, truth[name]) == "true" else "wrong",
                name, sha256[name], concept=concept)
        for n, (name, concept) in enumerate(keys)
    ]  # fmt: skip
    return [*said, Verdict("carry", "Expert", WHEN, "carry", "on")] if carry and said else said


@dataclass(frozen=True)
class Reviewed:
    """A run to review, and its selections of images with truth."""

    run: FinishedRun
    domain: Domain
    truth: Mapping[str, Truth]
    selections: Sequence[Selection]
    pairs: Sequence[Pair]
    order: Order

    @classmethod
    def open(cls, path: Path) -> "Reviewed":
        """Read the run's selections. Raises SystemExit for data without truth of its train images."""
        run = FinishedRun.open(path)
        domain, config = run.domain, run.config.select
        if domain.truth is None:
            raise SystemExit(f"{path} has no truth of its train images, by which the expert answers.")
        selections = [s for s in run.complete_records(StageKey("select"), Selection) if s.example_id in domain.truth]
        pairs = pairs_of(selections, run.labels, config, {})
        return cls(run, domain, domain.truth, selections, pairs, review_order(pairs))

    def asked(self, way: str, draw: int = 0) -> list[tuple[str, str]]:
        """Return the pairs in the order of a way, "page" or "chance"."""
        return by_the_page(self.order) if way == "page" else by_chance(self.pairs, draw)

    def selected(self, verdicts: Sequence[Verdict]) -> list[Selection]:
        """Return the selections with these verdicts."""
        corrections = for_training(verdicts, self.domain) if verdicts else Corrections()
        return corrected(self.selections, corrections, self.run.labels, self.run.config.select)

    def rightness(self, selections: Sequence[Selection]) -> tuple[float, float, float]:
        """Return precision and recall of selections over all images, and how many are other than the run's."""
        of_image: dict[str, list[Selection]] = {}
        for selection in selections:
            of_image.setdefault(selection.example_id, []).append(selection)
        counts = [count_selected(rows, self.truth[name]) for name, rows in of_image.items()]
        both, selected, visible = (sum(count[i] for count in counts) for i in range(3))
        changed = sum(a.selected != b.selected for a, b in zip(self.selections, selections, strict=True))
        return both / selected, both / visible, changed


def measure(reviewed: Reviewed, numbers: Sequence[int]) -> list[dict[str, object]]:
    """Print precision and recall of the selection for each number of verdicts, way and use, and return them."""
    found: list[dict[str, object]] = []
    for number in numbers:
        for way, draws in (("page", 1), ("chance", DRAWS)) if number else (("none", 1),):
            for use in ("judged", "carried") if number else ("judged",):
                drawn = [answered(reviewed.asked(way, draw)[:number], reviewed.domain, carry=use == "carried")
                         for draw in range(draws)]  # fmt: skip
                figures = [reviewed.rightness(reviewed.selected(verdicts)) for verdicts in drawn]
                precision, recall, changed = (sum(values) / draws for values in zip(*figures, strict=True))
                found.append({"way": way, "use": use, "verdicts": number, "precision": precision, "recall": recall,
                              "changed": changed})  # fmt: skip
                print(f"{number:5} verdicts by {way:7} {use:8} precision {100 * precision:.2f} %  "
                      f"recall {100 * recall:.2f} %  changed {changed:,.1f}")  # fmt: skip
        said = Opinions.read(answered(reviewed.asked("page")[:number], reviewed.domain))
        shown = what_they_show(reviewed.pairs, said, reviewed.order, reviewed.run.config.select)
        print(f"      the page then says: {shown.precision}; {shown.better}; {len(shown.reword)} concepts to reword")
    return found


def rounds(
    reviewed: Reviewed, numbers: Sequence[int], folder: Path, split: str, settings: Sequence[str]
) -> list[dict[str, object]]:
    """Start copies of the run again with each way's verdicts, print what the models state, and return it."""
    found: list[dict[str, object]] = []
    for number in numbers:
        for way in ("page", "chance") if number else ("none",):
            copy = folder / f"{way}-{number}"
            if not copy.exists():
                note(f"{copy}: copied")
                part = copy.with_name(f"{copy.name}.part")
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(reviewed.run.path, part, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
                part.rename(copy)
            verdicts = answered(reviewed.asked(way)[:number], reviewed.domain, carry=True)
            file = copy / FILE
            file.write_text("".join(f"{said.line()}\n" for said in verdicts), encoding="utf-8")
            own = ["--output", str(copy), "--data.verdicts", str(file), "--controls", "[]", "--keep_going", "true"]
            config = load_config(reviewed.run.path / "config.yaml", [*own, "--evaluate.split", split, *settings])
            figures = loop.run(config, discard_stale=True).rounds[-1]
            row: dict[str, object] = {"way": way, "verdicts": number, "split": split}
            for name in ("accuracy", "stated_true", "selection_precision", "selection_recall"):
                figure = figures[name]
                row[name] = {"value": figure.value, "interval": figure.interval}
            found.append(row)
            print(json.dumps(row))
    return found


def main() -> None:
    """Print the figures, and write them to --output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--verdicts", default="0,100,300")
    parser.add_argument("--round", type=Path, metavar="FOLDER")
    parser.add_argument("--split", default="test")
    parser.add_argument("--output", type=Path)
    given, more = parser.parse_known_args()
    reviewed, numbers = Reviewed.open(given.run), [int(number) for number in given.verdicts.split(",")]
    print(f"{len(reviewed.order.images):,} images, {len(reviewed.pairs):,} pairs")
    found = measure(reviewed, numbers)
    if given.round:
        found += rounds(reviewed, numbers, given.round, given.split, more)
    if given.output:
        given.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
