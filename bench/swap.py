"""Do label and reasons of a run's model change with the image?

Swap: the same question with another class's image. How often does the label change, how often a stated reason, and how
often is a reason kept that the other image does not show? On the field guide, each true reason is tested too: its
attribute is drawn with another value, all else as it was (the reason should follow), and its part is covered by a
leaf-green ellipse (it should be dropped), against an ellipse of the same size elsewhere (it should stay).

example:
  python -m bench.swap runs/fieldguide --split val --json swap.json
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, cast

from PIL import Image, ImageDraw

from bench.measure import note, report, show
from bench.pointing import Asked, parser
from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.redraw import attribute_of, other_values, redraw
from seewhy.fieldguide.truth import is_visible, part_of
from seewhy.fieldguide.world import make_species
from seewhy.proof.bootstrap import estimate
from seewhy.proof.counterfactual import fate, of_other_classes, swap_counts
from seewhy.records import Prompt, Sampling
from seewhy.vlm.sampling import BatchSampler

LEAF = (60, 120, 50)
Box = tuple[int, int, int, int]


def main() -> None:
    options = parser("bench.swap", __doc__ or "")
    options.add_argument("--reasons", type=int, default=2, help="reasons an image that are tested by redrawing")
    options.add_argument("--bootstrap", type=int, default=1000, help="resamples behind each interval")
    given = options.parse_args()
    asked = Asked(given)
    answers = asked.answers([asked.domain.path(e) for e in asked.examples])
    counts = swap(asked, answers)
    if asked.drawn:
        counts |= counterfactual(asked, answers, given.reasons)
    figures: dict[str, float] = {}
    rows = []
    for name, (hits, of) in counts.items():
        found = cast(dict[str, Any], estimate(name, hits, of, resamples=given.bootstrap, seed=0))
        if found:
            low, high = found[f"{name}_interval"]
            rows.append((name, found[name], f"{low:.3f}-{high:.3f}", f"{sum(of)}"))
            figures |= {name: found[name], f"{name}_low": low, f"{name}_high": high}
    show("What changes with the image", ("share", "value", "95 %", "of"), rows)
    report(figures, given.json)


def swap(asked: Asked, answers: Sequence[str]) -> dict[str, tuple[list[float], list[float]]]:
    """(hits, of) an image for each share."""
    matcher, truth = asked.domain.matcher, asked.domain.truth
    labels, reasons = [matcher.names(a) for a in answers], [asked.stated(a) for a in answers]
    changed, counted = [], []
    for i, j in enumerate(of_other_classes([e.label for e in asked.examples])):
        other = asked.examples[j].id
        changed.append(float(labels[i] != labels[j]))
        counted.append(swap_counts(reasons[i], reasons[j], truth[other].visible if truth and other in truth else None))
    every, gone, without, survived = (list(map(float, column)) for column in zip(*counted, strict=True))
    return {
        "swap_label_changes": (changed, [1.0] * len(changed)),
        "swap_reason_changes": (gone, every),
        "swap_reason_survives_without_evidence": (survived, without),
    }


def counterfactual(asked: Asked, answers: Sequence[str], most: int) -> dict[str, tuple[list[float], list[float]]]:
    """Up to `most` true reasons an image, their attribute changed and their part covered."""
    species, rng = {s.name: s for s in make_species()}, random.Random(0)
    pictures: dict[str, Image.Image] = {}
    tests: list[tuple[int, str, str, str]] = []  # image, old phrase, new phrase, key of its pictures
    for i, (example, answer) in enumerate(zip(asked.examples, answers, strict=True)):
        bird, number = species[example.label], int(example.id.rsplit("/", 1)[1])
        own, boxes = load_image(asked.domain.path(example)), (asked.domain.truth or {})[example.id].boxes
        _, same = redraw(bird, example.split, number, {})
        if same.image.tobytes() != own.tobytes():
            raise SeeWhyError(f"{example.image} was drawn by another version: draw the field guide again.")
        done = 0
        for old in rng.sample(stated := list(asked.stated(answer)), len(stated)):
            found = attribute_of(old)
            others = other_values(*found) if found and old in boxes else ()
            if done == most or not found or not others:
                continue
            attribute, value = found[0], rng.choice(others)
            look, drawing = redraw(bird, example.split, number, {attribute.name: value})
            if not is_visible(part_of(attribute, look), drawing):
                continue
            key = f"{i} {old}"
            pictures[f"changed {key}"] = drawing.image
            pictures[f"hidden {key}"] = covered(own, boxes[old])
            pictures[f"elsewhere {key}"] = covered(own, elsewhere(boxes[old], own.size))
            tests.append((i, old, attribute.values[value][0], key))
            done += 1
    note(f"{len(tests)} reasons are tested by redrawing")
    sampler = BatchSampler(asked.vlm, asked.sampler.batch_size, pictures.__getitem__)
    prompts = [Prompt(key, key, asked.question) for key in pictures]
    texts = sampler.sample(prompts, Sampling(max_new_tokens=asked.tokens), 0)
    said = dict(zip(pictures, (text for (text,) in texts), strict=True))
    return _fates(asked, answers, tests, said)


def _fates(
    asked: Asked, answers: Sequence[str], tests: Sequence[tuple[int, str, str, str]], said: Mapping[str, str]
) -> dict[str, tuple[list[float], list[float]]]:
    names = asked.domain.matcher.names
    shares = ("follows", "survives", "dropped", "label_changes", "survives_hidden", "stays_when_covered_elsewhere")
    hits = {name: [0.0] * len(answers) for name in shares}
    of = [0.0] * len(answers)
    for i, old, new, key in tests:
        changed = said[f"changed {key}"]
        of[i] += 1
        hits[fate(asked.stated(changed), old, new)][i] += 1
        hits["label_changes"][i] += names(changed) != names(answers[i])
        hits["survives_hidden"][i] += old in asked.stated(said[f"hidden {key}"])
        hits["stays_when_covered_elsewhere"][i] += old in asked.stated(said[f"elsewhere {key}"])
    return {f"counterfactual_{name}": (values, of) for name, values in hits.items()}


def covered(image: Image.Image, box: Box) -> Image.Image:
    """The image with an ellipse around the box, so that nothing in it can be seen."""
    left, top, right, bottom = box
    grow_x, grow_y = 0.21 * (right - left), 0.21 * (bottom - top)  # an ellipse around a box is 1.42 times as wide
    hidden = image.copy()
    ImageDraw.Draw(hidden).ellipse((left - grow_x, top - grow_y, right + grow_x, bottom + grow_y), fill=LEAF)
    return hidden


def elsewhere(box: Box, size: tuple[int, int]) -> Box:
    """A box of the same size, in the corner farthest from it."""
    wide, high = box[2] - box[0], box[3] - box[1]
    x = 0 if box[0] + box[2] > size[0] else size[0] - wide
    y = 0 if box[1] + box[3] > size[1] else size[1] - high
    return x, y, x + wide, y + high


if __name__ == "__main__":
    main()
