"""`seewhy faithfulness RUN`: do the reasons of a run's models depend on what the image shows?

Every test asks the evaluation question again, about an image that has been changed, and counts what became of the label
and of the reasons that were stated before (proof/interventions.py):

1. *Counterfactual*, in the field guide: a true reason's part is drawn with another value, or hidden behind a leaf; the
   controls are another part with another value, and the same leaf elsewhere.
2. *Cover*, in any image: the block of patches to which the attribution of a reason points (vlm/attribution.py) takes
   the image's mean colour; the control is a random block of equal size. Evidence larger than the block stays.
3. *Swap*, in any image: another class's image in its place.
4. *Pointing*, where true boxes are known: the patch with the greatest attribution is in the box of the part.
5. *Same class*, where images of one class are known to differ: for a true reason, another image of the class for which
   it is false. The reason of a model that recites its class stays. The control is another image of the class for which
   it is true. Where the data set says which phrases exclude each other (`Domain.attributes`), it is also counted
   whether the answer about the other image states its own mark instead. Both are among the tested images.

Which reasons are tested follows from the seed and the example alone; intervals are over images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seewhy.domain.covering import cover
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
from seewhy.proof.interventions import (
    count_exchange,
    count_pointed,
    fate,
    mention,
    of_other_classes,
    pointed,
    swap_counts,
)
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example, Truth
from seewhy.results import Cover, Difference, Faithfulness, ModelFaithfulness, Trial
from seewhy.results_json import find_usable, write
from seewhy.run.finished import FinishedRun
from seewhy.run.models import LoadedModel, Picture
from seewhy.run.progress import progress, say
from seewhy.run.stages import ModelKey
from seewhy.vlm.attribution import can_attribute, gradient, seen_region

COVER = Cover(share=0.125)
"""A block of 3 x 3 in a grid of 8 x 8 patches."""
CONTROLS = {
    "cover_gone": "cover_gone_random", "counterfactual_changes": "counterfactual_changes_control",
    "same_class_follows": "same_class_follows_control",
}  # fmt: skip


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
) -> Faithfulness:
    """Test the best model (or that of `round`) of each of the `arms`, by default the method and L+GE.

    `images` of the split, spread over the classes, and up to `reasons` of each are tested; `split` is by default the
    one that the run is measured on. The result is also written to RUN/faithfulness.json; a model that was tested before
    in the same way is not tested again. Raises SeeWhyError for a folder without a run or a model, and for a split
    without two classes.
    """
    if images < 2 or reasons < 1:
        raise SeeWhyError(f"--images is {images} and --reasons {reasons}: test at least 2 images and 1 reason of each.")
    opened = FinishedRun.open(run, trust_remote_code=trust_remote_code)
    config, models, domain = opened.config, opened.arm_models(arms, round), opened.domain
    split = split or config.evaluate.split
    examples = spread(domain.split(split), images)
    if len({e.label for e in examples}) < 2:
        raise SeeWhyError(f"{domain.name} has no {split} images of two classes: choose another --split.")
    species = {s.name: s for s in make_species()} if config.data.source == "fieldguide" else None
    wanted = Faithfulness(split, len(examples), reasons, seed, config.evaluate.bootstrap, {}, COVER)
    file = Path(run) / Faithfulness.FILE
    before = find_usable(file, Faithfulness)
    done = dict(before.models) if before and replace(before, models={}) == wanted else {}
    for key, model in models.items():
        weights = opened.weights(model)
        if key in done and done[key].weights == weights:
            say(f"{model}: tested before in the same way")
            continue
        probe = Probe(domain, examples, LoadedModel(opened.load(model), config), species, reasons=reasons, seed=seed)
        done[key] = _tested(model, weights, probe, config.evaluate.bootstrap, seed)
        write(file, replace(wanted, models=done))
    return replace(wanted, models={key: done[key] for key in models})


def _tested(model: ModelKey, weights: str, probe: "Probe", resamples: int, seed: int) -> ModelFaithfulness:
    probe.run()
    counts = by_cluster(probe.tally.counts, probe.domain.clusters(e.id for e in probe.examples))
    settings: Any = {"resamples": resamples, "seed": seed}
    effects: dict[str, Difference] = {}
    for name, control in CONTROLS.items():
        if name in counts and control in counts:
            apart = differences([name], [counts], [{name: counts[control]}], **settings)
            effects |= {f"{name}_effect": apart[name]}
    figures = shares(counts, **settings)
    return ModelFaithfulness(figures, counts, weights, str(model), effects, tuple(probe.trials), tuple(probe.notes))


class Probe:
    """All tests of one model: what they count is in `tally`, what became of each redrawn reason in `trials`."""

    def __init__(
        self, domain: Domain, examples: Sequence[Example], asked: LoadedModel, species: Mapping[str, Species] | None, *,
        reasons: int, seed: int,
    ) -> None:  # fmt: skip
        self.domain = domain
        self.examples = examples
        self.asked = asked
        self.species = species
        self.reasons = reasons
        self.seed = seed
        self.question = domain.questions.evaluation
        self.stated = StatedConcepts.of(domain)
        self.tally = Tally(len(examples))
        self.trials: list[Trial] = []
        self.notes: list[str] = []
        self.pictures: dict[str, Picture] = {e.id: partial(load_image, domain.path(e)) for e in examples}

    def run(self) -> None:
        """Run every test that the data and the model allow."""
        self.answers = [text for (text,) in self._ask(self.pictures, "the images as they are").values()]
        self.said = [self.stated(text) for text in self.answers]
        self.swap()
        self.exchange()
        if self.species is not None:
            self.redraw(self.species)
        if problem := can_attribute(self.asked.vlm, load_image(self.domain.path(self.examples[0]))):
            self.notes.append(problem)
        else:
            self.cover(self.attribute())

    def swap(self) -> None:
        """Count test 3."""
        for i, j in enumerate(of_other_classes([e.label for e in self.examples])):
            truth = self._truth(self.examples[j])
            known = truth.visible if truth and truth.complete else None
            every, gone, without, survived = swap_counts(self.said[i], self.said[j], known)
            self.tally.add("swap_label_changes", i, self._renames(i, self.answers[j]))
            self.tally.add("swap_reason_changes", i, gone, every)
            self.tally.add("swap_survives_without_evidence", i, survived, without)

    def exchange(self) -> None:
        """Count test 5."""
        count_exchange(self.tally, self.domain, self.examples, self.said)

    def redraw(self, species: Mapping[str, Species]) -> None:
        """Count test 1."""
        tests: dict[str, tuple[int, Tampered]] = {}
        with progress("redrawing", total=len(self.examples), done=0) as advance:
            for i, example in enumerate(self.examples):
                for made in self._tampered(i, species[example.label]):
                    tests[f"{example.id}, {made.old}"] = i, made
                advance(1)
        pictures: dict[str, Picture] = {}
        for name, (_, made) in tests.items():
            drawn = {
                "changed": made.changed, "other_changed": made.other_changed, "hidden": made.hidden,
                "elsewhere": made.elsewhere,
            }  # fmt: skip
            pictures |= {f"{kind} {name}": image.copy for kind, image in drawn.items() if image is not None}
        given = {name: text for name, (text,) in self._ask(pictures, "drawings that were changed").items()}
        for name, (i, made) in tests.items():
            changed, hidden = given[f"changed {name}"], given[f"hidden {name}"]
            became = fate(self.stated(changed), made.old, made.new, made.values)
            self._count_changed(i, became, changed)
            if (control := given.get(f"other_changed {name}")) is not None:
                self.tally.add("counterfactual_changes_control", i, made.old not in self.stated(control))
                self.tally.add("counterfactual_label_changes_control", i, self._renames(i, control))
            self.tally.add("survives_hidden", i, made.old in self.stated(hidden))
            self.tally.add("survives_covered_elsewhere", i, made.old in self.stated(given[f"elsewhere {name}"]))
            self.tally.add("hidden_label_changes", i, self._renames(i, hidden))
            trial = Trial(self.examples[i].id, made.old, made.new, became, self.answers[i], changed, hidden)
            self.trials.append(trial)

    def attribute(self) -> dict[int, list[tuple[str, np.ndarray]]]:
        """Count test 4, and return the attribution map (R, K) of each stated reason, by image."""
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
                        judged = pointed(example.id, heat_RK, truth.boxes[concept], region, image.size)
                        count_pointed(self.tally, i, judged)
                advance(1)
        return heats

    def cover(self, heats: Mapping[int, Sequence[tuple[str, np.ndarray]]]) -> None:
        """Count test 2, with the attribution maps of test 4."""
        tests: list[tuple[int, str, str]] = []
        pictures: dict[str, Picture] = {}
        for i, found in heats.items():
            example = self.examples[i]
            random = example_random(self.seed, example.id, "cover")
            path = self.domain.path(example)
            region = seen_region(self.asked.vlm, load_image(path).size)
            for concept, heat_RK in random.sample(found, min(self.reasons, len(found))):
                shape = heat_RK.shape[0], heat_RK.shape[1]
                block = interventions.hottest_block(heat_RK, COVER.share)
                other = interventions.other_block(block, shape, random)
                key = f"{example.id}, {concept}"
                for kind, place in (("attributed", block), ("random", other)):
                    box = interventions.block_box(place, shape, region)
                    pictures[f"{kind} {key}"] = partial(_covered, path, box)
                tests.append((i, concept, key))
        given = {name: text for name, (text,) in self._ask(pictures, "images that were covered").items()}
        for i, concept, key in tests:
            for kind, suffix in (("attributed", ""), ("random", "_random")):
                text = given[f"{kind} {key}"]
                self.tally.add(f"cover_gone{suffix}", i, concept not in self.stated(text))
                self.tally.add(f"cover_label_changes{suffix}", i, self._renames(i, text))

    def _tampered(self, i: int, bird: Species) -> list[Tampered]:
        """Return up to `reasons` tests of true reasons of one drawing."""
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

    def _count_changed(self, i: int, became: str, answer: str) -> None:
        self.tally.add("counterfactual_changes", i, became != "survives")
        self.tally.add("counterfactual_follows", i, became == "follows")
        self.tally.add("counterfactual_misread", i, became == "misread")
        self.tally.add("counterfactual_silent", i, became == "silent")
        self.tally.add("counterfactual_follows_when_stated", i, became == "follows", became != "silent")
        self.tally.add("counterfactual_label_changes", i, self._renames(i, answer))

    def _ask(self, pictures: dict[str, Picture], doing: str) -> dict[str, list[str]]:
        return self.asked.answers(pictures, self.question, doing)

    def _truth(self, example: Example) -> Truth | None:
        return (self.domain.truth or {}).get(example.id)

    def _renames(self, i: int, text: str) -> bool:
        """Return whether an answer names other labels than the answer about the unchanged image."""
        return self.domain.matcher.names(text) != self.domain.matcher.names(self.answers[i])


def _covered(path: str, box: tuple[int, int, int, int]) -> Image.Image:
    return cover(load_image(path), box)
