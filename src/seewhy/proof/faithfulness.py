"""`seewhy faithfulness RUN`: do the reasons of a run's models hang on what is in the image? Written to
RUN/faithfulness.json.

Every test puts the evaluation question again, about an image that has been changed, and counts what became of the
label and of the reasons that were stated before (proof/interventions.py):

1. *Counterfactual*, in the field guide: a true reason's part is drawn with another value, or a leaf is laid on it;
   the controls are another part with another value, and the same leaf elsewhere.
2. *Cover*, in any image: the block of patches to which the attribution of a reason points (vlm/attribution.py) takes
   the image's mean colour; the control is a random block of equal size. Evidence that is larger than the block stays.
3. *Swap*, in any image: another class's image in its place.
4. *Pointing*, where true boxes are known: the patch of most heat is in the box of the part (proof/interventions.py).

Which reasons are tested follows from the seed and the example alone; intervals are over images.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seewhy.domain.domain import Domain
from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import draw_example
from seewhy.fieldguide.redraw import Tampered, tamper
from seewhy.fieldguide.world import Species, make_species
from seewhy.method.sampler import example_random
from seewhy.proof import interventions
from seewhy.proof.comparison import Tally, by_cluster, differences, shares
from seewhy.proof.confusion import spread
from seewhy.proof.interventions import Box, fate, mention, of_other_classes, pointed, swap_counts
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example, Truth
from seewhy.run.finished import FinishedRun
from seewhy.run.models import LoadedModel, Picture
from seewhy.run.progress import progress, say
from seewhy.run.stages import ModelKey
from seewhy.run.storage import write_atomically
from seewhy.vlm.attribution import can_attribute, gradient, seen_region

COVER = 0.125
"""Share of the image that a cover takes: a block of 3 x 3 in a grid of 8 x 8 patches."""
FILE = "faithfulness.json"


def faithfulness(
    run: str,
    *,
    split: str | None = None,
    images: int = 120,
    round: int | None = None,
    arms: Sequence[str] | None = None,
    reasons: int = 2,
    seed: int = 0,
    trust_remote_code: bool | None = None,
) -> dict[str, Any]:
    """Test the last model (or that of `round`) of each of the `arms` that have one (by default the method and L+GE);
    returns what the file then holds.

    `images` of the split, spread over the classes, and up to `reasons` of each are tested; `split` is by default the
    one that the run is measured on. A model that was tested before in the same way is not tested again. Raises
    SeeWhyError for a folder without a run or a model, and for a split without two classes.
    """
    if images < 2 or reasons < 1:
        raise SeeWhyError(f"--images is {images} and --reasons {reasons}: test at least 2 images and 1 reason of each.")
    opened = FinishedRun.open(run, trust_remote_code=trust_remote_code)
    config, models, domain = opened.config, opened.arm_models(arms, round), opened.domain
    split = split or config.evaluate.split
    examples = spread(domain.split(split), images)
    if len({e.label for e in examples}) < 2:
        raise SeeWhyError(f"{domain.name} has no {split} images of two classes: choose another --split.")
    drawn = {s.name: s for s in make_species()} if config.data.source == "fieldguide" else None
    measured = {
        "split": split,
        "images": len(examples),
        "reasons": reasons,
        "seed": seed,
        "cover": {"share": COVER, "fill": "mean colour of the image"},
        "resamples": config.evaluate.bootstrap,
    }
    file = Path(run) / FILE
    done = measured_before(file, measured)
    for key, model in models.items():
        weights = opened.weights(model)
        if done.get(key, {}).get("weights") == weights:
            say(f"{model}: tested before in the same way")
            continue
        tests = Tests(domain, examples, LoadedModel(opened.load(model), config), drawn, reasons=reasons, seed=seed)
        done[key] = _figures(model, weights, tests, config.evaluate.bootstrap, seed)
        write_atomically(file, json.dumps({**measured, "models": done}, ensure_ascii=False).encode())
    return {**measured, "models": {key: done[key] for key in models}}


def _figures(model: ModelKey, weights: str, tests: "Tests", resamples: int, seed: int) -> dict[str, Any]:
    tests.run()
    counts = by_cluster(tests.tally.counts, tests.domain.clusters(e.id for e in tests.examples))
    settings = {"resamples": resamples, "seed": seed}
    controls = {"cover_gone": "cover_gone_random", "counterfactual_changes": "counterfactual_changes_control"}
    effect = {
        f"{name}_effect": differences([name], [counts], [{name: counts[control]}], **settings)[name]
        for name, control in controls.items()
        if name in counts and control in counts
    }
    return {
        "model": str(model),
        "weights": weights,
        "figures": shares(counts, **settings),
        "effects": effect,
        "counts": counts,
        "tests": tests.log,
        "notes": tests.notes,
    }


class Tests:
    """All tests of one model: what they count is in `tally`, what became of each reason in `log`."""

    def __init__(
        self, domain: Domain, examples: Sequence[Example], asked: LoadedModel, drawn: dict[str, Species] | None, *,
        reasons: int, seed: int,
    ) -> None:  # fmt: skip
        self.domain = domain
        self.examples = examples
        self.asked = asked
        self.drawn = drawn
        self.reasons = reasons
        self.seed = seed
        self.question = domain.questions.evaluation
        self.stated = StatedConcepts.of(domain)
        self.tally = Tally(len(examples))
        self.log: list[dict[str, str]] = []
        self.notes: list[str] = []
        self.pictures: dict[str, Picture] = {e.id: partial(load_image, domain.path(e)) for e in examples}

    def run(self) -> None:
        self.answers = [text for (text,) in self._ask(self.pictures, "the images as they are").values()]
        self.said = [self.stated(text) for text in self.answers]
        self.swap()
        if self.drawn is not None:
            self.redraw(self.drawn)
        if problem := can_attribute(self.asked.vlm, load_image(self.domain.path(self.examples[0]))):
            self.notes.append(problem)
        else:
            self.cover(self.attribute())

    def swap(self) -> None:
        """Test 3."""
        for i, j in enumerate(of_other_classes([e.label for e in self.examples])):
            truth = self._truth(self.examples[j])
            known = truth.visible if truth and truth.complete else None
            counted = swap_counts(self.said[i], self.said[j], known)
            every, gone, without, survived = counted
            self.tally.add("swap_label_changes", i, self._named(self.answers[i]) != self._named(self.answers[j]))
            self.tally.add("swap_reason_changes", i, gone, every)
            self.tally.add("swap_survives_without_evidence", i, survived, without)

    def redraw(self, species: dict[str, Species]) -> None:
        """Test 1."""
        tests: dict[str, tuple[int, Tampered]] = {}
        with progress("redrawing", total=len(self.examples), done=0) as advance:
            for i, example in enumerate(self.examples):
                for made in self._tampered(i, species[example.label]):
                    tests[f"{example.id}, {made.old}"] = i, made
                advance(1)
        pictures: dict[str, Picture] = {}
        for name, (_, made) in tests.items():
            for kind in ("changed", "other_changed", "hidden", "elsewhere"):
                if (image := getattr(made, kind)) is not None:
                    pictures[f"{kind} {name}"] = image.copy
        given = {name: text for name, (text,) in self._ask(pictures, "drawings that were changed").items()}
        for name, (i, made) in tests.items():
            self._count(i, made, {kind: given.get(f"{kind} {name}") for kind in ("changed", "other_changed")})
            self._count_hidden(i, made.old, given[f"hidden {name}"], given[f"elsewhere {name}"])
            became = fate(self.stated(given[f"changed {name}"]), made.old, made.new, made.values)
            self.log.append(
                {
                    "example": self.examples[i].id, "reason": made.old, "new": made.new, "fate": became,
                    "answer": self.answers[i], "changed": given[f"changed {name}"], "hidden": given[f"hidden {name}"],
                }
            )  # fmt: skip

    def attribute(self) -> dict[int, list[tuple[str, np.ndarray]]]:
        """Test 4; image -> the heat (R, K) of each reason that it states."""
        heats: dict[int, list[tuple[str, np.ndarray]]] = {}
        with progress("attributing reasons to patches", total=len(self.examples), done=0) as advance:
            for i, example in enumerate(self.examples):
                image, answer = load_image(self.domain.path(example)), self.answers[i]
                targets = {concept: spans for concept in self.said[i] if (spans := mention(concept, answer))}
                heat_CRK = gradient(self.asked.vlm, self.question, image, answer, list(targets.values()))
                heats[i] = list(zip(targets, heat_CRK, strict=True))
                truth = self._truth(example)
                region = seen_region(self.asked.vlm, image.size)
                for concept, heat_RK in heats[i]:
                    if truth and concept in truth.boxes:
                        self._count_pointing(i, heat_RK, truth.boxes[concept], region, image.size)
                advance(1)
        return heats

    def cover(self, heats: dict[int, list[tuple[str, np.ndarray]]]) -> None:
        """Test 2."""
        tests: list[tuple[int, str, str]] = []
        pictures: dict[str, Picture] = {}
        for i, found in heats.items():
            example = self.examples[i]
            random = example_random(self.seed, example.id, "cover")
            path = self.domain.path(example)
            region = seen_region(self.asked.vlm, load_image(path).size)
            for concept, heat_RK in random.sample(found, min(self.reasons, len(found))):
                block = interventions.hottest_block(heat_RK, COVER)
                other = interventions.other_block(block, (heat_RK.shape[0], heat_RK.shape[1]), random)
                key = f"{example.id}, {concept}"
                for kind, place in (("attributed", block), ("random", other)):
                    box = interventions.block_box(place, (heat_RK.shape[0], heat_RK.shape[1]), region)
                    pictures[f"{kind} {key}"] = partial(_cover, path, box)
                tests.append((i, concept, key))
        given = {name: text for name, (text,) in self._ask(pictures, "images that were covered").items()}
        for i, concept, key in tests:
            for kind, suffix in (("attributed", ""), ("random", "_random")):
                text = given[f"{kind} {key}"]
                self.tally.add(f"cover_gone{suffix}", i, concept not in self.stated(text))
                self.tally.add(f"cover_label_changes{suffix}", i, self._named(text) != self._named(self.answers[i]))

    def _tampered(self, i: int, bird: Species) -> list[Tampered]:
        """Up to `reasons` tests of true reasons of one drawing."""
        example, truth = self.examples[i], self._truth(self.examples[i])
        if truth is None:
            return []
        random, number = example_random(self.seed, example.id, "redraw"), int(example.id.rsplit("/", 1)[1])
        own = load_image(self.domain.path(example))
        if draw_example(bird, example.split, number)[1].image.tobytes() != own.tobytes():
            raise SeeWhyError(f"{example.image} was drawn by another version of seewhy: test it with that version.")
        made: list[Tampered] = []
        for reason in random.sample(self.said[i], len(self.said[i])):
            test = tamper(bird, example.split, number, reason, truth.boxes, random)
            if test and len(made) < self.reasons:
                made.append(test)
        return made

    def _count(self, i: int, made: Tampered, given: dict[str, str | None]) -> None:
        changed, control = given["changed"], given["other_changed"]
        assert changed is not None
        became = fate(self.stated(changed), made.old, made.new, made.values)
        self.tally.add("counterfactual_changes", i, became != "survives")
        self.tally.add("counterfactual_follows", i, became == "follows")
        self.tally.add("counterfactual_misread", i, became == "misread")
        self.tally.add("counterfactual_silent", i, became == "silent")
        self.tally.add("counterfactual_follows_when_stated", i, became == "follows", became != "silent")
        self.tally.add("counterfactual_label_changes", i, self._named(changed) != self._named(self.answers[i]))
        if control is not None:
            self.tally.add("counterfactual_changes_control", i, made.old not in self.stated(control))
            moved = self._named(control) != self._named(self.answers[i])
            self.tally.add("counterfactual_label_changes_control", i, moved)

    def _count_hidden(self, i: int, reason: str, hidden: str, elsewhere: str) -> None:
        self.tally.add("survives_hidden", i, reason in self.stated(hidden))
        self.tally.add("survives_covered_elsewhere", i, reason in self.stated(elsewhere))
        self.tally.add("hidden_label_changes", i, self._named(hidden) != self._named(self.answers[i]))

    def _count_pointing(self, i: int, heat_RK: np.ndarray, box: Box, region: Box, size: tuple[int, int]) -> None:
        judged = pointed(self.examples[i].id, heat_RK, box, region, size)
        self.tally.add("pointing", i, judged.hit)
        self.tally.add("pointing_chance", i, judged.chance)
        self.tally.add("pointing_centre", i, judged.centre)

    def _ask(self, pictures: dict[str, Picture], doing: str) -> dict[str, list[str]]:
        return self.asked.answers(pictures, self.question, doing)

    def _truth(self, example: Example) -> Truth | None:
        return (self.domain.truth or {}).get(example.id)

    def _named(self, text: str) -> set[str]:
        return self.domain.matcher.names(text)


def _cover(path: str, box: tuple[int, int, int, int]) -> Image.Image:
    return interventions.covered(load_image(path), box)


def measured_before(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the models that a results file holds, if they were measured with the same settings; else {}."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    same = isinstance(found, dict) and all(found.get(key) == value for key, value in settings.items())
    models = found.get("models") if same else None
    return {key: of for key, of in models.items() if isinstance(of, dict)} if isinstance(models, dict) else {}
